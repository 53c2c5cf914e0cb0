//! The redundancy profile of a cluster.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::SHARD_COUNT_MAX;
use crate::{Error, Result};

/// `k` data shards and `m` parity shards: any `m` disks may be lost. One that is read is within the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Profile {
    /// Data shards of a stripe.
    pub k: u8,
    /// Parity shards of a stripe; also the number of lost disks every chunk survives.
    pub m: u8,
}

/// A profile as it was written.
#[derive(Deserialize)]
struct Unchecked {
    k: u8,
    m: u8,
}

impl Profile {
    /// `k` data and `m` parity shards; `Invalid` outside the limits.
    pub fn new(k: u8, m: u8) -> Result<Self> {
        let profile = Self { k, m };
        if k == 0 || m == 0 || profile.n() > SHARD_COUNT_MAX {
            return Err(Error::invalid(format!(
                "profile {profile} is not k+m with k >= 1, m >= 1, k+m <= {SHARD_COUNT_MAX}; try 4+2"
            )));
        }
        Ok(profile)
    }

    /// Shards of a stripe: `k + m`.
    pub fn n(self) -> usize {
        usize::from(self.k) + usize::from(self.m)
    }

    /// Copies of a small chunk: `m + 1`, so that it survives as many losses as a stripe.
    pub fn replicas(self) -> usize {
        usize::from(self.m) + 1
    }

    /// Reads `k+m`, for example `4+2`; `Invalid` for anything else and outside the limits.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || {
            Error::invalid(format!(
                "profile {text:?} is not k+m with k >= 1, m >= 1, k+m <= {SHARD_COUNT_MAX}; try 4+2"
            ))
        };
        let (k, m) = text.split_once('+').ok_or_else(bad)?;
        Self::new(k.parse().map_err(|_| bad())?, m.parse().map_err(|_| bad())?)
    }
}

impl TryFrom<Unchecked> for Profile {
    type Error = Error;
    fn try_from(Unchecked { k, m }: Unchecked) -> Result<Self> {
        Self::new(k, m)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.k, self.m)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_profiles() {
        assert_eq!(Profile::parse("4+2"), Ok(Profile { k: 4, m: 2 }));
        for bad in ["", "4", "0+2", "4+0", "4+2+1", "30+30", "-1+2", "a+b"] {
            assert!(Profile::parse(bad).is_err(), "{bad}");
        }
    }
}
