//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use types::Millis;

/// Tells the wall-clock time; never used to measure durations or to order events.
#[derive(Clone, Debug)]
pub struct Clock(ClockSource);

#[derive(Clone, Debug)]
enum ClockSource {
    Real,
    /// Follows tokio's (pausable) clock from a fixed start.
    Simulated(tokio::time::Instant),
}

/// Where simulated time begins: 2026-01-01 UTC.
const SIMULATED_START: Millis = Millis(1_767_225_600_000);

impl Clock {
    pub(crate) fn real() -> Self {
        Self(ClockSource::Real)
    }

    pub(crate) fn simulated() -> Self {
        Self(ClockSource::Simulated(tokio::time::Instant::now()))
    }

    /// The time now.
    pub fn wall(&self) -> Millis {
        match &self.0 {
            ClockSource::Real => {
                let since =
                    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set after 1970");
                Millis(since.as_millis() as u64)
            }
            ClockSource::Simulated(start) => SIMULATED_START.plus(start.elapsed().as_millis() as u64),
        }
    }
}
