//! How long a coordinator waits for a part, written or read, before it asks another disk. Pure.

use std::collections::VecDeque;

use env::time::Duration;
use types::limits::SHARD_HEDGE_PER_HUNDRED;

/// Writes that are remembered.
const COUNT: usize = 64;
/// A write is slow when it takes so many times as long as most.
const TIMES_MEDIAN: u32 = 4;

/// What has been seen of writes lately.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    recent: VecDeque<Duration>,
    /// Hundredths of a second disk that may be asked.
    credit: u32,
}

impl Patience {
    /// A part was durable after this time.
    pub(crate) fn note(&mut self, took: Duration) {
        if self.recent.len() == COUNT {
            self.recent.pop_front();
        }
        self.recent.push_back(took);
        self.credit = (self.credit + SHARD_HEDGE_PER_HUNDRED).min(100 * SHARD_HEDGE_PER_HUNDRED);
    }

    /// How long a part may take before it is slow, within these bounds.
    pub(crate) fn limit(&self, min: Duration, max: Duration) -> Duration {
        let mut sorted: Vec<Duration> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or(max);
        (median * TIMES_MEDIAN).clamp(min, max)
    }

    /// True when one more part may go to a second disk for being slow; most of them must not, or all would be slower.
    pub(crate) fn spend(&mut self) -> bool {
        let is_enough = self.credit >= 100;
        self.credit -= if is_enough { 100 } else { 0 };
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limit after writes that took so many milliseconds.
    #[track_caller]
    fn check(took: &[u64], want: u64) {
        const MIN: Duration = Duration::from_millis(50);
        const MAX: Duration = Duration::from_millis(1000);
        let mut patience = Patience::default();
        took.iter().for_each(|ms| patience.note(Duration::from_millis(*ms)));
        assert_eq!(patience.limit(MIN, MAX), Duration::from_millis(want));
    }

    #[test]
    fn slow_is_what_takes_far_longer_than_most() {
        check(&[], 1000);
        check(&[1], 50);
        check(&[20], 80);
        check(&[20, 20, 900], 80);
        check(&[20, 900, 900], 1000);
        check(&[&[900; COUNT][..], &[20; COUNT]].concat(), 80);
    }

    #[test]
    fn one_in_a_hundred_may_go_to_a_second_disk() {
        let mut patience = Patience::default();
        assert!(!patience.spend(), "not before there were others");
        let second = (0..1000).filter(|_| {
            patience.note(Duration::from_millis(1));
            patience.spend()
        });
        assert_eq!(second.count(), 10);
        (0..10_000).for_each(|_| patience.note(Duration::from_millis(1)));
        assert!(patience.spend());
        assert!(!patience.spend(), "what was not spent is not saved up");
    }
}
