//! Keeps the log short: when a group's log has grown well beyond its tail, its state is put on disk and the entries
//! before the tail are removed. When all groups together have too much, the largest get shorter tails.

use std::collections::BTreeMap;
use std::sync::Weak;

use types::limits::{LOG_TAIL_SIZE_MIN, LOG_TAILS_SIZE_MAX, LOG_TRIM_PERIOD, SNAPSHOT_NOTE_TIMEOUT};
use types::{PartitionId, Result};

use crate::config::LogTail;
use crate::group::Group;
use crate::shared::Shared;
use crate::{blocking, error};

/// What was asked of openraft for a group, and how long its log was then.
struct Asked {
    upto: u64,
    usage: Usage,
}

/// Entries of a group's log, and their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Usage {
    count: u64,
    size: u64,
}

/// Looks after all groups until the host is gone.
pub async fn run(host: Weak<Shared>) {
    let mut asked = BTreeMap::new();
    loop {
        env::time::sleep(LOG_TRIM_PERIOD).await;
        let Some(host) = host.upgrade() else { return };
        trim_all(&host, &mut asked).await;
    }
}

async fn trim_all(host: &Shared, asked: &mut BTreeMap<PartitionId, Asked>) {
    let tail = tail(host.config.log_tail, &host.log.usages());
    let groups = host.groups();
    asked.retain(|id, _| groups.iter().any(|group| group.id == *id));
    let mut due = Vec::new();
    for group in groups {
        let (count, size) = group.log.usage(group.id);
        let usage = Usage { count, size };
        let purged = group.log.state(group.id).purged.map_or(0, |id| id.index);
        // What is applied now is on disk after the flush below.
        let Some(applied) = group.store.meta().log else { continue };
        let upto = upto(group.log.tail_start(group.id, tail.count, tail.size), applied.index());
        if usage.is_long(tail) && upto > purged && !is_waiting(asked.get(&group.id), purged, usage, tail) {
            due.push((group, Asked { upto, usage }));
        }
    }
    if due.is_empty() {
        return;
    }
    // One flush serves all groups.
    if let Err(e) = blocking::run(|| host.kv.flush()) {
        tracing::error!(error = %e, "the state cannot be flushed, so the raft log grows: check the disk");
        return;
    }
    for (group, trimmed) in due {
        if let Err(e) = trim(&group, trimmed.upto).await {
            tracing::warn!(partition = %group.id, error = %e, "the raft log was not trimmed; will try again");
            continue;
        }
        asked.insert(group.id, trimmed);
    }
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

impl Usage {
    /// A quarter more than the tail, so that trimming is rare.
    fn is_long(self, tail: LogTail) -> bool {
        is_over(self.count, tail.count) || is_over(self.size, tail.size)
    }
}

/// True while openraft has not removed what it was asked for, because a follower still needs it, and the log has not
/// grown much since: asking again would cost a flush and gain nothing.
fn is_waiting(asked: Option<&Asked>, purged: u64, usage: Usage, tail: LogTail) -> bool {
    asked.is_some_and(|asked| {
        purged < asked.upto
            && usage.count <= asked.usage.count.saturating_add(tail.count / 4)
            && usage.size <= asked.usage.size.saturating_add(tail.size / 4)
    })
}

fn is_over(found: u64, tail: u64) -> bool {
    found > tail.saturating_add(tail / 4)
}

/// The last entry to remove: before the tail, and on disk as part of the state.
fn upto(tail_start: u64, flushed: u64) -> u64 {
    tail_start.saturating_sub(1).min(flushed)
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

    /// A trim that openraft puts off is not asked for again and again.
    #[test]
    fn a_trim_that_waits_for_a_follower_is_asked_for_once() {
        let tail = LogTail { count: 100, size: 1000 };
        let asked = Asked { upto: 50, usage: Usage { count: 150, size: 1500 } };
        for (purged, count, size, want) in [
            (49, 150, 1500, true),
            (49, 175, 1750, true),
            (50, 150, 1500, false),
            (49, 176, 1500, false),
            (49, 150, 1751, false),
        ] {
            assert_eq!(
                is_waiting(Some(&asked), purged, Usage { count, size }, tail),
                want,
                "{purged} {count} {size}"
            );
        }
        assert!(!is_waiting(None, 0, asked.usage, tail));
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
