//! States that a store has lost while its log is good: another replica gives one.
//!
//! What a replica has promised stands in its log, and nothing in its state. So a group whose state ends before its log
//! begins keeps its id, its vote and its entries: it votes and takes entries as before, and leads and applies nothing.
//! Meanwhile it asks the others for their state, at any position that its log goes on from, whoever leads: what is
//! applied anywhere is committed, and states at one position are equal (I-DET). Then it starts again from its own disk.

use std::collections::BTreeSet;
use std::sync::Weak;

use env::time::sleep;
use openraft::async_runtime::WatchReceiver;
use types::limits::{STATE_FETCH_PERIOD, STATE_FETCH_TIMEOUT};
use types::{Error, ReplicaId, Result};

use crate::Role;
use crate::blocking;
use crate::engine::LogId;
use crate::gap::{Filling, Gap};
use crate::group::Group;
use crate::message::{Begun, Fetch, Message, Piece, PieceEnd, Received};
use crate::shared::Shared;
use crate::snapshot::{Cutter, Receiver};
use crate::state::{Meta, Staged, StateStore};

/// Runs until the host is gone. One group at a time: the others' disks have other things to do.
pub async fn run(host: Weak<Shared>) {
    loop {
        sleep(STATE_FETCH_PERIOD).await;
        let Some(host) = host.upgrade() else { return };
        for group in host.groups() {
            if let Some(gap) = group.gap.as_ref().filter(|_| group.status().role != Role::Stopped) {
                reinstall(&host, &group, gap).await;
            }
        }
    }
}

/// Asks each of the others once, or who has sent something lately: the others' states are at other positions.
async fn reinstall(host: &Shared, group: &Group, gap: &Gap) {
    let goes_on = group.receiver.lock().await.goes_on();
    let source = gap.lock().source.filter(|_| goes_on);
    for replica in source.map_or_else(|| others(host, group), |source| BTreeSet::from([source])) {
        match fetch(host, group, gap, replica).await {
            Ok((staged, end)) => return finish(host, group, gap, staged, end).await,
            Err(e) => gap.note(format!("replica {replica}: {}", e.message())),
        }
    }
}

/// Members that the log still names, and stores that have been heard: somebody with a state is a voter who leads or
/// asks for votes, if nobody does.
fn others(host: &Shared, group: &Group) -> BTreeSet<ReplicaId> {
    let status = group.status();
    let heard = host.link.roster.others(group.replica.node());
    let members = status.voters.into_iter().chain(status.learners);
    members.filter(|member| *member != group.replica).chain(heard).collect()
}

/// Goes on with a state, or begins one, until all of it is here.
async fn fetch(host: &Shared, group: &Group, gap: &Gap, replica: ReplicaId) -> Result<(Staged, PieceEnd)> {
    loop {
        let begun = group.receiver.lock().await.begun();
        let message = Message::Fetch(Fetch { least: gap.begin, begun });
        let piece: Piece =
            host.link.ask(&*host.network, group.id, replica, message, STATE_FETCH_TIMEOUT).await?;
        let count = piece.count + 1;
        let mut receiver = group.receiver.lock().await;
        if let Some(whole) = blocking::run(|| take(&mut receiver, &group.store, gap.begin, piece))? {
            return Ok(whole);
        }
        *gap.lock() = Filling {
            source: Some(replica),
            last: Some(format!("replica {replica} has sent {count} pieces")),
        };
    }
}

/// Takes the answer to `Fetch { least, .. }`. `Invalid` when it is none.
fn take(
    receiver: &mut Receiver,
    store: &StateStore,
    least: LogId,
    piece: Piece,
) -> Result<Option<(Staged, PieceEnd)>> {
    let (position, end) = (piece.snapshot, piece.last.as_ref());
    if position < least || end.is_some_and(|end| end.meta.last_log_id != Some(position)) {
        return Err(Error::invalid("it has sent another state than was asked for"));
    }
    match receiver.begin(store, position) {
        Received::Pieces { count, .. } if count == piece.count => receiver.take(piece),
        _ => Err(Error::invalid(format!("it has sent piece {} out of turn", piece.count))),
    }
}

/// Makes it the state and starts the group with it.
async fn finish(host: &Shared, group: &Group, gap: &Gap, staged: Staged, end: PieceEnd) {
    let PieceEnd { meta, commands, .. } = end;
    let meta = Meta { generation: 0, log: meta.last_log_id, membership: meta.last_membership, commands };
    let finished = match blocking::run(|| group.store.adopt(staged, meta)) {
        Ok(()) => host.restart_group(group.id).await,
        Err(e) => Err(e),
    };
    match finished {
        Ok(()) => tracing::info!(partition = %group.id, "the group has its state again"),
        Err(e) => {
            tracing::error!(partition = %group.id, "a state was fetched and cannot be used: {e}");
            gap.note(e.message().to_owned());
        }
    }
}

impl Group {
    /// The next part of the state here, for a replica that has lost its own. `Unavailable` when it does not reach far
    /// enough (yet).
    pub(crate) fn give_piece(&self, fetch: &Fetch) -> Result<Piece> {
        let view = self.outgoing.view(&self.store)?;
        let snapshot =
            view.meta.last_log_id.filter(|position| *position >= fetch.least).ok_or_else(|| {
                let position = view.meta.last_log_id.map_or(0, |id| id.index());
                self.unavailable(&format!(
                    "has only come to entry {position} on node {}",
                    self.replica.node()
                ))
            })?;
        self.outgoing.keep(&view)?;
        let begun = fetch.begun.as_ref().filter(|begun| begun.snapshot == snapshot);
        let none = Begun { snapshot, count: 0, row_count: 0, last: None };
        let Begun { count, row_count, last, .. } = begun.unwrap_or(&none);
        let mut cutter = Cutter::new(view.state, *row_count, last.as_deref());
        let rows = blocking::run(|| cutter.rows())?;
        let (vote, row_count) = (self.raft.metrics().borrow_watched().vote, cutter.row_count);
        let end = || PieceEnd { vote, meta: view.meta.clone(), commands: view.commands, row_count };
        let last = cutter.is_done().then(end);
        Ok(Piece { snapshot, count: *count, crc: crc32fast::hash(&rows), rows, last })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kv::MemKv;
    use types::PartitionId;

    use super::*;
    use crate::engine::{SnapshotMeta, Vote};
    use crate::log::EntryId;

    const GROUP: PartitionId = PartitionId(5);

    fn position(index: u64) -> LogId {
        EntryId { term: 1, index }.into()
    }

    /// Piece `count` of an empty state at entry `index`; with an end, which says that the state is at another.
    fn piece((index, count, end): (u64, u64, Option<u64>)) -> Piece {
        let meta = |at| SnapshotMeta { last_log_id: Some(position(at)), ..SnapshotMeta::default() };
        let vote = Vote::new_committed(1, 2);
        let last = end.map(|at| PieceEnd { vote, meta: meta(at), commands: 0, row_count: 0 });
        Piece { snapshot: position(index), count, rows: Bytes::new(), crc: crc32fast::hash(b""), last }
    }

    /// What becomes of pieces that come as answers to somebody whose log begins after entry 4.
    #[track_caller]
    fn check(pieces: &[(u64, u64, Option<u64>)], want: &str) {
        let store = StateStore::open(std::sync::Arc::new(MemKv::new(1)), GROUP).unwrap();
        let mut receiver = Receiver::default();
        let mut answer = |values| match take(&mut receiver, &store, position(4), piece(values)) {
            Ok(None) => "more".to_owned(),
            Ok(Some(_)) => "all".to_owned(),
            Err(e) => format!("{:?}", e.kind()),
        };
        let answers: Vec<String> = pieces.iter().map(|values| answer(*values)).collect();
        assert_eq!(answers.join(" "), want, "{pieces:?}");
    }

    #[test]
    fn only_what_was_asked_for_is_taken() {
        check(&[(4, 0, Some(4))], "all");
        check(&[(9, 0, None), (9, 1, None), (9, 2, Some(9))], "more more all");
        // The sender has another state now.
        check(&[(9, 0, None), (11, 0, None), (11, 1, Some(11))], "more more all");
        // Too old, of another state, not the next.
        check(&[(3, 0, None), (3, 0, Some(3))], "Invalid Invalid");
        check(&[(9, 0, Some(3)), (9, 0, Some(10))], "Invalid Invalid");
        check(&[(9, 1, None), (9, 0, None), (9, 0, None), (9, 2, Some(9))], "Invalid more Invalid Invalid");
    }
}
