//! Wall-clock time. Durations between events on one machine use `env::time` instead.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Millis(pub u64);

impl Millis {
    /// This time plus `ms` milliseconds.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` until this time; 0 if it is not later.
    pub fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Nanoseconds since 1970-01-01 UTC, negative before: what file systems keep. Reaches from 1677 to 2262.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Nanos(pub i64);

impl Nanos {
    /// Whole milliseconds, rounded down; 0 for what was before 1970.
    pub fn millis(self) -> Millis {
        Millis(u64::try_from(self.0 / NANOS_PER_MILLI).unwrap_or(0))
    }
}

impl From<Millis> for Nanos {
    /// The last time that can be told for those after it.
    fn from(time: Millis) -> Self {
        Self(i64::try_from(time.0).unwrap_or(i64::MAX).saturating_mul(NANOS_PER_MILLI))
    }
}

const NANOS_PER_MILLI: i64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_convert_as_far_as_they_reach() {
        for (millis, nanos) in [(0, 0), (1_700_000_000_123, 1_700_000_000_123_000_000), (u64::MAX, i64::MAX)]
        {
            assert_eq!(Nanos::from(Millis(millis)), Nanos(nanos));
        }
        assert_eq!([Nanos(-1), Nanos(1_999_999)].map(Nanos::millis), [Millis(0), Millis(1)]);
    }
}
