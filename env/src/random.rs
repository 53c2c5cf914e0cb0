//! Randomness, from the operating system or from a seed.

use std::sync::{Arc, Mutex};

use rand::rngs::{OsRng, StdRng};
use rand::{RngCore, SeedableRng, TryRngCore};

/// A source of random bytes. Clones of a seeded source share its state.
#[derive(Clone, Debug)]
pub struct Random(RandomSource);

#[derive(Clone, Debug)]
enum RandomSource {
    Real,
    Seeded(Arc<Mutex<StdRng>>),
}

impl Random {
    pub(crate) fn real() -> Self {
        Self(RandomSource::Real)
    }

    /// A source that gives the same bytes for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(RandomSource::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    /// Fills `bytes`. Real randomness is fit for keys.
    pub fn fill(&self, bytes: &mut [u8]) {
        match &self.0 {
            RandomSource::Real => OsRng.try_fill_bytes(bytes).expect("the operating system has randomness"),
            RandomSource::Seeded(rng) => {
                rng.lock().expect("never poisoned: no panic inside").fill_bytes(bytes)
            }
        }
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A random number.
    pub fn u64(&self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    /// A random number below `bound` (which is at least 1). The bias is below `bound / 2^64`.
    pub fn below(&self, bound: u64) -> u64 {
        assert!(bound > 0, "below(0) has no answer");
        ((u128::from(self.u64()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays() {
        let draw = |seed| {
            let random = Random::seeded(seed);
            [random.u64(), random.below(10), random.u64()]
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!((0..1000).all(|_| Random::real().below(3) < 3));
    }
}
