//! All groups of a process, and what they share: the log, the store, the network.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use env::Env;
use env::task::JoinHandle;
use kv::Kv;
use openraft::errors::Fatal;
use openraft::{Config, SnapshotPolicy};
use types::{Error, NodeId, PartitionId, Result};

use crate::engine::{Raft, Runtime, TypeConfig};
use crate::group::{Group, reconcile};
use crate::log::{Committer, EntryId, Log};
use crate::log_store::LogStore;
use crate::machine::Machine;
use crate::message::Envelope;
use crate::peer::Peers;
use crate::proposer::Proposer;
use crate::state::StateStore;
use crate::{Network, StateMachine, blocking, error, trim};

/// How a host runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// This node. Ids are never used twice: a node that lost its disk must come back under a new one.
    pub node: NodeId,
    /// Directory of the log.
    pub log_dir: PathBuf,
    /// A leader tells its voters this often that it is alive.
    pub heartbeat_ms: u64,
    /// A voter that has not heard of a leader for a time drawn from this range asks for votes.
    pub election_ms: Range<u64>,
    /// What is kept of a group's log after its state is on disk.
    pub log_tail: LogTail,
}

/// How much log is kept for nodes that were away for a while; one that misses more gets a snapshot. Large, also because
/// openraft must never find that entries it is about to apply were removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogTail {
    /// Entries of a group.
    pub count: u64,
    /// Bytes of a group.
    pub size: u64,
}

impl HostConfig {
    /// A host with times that suit nodes at one site.
    pub fn new(node: NodeId, log_dir: PathBuf) -> Self {
        let log_tail = LogTail { count: 100_000, size: 256 << 20 };
        Self { node, log_dir, heartbeat_ms: 100, election_ms: 350..700, log_tail }
    }

    /// How recently a majority must have answered for a read without a message: well below the time in which it could
    /// elect another leader, whatever the clocks' drift.
    fn lease(&self) -> Duration {
        Duration::from_millis(self.election_ms.start * 7 / 10)
    }

    fn openraft(&self) -> Result<Arc<Config>> {
        let config = Config {
            cluster_name: "cloudsync".into(),
            heartbeat_interval: self.heartbeat_ms,
            heartbeat_min_interval: Some(self.heartbeat_ms),
            election_timeout_min: self.election_ms.start,
            election_timeout_max: self.election_ms.end,
            enable_pre_vote: Some(true),
            // A restarted leader may have lost applied state: it must be elected again.
            enable_leader_restore: Some(false),
            // Snapshots and purges are triggered by `trim.rs` only.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            install_snapshot_timeout: 10_000,
            // Bounds memory; a proposer has few entries under way.
            api_channel_size: Some(1024),
            max_payload_entries: 4096,
            ..Config::default()
        };
        let valid = config
            .validate()
            .map_err(|e| Error::invalid(format!("raft settings do not fit together: {e}")))?;
        Ok(Arc::new(valid))
    }
}

/// All groups of a process.
pub struct Host {
    shared: Arc<Shared>,
    trimming: JoinHandle<()>,
    /// One group is opened at a time.
    opening: tokio::sync::Mutex<()>,
}

pub(crate) struct Shared {
    pub env: Env,
    pub config: HostConfig,
    pub kv: Arc<dyn Kv>,
    pub network: Arc<dyn Network>,
    pub log: Arc<Log>,
    groups: Mutex<BTreeMap<PartitionId, Arc<Group>>>,
}

impl Host {
    /// Opens the log. State goes to `kv`, under keys that begin with `m` and `s`.
    pub async fn open(
        env: Env,
        config: HostConfig,
        kv: Arc<dyn Kv>,
        network: Arc<dyn Network>,
    ) -> Result<Self> {
        config.openraft()?;
        let committer = if blocking::is_single_threaded() { Committer::Caller } else { Committer::Thread };
        let log = blocking::run(|| Log::open(&env, config.log_dir.clone(), committer))?;
        let shared = Arc::new(Shared {
            env,
            config,
            kv,
            network,
            log: Arc::new(log),
            groups: Mutex::new(BTreeMap::new()),
        });
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

impl Shared {
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PartitionId, Arc<Group>>> {
        self.groups.lock().expect("never poisoned: no panic inside")
    }

    async fn start_group(&self, id: PartitionId, machine: Arc<dyn StateMachine>) -> Result<Arc<Group>> {
        let (applied_sender, applied) = tokio::sync::watch::channel(0);
        let (store, machine) = blocking::run(|| {
            let store = Arc::new(StateStore::open(self.kv.clone(), id)?);
            reconcile(&self.log, id, store.meta().log.as_ref().map(EntryId::from))?;
            let machine = Machine::new(store.clone(), machine, applied_sender);
            machine.announce_restored()?;
            Ok::<_, Error>((store, machine))
        })?;
        let had_voted = self.log.state(id).vote.is_some();
        let peers = Peers {
            network: self.network.clone(),
            random: self.env.random.clone(),
            node: self.config.node,
            group: id,
        };
        let config = self.config.openraft()?;
        let raft = Raft::new(self.config.node.0, config, peers, LogStore::new(self.log.clone(), id), machine);
        let raft = Runtime::scope(self.env.random.u64(), raft).await.map_err(|e| error::fatal(id, &e))?;
        elect_if_alone(&raft, self.config.node).await.map_err(|e| error::fatal(id, &e))?;
        let (proposer, proposing) = Proposer::new(id, raft.clone());
        let votes_after =
            if had_voted { Duration::from_millis(self.config.election_ms.start) } else { Duration::ZERO };
        Ok(Arc::new(Group {
            id,
            node: self.config.node,
            raft,
            store,
            log: self.log.clone(),
            applied,
            proposer,
            proposing: env::task::spawn(proposing),
            receiver: Default::default(),
            changing: Default::default(),
            lease: self.config.lease(),
            votes_from: env::time::now() + votes_after,
        }))
    }
}

/// An only voter need not wait for a leader to fall silent.
async fn elect_if_alone(raft: &Raft, node: NodeId) -> Result<(), Fatal<TypeConfig>> {
    let is_alone = move |state: &openraft::RaftState<TypeConfig>| {
        state.membership_state.effective().voter_ids().eq([node.0])
    };
    if raft.with_raft_state(is_alone).await? {
        raft.trigger().elect(false).await?;
    }
    Ok(())
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
