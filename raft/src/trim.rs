//! Keeps the log short: when a group's log has grown well beyond its tail, its state is put on disk and the entries
//! before the tail are removed. When all groups together have too much, the largest get shorter tails.

use std::sync::Weak;

use env::mutant::Mutant;
use openraft::async_runtime::{Instant as _, WatchReceiver};
use types::Result;
use types::limits::{
    FOLLOWER_SILENCE_MAX, LOG_HOLD_SIZE_MAX, LOG_TAIL_SIZE_MIN, LOG_TAILS_SIZE_MAX, LOG_TRIM_PERIOD,
    SNAPSHOT_NOTE_TIMEOUT,
};

use crate::config::LogTail;
use crate::engine::LogId;
use crate::group::Group;
use crate::shared::Shared;
use crate::{archive, blocking, error, headroom};

/// Looks after all groups until the host is gone.
pub async fn run(host: Weak<Shared>) {
    loop {
        env::time::sleep(LOG_TRIM_PERIOD).await;
        let Some(host) = host.upgrade() else { return };
        archive::limit(&host);
        headroom::look(&host).await;
        trim_all(&host).await;
    }
}

async fn trim_all(host: &Shared) {
    let usages = host.log.usages();
    let tail = tail(host.config.log_tail, &usages);
    let has_room = usages.iter().sum::<u64>() <= LOG_HOLD_SIZE_MAX;
    host.groups().iter().for_each(|group| forget_received(group));
    let last = |group: &Group| last_to_remove(group, tail, has_room);
    let due: Vec<_> = host.groups().into_iter().filter_map(|group| Some((last(&group)?, group))).collect();
    if due.is_empty() {
        return;
    }
    // What was applied before is on disk after this; one flush serves all groups.
    if let Err(e) = blocking::run(|| host.kv.flush()) {
        tracing::error!(error = %e, "the state cannot be flushed, so the raft log grows: check the disk");
        return;
    }
    for (upto, group) in due {
        if let Err(e) = trim(&group, upto).await {
            tracing::warn!(partition = %group.id, error = %e, "the raft log was not trimmed; will try again");
        }
    }
}

/// The last entry to remove from a group's log; `None` when that gains too little.
fn last_to_remove(group: &Group, tail: LogTail, has_room: bool) -> Option<u64> {
    if group.gap.is_some() {
        return None;
    }
    let applied = group.store.meta().log?.index();
    let needed = needed_from(group).filter(|_| has_room);
    let upto = upto(
        group.log.tail_start(group.id, tail.count, tail.size),
        needed.map_or(applied, |n| n.min(applied)),
    );
    is_worth_it(group.log.usage_upto(group.id, upto), tail).then_some(upto)
}

/// Deletes what is here of a snapshot that nobody sends any more.
fn forget_received(group: &Group) {
    // Who holds it is busy receiving.
    if let Ok(mut receiver) = group.receiver.try_lock() {
        blocking::run(|| receiver.expire());
    }
}

/// The position from which on other nodes need the log: one that gets a snapshot, or that answers but lags.
fn needed_from(group: &Group) -> Option<u64> {
    let metrics = group.raft.metrics();
    let metrics = metrics.borrow_watched();
    let answers = |node| {
        let heard = metrics.heartbeat.as_ref().and_then(|heartbeats| heartbeats.get(node).cloned().flatten());
        heard.is_some_and(|at| at.elapsed() < FOLLOWER_SILENCE_MAX)
    };
    let followers = metrics.replication.iter().flatten().filter(|(node, _)| answers(node));
    let matched = followers.filter_map(|(_, matched)| matched.as_ref().map(LogId::index));
    let outgoing = group.outgoing.needed_from().filter(|_| !Mutant::TrimAhead.is_planted());
    matched.chain(outgoing).min()
}

/// A quarter of the tail: trimming, which costs a flush, is rare.
fn is_worth_it((count, size): (u64, u64), tail: LogTail) -> bool {
    count > tail.count / 4 || size > tail.size / 4
}

/// What a group keeps: less than it might when all groups of the log together keep too much.
fn tail(tail: LogTail, usages: &[u64]) -> LogTail {
    if !is_over(usages.iter().sum(), LOG_TAILS_SIZE_MAX) {
        return tail;
    }
    let size = share(usages, LOG_TAILS_SIZE_MAX).max(LOG_TAIL_SIZE_MIN);
    LogTail { size: size.min(tail.size), ..tail }
}

/// The most that one may have so that all together have no more than `total`: those with less keep what they have.
fn share(usages: &[u64], total: u64) -> u64 {
    let mut sorted = usages.to_vec();
    sorted.sort_unstable();
    let (mut left, mut count) = (total, sorted.len() as u64);
    for usage in sorted {
        if usage > left / count {
            return left / count;
        }
        left -= usage;
        count -= 1;
    }
    total
}

fn is_over(found: u64, tail: u64) -> bool {
    found > tail.saturating_add(tail / 4)
}

/// The last entry to remove: before the tail, and not needed any more.
fn upto(tail_start: u64, needless: u64) -> u64 {
    tail_start.saturating_sub(1).min(needless)
}

/// Removes the entries up to `upto`, whose effect is on disk.
async fn trim(group: &Group, upto: u64) -> Result<()> {
    let fatal = |e| error::fatal(group.id, &e);
    // openraft removes only what it knows to be in a snapshot.
    group.raft.trigger().snapshot().await.map_err(fatal)?;
    let noted =
        |metrics: &openraft::RaftMetrics<_>| metrics.snapshot.as_ref().is_some_and(|id| id.index() >= upto);
    let waited = group.raft.wait(Some(SNAPSHOT_NOTE_TIMEOUT)).metrics(noted, "snapshot").await;
    waited.map_err(|e| types::Error::unavailable(format!("no snapshot: {e}")))?;
    group.raft.trigger().purge_log(upto).await.map_err(fatal)?;
    group.outgoing.raise_floor(upto);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_trimmed_when_that_gives_a_quarter_of_the_tail() {
        let tail = LogTail { count: 100, size: 1000 };
        for (count, size, want) in [(0, 0, false), (25, 250, false), (26, 26, true), (1, 251, true)] {
            assert_eq!(is_worth_it((count, size), tail), want, "{count} {size}");
        }
        assert!(!is_worth_it((0, 0), LogTail { count: 0, size: 0 }), "nothing to remove");
    }

    /// Nine groups, one of them large: it gives way, and none goes below the least.
    #[test]
    fn together_the_tails_have_a_bound() {
        const MIB: u64 = 1 << 20;
        let most = LogTail { count: 100, size: 256 * MIB };
        for (usages, want) in [
            (vec![], 256),
            (vec![256 * MIB], 256),
            (vec![320 * MIB, 0], 256),
            (vec![300 * MIB, 16 * MIB, 16 * MIB], 224),
            (vec![200 * MIB, 200 * MIB], 128),
            (vec![200 * MIB, 200 * MIB, 56 * MIB], 100),
            (vec![10 * MIB; 256], 4),
        ] {
            assert_eq!(tail(most, &usages), LogTail { size: want * MIB, ..most }, "{usages:?}");
        }
        assert_eq!(tail(LogTail { size: MIB, ..most }, &[400 * MIB]).size, MIB);
    }

    #[test]
    fn only_what_nobody_needs_leaves_the_log() {
        for (tail_start, needless, want) in
            [(0, 9, 0), (1, 9, 0), (5, 9, 4), (10, 9, 9), (11, 9, 9), (5, 0, 0)]
        {
            assert_eq!(upto(tail_start, needless), want, "tail from {tail_start}, needless up to {needless}");
        }
    }
}
