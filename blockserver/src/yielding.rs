//! Repair gives way to users: it has a budget of bytes, which shrinks while they wait longer than usual.

use std::sync::{Mutex, MutexGuard};

use env::time::{Duration, Instant};
use types::limits::{REPAIR_CALM_TIME, REPAIR_RATE_MAX, REPAIR_RATE_MIN, REPAIR_RATE_STEP, REPAIR_YIELD_MAX};

/// How many of the last requests say how long they take right now.
const FEW: f64 = 16.0;
/// And how many what is usual.
const MANY: f64 = 1024.0;
/// So many times as long as usual is too long.
const TOO_LONG: f64 = 1.5;

/// Users' requests that this node is busy with, and what is left for repair.
#[derive(Debug, Default)]
pub(crate) struct Users(Mutex<Budget>);

/// A request of a user, until it is dropped.
pub(crate) struct Busy<'a> {
    users: &'a Users,
    begun: Instant,
}

impl Users {
    /// A user is being served.
    pub(crate) fn serve(&self) -> Busy<'_> {
        let begun = env::time::now();
        self.budget().begin();
        Busy { users: self, begun }
    }

    /// Waits until repair may move so many bytes. Never for long: repair that waits for ever is none (I-HEAL).
    pub(crate) async fn make_room(&self, bytes: u64) -> Duration {
        let wait = self.budget().spend(env::time::now(), bytes);
        if !wait.is_zero() {
            env::time::sleep(wait).await;
        }
        wait
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.0.lock().expect("no panic while it is held")
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let now = env::time::now();
        self.users.budget().end(now, now.saturating_duration_since(self.begun));
    }
}

/// The rate at which repair may go on while users are served. Pure.
#[derive(Debug)]
struct Budget {
    serving: usize,
    /// When the last of them was.
    last: Option<Instant>,
    /// Seconds a request takes, of the last few and of many.
    recent: f64,
    usual: f64,
    /// Bytes a second.
    rate: u64,
    /// What was taken so far is paid for at this time.
    paid: Option<Instant>,
}

impl Default for Budget {
    fn default() -> Self {
        let (serving, last, paid) = (0, None, None);
        Self { serving, last, recent: 0.0, usual: 0.0, rate: REPAIR_RATE_MAX, paid }
    }
}

impl Budget {
    fn begin(&mut self) {
        self.serving += 1;
    }

    fn end(&mut self, now: Instant, took: Duration) {
        self.serving = self.serving.checked_sub(1).expect("who is served was counted");
        self.last = Some(now);
        let took = took.as_secs_f64();
        if self.usual == 0.0 {
            (self.recent, self.usual) = (took, took);
        }
        self.recent += (took - self.recent) / FEW;
        self.usual += (took - self.usual) / MANY;
        self.rate = match self.recent > TOO_LONG * self.usual {
            true => (self.rate - self.rate / 8).max(REPAIR_RATE_MIN),
            false => (self.rate + REPAIR_RATE_STEP).min(REPAIR_RATE_MAX),
        };
    }

    /// Takes bytes out of the budget; returns how long to wait first. Nothing while no user is there.
    fn spend(&mut self, now: Instant, bytes: u64) -> Duration {
        let is_calm = self.last.is_none_or(|last| now.saturating_duration_since(last) > REPAIR_CALM_TIME);
        if self.serving == 0 && is_calm {
            self.paid = None;
            return Duration::ZERO;
        }
        let from = self.paid.map_or(now, |paid| paid.max(now));
        let paid = from + Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        let wait = from.saturating_duration_since(now).min(REPAIR_YIELD_MAX);
        self.paid = Some(paid.min(now + REPAIR_YIELD_MAX));
        wait
    }
}

#[cfg(test)]
mod tests {
    use types::limits::MIB;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A budget after so many requests of so many milliseconds each.
    fn after(served: &[(u32, u64)]) -> (Budget, Instant) {
        let (mut budget, now) = (Budget::default(), env::time::now());
        for (count, ms) in served {
            for _ in 0..*count {
                budget.begin();
                budget.end(now, Duration::from_millis(*ms));
            }
        }
        (budget, now)
    }

    #[test]
    fn the_rate_follows_what_users_wait() {
        assert_eq!(after(&[(2000, 10)]).0.rate, REPAIR_RATE_MAX, "all is as usual");
        assert_eq!(after(&[(2000, 10), (200, 40)]).0.rate, REPAIR_RATE_MIN, "it is not");
        let (budget, _) = after(&[(2000, 10), (200, 40), (64, 10)]);
        assert!((REPAIR_RATE_MIN + 1..REPAIR_RATE_MAX).contains(&budget.rate), "it grows again by and by");
        assert_eq!(after(&[(2000, 10), (20_000, 40)]).0.rate, REPAIR_RATE_MAX, "that is usual by now");
    }

    #[test]
    fn nobody_there_means_no_limit() {
        let (mut budget, now) = after(&[(2000, 10), (200, 40)]);
        let later = now + REPAIR_CALM_TIME + MS;
        assert_eq!((0..100).map(|_| budget.spend(later, MIB as u64)).max(), Some(Duration::ZERO));
        budget.begin();
        budget.spend(later, REPAIR_RATE_MIN / 4);
        assert_eq!(budget.spend(later, 1), 250 * MS, "the first bytes are paid for");
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (mut budget, now) = after(&[(2000, 10), (200, 40)]);
        assert_eq!((0..100).map(|_| budget.spend(now, u64::from(u32::MAX))).max(), Some(REPAIR_YIELD_MAX));
    }
}
