//! `dev cluster`: a cluster of real processes on loopback, for development, tests and demonstrations.
//!
//! Owns: the directory of such a cluster, its processes, and when it counts as started.
//! Knows nothing of: what a node does.

mod layout;
mod process;
mod ready;
mod start;

use std::path::{Path, PathBuf};
use std::time::Duration;

use client::Namespace;
use env::process::Signal;
use env::{Env, File, OpenMode};
use proto::cluster::ClusterStatus;
use serde_json::{Value, json};
use types::{Error, NamespaceName, Profile, Result};

use crate::admin;
use crate::args::{DevCluster, Global};
use crate::exit::{Exit, Failure};
use crate::output::{Outcome, Table};
use crate::session::Session;
use layout::{Layout, NodePlan};

/// How long one question to the cluster may take; it is asked again while the cluster starts.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

/// The cluster in one directory.
struct Dev<'a> {
    env: &'a Env,
    dir: PathBuf,
    namespace: NamespaceName,
}

/// What `up` was asked to make.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Number of nodes.
    pub nodes: u16,
    /// Number of zones.
    pub zones: u16,
    /// Redundancy.
    pub profile: Profile,
}

/// Runs a command on the cluster in `dir`.
pub async fn run(env: &Env, global: &Global, dir: &Path, command: DevCluster) -> Result<Outcome, Failure> {
    let dir = std::path::absolute(dir).map_err(|e| Error::from(e).context(dir.display()))?;
    let dev = Dev { env, dir, namespace: global.namespace.clone() };
    match command {
        DevCluster::Up { nodes, zones, profile } => dev.up(Shape { nodes, zones, profile }).await,
        DevCluster::Status => Ok(dev.status().await?),
        DevCluster::Env => Ok(dev.variables()?),
        DevCluster::Leader => Ok(dev.leader().await?),
        DevCluster::Kill { nodes } => Ok(dev.kill(&nodes).await?),
        DevCluster::Restart { nodes } => Ok(dev.restart(&nodes).await?),
        DevCluster::Down => Ok(dev.down().await?),
    }
}

impl Dev<'_> {
    /// Shows the processes, then the health as the cluster itself sees it.
    async fn status(&self) -> Result<Outcome> {
        let layout = self.load()?;
        let mut table = Table::new(&["node", ">pid", "process", "zone", "roles", "native"]);
        let mut values = Vec::new();
        for node in &layout.nodes {
            let pid = self.running(node);
            let state = if pid.is_some() { "running" } else { "stopped" };
            table.row([
                node.number.to_string(),
                pid.map(|pid| pid.to_string()).unwrap_or_default(),
                state.to_owned(),
                node.zone.clone(),
                if node.is_meta { "meta,block" } else { "block" }.to_owned(),
                node.native.to_string(),
            ]);
            values.push(json!({ "node": node.number, "pid": pid, "native": node.native.to_string(), "zone": node.zone }));
        }
        let known = match self.session().await {
            Ok(session) => admin::fetch_status(&session).await,
            Err(e) => Err(e),
        };
        Ok(match known {
            Ok(status) => {
                let health = admin::cluster(&status);
                let text = format!("{}\n{}", table.render(), health.text);
                Outcome { text, json: json!({ "processes": values, "cluster": health.json }), ..health }
            }
            Err(e) => Outcome {
                text: table.render(),
                json: json!({ "processes": values, "cluster": Value::Null }),
                complaints: vec![format!("the cluster does not answer: {}", e.message())],
                exit: Exit::Error,
            },
        })
    }

    /// What makes a shell's commands go to this cluster.
    fn variables(&self) -> Result<Outcome> {
        self.load()?;
        let file = self.credentials().display().to_string();
        let text = format!("export CLOUDSYNC_CREDENTIALS='{}'", file.replace('\'', r"'\''"));
        Ok(Outcome::ok(text, json!({ "CLOUDSYNC_CREDENTIALS": file })))
    }

    /// The number of the node that leads the namespace's partition.
    async fn leader(&self) -> Result<Outcome> {
        let layout = self.load()?;
        let session = self.session().await?;
        let namespace = Namespace::open(session.cluster.clone(), &self.namespace).await?;
        let status = admin::fetch_status(&session).await?;
        let partition = status.map.namespace_partition(namespace.id());
        let node = number_of_leader(&layout, &status, partition).ok_or_else(|| {
            Error::unavailable(format!("partition {partition} has no leader at the moment: ask again"))
        })?;
        Ok(Outcome::ok(node.to_string(), json!({ "node": node, "partition": partition.0 })))
    }

    async fn kill(&self, numbers: &[u64]) -> Result<Outcome> {
        let _lock = self.lock()?;
        let mut layout = self.load()?;
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
        Ok(Outcome::ok(format!("killed {}", list(&killed)), json!({ "killed": killed })))
    }

    async fn restart(&self, numbers: &[u64]) -> Result<Outcome> {
        let _lock = self.lock()?;
        let mut layout = self.load()?;
        layout.check_numbers(numbers)?;
        let count = layout.nodes.len();
        for node in layout.nodes.iter_mut().filter(|node| numbers.contains(&node.number)) {
            if !node.joined {
                return Err(Error::invalid(format!(
                    "node {} was never made: run `dev cluster up`",
                    node.number
                )));
            }
            self.stop(node, Signal::Terminate).await?;
            self.start(node, count)?;
        }
        self.save(&layout)?;
        Ok(Outcome::ok(format!("started {}", list(numbers)), json!({ "started": numbers })))
    }

    async fn down(&self) -> Result<Outcome> {
        let _lock = self.lock()?;
        let mut layout = self.load()?;
        let running: Vec<u32> = layout.nodes.iter().filter_map(|node| self.running(node)).collect();
        for pid in &running {
            env::process::signal(*pid, Signal::Terminate);
        }
        for node in &mut layout.nodes {
            self.stop(node, Signal::Terminate).await?;
        }
        self.save(&layout)?;
        let text = format!(
            "stopped {}; the data stays in {}",
            crate::output::count(running.len() as u64, "node"),
            self.dir.display()
        );
        Ok(Outcome::ok(text, json!({ "stopped": running.len() })))
    }

    fn load(&self) -> Result<Layout> {
        Layout::load(&*self.env.disk, &self.dir)
    }

    fn save(&self, layout: &Layout) -> Result<()> {
        layout.save(&*self.env.disk, &self.dir)
    }

    /// The file that gives users access, with the addresses of all nodes.
    fn credentials(&self) -> PathBuf {
        self.dir.join(crate::credentials::ADMIN_FILE)
    }

    async fn session(&self) -> Result<Session> {
        Session::open_with(self.env, &self.credentials(), self.namespace.clone(), QUESTION_TIMEOUT).await
    }

    /// Two commands that start and stop processes at once would lose some.
    fn lock(&self) -> Result<std::sync::Arc<dyn File>> {
        let path = self.dir.join("lock");
        let open = || -> std::io::Result<_> {
            let file = self.env.disk.open(&path, OpenMode::Create)?;
            Ok(file.try_lock()?.then_some(file))
        };
        let file = open().map_err(|e| no_cluster(e.into(), &self.dir))?;
        file.ok_or_else(|| {
            Error::unavailable(format!(
                "another command is at work on the cluster in {}: wait for it",
                self.dir.display()
            ))
        })
    }
}

/// What an error about the directory means to a person.
fn no_cluster(error: Error, dir: &Path) -> Error {
    if error.kind() == types::ErrorKind::NotFound {
        return Error::not_found(format!(
            "there is no cluster in {}: make one with `cloudsync dev cluster up`",
            dir.display()
        ));
    }
    error.context(dir.display())
}

fn number_of_leader(layout: &Layout, status: &ClusterStatus, partition: types::PartitionId) -> Option<u64> {
    let native = status.map.nodes.get(&admin::leader(status, partition)?)?.native;
    let node: &NodePlan = layout.nodes.iter().find(|node| node.native == native)?;
    Some(node.number)
}

fn list(numbers: &[u64]) -> String {
    if numbers.is_empty() {
        return "nothing: none of them was running".to_owned();
    }
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    format!("node {}", numbers.join(", "))
}
