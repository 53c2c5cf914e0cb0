//! Keeps the log short: when a group's log has grown well beyond its tail, its state is put on disk and the entries
//! before the tail are removed.

use std::sync::Weak;

use types::Result;
use types::limits::{LOG_TRIM_PERIOD, SNAPSHOT_NOTE_TIMEOUT};

use crate::config::LogTail;
use crate::group::Group;
use crate::shared::Shared;
use crate::{blocking, error};

/// Looks after all groups until the host is gone.
pub async fn run(host: Weak<Shared>) {
    loop {
        env::time::sleep(LOG_TRIM_PERIOD).await;
        let Some(host) = host.upgrade() else { return };
        let tail = host.config.log_tail;
        let long: Vec<_> = host.groups().into_iter().filter(|group| is_long(group, tail)).collect();
        if long.is_empty() {
            continue;
        }
        // What is applied now is on disk after the flush; one flush serves all groups.
        let applied: Vec<_> = long.iter().map(|group| group.store.meta().log).collect();
        if let Err(e) = blocking::run(|| host.kv.flush()) {
            tracing::error!(error = %e, "the state cannot be flushed, so the raft log grows: check the disk");
            continue;
        }
        for (group, applied) in long.iter().zip(applied) {
            let Some(applied) = applied else { continue };
            if let Err(e) = trim(group, applied.index(), tail).await {
                tracing::warn!(partition = %group.id, error = %e, "the raft log was not trimmed; will try again");
            }
        }
    }
}

/// A quarter more than the tail, so that trimming is rare.
fn is_long(group: &Group, tail: LogTail) -> bool {
    let (count, size) = group.log.usage(group.id);
    is_over(count, tail.count) || is_over(size, tail.size)
}

fn is_over(found: u64, tail: u64) -> bool {
    found > tail.saturating_add(tail / 4)
}

/// The last entry to remove: before the tail, and on disk as part of the state.
fn upto(tail_start: u64, flushed: u64) -> u64 {
    tail_start.saturating_sub(1).min(flushed)
}

/// Removes what is before the tail and covered by `flushed`, the newest entry whose effect is on disk.
async fn trim(group: &Group, flushed: u64, tail: LogTail) -> Result<()> {
    let upto = upto(group.log.tail_start(group.id, tail.count, tail.size), flushed);
    let fatal = |e| error::fatal(group.id, &e);
    // openraft removes only what it knows to be in a snapshot.
    group.raft.trigger().snapshot().await.map_err(fatal)?;
    let noted =
        |metrics: &openraft::RaftMetrics<_>| metrics.snapshot.as_ref().is_some_and(|id| id.index() >= upto);
    let waited = group.raft.wait(Some(SNAPSHOT_NOTE_TIMEOUT)).metrics(noted, "snapshot").await;
    waited.map_err(|e| types::Error::unavailable(format!("no snapshot: {e}")))?;
    group.raft.trigger().purge_log(upto).await.map_err(fatal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_trimmed_when_it_is_a_quarter_too_long() {
        for (found, tail, want) in
            [(0, 0, false), (1, 0, true), (125, 100, false), (126, 100, true), (u64::MAX, u64::MAX, false)]
        {
            assert_eq!(is_over(found, tail), want, "{found} of {tail}");
        }
    }

    #[test]
    fn only_what_is_on_disk_leaves_the_log() {
        for (tail_start, flushed, want) in
            [(0, 9, 0), (1, 9, 0), (5, 9, 4), (10, 9, 9), (11, 9, 9), (5, 0, 0)]
        {
            assert_eq!(upto(tail_start, flushed), want, "tail from {tail_start}, flushed {flushed}");
        }
    }
}
