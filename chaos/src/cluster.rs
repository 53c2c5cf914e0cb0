//! The cluster that is broken: real processes, started and stopped as `cloudsync dev cluster` does.
//!
//! Owns: its directory, its end.
//! Knows nothing of: what is done to it, and why.

use std::ops::Deref;
use std::path::Path;

use env::Env;
use env::process::{self, Signal};
use node::dev::{DevCluster, NodePlan, Shape};
use types::{Error, NodeId, Profile, Result};

/// A cluster that is there to be broken. Its processes end when it is dropped; its files stay.
pub struct Victim(DevCluster);

impl Deref for Victim {
    type Target = DevCluster;

    fn deref(&self) -> &DevCluster {
        &self.0
    }
}

impl Victim {
    /// Starts a cluster in `dir` and waits until it can store files.
    pub async fn start(env: &Env, dir: &Path, node_count: u16) -> Result<Self> {
        let cluster = DevCluster::at(env, &dir.join("cluster"), DevCluster::program_beside(env)?)?;
        if env.disk.exists(cluster.dir()) {
            let error =
                format!("{} has the cluster of an earlier run: choose another directory", dir.display());
            return Err(Error::exists(error));
        }
        let victim = Self(cluster);
        let shape = Shape { nodes: node_count, zones: 3, profile: Profile { k: 4, m: 2 } };
        victim.up(shape, &|waiting| crate::say::say(format_args!("waiting: {waiting}"))).await?;
        Ok(victim)
    }

    /// Sends a signal to one node.
    pub fn signal(&self, node: NodeId, signal: Signal) -> Result<()> {
        let found = self.layout()?.nodes.into_iter().find(|n| n.number == node.0).and_then(|n| n.pid);
        match found {
            Some(pid) if process::signal(pid, signal) => Ok(()),
            _ => Err(Error::not_found(format!("node {node} does not run"))),
        }
    }

    /// Nodes without a process, with their last words.
    pub fn ended(&self) -> Result<Vec<String>> {
        let nodes = self.layout()?.nodes.into_iter();
        let ended = nodes.filter(|node| !node.pid.is_some_and(process::is_running));
        let describe = |node: NodePlan| {
            format!("node {} has ended: {}", node.number, self.last_words(&node).join(" / "))
        };
        Ok(ended.map(describe).collect())
    }

    /// Lines of all logs that tell of a panic.
    pub fn panics(&self) -> Result<Vec<String>> {
        let nodes = self.layout()?.nodes.into_iter();
        let panics = |node: NodePlan| {
            let log = self.log(&node);
            let lines = log.lines().filter(|line| line.contains("panicked at"));
            lines.map(|line| format!("node {}: {line}", node.number)).collect::<Vec<_>>()
        };
        Ok(nodes.flat_map(panics).collect())
    }
}

impl Drop for Victim {
    /// After an error or Ctrl-C nobody else would stop these processes. Waiting until they are gone is what lets their
    /// directory be removed next.
    fn drop(&mut self) {
        self.kill_all();
    }
}
