//! All groups of a process: opened, found, given their messages, stopped.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use env::Env;
use env::task::JoinHandle;
use kv::Kv;
use tokio::sync::watch;
use types::{Error, NodeId, PartitionId, ReplicaId, Result, Stamp};

use crate::config::HostConfig;
use crate::error::OpenError;
use crate::group::Group;
use crate::log::Headroom;
use crate::message::{Answer, Body, Envelope};
use crate::roster::contradiction;
use crate::shared::Shared;
use crate::{
    GroupStatus, Network, StateMachine, Trouble, archive, blocking, close, heartbeat, reinstall, state,
    supervise, trim,
};

/// All groups of a process.
pub struct Host {
    shared: Arc<Shared>,
    upkeep: Vec<JoinHandle<()>>,
}

impl Host {
    /// Opens a store: the log, and the states in `kv`, under keys that begin with `i`, `k`, `l`, `m` and `s`.
    pub async fn open(
        env: Env,
        config: HostConfig,
        kv: Arc<dyn Kv>,
        network: Arc<dyn Network>,
    ) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::open(env, config, kv, network)?);
        let beat = Duration::from_millis(shared.config.heartbeat_ms);
        let mut upkeep = vec![
            env::task::spawn(trim::run(Arc::downgrade(&shared))),
            env::task::spawn(supervise::run(Arc::downgrade(&shared))),
            env::task::spawn(heartbeat::run(Arc::downgrade(&shared), beat)),
            env::task::spawn(reinstall::run(Arc::downgrade(&shared))),
        ];
        if let Some(archive) = shared.config.archive.clone() {
            shared.log.keep_for_archive();
            upkeep.push(env::task::spawn(archive::run(Arc::downgrade(&shared), archive)));
        }
        Ok(Self { shared, upkeep })
    }

    /// The replica that runs here.
    pub fn replica(&self) -> ReplicaId {
        self.shared.config.replica
    }

    /// What this store says of itself now.
    pub fn stamp(&self) -> Stamp {
        self.shared.link.stamp()
    }

    /// Starts this node's copy of a group from what is on disk; returns the running one when there is one. A new copy
    /// is empty until [`Group::initialize`] is called on it or the group's leader adds this replica. A copy that stops
    /// later is started again by itself.
    pub async fn open_group(&self, id: PartitionId, machine: Arc<dyn StateMachine>) -> Result<Arc<Group>> {
        self.shared.open_group(id, machine).await.map_err(|e| e.context(format!("open partition {id}")))
    }

    /// Closes this node's copy of a group and deletes it, all but its vote, once the group's leader, which is one of
    /// `voters`, has confirmed that this replica is no member. Opened again it is a new copy. `Conflict` while it is a
    /// member, `Unavailable` while nobody can say; it runs on then.
    pub async fn close_group(&self, id: PartitionId, voters: &BTreeSet<ReplicaId>) -> Result<()> {
        close::close_group(&self.shared, id, voters)
            .await
            .map_err(|e| e.context(format!("close partition {id}")))
    }

    /// The groups of which this store has something.
    pub fn copies(&self) -> Result<BTreeSet<PartitionId>> {
        let states = blocking::run(|| state::groups(&*self.shared.kv))?;
        Ok(self.shared.log.groups().into_iter().chain(states).collect())
    }

    /// A group that was opened; it may have stopped.
    pub fn group(&self, id: PartitionId) -> Option<Arc<Group>> {
        self.shared.group(id)
    }

    /// All groups that were opened.
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.shared.groups()
    }

    /// What an operator wants to see of a group; `None` when it was not opened.
    pub fn status(&self, id: PartitionId) -> Option<GroupStatus> {
        self.shared.status(id)
    }

    /// Answers a message that came from `sender`, as its certificate says. `Denied` when the message says otherwise,
    /// `StaleEpoch` when it is for another replica, `Unavailable` for a group that does not run here (yet).
    pub async fn handle(&self, sender: NodeId, message: Bytes) -> Result<Bytes> {
        let Envelope { source, target, known, body } = Envelope::decode(&message)?;
        if source.replica.node() != sender {
            return Err(Error::denied(format!(
                "node {sender} may not speak for replica {} of node {}",
                source.replica,
                source.replica.node()
            )));
        }
        if target != self.replica() {
            return Err(Error::stale_epoch(format!(
                "a message for replica {target} reached replica {}: the addresses have changed",
                self.replica()
            )));
        }
        if let Some(why) = known.and_then(|known| contradiction(&known, &self.stamp())) {
            self.refuse(why);
        }
        self.shared.link.check()?;
        if let Some(why) = self.shared.link.roster.meet(&source)? {
            return Ok(Answer::Refused(why).encode());
        }
        let body = match body {
            Body::Group(group, message) => self.running(group)?.handle(message).await?,
            Body::Heartbeats(beats) => heartbeat::answer(&self.shared, beats).await,
        };
        // Checked again: what was answered while the store was found out is nobody's to use.
        self.shared.link.check()?;
        Ok(Answer::Given { source: self.stamp(), body }.encode())
    }

    fn running(&self, group: PartitionId) -> Result<Arc<Group>> {
        self.group(group).ok_or_else(|| {
            let node = self.replica().node();
            Error::unavailable(format!("partition {group} does not run on node {node}: try again"))
        })
    }

    /// Takes note of what a store says of itself elsewhere, such as in a heartbeat. `Some(why)` when it must not take
    /// part.
    pub fn meet(&self, stamp: &Stamp) -> Result<Option<String>> {
        self.shared.link.roster.meet(stamp)
    }

    /// Stops taking part, because others do not accept this store.
    pub fn refuse(&self, why: String) {
        self.shared.link.refuse(why);
    }

    /// Why this store cannot take part any more; `None` while it can. Only closing and opening it again ends it.
    pub fn trouble(&self) -> watch::Receiver<Option<Trouble>> {
        self.shared.link.trouble()
    }

    /// Bytes of the log on disk, all groups together.
    pub fn log_size(&self) -> u64 {
        self.shared.log.size()
    }

    /// True while the disk of the log is so full that groups here take only commands that make room.
    pub fn is_short_of_space(&self) -> bool {
        self.shared.log.headroom() < Headroom::Everything
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
        self.upkeep.iter().for_each(JoinHandle::abort);
        self.shared.close().await;
        blocking::run(|| self.shared.log.close());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.upkeep.iter().for_each(JoinHandle::abort);
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Host(replica {})", self.replica())
    }
}
