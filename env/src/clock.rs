//! The wall clock, and the one that counts while the machine is suspended.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use types::Millis;

/// Tells the wall-clock time, which is never used to measure durations or to order events, and the boot-time clock.
#[derive(Clone, Debug)]
pub struct Clock(ClockSource);

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
        Self(ClockSource::Real)
    }

    pub(crate) fn simulated() -> Self {
        Self(ClockSource::Simulated(tokio::time::Instant::now(), Arc::default()))
    }

    /// The time now.
    pub fn wall(&self) -> Millis {
        match &self.0 {
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

    /// Time since some moment in the past. Goes on while the machine is suspended, where [`crate::time::now`] stands
    /// still: the difference of the two says that it was.
    pub fn boot(&self) -> Duration {
        match &self.0 {
            ClockSource::Real => crate::process::boot_time(),
            ClockSource::Simulated(start, _) => start.elapsed(),
        }
    }

    /// Sets a simulated clock by `ms` milliseconds forward or back, for this machine alone; a real one is not ours.
    pub fn jump(&self, ms: i64) {
        if let ClockSource::Simulated(_, skew) = &self.0 {
            skew.fetch_add(ms, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Owner;

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
