//! One replicated state machine, as the process that hosts it uses it.

mod answers;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use env::mutant::Mutant;
use env::task::JoinHandle;
use env::time::{Instant, sleep, timeout};
use openraft::async_runtime::WatchReceiver;
use openraft::{ChangeMembers, EmptyNode, LinearizerOption, ServerState};
use tokio::sync::{Mutex, watch};
use types::limits::{LOG_FULL_RETRY_MS, MEMBERSHIP_CHANGE_PAUSE, MEMBERSHIP_CHANGE_TIMEOUT, PROPOSE_TIMEOUT};
use types::{Error, ErrorKind, PartitionId, ReplicaId, Result};

use crate::damage::Damage;
use crate::engine::{TypeConfig, plain_ids};
use crate::gap::Gap;
use crate::lease::Lease;
use crate::log::{Headroom, Log};
use crate::machine::{Raft, Reason};
use crate::outgoing::Outgoing;
use crate::proposer::Proposer;
use crate::snapshot::Receiver;
use crate::state::{State, StateStore};
use crate::{Applied, GroupStatus, Role, error, skip};

/// A node that misses no more entries than this has caught up: it gets them faster than a membership change takes.
const LAG_COUNT_MAX: u64 = 100;

/// One node's copy of a replicated state machine.
pub struct Group {
    pub(crate) id: PartitionId,
    pub(crate) replica: ReplicaId,
    pub(crate) raft: Raft,
    pub(crate) store: Arc<StateStore>,
    pub(crate) damage: Damage,
    pub(crate) outgoing: Arc<Outgoing>,
    pub(crate) log: Arc<Log>,
    pub(crate) applied: watch::Receiver<u64>,
    pub(crate) proposer: Proposer,
    pub(crate) proposing: JoinHandle<()>,
    pub(crate) receiver: Arc<Mutex<Receiver>>,
    /// One change of members at a time.
    pub(crate) changing: Mutex<()>,
    pub(crate) lease: Lease,
    /// Before this time votes are refused: this node may have promised a lease before it was restarted.
    pub(crate) votes_from: Instant,
    /// Why the state machine has stopped the group, if it has.
    pub(crate) halt: Reason,
    /// What is missing of the state, when it ends before the log begins.
    pub(crate) gap: Option<Gap>,
}

impl Group {
    /// The partition that this group replicates.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// First start of a new group, on one of its nodes. `Exists` when it has a log already.
    pub async fn initialize(&self, voters: BTreeSet<ReplicaId>) -> Result<()> {
        assert!(voters.contains(&self.replica), "a group begins on one of its voters");
        self.raft.initialize(plain_ids(&voters)).await.map_err(|e| error::initialize(self.id, e))
    }

    /// Puts a command through the log and returns what applying it gave. Errors: `StaleEpoch` on a node that does not
    /// lead (the message names the leader), `Busy` when too much is waiting or the log has no room, `Invalid` for a command over
    /// `COMMAND_SIZE_MAX`, `Unavailable` when it is not known whether the command was or will be applied.
    pub async fn propose(&self, command: Bytes) -> Result<Applied> {
        self.propose_with(command, Headroom::Everything).await
    }

    /// As [`Group::propose`], for a command that makes room: it may use the reserve of the log's disk.
    pub async fn propose_freeing(&self, command: Bytes) -> Result<Applied> {
        self.propose_with(command, Headroom::Freeing).await
    }

    async fn propose_with(&self, command: Bytes, room: Headroom) -> Result<Applied> {
        // Elsewhere the answer is who leads.
        if self.is_leader() {
            self.check_headroom(room)?;
        }
        let answer = self.proposer.propose(command)?;
        match timeout(PROPOSE_TIMEOUT, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                Err(self.unavailable("stopped while the command was waiting; its fate is not known"))
            }
            Err(_) => {
                Err(self.unavailable("has no majority at the moment; the command may still be applied later"))
            }
        }
    }

    /// Returns when the state on this node contains everything that was acknowledged before the call, with the index it
    /// has reached. Only the leader can tell: `StaleEpoch` elsewhere; `Unavailable` without a majority.
    pub async fn linearize(&self) -> Result<u64> {
        if Mutant::StaleRead.is_planted() && self.is_leader() {
            return Ok(self.applied());
        }
        match timeout(PROPOSE_TIMEOUT, self.lead_and_apply()).await {
            Ok(ready) => ready.map(|()| self.applied()),
            Err(_) => Err(self.unavailable("does not apply its log fast enough to be read")),
        }
    }

    /// Makes sure that this node leads, and waits until it has applied what it knew then. A valid lease needs no
    /// message; otherwise a round of heartbeats asks the majority.
    async fn lead_and_apply(&self) -> Result<()> {
        let ask = async |lease| {
            let option = LinearizerOption::new(Some(lease), true);
            self.raft.get_read_linearizer(option).await.map_err(|e| error::read(self.id, e))
        };
        let suspends = self.lease.suspend_count();
        let mut linearizer = None;
        if self.still_leader() {
            linearizer = Some(ask(self.lease.duration).await?);
            // openraft's clock is the monotonic one: it cannot see that the machine was suspended meanwhile.
            if !self.still_leader() || self.lease.suspend_count() != suspends {
                linearizer = None;
            }
        }
        let linearizer = match linearizer {
            Some(linearizer) => linearizer,
            None => ask(Duration::ZERO).await?,
        };
        linearizer.await_ready(&self.raft).await.map_err(|e| error::fatal(self.id, &e))?;
        Ok(())
    }

    /// True while no other node can have become leader: a majority has answered within the lease. Ask again after a
    /// read whose answer must still be current when it is sent.
    pub fn still_leader(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let acked = metrics.last_quorum_acked.map(|at| at.into_inner().into());
        let is_alone = || metrics.membership_config.membership().voter_ids().eq([self.replica.0]);
        metrics.state == ServerState::Leader && (self.lease.is_valid(acked) || is_alone())
    }

    /// Returns when the commands up to `index` are applied here; `Busy` after `limit`, `Unavailable` when stopped.
    pub async fn wait_applied(&self, index: u64, limit: Duration) -> Result<()> {
        let mut applied = self.applied.clone();
        match timeout(limit, applied.wait_for(|applied| *applied >= index)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(self.unavailable("was stopped")),
            Err(_) => Err(Error::busy(format!("partition {} on this node is behind", self.id), 50)),
        }
    }

    /// Index of the last command applied here.
    pub fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    /// Tells the index of the last command applied here whenever it changes.
    pub fn watch_applied(&self) -> watch::Receiver<u64> {
        self.applied.clone()
    }

    /// The leader this node knows, if any.
    pub fn leader(&self) -> Option<ReplicaId> {
        self.raft.metrics().borrow_watched().current_leader.map(ReplicaId)
    }

    /// True when this node believes it is the leader; another may have been elected already.
    pub fn is_leader(&self) -> bool {
        self.raft.is_leader()
    }

    /// Nodes with a vote, as far as this node knows.
    pub fn voters(&self) -> BTreeSet<ReplicaId> {
        self.raft.voter_ids().map(ReplicaId).collect()
    }

    /// Everything an operator wants to see.
    pub fn status(&self) -> GroupStatus {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let role = match metrics.state {
            _ if metrics.running_state.is_err() => Role::Stopped,
            ServerState::Leader => Role::Leader,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Learner => Role::Learner,
            ServerState::Shutdown => Role::Stopped,
        };
        GroupStatus {
            role,
            leader: metrics.current_leader.map(ReplicaId),
            term: metrics.current_term,
            log_last: metrics.last_log_index.unwrap_or(0),
            log_applied: match self.gap {
                None => metrics.last_applied.map_or(0, |id| id.index()),
                Some(_) => self.store.meta().log.map_or(0, |id| id.index()),
            },
            applied: self.applied(),
            is_short_of_space: self.log.headroom() < Headroom::Everything,
            voters: membership.voter_ids().map(ReplicaId).collect(),
            learners: membership.learner_ids().map(ReplicaId).collect(),
            problem: self.halted().or_else(|| Some(self.gap.as_ref()?.problem())),
            restarts: 0,
        }
    }

    /// Adds a node without a vote, unless it is a member already, and waits until it has nearly all of the log.
    pub async fn add_learner(&self, node: ReplicaId) -> Result<()> {
        let _one = self.changing.lock().await;
        self.change("adding a node", self.add_learner_alone(node)).await
    }

    /// Makes `voters` the nodes with a vote, through a joint configuration; new ones become learners first, old ones
    /// leave.
    pub async fn set_voters(&self, voters: BTreeSet<ReplicaId>) -> Result<()> {
        let _one = self.changing.lock().await;
        let change = async {
            for node in &voters {
                self.add_learner_alone(*node).await?;
            }
            self.change_members(ChangeMembers::ReplaceAllVoters(plain_ids(&voters))).await
        };
        self.change("changing the voters", change).await
    }

    /// Removes a node that has no vote.
    pub async fn remove_learner(&self, node: ReplicaId) -> Result<()> {
        let _one = self.changing.lock().await;
        let change = self.change_members(ChangeMembers::RemoveNodes(BTreeSet::from([node.0])));
        self.change("removing a node", change).await
    }

    /// True when a replica is a member, or is about to become one. Only the leader can tell: errors as of
    /// [`Group::linearize`].
    pub(crate) async fn has_member(&self, replica: ReplicaId) -> Result<bool> {
        self.linearize().await?;
        let has = move |state: &openraft::RaftState<TypeConfig>| {
            let members = &state.membership_state;
            [members.committed(), members.effective()].iter().any(|m| m.get_node(&replica.0).is_some())
        };
        self.raft.with_raft_state(has).await.map_err(|e| error::fatal(self.id, &e))
    }

    /// True on the leader when a voter has nearly all of the log.
    pub fn is_caught_up(&self, voter: ReplicaId) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics.replication.as_ref().and_then(|replication| replication.get(&voter.0).cloned());
        matched.flatten().is_some_and(|id| id.index() + LAG_COUNT_MAX >= metrics.last_log_index.unwrap_or(0))
    }

    /// Asks `target`, a voter, to take over; returns at once.
    pub async fn transfer_leader(&self, target: ReplicaId) -> Result<()> {
        self.raft.trigger().transfer_leader(target.0).await.map_err(|e| error::fatal(self.id, &e))
    }

    /// Has `read` read the state on this node, each time the newest. `Unavailable` when the state turns out to be
    /// damaged, which is the store's trouble: another replica has the answer.
    pub fn read<T>(&self, read: impl FnOnce(&State) -> Result<T>) -> Result<T> {
        self.sound(read(&self.store.read()))
    }

    /// The same with the state at this moment, and the index of the last command that is in it.
    pub fn read_snapshot<T>(&self, read: impl FnOnce(&State, u64) -> Result<T>) -> Result<T> {
        self.sound(self.store.snapshot().and_then(|(state, meta)| read(&state, meta.commands)))
    }

    fn sound<T>(&self, read: Result<T>) -> Result<T> {
        match self.damage.note(read) {
            Err(e) if e.kind() == ErrorKind::Corrupt => Err(Error::unavailable(format!(
                "the state of partition {} on node {} is damaged and will be replaced: ask another node",
                self.id,
                self.replica.node()
            ))),
            sound => sound,
        }
    }

    /// The commands that are skipped on this node, each with the operator's reason.
    pub fn skipped(&self) -> Result<BTreeMap<u64, String>> {
        skip::load(self.store.kv(), self.id)
    }

    /// Why the state machine has stopped the group; `None` when it has not.
    pub(crate) fn halted(&self) -> Option<Error> {
        self.halt.get().cloned()
    }

    async fn add_learner_alone(&self, node: ReplicaId) -> Result<()> {
        let known = self.raft.metrics().borrow_watched().membership_config.get_node(&node.0).is_some();
        if !known {
            self.change_members(ChangeMembers::AddNodes(BTreeMap::from([(node.0, EmptyNode::default())])))
                .await?;
        }
        self.wait_caught_up(node).await
    }

    /// Changes the members, after a change that is still under way: one of an earlier leader, or the first of all.
    async fn change_members(&self, changes: ChangeMembers<u64, EmptyNode>) -> Result<()> {
        loop {
            let changed = self.raft.change_membership(changes.clone(), false).await;
            match changed.map_err(|e| error::write(self.id, e)) {
                Err(e) if e.kind() == ErrorKind::Busy => sleep(MEMBERSHIP_CHANGE_PAUSE).await,
                changed => return changed.map(|_| ()),
            }
        }
    }

    /// Returns when `node` has nearly all of the log: as a voter before that it would hold up every command.
    async fn wait_caught_up(&self, node: ReplicaId) -> Result<()> {
        let caught_up = |metrics: &openraft::RaftMetrics<TypeConfig>| {
            // Without this, the node does not lead any more, and the next step will say so.
            let Some(replication) = &metrics.replication else { return true };
            let matched = replication.get(&node.0).and_then(|id| id.as_ref()).map(|id| id.index());
            node == self.replica
                || matched.is_some_and(|at| at + LAG_COUNT_MAX >= metrics.last_log_index.unwrap_or(0))
        };
        let waited = self.raft.wait(None).metrics(caught_up, "caught up").await;
        waited.map(|_| ()).map_err(|_| self.unavailable("was stopped"))
    }

    async fn change(&self, what: &str, change: impl Future<Output = Result<()>>) -> Result<()> {
        match timeout(MEMBERSHIP_CHANGE_TIMEOUT, change).await {
            Ok(result) => result,
            Err(_) => Err(self.unavailable(&format!("is not done with {what}: are all its nodes up?"))),
        }
    }

    pub(crate) fn unavailable(&self, what: &str) -> Error {
        Error::unavailable(format!("partition {} {what}: try again", self.id))
    }

    /// `Busy` when the disk of the log has no room for this.
    fn check_headroom(&self, room: Headroom) -> Result<()> {
        if self.log.headroom() >= room {
            return Ok(());
        }
        let node = self.replica.node();
        Err(Error::busy(
            format!("the metadata disk of node {node} is full: free space or add a node"),
            LOG_FULL_RETRY_MS,
        ))
    }

    /// Sends a heartbeat to all followers, if this node leads. Holds nothing of the group meanwhile.
    pub(crate) fn beat(&self) -> impl Future<Output = ()> + use<> {
        let raft = self.raft.clone();
        async move {
            let _ = raft.trigger().heartbeat().await; // A core that has ended beats no more.
        }
    }

    /// Stops taking part.
    pub(crate) async fn stop(&self) {
        self.proposing.abort();
        if let Err(e) = self.raft.shutdown().await {
            tracing::error!(partition = %self.id, error = %e, "a group did not stop cleanly");
        }
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Group({} of replica {})", self.id, self.replica)
    }
}
