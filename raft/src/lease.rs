//! When a leader may answer without asking its voters: a majority has answered lately, as every clock sees it.
//!
//! A lease is measured on the monotonic clock, which stands still while a machine is suspended; the others elect a new
//! leader meanwhile. So it counts only as long as the boot-time clock has not run ahead of the monotonic one.

use std::sync::Mutex;
use std::time::Duration;

use env::Clock;
use env::mutant::Mutant;
use env::time::{Instant, now};
use types::limits::CLOCK_JUMP_MS_MAX;

/// The lease of a group's leader.
#[derive(Debug)]
pub struct Lease {
    /// A majority that answered this recently cannot have elected another leader.
    pub duration: Duration,
    clock: Clock,
    start: Instant,
    suspends: Mutex<Suspends>,
}

/// What is known of the times the machine stood still. All times are since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Suspends {
    /// How far the boot-time clock is ahead of the monotonic one.
    ahead: Duration,
    /// When the last suspension was noticed, on the monotonic clock.
    noticed: Option<Duration>,
    /// How many were.
    count: u64,
}

impl Suspends {
    /// Takes note of both clocks.
    fn look(&mut self, boot: Duration, now: Duration) {
        let ahead = boot.saturating_sub(now);
        if ahead > self.ahead + Duration::from_millis(CLOCK_JUMP_MS_MAX) {
            *self = Self { ahead, noticed: Some(now), count: self.count + 1 };
        }
    }

    /// True while a majority that answered what was sent at `acked` can have no other leader.
    fn is_valid(&self, lease: Duration, acked: Duration, now: Duration) -> bool {
        // What was sent before may have been sent before the machine stood still.
        now < acked + lease && self.noticed.is_none_or(|noticed| acked > noticed)
    }
}

impl Lease {
    pub fn new(duration: Duration, clock: Clock) -> Self {
        let (ahead, start) = (clock.boot(), now());
        let suspends = Suspends { ahead, ..Suspends::default() };
        Self { duration, clock, start, suspends: Mutex::new(suspends) }
    }

    /// True while a majority that answered what was sent at `acked` can have no other leader.
    pub fn is_valid(&self, acked: Option<Instant>) -> bool {
        // In this order: a machine that is suspended in between was not when the first clock was read.
        let boot = self.clock.boot();
        let now = now().saturating_duration_since(self.start);
        let mut suspends = self.suspends.lock().expect("no panic while it is held");
        if !Mutant::LeaseOverSuspend.is_planted() {
            suspends.look(boot, now);
        }
        acked.is_some_and(|acked| {
            suspends.is_valid(self.duration, acked.saturating_duration_since(self.start), now)
        })
    }

    /// How many suspensions were noticed.
    pub fn suspend_count(&self) -> u64 {
        self.suspends.lock().expect("no panic while it is held").count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Looks at clocks (boot, monotonic) in turn; then a lease of 100 ms, from what was sent at `acked`, is valid or not.
    #[track_caller]
    fn check(looks: &[(u64, u64)], acked: u64, want: bool) {
        let mut suspends = Suspends { ahead: ms(1000), ..Suspends::default() };
        looks.iter().for_each(|(boot, now)| suspends.look(ms(*boot), ms(*now)));
        let now = looks.last().expect("somebody looks").1;
        assert_eq!(suspends.is_valid(ms(100), ms(acked), ms(now)), want, "{looks:?} {acked}");
    }

    #[test]
    fn a_lease_ends_with_its_time() {
        check(&[(1500, 500)], 500, true);
        check(&[(1500, 500)], 401, true);
        check(&[(1500, 500)], 400, false);
        check(&[(1500, 500)], 0, false);
    }

    #[test]
    fn a_lease_ends_with_a_suspension() {
        check(&[(1500, 500), (7510, 510)], 500, false);
        // What is sent afterwards counts again, also when it was noticed late, and for good.
        check(&[(7510, 510)], 510, false);
        check(&[(7510, 510), (7530, 530)], 520, true);
        check(&[(7510, 510), (7530, 530), (7540, 540)], 530, true);
        check(&[(7510, 510), (9510, 520)], 515, false);
    }

    #[test]
    fn clocks_that_are_read_one_after_the_other_differ_a_little() {
        let little = CLOCK_JUMP_MS_MAX;
        check(&[(1500 + little, 500)], 500, true);
        check(&[(1501 + little, 500)], 500, false);
        // Slowly, but in the end it is noticed.
        check(&[(1500 + little, 500), (1511 + little, 510)], 505, false);
        check(&[(1400, 500)], 500, true);
    }
}
