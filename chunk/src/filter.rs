//! Answers "is this chunk surely not stored?" from memory. A stale or false "maybe" costs an exact question, never data.
//!
//! Owns: the filter and its persisted form (docs/formats/bloom-filter.md).
//! Knows nothing of: the chunk index it stands in front of, when it is rebuilt.

use std::hash::{Hash, Hasher};

use bloomfilter::Bloom;
use types::{ChunkId, Error, Result};

/// A set that may claim too much but never too little.
pub trait Filter {
    /// Adds a chunk.
    fn insert(&mut self, id: &ChunkId);
    /// False: surely not in the set. True: probably.
    fn may_contain(&self, id: &ChunkId) -> bool;
    /// Chunks added since the filter was created; one that was added twice may count twice.
    fn len(&self) -> u64;
    /// True when nothing was added.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// True when more would raise the rate of false answers above the promised one: build a larger filter.
    fn is_full(&self) -> bool;
}

/// A Bloom filter sized for a number of chunks.
#[derive(Debug)]
pub struct BloomFilter {
    bloom: Bloom<Key>,
    capacity: u64,
    len: u64,
}

/// Hashes as its bare bytes: the derived `Hash` of an array adds a length whose width depends on the machine.
struct Key([u8; 32]);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

const MAGIC: [u8; 4] = *b"CSBF";
const VERSION: u16 = 1;
/// magic 4, version 2, zero 2, capacity 8, len 8, body size 8, crc 4, zero 4.
const HEADER_SIZE: usize = 40;
const CRC_AT: usize = 32;
/// One per cent: 9.6 bits a chunk. A false answer costs one more entry in a request that is sent anyway.
const FALSE_POSITIVE_RATE: f64 = 0.01;
/// What the library needs before the bits: its own header.
const BODY_SIZE_MIN: usize = 46;

impl BloomFilter {
    /// An empty filter for `capacity` chunks. The seed makes its false answers unlike those of every other filter, so
    /// that nobody can prepare chunks that all of them misjudge; it is kept in the persisted form.
    pub fn new(capacity: u64, seed: &[u8; 32]) -> Result<Self> {
        let count = usize::try_from(capacity.max(1))
            .map_err(|_| Error::invalid("a filter for more chunks than memory can hold"))?;
        // The halves of the library's seed key its two hash functions. Equal halves (an all-zero seed) would make them
        // one function and the filter four times as wrong, so the caller's seed is spread first.
        let seed = blake3::hash(seed);
        let bloom = Bloom::new_for_fp_rate_with_seed(count, FALSE_POSITIVE_RATE, seed.as_bytes());
        let bloom = bloom.map_err(Error::internal)?;
        Ok(Self { bloom, capacity: capacity.max(1), len: 0 })
    }

    /// An empty filter to be refilled from the index, with room for twice what this one saw.
    pub fn grown(&self, seed: &[u8; 32]) -> Result<Self> {
        Self::new(self.len.max(self.capacity).saturating_mul(2), seed)
    }

    /// Chunks this filter is sized for.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The persisted form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let body = self.bloom.as_slice();
        let mut bytes = Vec::with_capacity(HEADER_SIZE + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&self.capacity.to_le_bytes());
        bytes.extend_from_slice(&self.len.to_le_bytes());
        bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(body);
        let crc = crc32fast::hash(&bytes);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the persisted form. Damage is `Corrupt`, another version `Invalid`: rebuild the filter from the index.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let corrupt = |what: &str| Error::corrupt(format!("Bloom filter {what}; rebuild it from the index"));
        if bytes.len() < HEADER_SIZE + BODY_SIZE_MIN || bytes[..4] != MAGIC {
            return Err(corrupt("has no valid header"));
        }
        let version = u16::from_le_bytes([bytes[4], bytes[5]]);
        if version != VERSION {
            return Err(Error::invalid(format!("Bloom filter has version {version}, not {VERSION}: update")));
        }
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if number(24) != (bytes.len() - HEADER_SIZE) as u64 {
            return Err(corrupt("is cut short"));
        }
        let mut crc = crc32fast::Hasher::new();
        for part in [&bytes[..CRC_AT], &[0; 4], &bytes[CRC_AT + 4..]] {
            crc.update(part);
        }
        if bytes[CRC_AT..CRC_AT + 4] != crc.finalize().to_le_bytes() {
            return Err(corrupt("does not match its checksum"));
        }
        let bloom = Bloom::from_slice(&bytes[HEADER_SIZE..]).map_err(corrupt)?;
        Ok(Self { bloom, capacity: number(8), len: number(16) })
    }
}

impl Filter for BloomFilter {
    fn insert(&mut self, id: &ChunkId) {
        if !self.bloom.check_and_set(&Key(id.0)) {
            self.len += 1;
        }
    }

    fn may_contain(&self, id: &ChunkId) -> bool {
        self.bloom.check(&Key(id.0))
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn is_full(&self) -> bool {
        self.len >= self.capacity
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use types::ErrorKind;

    use super::*;

    fn id(n: u64) -> ChunkId {
        crate::chunk_id(&n.to_le_bytes())
    }

    fn filled(capacity: u64, count: u64) -> BloomFilter {
        let mut filter = BloomFilter::new(capacity, &[7; 32]).unwrap();
        (0..count).for_each(|n| filter.insert(&id(n)));
        filter
    }

    #[test]
    fn never_forgets_and_rarely_invents() {
        let filter = filled(10_000, 10_000);
        assert!((0..10_000).all(|n| filter.may_contain(&id(n))));
        let wrong = (10_000..110_000).filter(|n| filter.may_contain(&id(*n))).count();
        assert!((500..1500).contains(&wrong), "{wrong} of 100,000");
        assert!(BloomFilter::new(10, &[0; 32]).unwrap().is_empty());
    }

    #[test]
    fn a_full_filter_says_so_and_grows() {
        let filter = filled(100, 120);
        assert!(filter.is_full());
        let larger = filter.grown(&[8; 32]).unwrap();
        assert!(larger.is_empty() && larger.capacity() >= 2 * filter.len());
    }

    #[test]
    fn adding_twice_counts_once() {
        let mut filter = filled(100, 10);
        filter.insert(&id(3));
        assert_eq!(filter.len(), 10);
    }

    #[test]
    fn persisted_form_is_frozen() {
        let bytes = filled(10, 3).to_bytes();
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        expect!["43534246010000000a00000000000000030000000000000039000000000000007506081700000000010c0000000000000007000000ebaf85b465a09de21b398fb112c1500f2cbe658c42f379e0c0f18d24b819f637331902900230051040408101"].assert_eq(&hex);
        let back = BloomFilter::from_bytes(&bytes).unwrap();
        assert!((0..3).all(|n| back.may_contain(&id(n))));
        assert_eq!((back.len(), back.capacity(), back.to_bytes()), (3, 10, bytes));
    }

    #[test]
    fn every_damaged_bit_is_noticed() {
        let bytes = filled(10, 3).to_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let kind = BloomFilter::from_bytes(&bad).unwrap_err().kind();
            assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::Invalid), "bit {bit}");
        }
        for size in 0..bytes.len() {
            assert!(BloomFilter::from_bytes(&bytes[..size]).is_err(), "cut to {size}");
        }
    }
}
