//! What all groups of a process share, and how one is started on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use env::Env;
use env::task::{DiskQueue, Owner};
use kv::Kv;
use openraft::errors::Fatal;
use types::{Error, NodeId, PartitionId, Result};

use crate::config::HostConfig;
use crate::engine::{Runtime, TypeConfig};
use crate::group::{Group, reconcile};
use crate::lease::Lease;
use crate::log::{EntryId, Log};
use crate::log_store::LogStore;
use crate::machine::{Machine, Raft};
use crate::peer::Peers;
use crate::proposer::Proposer;
use crate::state::StateStore;
use crate::{Network, StateMachine, blocking, error};

/// The log, the store, the network, and the groups that run on them.
pub(crate) struct Shared {
    pub env: Env,
    pub config: HostConfig,
    pub kv: Arc<dyn Kv>,
    pub network: Arc<dyn Network>,
    pub log: Arc<Log>,
    groups: Mutex<BTreeMap<PartitionId, Arc<Group>>>,
}

impl Shared {
    /// Opens the log. No group runs yet.
    pub(crate) fn open(
        env: Env,
        config: HostConfig,
        kv: Arc<dyn Kv>,
        network: Arc<dyn Network>,
    ) -> Result<Self> {
        config.openraft()?;
        // Tests that run on one thread without being a simulation must not wait for a real one.
        let queue = match Owner::current().is_none() && blocking::is_single_threaded() {
            true => DiskQueue::inline(),
            false => DiskQueue::start("raft-log", &env.disk),
        };
        let log = blocking::run(|| Log::open(&env, config.log_dir.clone(), queue))?;
        Ok(Self { env, config, kv, network, log: Arc::new(log), groups: Mutex::new(BTreeMap::new()) })
    }

    /// All running groups.
    pub(crate) fn groups(&self) -> Vec<Arc<Group>> {
        self.lock().values().cloned().collect()
    }

    /// The running groups by partition, to be looked at or changed.
    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<PartitionId, Arc<Group>>> {
        self.groups.lock().expect("never poisoned: no panic inside")
    }

    /// Starts this node's copy of a group from what is on disk.
    pub(crate) async fn start_group(
        &self,
        id: PartitionId,
        machine: Arc<dyn StateMachine>,
    ) -> Result<Arc<Group>> {
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
            lease: Lease::new(self.config.lease(), self.env.clock.clone()),
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
