//! What all groups of a process share, and how one is started on it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use env::Env;
use env::mutant::Mutant;
use env::task::{DiskQueue, Owner};
use env::time::Instant;
use kv::Kv;
use openraft::errors::Fatal;
use tokio::sync::Semaphore;
use types::limits::SNAPSHOT_STREAM_COUNT_MAX;
use types::{Error, ErrorKind, PartitionId, ReplicaId, Result};

use crate::config::HostConfig;
use crate::damage::{Checked, Damage};
use crate::engine::{LogId, Runtime, TypeConfig};
use crate::error::OpenError;
use crate::gap::{self, Gap};
use crate::group::Group;
use crate::label::Last;
use crate::lease::Lease;
use crate::link::{Link, Trouble};
use crate::log::{EntryId, Log};
use crate::log_store::LogStore;
use crate::machine::{Machine, Raft};
use crate::peer::Peers;
use crate::proposer::Proposer;
use crate::reconcile::reconcile;
use crate::roster::Roster;
use crate::state::StateStore;
use crate::{GroupStatus, Network, Role, StateMachine, blocking, error, label, skip};

/// The log, the store, the network, and the groups that run on them.
pub(crate) struct Shared {
    pub env: Env,
    pub config: HostConfig,
    pub kv: Arc<dyn Kv>,
    /// What is damaged of the states in it.
    damage: Damage,
    pub network: Arc<dyn Network>,
    pub log: Arc<Log>,
    pub link: Arc<Link>,
    /// Room for snapshots that are sent at once.
    streams: Arc<Semaphore>,
    groups: Mutex<BTreeMap<PartitionId, Opened>>,
    /// One group is started at a time, and none after the last was stopped.
    starting: tokio::sync::Mutex<bool>,
}

/// A group and what it takes to start it again.
pub(crate) struct Opened {
    pub group: Arc<Group>,
    pub machine: Arc<dyn StateMachine>,
    pub restarts: u64,
    /// Why the last attempt to start it again failed.
    pub problem: Option<Error>,
    /// When to try again; `None` while it runs.
    pub retry_at: Option<Instant>,
}

impl Shared {
    /// Opens the log and the states, if they are what this node has left. No group runs yet.
    pub(crate) fn open(
        env: Env,
        config: HostConfig,
        kv: Arc<dyn Kv>,
        network: Arc<dyn Network>,
    ) -> Result<Self, OpenError> {
        config.openraft(true)?;
        let damage = Damage::default();
        let kv: Arc<dyn Kv> = Checked::new(kv, damage.clone());
        // Tests that run on one thread without being a simulation must not wait for a real one.
        let queue = match Owner::current().is_none() && blocking::is_single_threaded() {
            true => DiskQueue::inline(),
            false => DiskQueue::start("raft-log", &env.disk),
        };
        let log = Arc::new(blocking::run(|| open_log(&env, &config, queue))?);
        let roster = blocking::run(|| {
            let last = if config.fresh_state { Last::default() } else { config.last };
            label::check("state", label::of_state(&*kv)?, last, &config.start)?;
            let roster = Roster::open(kv.clone())?;
            label::write(&*env.disk, &config.log_dir, &*kv, &config.start)?;
            Ok(roster)
        });
        let roster = roster.map_err(damaged(OpenError::State))?;
        let link = Arc::new(Link::new(&config, log.clone(), roster));
        let streams = Arc::new(Semaphore::new(SNAPSHOT_STREAM_COUNT_MAX));
        let (groups, starting) = Default::default();
        Ok(Self { env, config, kv, damage, network, log, link, streams, groups, starting })
    }

    /// All groups that were opened.
    pub(crate) fn groups(&self) -> Vec<Arc<Group>> {
        self.lock().values().map(|slot| slot.group.clone()).collect()
    }

    /// A group that was opened.
    pub(crate) fn group(&self, id: PartitionId) -> Option<Arc<Group>> {
        self.lock().get(&id).map(|slot| slot.group.clone())
    }

    /// A group as an operator wants to see it.
    pub(crate) fn status(&self, id: PartitionId) -> Option<GroupStatus> {
        let slots = self.lock();
        let slot = slots.get(&id)?;
        let status = slot.group.status();
        let is_broken = status.role == Role::Stopped || slot.group.gap.is_some();
        let problem = slot.problem.clone().or(status.problem).filter(|_| is_broken);
        Some(GroupStatus { problem, restarts: slot.restarts, ..status })
    }

    /// The groups by partition, to be looked at or changed.
    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<PartitionId, Opened>> {
        self.groups.lock().expect("never poisoned: no panic inside")
    }

    /// Starts a group, or returns the running one.
    pub(crate) async fn open_group(
        &self,
        id: PartitionId,
        machine: Arc<dyn StateMachine>,
    ) -> Result<Arc<Group>> {
        let closed = self.starting.lock().await;
        if *closed {
            return Err(Error::unavailable("this node is stopping"));
        }
        if let Some(group) = self.group(id) {
            return Ok(group);
        }
        let group = self.start_group(id, machine.clone()).await?;
        let slot = Opened { group: group.clone(), machine, restarts: 0, problem: None, retry_at: None };
        self.lock().insert(id, slot);
        Ok(group)
    }

    /// Starts a group that has stopped from what is on disk.
    pub(crate) async fn restart_group(&self, id: PartitionId) -> Result<()> {
        let closed = self.starting.lock().await;
        if *closed {
            return Ok(());
        }
        self.start_again(id).await
    }

    /// Stops a group, and starts it again unless `is_over` while it stands still: then it is not found any more, and
    /// `delete` deletes it.
    pub(crate) async fn close_group(
        &self,
        id: PartitionId,
        is_over: impl Future<Output = Result<()>>,
        delete: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let closed = self.starting.lock().await;
        if *closed {
            return Err(Error::unavailable("this node is stopping"));
        }
        let Some(group) = self.group(id) else { return Ok(()) };
        group.stop().await;
        if let Err(e) = is_over.await {
            self.start_again(id).await?;
            return Err(e);
        }
        self.lock().remove(&id);
        delete.await
    }

    async fn start_again(&self, id: PartitionId) -> Result<()> {
        let Some((old, machine)) =
            self.lock().get(&id).map(|slot| (slot.group.clone(), slot.machine.clone()))
        else {
            return Ok(());
        };
        old.stop().await;
        let group = self.start_group(id, machine).await?;
        if let Some(slot) = self.lock().get_mut(&id) {
            (slot.group, slot.problem, slot.retry_at) = (group, None, None);
            slot.restarts += 1;
        }
        Ok(())
    }

    /// Stops all groups for good. They can still be found: whoever has not heard of it gets errors.
    pub(crate) async fn close(&self) {
        *self.starting.lock().await = true;
        for group in self.groups() {
            group.stop().await;
        }
    }

    async fn start_group(&self, id: PartitionId, machine: Arc<dyn StateMachine>) -> Result<Arc<Group>> {
        let (applied_sender, applied) = tokio::sync::watch::channel(0);
        let (store, machine, begin) = blocking::run(|| {
            let store = Arc::new(StateStore::open(self.kv.clone(), id)?);
            let begin = reconcile(&self.log, id, store.meta().log.as_ref().map(EntryId::from))?;
            if let Some(begin) = begin.filter(|_| !self.config.has_others) {
                return Err(gap::lost(id, begin));
            }
            let begin = begin.map(LogId::from);
            let skipped = skip::load(&*self.kv, id)?;
            let machine = Machine::new(store.clone(), machine, skipped, applied_sender, begin);
            machine.announce_restored()?;
            Ok::<_, Error>((store, machine, begin))
        })?;
        let (halt, outgoing) = (machine.halt(), machine.outgoing());
        let had_voted = self.log.state(id).vote.is_some();
        let peers = Peers {
            network: self.network.clone(),
            link: self.link.clone(),
            group: id,
            outgoing: outgoing.clone(),
            streams: self.streams.clone(),
        };
        let config = self.config.openraft(begin.is_none())?;
        let replica = self.config.replica;
        let raft = Raft::new(replica.0, config, peers, LogStore::new(self.log.clone(), id), machine);
        // What the state machine says of it is the reason; openraft's error is only what follows.
        let fatal = |e: Fatal<_>| halt.get().cloned().unwrap_or_else(|| error::fatal(id, &e));
        let raft = Runtime::scope(self.env.random.u64(), raft).await.map_err(fatal)?;
        if begin.is_none() {
            elect_if_alone(&raft, replica).await.map_err(fatal)?;
        }
        let (proposer, proposing) = Proposer::new(id, raft.clone());
        let votes_after =
            if had_voted { Duration::from_millis(self.config.election_ms.start) } else { Duration::ZERO };
        Ok(Arc::new(Group {
            id,
            replica,
            raft,
            store,
            damage: self.damage.clone(),
            outgoing,
            log: self.log.clone(),
            applied,
            proposer,
            proposing: env::task::spawn(proposing),
            receiver: Default::default(),
            changing: Default::default(),
            lease: Lease::new(self.config.lease(), self.env.clock.clone()),
            votes_from: env::time::now() + votes_after,
            halt,
            gap: begin.map(|begin| Gap::new(id, begin)),
        }))
    }

    /// What stops the whole store, if anything does: its log, which all groups share, or damage to the states.
    pub(crate) fn find_trouble(&self) -> Option<Trouble> {
        if let Some(e) = self.log.broken() {
            return Some(Trouble::Log(e));
        }
        let slots = self.lock();
        let halts = slots.values().filter_map(|slot| slot.problem.clone().or_else(|| slot.group.halted()));
        let damage = halts.filter(|e| e.kind() == ErrorKind::Corrupt).chain(self.damage.found()).next();
        damage.map(Trouble::State)
    }
}

/// The log of the store that this node has left.
pub(crate) fn open_log(env: &Env, config: &HostConfig, queue: DiskQueue) -> Result<Log, OpenError> {
    let open = || {
        label::check("log", label::of_log(&*env.disk, &config.log_dir)?, config.last, &config.start)?;
        let log = Log::open(env, config.log_dir.clone(), queue)?;
        if log.mark() < config.last.mark && !Mutant::IdentityUnchecked.is_planted() {
            return Err(Error::corrupt(format!(
                "the log of this node's metadata store ends at commit {}, and it had {}: it is an old copy",
                log.mark(),
                config.last.mark
            )));
        }
        Ok(log)
    };
    open().map_err(damaged(OpenError::Log))
}

/// Damage is `lost`; anything else may pass.
fn damaged(lost: fn(Error) -> OpenError) -> impl FnOnce(Error) -> OpenError {
    move |e| if e.kind() == ErrorKind::Corrupt { lost(e) } else { OpenError::Other(e) }
}

/// An only voter need not wait for a leader to fall silent.
async fn elect_if_alone(raft: &Raft, replica: ReplicaId) -> Result<(), Fatal<TypeConfig>> {
    let is_alone = move |state: &openraft::RaftState<TypeConfig>| {
        state.membership_state.effective().voter_ids().eq([replica.0])
    };
    if raft.with_raft_state(is_alone).await? {
        raft.trigger().elect(false).await?;
    }
    Ok(())
}
