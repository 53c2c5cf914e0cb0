//! What is measured: real processes of the `cloudsync` binary on loopback.
//!
//! Owns: starting and stopping them, their processor time, finding and killing the leader.
//! Knows nothing of: what is measured on them.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::ADMIN_FILE;
use env::Env;
use env::disk::FAULTS_VARIABLE;
use node::dev::{DevCluster, Shape};
use types::{Error, NodeId, Profile, Result};

use crate::context::{Bench, say};
use crate::session::Session;

/// How long a cluster may take to start or to come back.
const START_TIMEOUT: Duration = Duration::from_secs(180);
/// How often we check whether it has.
const LOOK_PERIOD: Duration = Duration::from_millis(20);
/// The directory of the cluster, and the log of the embedded kind, below the deployment's own.
const DATA: &str = "data";
const LOG: &str = "log";
/// Places to try for two free ports in a row.
const PORT_TRIES: usize = 64;

/// The kind of cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `cloudsync dev cluster up`: eight processes with a disk each, three zones.
    Cluster,
    /// `cloudsync up`: one process, six disks.
    Embedded,
    /// `cloudsync dev cluster up` with three nodes, all of which have metadata.
    Meta,
}

impl Kind {
    /// What it is called in tables.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Cluster => "8-node cluster, 4+2, 3 zones",
            Kind::Embedded => "embedded, 6 disks, 4+2",
            Kind::Meta => "3 nodes, 2+1, 3 zones",
        }
    }

    fn shape(self) -> Shape {
        match self {
            Kind::Meta => Shape { nodes: 3, zones: 3, profile: Profile { k: 2, m: 1 } },
            Kind::Cluster | Kind::Embedded => Shape { nodes: 8, zones: 3, profile: Profile { k: 4, m: 2 } },
        }
    }
}

/// A running cluster.
pub struct Deployment {
    /// Which kind it is.
    pub kind: Kind,
    env: Env,
    dir: PathBuf,
    processes: Processes,
}

enum Processes {
    Cluster(DevCluster),
    Embedded(u32),
}

impl Deployment {
    /// Starts a new cluster and waits until it can store files.
    pub async fn start(bench: &Bench, kind: Kind) -> Result<Self> {
        Self::start_with(bench, kind, Vec::new()).await
    }

    /// The same, of nodes whose disks fail as the rules in a file say (docs/ops/disks.md), while there is one.
    pub async fn start_with_faults(bench: &Bench, kind: Kind, rules: &Path) -> Result<Self> {
        let variables = vec![(FAULTS_VARIABLE, rules.display().to_string())];
        Self::start_with(bench, kind, variables).await
    }

    async fn start_with(bench: &Bench, kind: Kind, variables: Vec<(&'static str, String)>) -> Result<Self> {
        say(format_args!("starting: {}", kind.title()));
        let program = DevCluster::program_beside(&bench.env)?;
        let dir = bench.scratch.join(match kind {
            Kind::Cluster => "cluster",
            Kind::Embedded => "embedded",
            Kind::Meta => "meta",
        });
        let env = bench.env.clone();
        env.disk.create_dir_all(&dir)?;
        let data = dir.join(DATA);
        let processes = match kind {
            Kind::Cluster | Kind::Meta => {
                Processes::Cluster(DevCluster::at(&env, &data, program)?.with_variables(variables))
            }
            Kind::Embedded => Processes::Embedded(start_embedded(&program, &data, &dir.join(LOG))?),
        };
        let deployment = Self { kind, env, dir, processes };
        match kind {
            Kind::Cluster | Kind::Meta => deployment.bring_up().await?,
            Kind::Embedded => deployment.wait_for_embedded().await?,
        }
        Ok(deployment)
    }

    /// The administrator's credential file.
    pub fn credentials(&self) -> PathBuf {
        self.dir.join(DATA).join(ADMIN_FILE)
    }

    /// Processor seconds that all its processes have used so far.
    pub fn cpu_seconds(&self) -> f64 {
        self.pids().into_iter().filter_map(env::process::cpu_seconds_of).sum()
    }

    /// Finds the process that leads the partition of a namespace; not for the embedded kind.
    pub async fn leader(&self, session: &Session) -> Result<u32> {
        let cluster = self.cluster()?;
        let partition = session.cluster.map().namespace_partition(session.namespace.id());
        let number = cluster.leader(partition).await?;
        let node = cluster.layout()?.nodes.into_iter().find(|node| node.number == number);
        node.and_then(|node| node.pid)
            .ok_or_else(|| Error::internal(format!("node {number} leads but has no process")))
    }

    /// Starts the nodes that are not running and waits until all slots are filled; the cluster kind only.
    pub async fn bring_up(&self) -> Result<()> {
        self.cluster()?
            .up(self.kind.shape(), &|waiting| say(format_args!("waiting: {waiting}")))
            .await
            .map(|_| ())
    }

    /// `kill -9` for one node; not for the embedded kind.
    pub async fn kill(&self, node: NodeId) -> Result<()> {
        self.cluster()?.kill(&[node.0]).await.map(drop)
    }

    /// Starts one node again and does not wait for it; not for the embedded kind.
    pub async fn restart(&self, node: NodeId) -> Result<()> {
        self.cluster()?.restart(&[node.0]).await
    }

    /// The directory of a node's only disk; not for the embedded kind.
    pub fn disk_dir(&self, node: NodeId) -> Result<PathBuf> {
        let layout = self.cluster()?.layout()?;
        let plan = layout.nodes.iter().find(|plan| plan.number == node.0);
        let plan = plan.ok_or_else(|| Error::internal(format!("there is no node {node}")))?;
        let mut disks = layout.config(plan, &self.dir.join(DATA))?.disks;
        disks.pop().ok_or_else(|| Error::internal(format!("node {node} has no disk")))
    }

    /// The directories of all disks; not for the embedded kind.
    pub fn disk_dirs(&self) -> Result<Vec<PathBuf>> {
        self.numbers()?.into_iter().map(|number| self.disk_dir(NodeId(number))).collect()
    }

    /// `kill -9` for all nodes at once; not for the embedded kind.
    pub async fn kill_nodes(&self) -> Result<()> {
        self.cluster()?.kill(&self.numbers()?).await.map(drop)
    }

    /// Starts all nodes again and does not wait for them; not for the embedded kind.
    pub async fn restart_nodes(&self) -> Result<()> {
        self.cluster()?.restart(&self.numbers()?).await
    }

    fn numbers(&self) -> Result<Vec<u64>> {
        Ok(self.cluster()?.layout()?.nodes.iter().map(|node| node.number).collect())
    }

    /// Ends all processes and removes their data.
    pub async fn stop(self) {
        env::process::kill_all(&self.pids());
        if let Err(e) = self.env.disk.remove_dir_all(&self.dir) {
            say(format_args!("cannot remove {}: {e}", self.dir.display()));
        }
    }

    fn cluster(&self) -> Result<&DevCluster> {
        match &self.processes {
            Processes::Cluster(cluster) => Ok(cluster),
            Processes::Embedded(_) => Err(Error::internal("an embedded cluster has one process")),
        }
    }

    async fn wait_for_embedded(&self) -> Result<()> {
        let deadline = env::time::now() + START_TIMEOUT;
        while let Err(e) = Session::open(&self.env, &self.credentials()).await {
            if !self.pids().into_iter().all(env::process::is_running) || env::time::now() >= deadline {
                let words = self.env.disk.read(&self.dir.join(LOG)).unwrap_or_default();
                return Err(
                    e.context(format!("`cloudsync up` said {}", String::from_utf8_lossy(&words).trim()))
                );
            }
            env::time::sleep(LOOK_PERIOD).await;
        }
        Ok(())
    }

    /// The pids of its processes, of those that have ended too.
    pub fn pids(&self) -> Vec<u32> {
        match &self.processes {
            Processes::Cluster(cluster) => cluster.pids(),
            Processes::Embedded(pid) => vec![*pid],
        }
    }
}

impl Drop for Deployment {
    /// After an error or Ctrl-C nobody else would stop these processes. Waiting until they are gone is what lets
    /// their directory be removed next.
    fn drop(&mut self) {
        env::process::kill_all(&self.pids());
    }
}

fn start_embedded(program: &Path, data: &Path, log: &Path) -> Result<u32> {
    let listen = format!("127.0.0.1:{}", free_port_pair()?);
    let args = ["up", "--data", &data.display().to_string(), "--disks", "6", "--listen", &listen];
    Ok(env::process::start_detached(program, &args.map(str::to_owned), log)?)
}

/// The first of two ports in a row that nobody uses, for TCP and UDP alike.
fn free_port_pair() -> Result<u16> {
    for _ in 0..PORT_TRIES {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = first.local_addr()?.port();
        let Some(next) = port.checked_add(1) else { continue };
        let second = TcpListener::bind((Ipv4Addr::LOCALHOST, next));
        if second.is_ok() && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::unavailable("no two free ports in a row on loopback"))
}
