//! File contents from a seed: no two alike, but with beginnings that repeat between files and clients, so that their
//! chunks are stored once and used often.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use chunk::manifest::{self, ChunkRef, Manifest, TreeBuilder};
use chunk::split::SplitRule;
use env::Random;
use types::ChunkId;
use types::limits::{
    INLINE_SIZE_MAX, KIB, MANIFEST_INLINE_COUNT_MAX, MIB, STRIPE_SIZE_MIN, UPLOAD_WINDOW_SIZE,
};

use crate::mix::{SizeClass, Sizes};

/// Beginnings that contents share.
const LEAD_COUNT: u64 = 4;
/// A content of this size or less shares nothing: it would be one chunk, with its end in it.
const UNSHARED_SIZE: u64 = 128 * KIB as u64;
/// The end of a content that shares its beginning.
const TAIL_SIZE: u64 = 16 * KIB as u64;
/// What is compressible repeats after so many bytes.
const PERIOD: u64 = 64 * KIB as u64;
/// Enough for more chunks than a manifest lists itself, and little enough that the upload's reader never waits for room
/// (`UPLOAD_WINDOW_SIZE`, which a race shares): it waits on a thread of its own, and a paused clock waits for that thread.
const TREE_SIZES: Range<usize> = 22 * MIB..26 * MIB;
const _: () = assert!(TREE_SIZES.end + 4 * MIB <= UPLOAD_WINDOW_SIZE);
/// Fewer bytes could not tell two contents apart.
const SIZE_MIN: u64 = 16;

/// BLAKE3 of all bytes that were asked for.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// What is known of the bytes of a version that was written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Makes the bytes again.
    pub recipe: Recipe,
    /// Of all bytes.
    pub hash: Hash,
    /// What the journal and listings must name the content.
    pub root: ChunkId,
}

impl Content {
    /// The bytes of a recipe, and what is known of them.
    pub fn make(recipe: Recipe) -> (Bytes, Self) {
        let bytes = Bytes::from(recipe.bytes(0..recipe.size));
        let content = Self { recipe, hash: Hash::of(&bytes), root: root_of(&bytes) };
        (bytes, content)
    }

    /// Hash of the bytes in `range` that the content has.
    pub fn hash_of(&self, range: &Range<u64>) -> Hash {
        Hash::of(&self.recipe.bytes(range.clone()))
    }
}

/// How to make a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recipe {
    /// Equal for all contents of one run.
    pub seed: u64,
    /// Who writes it.
    pub client: usize,
    /// The client's so many-th content.
    pub number: u64,
    /// So many bytes at its beginning are like those of other contents.
    pub lead: u64,
    /// Bytes altogether.
    pub size: u64,
}

impl Recipe {
    /// The bytes in `range`; what is beyond the end is left out.
    pub fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        let (start, end) = (range.start.min(self.size), range.end.min(self.size));
        let mut bytes = Vec::with_capacity(end.saturating_sub(start) as usize);
        let shared = self.number % LEAD_COUNT;
        let lead = Stream::new(&[self.seed, shared], shared == 0);
        lead.append(start.min(self.lead)..end.min(self.lead), &mut bytes);
        let own = Stream::new(&[self.seed, self.client as u64, self.number], self.number.is_multiple_of(3));
        own.append(start.max(self.lead)..end.max(self.lead), &mut bytes);
        bytes
    }
}

/// Bytes without end that follow from numbers.
struct Stream {
    hasher: blake3::Hasher,
    period: u64,
}

impl Stream {
    fn new(numbers: &[u64], is_compressible: bool) -> Self {
        let mut hasher = blake3::Hasher::new();
        for number in numbers {
            hasher.update(&number.to_le_bytes());
        }
        Self { hasher, period: if is_compressible { PERIOD } else { u64::MAX } }
    }

    fn append(&self, range: Range<u64>, bytes: &mut Vec<u8>) {
        let mut reader = self.hasher.finalize_xof();
        let mut at = range.start;
        while at < range.end {
            let within = at % self.period;
            let count = (range.end - at).min(self.period - within);
            let filled = bytes.len();
            bytes.resize(filled + count as usize, 0);
            reader.set_position(within);
            reader.fill(&mut bytes[filled..]);
            at += count;
        }
    }
}

/// Names the content as the client library will, cut by the same rule.
fn root_of(bytes: &Bytes) -> ChunkId {
    if bytes.len() <= INLINE_SIZE_MAX {
        return chunk::chunk_id(bytes);
    }
    let rule = SplitRule::for_size(bytes.len() as u64);
    let chunks = rule.split(bytes.clone());
    let chunks = chunks.map(|part| ChunkRef { id: chunk::chunk_id(&part), size: part.len() as u32 });
    let chunks: Vec<ChunkRef> = chunks.collect();
    let content = if chunks.len() <= MANIFEST_INLINE_COUNT_MAX {
        manifest::Content::Chunks(chunks)
    } else {
        let mut builder = TreeBuilder::new();
        chunks.iter().for_each(|chunk| builder.push(*chunk));
        builder.finish()
    };
    manifest::content_root(&Manifest { size: bytes.len() as u64, rule: rule.id, content })
}

/// Draws the contents of one client.
#[derive(Clone, Debug)]
pub(crate) struct Maker {
    seed: u64,
    client: usize,
    number: u64,
}

impl Maker {
    /// Contents of `client`; those of one `seed` share their beginnings.
    pub fn new(seed: u64, client: usize) -> Self {
        Self { seed, client, number: 0 }
    }

    /// The recipe of a content that no other is equal to.
    pub fn draw(&mut self, sizes: &Sizes, random: &Random) -> Recipe {
        let between = |range: Range<usize>| range.start as u64 + random.below(range.len() as u64);
        let size = match sizes.draw(random) {
            SizeClass::Inline => between(0..INLINE_SIZE_MAX + 1).max(SIZE_MIN),
            SizeClass::Replica => between(INLINE_SIZE_MAX + 1..STRIPE_SIZE_MIN),
            SizeClass::Stripe => between(STRIPE_SIZE_MIN..512 * KIB),
            SizeClass::Chunks => between(512 * KIB..4 * MIB),
            SizeClass::Tree => between(TREE_SIZES),
        };
        self.number += 1;
        let lead = if size <= UNSHARED_SIZE { 0 } else { size - TAIL_SIZE };
        Recipe { seed: self.seed, client: self.client, number: self.number, lead, size }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::mix::Mix;

    fn recipe(client: usize, number: u64, size: u64) -> Recipe {
        let lead = if size <= UNSHARED_SIZE { 0 } else { size - TAIL_SIZE };
        Recipe { seed: 7, client, number, lead, size }
    }

    fn chunks(recipe: Recipe) -> BTreeSet<ChunkId> {
        let (bytes, _) = Content::make(recipe);
        SplitRule::for_size(recipe.size).split(bytes).map(|part| chunk::chunk_id(&part)).collect()
    }

    #[test]
    fn contents_are_different_and_come_again() {
        let sizes = Sizes { tree: 0, ..Mix::default().sizes };
        let make = |client| {
            let (mut maker, random) = (Maker::new(1, client), Random::seeded(client as u64));
            (0..30).map(|_| Content::make(maker.draw(&sizes, &random)).1).collect::<Vec<_>>()
        };
        let hashes: BTreeSet<Hash> = make(0).into_iter().chain(make(1)).map(|content| content.hash).collect();
        assert_eq!(hashes.len(), 60);
        assert_eq!(make(0), make(0));
        assert_ne!(recipe(0, 1, SIZE_MIN).bytes(0..99), recipe(1, 1, SIZE_MIN).bytes(0..99));
    }

    #[test]
    fn a_part_is_a_part_of_the_whole() {
        for recipe in [recipe(0, 1, 300_000), recipe(0, 4, 300_000), recipe(0, 3, 100_000)] {
            let whole = recipe.bytes(0..u64::MAX);
            assert_eq!(whole.len() as u64, recipe.size);
            for range in [0..10, 65_530..65_540, 99_999..200_001, 299_000..400_000, 400_000..500_000, 5..5] {
                let end = range.end.min(recipe.size) as usize;
                let want = whole.get(range.start as usize..end).unwrap_or_default();
                assert!(recipe.bytes(range.clone()) == want, "{recipe:?} {range:?}");
            }
        }
    }

    #[test]
    fn chunks_repeat_between_clients() {
        // Both begin like the contents of number 1 modulo 4.
        let (a, b) = (chunks(recipe(0, 1, 3_000_000)), chunks(recipe(1, 5, 2_000_000)));
        assert!(a.intersection(&b).count() + 3 >= b.len() && b.len() >= 5, "{} of {}", a.len(), b.len());
        assert!(chunks(recipe(0, 2, 2_000_000)).is_disjoint(&a));
    }

    #[test]
    fn the_largest_need_a_tree() {
        let sizes = Sizes { inline: 0, replica: 0, stripe: 0, chunks: 0, tree: 1 };
        for client in 0..2 {
            let recipe = Maker::new(1, client).draw(&sizes, &Random::seeded(1));
            assert!(TREE_SIZES.contains(&(recipe.size as usize)));
            for number in 1..=LEAD_COUNT {
                let size = TREE_SIZES.start as u64;
                let chunks = chunks(Recipe { number, size, lead: size - TAIL_SIZE, ..recipe });
                // The compressible one repeats itself: its chunks are long, and the same again and again.
                let is_tree = chunks.len() > MANIFEST_INLINE_COUNT_MAX;
                assert!(is_tree || number == LEAD_COUNT, "{number}: {}", chunks.len());
            }
        }
    }
}
