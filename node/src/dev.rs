//! Clusters of real processes on this machine's loopback: for development, demonstrations, tests and measurements.
//!
//! Owns: the directory of such a cluster, its processes, and when it counts as started.
//! Knows nothing of: what a node does; how any of this is printed.

mod layout;
mod process;
mod start;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::health::leader;
use client::{ADMIN_FILE, Connection, CredentialFile};
use env::process::Signal;
use env::{Env, File, OpenMode};
use net::ClientConfig;
use proto::cluster::ClusterStatus;
use types::limits::DEV_QUESTION_TIMEOUT;
use types::{Error, PartitionId, Result};

use layout::no_cluster;
pub use layout::{Layout, NodePlan, Shape};
pub use start::Started;

/// A cluster in one directory.
#[derive(Debug)]
pub struct DevCluster {
    env: Env,
    dir: PathBuf,
    program: PathBuf,
    /// What its processes find in their environment besides what this one has.
    variables: Vec<(&'static str, String)>,
}

impl DevCluster {
    /// The cluster in `dir`, whether it exists yet or not. Its nodes run `program`, a `cloudsync` binary.
    pub fn at(env: &Env, dir: &Path, program: PathBuf) -> Result<Self> {
        let dir = std::path::absolute(dir).map_err(|e| Error::from(e).context(dir.display()))?;
        Ok(Self { env: env.clone(), dir, program, variables: Vec::new() })
    }

    /// Gives the processes that are started from now on these variables.
    #[must_use]
    pub fn with_variables(self, variables: Vec<(&'static str, String)>) -> Self {
        Self { variables, ..self }
    }

    /// The `cloudsync` binary next to the running program; `NotFound` when there is none.
    pub fn program_beside(env: &Env) -> Result<PathBuf> {
        let program = env::process::current_exe()?.with_file_name("cloudsync");
        if !env.disk.exists(&program) {
            let error = format!("{} is missing: build it with `make build`", program.display());
            return Err(Error::not_found(error));
        }
        Ok(program)
    }

    /// Where everything is kept; an absolute path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The administrator's credential file, with the addresses of all nodes.
    pub fn credentials(&self) -> PathBuf {
        self.dir.join(ADMIN_FILE)
    }

    /// Its nodes. `NotFound` when there is no cluster in the directory.
    pub fn layout(&self) -> Result<Layout> {
        Layout::load(&*self.env.disk, &self.dir)
    }

    /// What the leader of the root partition knows.
    pub async fn fetch_status(&self) -> Result<ClusterStatus> {
        self.connect().await?.cluster.fetch_status().await
    }

    /// The number of the node that leads a partition. `Unavailable` while there is none.
    pub async fn leader(&self, partition: PartitionId) -> Result<u64> {
        let (layout, status) = (self.layout()?, self.fetch_status().await?);
        let native =
            leader(&status, partition).and_then(|id| status.map.nodes.get(&id)).map(|node| node.native);
        let node = layout.nodes.iter().find(|node| Some(node.native) == native);
        node.map(|node| node.number).ok_or_else(|| {
            Error::unavailable(format!("partition {partition} has no leader at the moment: try again"))
        })
    }

    /// `kill -9`, all at once; on return the processes are gone. Returns the numbers of those that were running.
    pub async fn kill(&self, numbers: &[u64]) -> Result<Vec<u64>> {
        let _lock = self.lock()?;
        let mut layout = self.layout()?;
        layout.check_numbers(numbers)?;
        let mut killed = Vec::new();
        // All signals first: nodes that die together should die together.
        for node in layout.nodes.iter().filter(|node| numbers.contains(&node.number)) {
            if let Some(pid) = self.running(node) {
                env::process::signal(pid, Signal::Kill);
                killed.push(node.number);
            }
        }
        for node in layout.nodes.iter_mut().filter(|node| numbers.contains(&node.number)) {
            self.stop(node, Signal::Kill).await?;
        }
        self.save(&layout)?;
        Ok(killed)
    }

    /// Starts nodes again, stopping those that run. `Invalid` for nodes that were never created.
    pub async fn restart(&self, numbers: &[u64]) -> Result<()> {
        let _lock = self.lock()?;
        let mut layout = self.layout()?;
        layout.check_numbers(numbers)?;
        let count = layout.nodes.len();
        for node in layout.nodes.iter_mut().filter(|node| numbers.contains(&node.number)) {
            if !node.joined {
                return Err(Error::invalid(format!(
                    "node {} was never created: run `dev cluster up`",
                    node.number
                )));
            }
            self.stop(node, Signal::Terminate).await?;
            self.start(node, count)?;
        }
        self.save(&layout)
    }

    /// Asks all nodes to stop and waits for them; their data stays. Returns how many were running.
    pub async fn down(&self) -> Result<usize> {
        let _lock = self.lock()?;
        let mut layout = self.layout()?;
        let running: Vec<u32> = layout.nodes.iter().filter_map(|node| self.running(node)).collect();
        for pid in &running {
            env::process::signal(*pid, Signal::Terminate);
        }
        for node in &mut layout.nodes {
            self.stop(node, Signal::Terminate).await?;
        }
        self.save(&layout)?;
        Ok(running.len())
    }

    fn save(&self, layout: &Layout) -> Result<()> {
        layout.save(&*self.env.disk, &self.dir)
    }

    /// A client with the rights of the administrator.
    pub async fn connect(&self) -> Result<Connection> {
        let file = CredentialFile::load(&*self.env.disk, &self.credentials())?;
        file.connect(&self.env, ClientConfig::default(), DEV_QUESTION_TIMEOUT).await
    }

    /// Two programs that start and stop processes at the same time would lose track of some.
    fn lock(&self) -> Result<Arc<dyn File>> {
        let path = self.dir.join("lock");
        let open = || -> std::io::Result<_> {
            let file = self.env.disk.open(&path, OpenMode::Create)?;
            Ok(file.try_lock()?.then_some(file))
        };
        let file = open().map_err(|e| no_cluster(e.into(), &self.dir))?;
        file.ok_or_else(|| {
            Error::unavailable(format!(
                "another command is working on the cluster in {}: wait until it is done",
                self.dir.display()
            ))
        })
    }
}
