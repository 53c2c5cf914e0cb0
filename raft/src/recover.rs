//! The way out when most voters are lost for good: one replica goes on alone with what it has.
//!
//! Offline, and never by itself. What only the lost voters had is lost, acknowledged or not; what this replica has in
//! its log counts from now on, also what was never acknowledged. The other stores are taken to be replaced: one that
//! comes back with what it had is refused and filled anew.

use std::sync::{Arc, OnceLock};

use env::Env;
use env::task::DiskQueue;
use kv::{Durability, Kv};
use openraft::{EntryPayload, Membership};
use types::{Error, PartitionId, ReplicaId, Result, Stamp, Start, StoreUuid};

use crate::codec;
use crate::config::HostConfig;
use crate::engine::Entry;
use crate::error::OpenError;
use crate::log::{EntryId, Log, SavedVote};
use crate::reconcile::reconcile;
use crate::shared::open_log;
use crate::state::{State, StateStore};
use crate::{gap, roster};

/// What a replica has of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remains {
    /// The group that it is a copy of.
    pub partition: PartitionId,
    /// Who votes in it, as far as this replica knows.
    pub voters: Vec<ReplicaId>,
    /// Commands applied here.
    pub applied: u64,
    /// Position of the last entry that is known to be committed.
    pub committed: u64,
    /// Position of the last entry of the log: those after the committed one may have been acknowledged, or never were.
    pub last: u64,
}

/// What the store of `config` has of `groups`. The process of its node must not run.
pub fn survey(
    env: &Env,
    config: &HostConfig,
    kv: &Arc<dyn Kv>,
    groups: &[PartitionId],
) -> Result<Vec<Remains>, OpenError> {
    let log = open_log(env, config, DiskQueue::inline())?;
    groups.iter().map(|group| Ok(remains(&log, kv, *group)?)).collect()
}

/// The state of a group in a store that no process has open.
pub fn state_of(kv: Arc<dyn Kv>, group: PartitionId) -> Result<State> {
    Ok(StateStore::open(kv, group)?.read())
}

/// Makes the store of `config` the only voter of all `groups`. It serves when its node is started the next time.
/// `Invalid` when it has nothing of one of them. Repeated, it changes nothing that matters.
pub fn take_over(
    env: &Env,
    config: &HostConfig,
    kv: &Arc<dyn Kv>,
    groups: &[PartitionId],
    others: &[ReplicaId],
) -> Result<(), OpenError> {
    let log = open_log(env, config, DiskQueue::inline())?;
    for group in groups {
        let found = remains(&log, kv, *group)?;
        if found.voters.is_empty() {
            return Err(OpenError::Other(Error::invalid(format!(
                "this replica has nothing of partition {group}: choose a node that votes in it"
            ))));
        }
    }
    for group in groups {
        stand_alone(&log, kv, *group, config.replica)?;
    }
    log.close();
    let mut batch = kv::Batch::new();
    for other in others.iter().filter(|other| other.node() != config.replica.node()) {
        roster::write(&mut batch, &replaced(*other));
    }
    Ok(kv.write(batch, Durability::Synced)?)
}

fn remains(log: &Log, kv: &Arc<dyn Kv>, partition: PartitionId) -> Result<Remains> {
    let meta = StateStore::open(kv.clone(), partition)?.meta();
    let state = log.state(partition);
    let index = |id: Option<EntryId>| id.map_or(0, |id| id.index);
    let applied = meta.log.as_ref().map(EntryId::from);
    let membership = last_membership(log, partition)?;
    let voters = membership.as_ref().unwrap_or(meta.membership.membership()).voter_ids().map(ReplicaId);
    Ok(Remains {
        partition,
        voters: voters.collect(),
        applied: meta.commands,
        committed: index(state.committed.max(applied)),
        last: index(state.last.max(applied)),
    })
}

/// The members that the newest entry about members names, if the log still has one.
fn last_membership(
    log: &Log,
    partition: PartitionId,
) -> Result<Option<Membership<u64, openraft::EmptyNode>>> {
    let mut found = None;
    let mut next = log.state(partition).purged.map_or(0, |id| id.index + 1);
    loop {
        let entries = log.read(partition, next, u64::MAX, READ_SIZE_MAX)?;
        let Some(last) = entries.last() else { return Ok(found) };
        next = last.id.index + 1;
        for entry in entries {
            if let EntryPayload::Membership(membership) = codec::decode_entry(entry)?.payload {
                found = Some(membership);
            }
        }
    }
}

/// Bytes of entries looked through at once.
const READ_SIZE_MAX: u64 = types::limits::MIB as u64;

/// Appends, in a term of its own, that this replica is all there is.
fn stand_alone(log: &Log, kv: &Arc<dyn Kv>, group: PartitionId, replica: ReplicaId) -> Result<()> {
    let applied = StateStore::open(kv.clone(), group)?.meta().log.as_ref().map(EntryId::from);
    if let Some(begin) = reconcile(log, group, applied)? {
        return Err(gap::lost(group, begin));
    }
    let state = log.state(group);
    let last = state.last.or(state.purged);
    let term = 1 + state.vote.map_or(0, |vote| vote.term).max(last.map_or(0, |last| last.term));
    let id = EntryId { term, index: last.map_or(0, |last| last.index + 1) };
    let alone = Membership::new_with_defaults(vec![[replica.0].into()], []);
    let entry = codec::encode_entry(&Entry { log_id: id.into(), payload: EntryPayload::Membership(alone) });
    let durable = Arc::new(OnceLock::new());
    let done = durable.clone();
    log.save_vote(group, SavedVote { term, node: replica.0, committed: false }, Box::new(|_| ()));
    log.append(group, vec![entry], Box::new(move |result| drop(done.set(result.map_err(Error::from)))))?;
    // The queue of this log runs what it is given at once.
    durable.get().cloned().unwrap_or_else(|| Err(Error::internal("the log has ended")))
}

/// A stamp after which nothing that this store says is heard any more.
fn replaced(replica: ReplicaId) -> Stamp {
    let start = Start { store: StoreUuid([0xff; 16]), count: u64::MAX, nonce: 0 };
    Stamp { replica, start, mark: u64::MAX }
}
