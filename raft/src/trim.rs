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
    count > tail.count + tail.count / 4 || size > tail.size + tail.size / 4
}

/// Removes what is before the tail and covered by `flushed`, the newest entry whose effect is on disk.
async fn trim(group: &Group, flushed: u64, tail: LogTail) -> Result<()> {
    let upto = group.log.tail_start(group.id, tail.count, tail.size).saturating_sub(1).min(flushed);
    let fatal = |e| error::fatal(group.id, &e);
    // openraft removes only what it knows to be in a snapshot.
    group.raft.trigger().snapshot().await.map_err(fatal)?;
    let noted =
        |metrics: &openraft::RaftMetrics<_>| metrics.snapshot.as_ref().is_some_and(|id| id.index() >= upto);
    let waited = group.raft.wait(Some(SNAPSHOT_NOTE_TIMEOUT)).metrics(noted, "snapshot").await;
    waited.map_err(|e| types::Error::unavailable(format!("no snapshot: {e}")))?;
    group.raft.trigger().purge_log(upto).await.map_err(fatal)
}
