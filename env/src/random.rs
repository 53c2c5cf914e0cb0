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
    Chosen(Choices),
}

/// All answers that a computation could get from chance, one combination after the other: for tests of all outcomes
/// where a seed would give one of them.
#[derive(Clone, Debug)]
pub struct Choices(Arc<Mutex<Script>>);

#[derive(Debug)]
struct Script {
    options: fn(u64) -> Vec<u64>,
    /// The answers of this combination: which option, of how many.
    made: Vec<(usize, usize)>,
    next: usize,
}

impl Choices {
    /// The first combination. `options` are the numbers below a bound that are to be tried: at least one.
    pub fn new(options: fn(u64) -> Vec<u64>) -> Self {
        Self(Arc::new(Mutex::new(Script { options, made: Vec::new(), next: 0 })))
    }

    /// A source that answers as this combination says.
    pub fn random(&self) -> Random {
        self.lock().next = 0;
        Random(RandomSource::Chosen(self.clone()))
    }

    /// Goes on to the next combination; false when all were tried.
    pub fn advance(&self) -> bool {
        let mut script = self.lock();
        while let Some((option, count)) = script.made.pop() {
            if option + 1 < count {
                script.made.push((option + 1, count));
                return true;
            }
        }
        false
    }

    fn below(&self, bound: u64) -> u64 {
        let mut script = self.lock();
        let options = (script.options)(bound);
        let next = script.next;
        script.next += 1;
        match script.made.get(next) {
            Some((option, count)) => {
                assert_eq!(*count, options.len(), "the same answers lead to the same questions");
                options[*option]
            }
            None => {
                script.made.push((0, options.len()));
                options[0]
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().expect("never poisoned by what it asserts")
    }
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
            RandomSource::Chosen(_) => panic!("choices have bounds"),
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
        if let RandomSource::Chosen(choices) = &self.0 {
            return choices.below(bound);
        }
        ((u128::from(self.u64()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_try_everything_once() {
        let choices = Choices::new(|bound| (0..bound).collect());
        let mut seen = Vec::new();
        loop {
            let random = choices.random();
            // Whether there is a second question depends on the answer to the first.
            let first = random.below(3);
            seen.push((first, if first == 1 { 0 } else { random.below(2) }));
            if !choices.advance() {
                break;
            }
        }
        assert_eq!(seen, [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)]);
    }

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
