//! The wall clock, and the one that counts while the machine is suspended.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use types::Millis;

/// Tells the wall-clock time, which is never used to measure durations or to order events, and the boot-time clock.
/// Clones are the same clock.
#[derive(Clone, Debug)]
pub struct Clock {
    source: ClockSource,
    /// By how many milliseconds the clock that all go by is ahead of this one.
    ahead: Arc<AtomicI64>,
}

#[derive(Clone, Debug)]
enum ClockSource {
    Real,
    /// Follows tokio's (pausable) clock from a fixed start, plus what it was set wrong by, in milliseconds.
    Simulated(tokio::time::Instant, Arc<AtomicI64>),
}

/// Where simulated time begins: 2026-01-01 UTC.
const SIMULATED_START: Millis = Millis(1_767_225_600_000);

impl Clock {
    pub(crate) fn real() -> Self {
        Self { source: ClockSource::Real, ahead: Arc::default() }
    }

    pub(crate) fn simulated() -> Self {
        let source = ClockSource::Simulated(tokio::time::Instant::now(), Arc::default());
        Self { source, ahead: Arc::default() }
    }

    /// The time now.
    pub fn wall(&self) -> Millis {
        match &self.source {
            ClockSource::Real => {
                let since =
                    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set after 1970");
                Millis(since.as_millis() as u64)
            }
            ClockSource::Simulated(start, skew) => {
                let right = SIMULATED_START.plus(start.elapsed().as_millis() as u64);
                Millis(right.0.saturating_add_signed(skew.load(Ordering::Relaxed)))
            }
        }
    }

    /// The time that machines which work together go by, as far as this one has heard of it: what one of them vouches for
    /// until then, another accepts until then, however wrong their clocks are.
    pub fn agreed(&self) -> Millis {
        Millis(self.wall().0.saturating_add_signed(self.ahead.load(Ordering::Relaxed)))
    }

    /// Hears what time it is for all.
    pub fn hear(&self, now: Millis) {
        let own = self.wall();
        let ms = |by: u64| i64::try_from(by).unwrap_or(i64::MAX);
        let ahead = if now >= own { ms(now.since(own)) } else { -ms(own.since(now)) };
        self.ahead.store(ahead, Ordering::Relaxed);
    }

    /// Time since some moment in the past. Goes on while the machine is suspended, where [`crate::time::now`] stands
    /// still: the difference of the two says that it was.
    pub fn boot(&self) -> Duration {
        match &self.source {
            ClockSource::Real => crate::process::boot_time(),
            ClockSource::Simulated(start, _) => start.elapsed(),
        }
    }

    /// Sets a simulated clock by `ms` milliseconds forward or back, for this machine alone; a real one is not ours.
    pub fn jump(&self, ms: i64) {
        if let ClockSource::Simulated(_, skew) = &self.source {
            skew.fetch_add(ms, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Owner;

    #[tokio::test(start_paused = true)]
    async fn machines_whose_clocks_are_wrong_agree_on_a_time() {
        let [right, fast, slow] = [(); 3].map(|()| Clock::simulated());
        fast.jump(10_800_000);
        slow.jump(-10_800_000);
        let check = || {
            for clock in [&right, &fast.clone(), &slow] {
                clock.hear(fast.wall());
                assert_eq!(clock.agreed(), fast.wall());
            }
        };
        check();
        fast.jump(-20_000_000);
        check();
        assert_ne!(right.wall(), right.agreed());
    }

    /// What a suspended machine shows, on real clocks and simulated ones.
    #[tokio::test(start_paused = true)]
    async fn the_boot_time_clock_goes_on() {
        let real = Clock::real();
        let (first, second) = (real.boot(), real.boot());
        assert!(Duration::ZERO < first && first <= second);
        let (clock, machine) = (Clock::simulated(), Owner::new("machine", crate::Random::seeded(1)));
        let look = || {
            let clock = clock.clone();
            let read = async move { (clock.boot(), crate::time::now()) };
            machine.spawn(read)
        };
        let (boot, now) = look().await.unwrap();
        machine.suspend();
        let waiting = look();
        crate::time::sleep(Duration::from_secs(5)).await;
        machine.resume();
        let (boot_after, now_after) = waiting.await.unwrap();
        assert_eq!((boot_after - boot, now_after - now), (Duration::from_secs(5), Duration::ZERO));
        let nap = async { (crate::time::sleep_until(crate::time::now() + Duration::from_secs(1))).await };
        machine.spawn(nap).await.unwrap();
        let (boot_after, now_after) = look().await.unwrap();
        assert_eq!((boot_after - boot, now_after - now), (Duration::from_secs(6), Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_jumps_goes_on_from_there() {
        let (clock, other) = (Clock::simulated(), Clock::simulated());
        clock.jump(-5_000);
        crate::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(clock.wall(), Millis(SIMULATED_START.0 - 4_000));
        assert_eq!(other.wall(), SIMULATED_START.plus(1_000));
    }
}
