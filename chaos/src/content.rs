//! File contents from a seed: no two alike, some of them compressible and with chunks that repeat.

use std::sync::atomic::{AtomicU64, Ordering};

use env::Random;
use types::limits::{INLINE_SIZE_MAX, KIB, MIB, STRIPE_SIZE_MIN};

use crate::history::Content;

/// A run that has written this much writes only small files from then on: its disks are those of the machine.
const WRITTEN_BYTES_MAX: u64 = 1 << 30;

/// Makes contents for all workers of a run.
#[derive(Debug)]
pub struct Maker {
    seed: u64,
    number: AtomicU64,
    written: AtomicU64,
}

impl Maker {
    /// Contents that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, number: AtomicU64::new(0), written: AtomicU64::new(0) }
    }

    /// A new content: inline, replicated, or striped.
    pub fn make(&self, random: &Random) -> (Vec<u8>, Content) {
        let between = |min: usize, max: usize| min + random.below((max - min) as u64) as usize;
        let is_full = self.written.load(Ordering::Relaxed) > WRITTEN_BYTES_MAX;
        let size = match if is_full { 0 } else { random.below(100) } {
            0..40 => between(0, INLINE_SIZE_MAX + 1),
            40..75 => between(INLINE_SIZE_MAX + 1, STRIPE_SIZE_MIN),
            75..95 => between(STRIPE_SIZE_MIN, MIB),
            _ => between(MIB, 8 * MIB),
        };
        self.written.fetch_add(size as u64, Ordering::Relaxed);
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let bytes = generate(self.seed, number, size);
        let content = Content(*blake3::hash(&bytes).as_bytes());
        (bytes, content)
    }
}

/// `size` bytes, but at least 16: fewer could not tell two contents apart.
fn generate(seed: u64, number: u64, size: usize) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(&number.to_le_bytes());
    let mut bytes = vec![0; size.max(16)];
    let unique = if number.is_multiple_of(3) { bytes.len().min(64 * KIB) } else { bytes.len() };
    hasher.finalize_xof().fill(&mut bytes[..unique]);
    for at in unique..bytes.len() {
        bytes[at] = bytes[at - unique];
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_different_and_come_again() {
        let make = |seed| {
            let (maker, random) = (Maker::new(seed), Random::seeded(seed));
            (0..20).map(|_| maker.make(&random).1).collect::<Vec<_>>()
        };
        let all: std::collections::BTreeSet<Content> = make(1).into_iter().chain(make(2)).collect();
        assert_eq!(all.len(), 40);
        assert_eq!(make(1), make(1));
    }

    #[test]
    fn the_smallest_are_still_different() {
        assert_ne!(generate(1, 0, 0), generate(1, 1, 0));
        assert_eq!(generate(1, 3, 200_000).len(), 200_000);
    }
}
