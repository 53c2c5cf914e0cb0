//! How well a disk does: what went wrong, what has not returned yet, how long operations take.
//!
//! Owns: these figures, and when a disk is slow compared with others. Knows nothing of: what is done about it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use env::time::{self, Duration, Instant};
use types::limits::{DISK_AVERAGE_PART, DISK_PEER_COUNT_MIN, DISK_SLOW_FACTOR, DISK_SLOW_MICROS_MIN};

/// What went wrong on a disk since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskFailures {
    /// Reads that the medium failed, also those that succeeded when they were tried again.
    pub media_read_errors: u64,
    /// Writes and syncs that the medium failed: one is enough to end writing.
    pub media_write_errors: u64,
    /// Shards that could not be read at the second attempt either.
    pub unreadable: u64,
    /// Shards that did not match their checksums.
    pub damaged: u64,
    /// Reads that took so long that they were answered without a result.
    pub timeouts: u64,
}

/// True for a disk whose operations take much longer than those of the others: all in microseconds, 0 for unknown.
pub fn is_slow(own: u64, peers: &[u64]) -> bool {
    let mut known: Vec<u64> = peers.iter().copied().filter(|micros| *micros > 0).collect();
    if known.len() < DISK_PEER_COUNT_MIN {
        return false;
    }
    known.sort_unstable();
    // The lower one of two in the middle: half of them are at least as fast.
    let median = known[(known.len() - 1) / 2];
    own >= DISK_SLOW_MICROS_MIN && own > median.saturating_mul(DISK_SLOW_FACTOR)
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    /// Makes something durable.
    Sync,
}

/// Figures since the disk was opened.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failures: Mutex<DiskFailures>,
    pending: Mutex<Pending>,
    read_micros: AtomicU64,
    sync_micros: AtomicU64,
}

#[derive(Debug, Default)]
struct Pending {
    next: u64,
    /// In the order of their beginnings.
    since: BTreeMap<u64, Instant>,
}

/// An operation that was asked for and has not returned, until this is dropped. Those who wait may be gone before.
#[derive(Debug)]
pub(crate) struct Operation {
    health: Arc<Health>,
    kind: Kind,
    id: u64,
    since: Instant,
}

impl Health {
    pub(crate) fn begin(self: &Arc<Self>, kind: Kind) -> Operation {
        let mut pending = self.pending();
        let (id, since) = (pending.next, time::now());
        pending.next += 1;
        pending.since.insert(id, since);
        Operation { health: self.clone(), kind, id, since }
    }

    /// How long the oldest operation that has not returned takes by now.
    pub(crate) fn oldest(&self) -> Duration {
        let first = self.pending().since.first_key_value().map(|(_, since)| *since);
        first.map_or(Duration::ZERO, |since| time::now().saturating_duration_since(since))
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut DiskFailures)) {
        count(&mut self.failures.lock().expect("never poisoned: no panic inside"));
    }

    pub(crate) fn failures(&self) -> DiskFailures {
        *self.failures.lock().expect("never poisoned: no panic inside")
    }

    /// Moving averages of reads and syncs, in microseconds; 0 before the first.
    pub(crate) fn averages(&self) -> (u64, u64) {
        (self.read_micros.load(Relaxed), self.sync_micros.load(Relaxed))
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("never poisoned: no panic inside")
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        self.health.pending().since.remove(&self.id);
        let took = time::now().saturating_duration_since(self.since);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let average = match self.kind {
            Kind::Read => &self.health.read_micros,
            Kind::Sync => &self.health.sync_micros,
        };
        let _ = average.fetch_update(Relaxed, Relaxed, |old| Some(moved(old, micros)));
    }
}

/// A moving average after one more value.
fn moved(average: u64, value: u64) -> u64 {
    match average {
        0 => value,
        _ => average - average / DISK_AVERAGE_PART + (value / DISK_AVERAGE_PART).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_is_much_slower_than_the_others() {
        for (own, peers, want) in [
            (0, &[][..], false),
            (1_000_000, &[], false),
            (1_000_000, &[1_000], false),
            (1_000_000, &[1_000, 0, 0], false),
            (1_000_000, &[1_000, 1_000], true),
            (49_999, &[100, 100, 100], false),
            (50_000, &[100, 100, 100], true),
            (100_000, &[30_000, 30_000, 30_000], false),
            (121_000, &[30_000, 30_000, 30_000], true),
            (121_000, &[30_000, 900_000, 900_000], false),
            (121_000, &[100, 30_000, 30_000, 900_000], true),
            (u64::MAX, &[u64::MAX / 2, u64::MAX], false),
        ] {
            assert_eq!(is_slow(own, peers), want, "{own} among {peers:?}");
        }
    }

    #[test]
    fn an_average_follows() {
        let after = |values: &[u64]| values.iter().fold(0, |average, value| moved(average, *value));
        assert_eq!(after(&[]), 0);
        assert_eq!(after(&[800]), 800);
        assert_eq!(after(&[800, 1600]), 900);
        assert!((990..=1010).contains(&after(&[1000; 100])));
        let (slow, fast) =
            ([&[1_000; 50][..], &[100_000; 50]].concat(), [&[100_000; 50][..], &[1_000; 50]].concat());
        assert!(after(&slow) > 90_000 && after(&fast) < 2_000, "{} {}", after(&slow), after(&fast));
    }
}
