//! A log and a state that a crash has left apart.

use types::{PartitionId, Result};

use crate::log::{EntryId, Log};

/// Makes the log agree with a state that is ahead of it or contradicts it. Entries may be applied as soon as a majority
/// of *other* nodes has them, and the store may write itself to disk before the log does; after a crash the log then
/// ends early or still has entries that were about to be replaced. Everything up to `applied` is in the state.
///
/// A state that ends before the log begins stays as it is: `Some` last entry before the log, from which on another
/// replica's state would do.
pub fn reconcile(log: &Log, group: PartitionId, applied: Option<EntryId>) -> Result<Option<EntryId>> {
    let state = log.state(group);
    let applied_index = applied.map(|id| id.index);
    if state.purged.map(|id| id.index) > applied_index {
        return Ok(state.purged);
    }
    let Some(applied) = applied else { return Ok(None) };
    let agrees = match log.read(group, applied.index, applied.index + 1, 1)?.first() {
        Some(entry) => entry.id == applied,
        None => state.purged == Some(applied),
    };
    if !agrees {
        log.truncate(group, 0);
        log.purge(group, applied);
        let state = log.state(group);
        assert_eq!(
            (state.purged, state.last),
            (Some(applied), Some(applied)),
            "the log goes on where the state ends"
        );
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use env::Env;
    use env::task::DiskQueue;

    use super::*;
    use crate::log::LogEntry;

    const GROUP: PartitionId = PartitionId(1);

    fn id(term: u64, index: u64) -> EntryId {
        EntryId { term, index }
    }

    /// Reconciles a log purged up to `purged` with entries of `terms` after it, and says what is left.
    #[track_caller]
    fn check(purged: Option<EntryId>, terms: &[u64], applied: Option<EntryId>, want: &str) {
        let log = Log::open(&Env::simulated(1), "/log".into(), DiskQueue::inline()).unwrap();
        if let Some(purged) = purged {
            log.purge(GROUP, purged);
        }
        let start = purged.map_or(0, |id| id.index + 1);
        let entries = terms
            .iter()
            .zip(start..)
            .map(|(term, index)| LogEntry { id: id(*term, index), body: Bytes::new() });
        log.append(GROUP, entries.collect(), Box::new(|result| result.unwrap())).unwrap();
        let found = match reconcile(&log, GROUP, applied) {
            Ok(None) => {
                let left = log.read(GROUP, 0, u64::MAX, u64::MAX).unwrap();
                let left: Vec<u64> = left.iter().map(|entry| entry.id.term).collect();
                format!("{:?} {left:?}", log.state(GROUP).purged.map(|id| id.index))
            }
            Ok(Some(begin)) => format!("begins after {}", begin.index),
            Err(e) => format!("{:?}", e.kind()),
        };
        assert_eq!(found, want);
    }

    #[test]
    fn log_and_state_are_made_to_agree() {
        check(None, &[], None, "None []");
        check(None, &[1, 1], None, "None [1, 1]");
        check(None, &[1, 1], Some(id(1, 1)), "None [1, 1]");
        check(Some(id(1, 4)), &[1, 2], Some(id(1, 4)), "Some(4) [1, 2]");
        check(Some(id(1, 4)), &[1, 2], Some(id(2, 6)), "Some(4) [1, 2]");
        // The state was on disk before the log: the log ends early, or still has what was to be replaced.
        check(None, &[1, 1], Some(id(2, 5)), "Some(5) []");
        check(None, &[1, 1, 1, 1], Some(id(2, 2)), "Some(2) []");
        check(Some(id(1, 4)), &[1, 1], Some(id(2, 5)), "Some(5) []");
        // The state is older than the beginning of the log: the store was lost.
        check(Some(id(1, 4)), &[1], None, "begins after 4");
        check(Some(id(1, 4)), &[1], Some(id(1, 3)), "begins after 4");
    }
}
