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
use crate::gap::Gap;
use crate::group::Group;
use crate::message::{Begun, Body, Fetch, Message, Piece, PieceEnd, Received};
use crate::shared::Shared;
use crate::snapshot::Cutter;
use crate::state::{Meta, Staged};

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
    let source = gap.source().filter(|_| goes_on);
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
        let body = Body::Group(group.id, Message::Fetch(Fetch { least: gap.begin, begun }));
        let piece: Piece = host.link.ask(&*host.network, replica, body, STATE_FETCH_TIMEOUT).await?;
        gap.note(format!("replica {replica} has sent {} pieces", piece.count + 1));
        gap.note_source(replica);
        if let Some(whole) = take(group, gap, piece).await? {
            return Ok(whole);
        }
    }
}

/// Takes a piece that was asked for. `Invalid` when it is none that was.
async fn take(group: &Group, gap: &Gap, piece: Piece) -> Result<Option<(Staged, PieceEnd)>> {
    if piece.snapshot < gap.begin {
        return Err(Error::invalid("it has sent a state that is too old"));
    }
    let position = piece.snapshot;
    let mut receiver = group.receiver.lock().await;
    match receiver.begin(&group.store, position) {
        Received::Pieces { count, .. } if count == piece.count => {}
        _ => return Err(Error::invalid(format!("it has sent piece {} out of turn", piece.count))),
    }
    let whole = blocking::run(|| receiver.take(piece))?;
    match &whole {
        Some((_, end)) if end.meta.last_log_id != Some(position) => {
            Err(Error::invalid("it has sent the end of another state"))
        }
        _ => Ok(whole),
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
