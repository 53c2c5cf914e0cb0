//! All groups of a process: opened, found, given their messages, stopped.

use std::sync::Arc;

use bytes::Bytes;
use env::Env;
use env::task::JoinHandle;
use kv::Kv;
use types::{Error, NodeId, PartitionId, Result};

use crate::config::HostConfig;
use crate::group::Group;
use crate::message::Envelope;
use crate::shared::Shared;
use crate::{Network, StateMachine, blocking, trim};

/// All groups of a process.
pub struct Host {
    shared: Arc<Shared>,
    trimming: JoinHandle<()>,
    /// One group is opened at a time.
    opening: tokio::sync::Mutex<()>,
}

impl Host {
    /// Opens the log. State goes to `kv`, under keys that begin with `k`, `m` and `s`.
    pub async fn open(
        env: Env,
        config: HostConfig,
        kv: Arc<dyn Kv>,
        network: Arc<dyn Network>,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::open(env, config, kv, network)?);
        let trimming = env::task::spawn(trim::run(Arc::downgrade(&shared)));
        Ok(Self { shared, trimming, opening: tokio::sync::Mutex::new(()) })
    }

    /// The node whose copies of the groups run here.
    pub fn node(&self) -> NodeId {
        self.shared.config.node
    }

    /// Starts this node's copy of a group from what is on disk; returns the running one when there is one. A new copy
    /// is empty until [`Group::initialize`] is called on it or the group's leader adds this node.
    pub async fn open_group(&self, id: PartitionId, machine: Arc<dyn StateMachine>) -> Result<Arc<Group>> {
        let _one = self.opening.lock().await;
        if let Some(group) = self.group(id) {
            return Ok(group);
        }
        let group = self
            .shared
            .start_group(id, machine)
            .await
            .map_err(|e| e.context(format!("open partition {id}")))?;
        self.shared.lock().insert(id, group.clone());
        Ok(group)
    }

    /// A running group.
    pub fn group(&self, id: PartitionId) -> Option<Arc<Group>> {
        self.shared.lock().get(&id).cloned()
    }

    /// All running groups.
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.shared.groups()
    }

    /// Answers a message from another node's host. `Unavailable` for a group that does not run here (yet).
    pub async fn handle(&self, message: Bytes) -> Result<Bytes> {
        let envelope = Envelope::decode(&message)?;
        match self.group(envelope.group) {
            Some(group) => group.handle(envelope.message).await,
            None => Err(Error::unavailable(format!(
                "partition {} does not run on node {}: try again",
                envelope.group,
                self.node()
            ))),
        }
    }

    /// Why this node cannot take part any more: its log cannot be written. `None` while it can.
    pub fn broken(&self) -> Option<Error> {
        self.shared.log.broken()
    }

    /// Stops all groups and puts their state on disk, so that the next start has nothing to repeat.
    pub async fn shutdown(&self) {
        self.stop().await;
        if let Err(e) = blocking::run(|| self.shared.kv.flush()) {
            tracing::warn!(error = %e, "the state was not flushed; the next start will repeat a part of the log");
        }
    }

    /// Stops all groups as a crash would, without putting anything in order. For tests of what a crash leaves.
    pub async fn kill(&self) {
        self.stop().await;
    }

    async fn stop(&self) {
        self.trimming.abort();
        let groups = std::mem::take(&mut *self.shared.lock());
        for group in groups.values() {
            group.stop().await;
        }
        blocking::run(|| self.shared.log.close());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.trimming.abort();
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Host(node {})", self.node())
    }
}
