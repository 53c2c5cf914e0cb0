//! The Bloom filter in front of the rows, and how it is made again while the partition works (M13).
//!
//! A filter only ever claims too much, so it may be made slowly: page by page from the rows, while whatever is
//! registered meanwhile is added to the old one and to the one in the making. While there is none, every question goes
//! to the rows. No lock is held while rows are read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, RwLock};

use chunk::filter::{BloomFilter, Filter};
use types::ChunkId;

/// A filter starts with room for this many chunks.
pub const CAPACITY_MIN: u64 = 1 << 16;
/// Seed of the filters. Chunk ids are hashes already; the seed only has to stay the same forever.
const SEED: [u8; 32] = *b"CloudSync chunk existence filter";

/// The filters of a partition on this node.
#[derive(Debug, Default)]
pub struct Filters {
    /// The one that answers; `None` while it is not known what it should claim.
    serving: RwLock<Option<BloomFilter>>,
    making: Mutex<Making>,
    negatives: AtomicU64,
    positives: AtomicU64,
}

/// The next filter.
#[derive(Debug, Default)]
struct Making {
    next: Option<BloomFilter>,
    /// How often the state was replaced, and with it everything that was read for the next filter.
    round: u64,
    /// Chunks of commands that are carried out and may not be in the rows yet, so that a scan does not meet them.
    fresh: Vec<ChunkId>,
}

/// A filter in the making, as its maker knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round(u64);

impl Filters {
    /// Which of these chunks may have a row. Counts the answers.
    pub fn may_contain<'a>(&self, chunks: impl Iterator<Item = &'a ChunkId>) -> Vec<bool> {
        let found: Vec<bool> = {
            let serving = self.serving.read().expect("no panic while it is held");
            let may = |chunk| serving.as_ref().is_none_or(|filter| filter.may_contain(chunk));
            chunks.map(may).collect()
        };
        let positives = found.iter().filter(|may| **may).count() as u64;
        self.positives.fetch_add(positives, Ordering::Relaxed);
        self.negatives.fetch_add(found.len() as u64 - positives, Ordering::Relaxed);
        found
    }

    /// Answers without and with a look at the rows, since the process started.
    pub fn counts(&self) -> (u64, u64) {
        (self.negatives.load(Ordering::Relaxed), self.positives.load(Ordering::Relaxed))
    }

    /// Adds chunks that are about to have a row.
    pub fn insert(&self, chunks: &[ChunkId]) {
        let mut making = self.making();
        add(&mut making.next, chunks);
        making.fresh.extend_from_slice(chunks);
        let mut serving = self.serving.write().expect("no panic while it is held");
        add(&mut serving, chunks);
        debug_assert!(
            serving.iter().all(|filter| chunks.iter().all(|chunk| filter.may_contain(chunk))),
            "what was just registered is not surely absent"
        );
    }

    /// All that was added is in the rows.
    pub fn committed(&self) {
        self.making().fresh.clear();
    }

    /// The rows are others now: none, or not known yet.
    pub fn restart(&self, is_empty: bool) {
        let mut making = self.making();
        *making = Making { round: making.round + 1, ..Making::default() };
        *self.serving.write().expect("no panic while it is held") = is_empty.then(|| filter_for(0));
    }

    /// True when a filter is to be made, and nobody makes one.
    pub fn is_wanted(&self) -> bool {
        self.making().next.is_none()
            && self.serving.read().expect("no panic while it is held").as_ref().is_none_or(Filter::is_full)
    }

    /// Begins a filter for `count` chunks and as many more. Rows that are read from now on belong into it.
    pub fn begin(&self, count: u64) -> Round {
        let mut making = self.making();
        let mut next = Some(filter_for(count.saturating_mul(2)));
        add(&mut next, &making.fresh);
        making.next = next;
        making.round += 1;
        Round(making.round)
    }

    /// Adds chunks that have a row. False when this filter is not made any more.
    pub fn feed(&self, round: Round, chunks: &[ChunkId]) -> bool {
        let mut making = self.making();
        let is_made = making.round == round.0 && making.next.is_some();
        if is_made {
            add(&mut making.next, chunks);
        }
        is_made
    }

    /// All rows were fed: the filter answers from now on.
    pub fn finish(&self, round: Round) {
        let mut making = self.making();
        if making.round == round.0 {
            *self.serving.write().expect("no panic while it is held") = making.next.take();
        }
    }

    /// Gives up what could not be finished.
    pub fn abandon(&self, round: Round) {
        let mut making = self.making();
        if making.round == round.0 {
            making.next = None;
        }
    }

    fn making(&self) -> MutexGuard<'_, Making> {
        self.making.lock().expect("no panic while it is held")
    }
}

fn add(filter: &mut Option<BloomFilter>, chunks: &[ChunkId]) {
    if let Some(filter) = filter {
        chunks.iter().for_each(|chunk| filter.insert(chunk));
    }
}

fn filter_for(count: u64) -> BloomFilter {
    BloomFilter::new(count.max(CAPACITY_MIN), &SEED).expect("the capacity is within its limits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: std::ops::Range<u32>) -> Vec<ChunkId> {
        numbers.map(|n| chunk::chunk_id(&n.to_le_bytes())).collect()
    }

    fn knows(filters: &Filters, numbers: std::ops::Range<u32>) -> bool {
        filters.may_contain(ids(numbers).iter()).into_iter().all(|may| may)
    }

    #[test]
    fn without_a_filter_everything_may_exist() {
        let filters = Filters::default();
        assert!(knows(&filters, 0..3) && filters.is_wanted());
        filters.restart(true);
        assert!(!knows(&filters, 0..1) && !filters.is_wanted());
        assert_eq!(filters.counts(), (1, 3));
    }

    /// Whatever comes in whatever order, the next filter claims all that the one before did, and what it was fed.
    #[test]
    fn what_is_registered_meanwhile_is_in_the_next_filter() {
        let filters = Filters::default();
        filters.restart(true);
        filters.insert(&ids(0..10));
        filters.committed();
        // Carried out, but no scan that begins now meets it.
        filters.insert(&ids(10..20));
        let round = filters.begin(10);
        filters.committed();
        filters.insert(&ids(20..30));
        assert!(filters.feed(round, &ids(0..10)));
        filters.finish(round);
        assert!(knows(&filters, 0..30));
        assert!(!filters.feed(round, &ids(0..1)), "it is made");
    }

    #[test]
    fn a_full_filter_wants_a_larger_one_and_one_maker() {
        let filters = Filters::default();
        filters.restart(true);
        let count = CAPACITY_MIN as u32 + 2000;
        filters.insert(&ids(0..count));
        assert!(filters.is_wanted());
        let round = filters.begin(count.into());
        assert!(!filters.is_wanted());
        filters.abandon(round);
        assert!(filters.is_wanted() && !filters.feed(round, &[]));
        let round = filters.begin(count.into());
        assert!(filters.feed(round, &ids(0..count)));
        filters.finish(round);
        assert!(!filters.is_wanted() && knows(&filters, 0..count));
    }

    #[test]
    fn a_filter_of_other_rows_is_never_finished() {
        let filters = Filters::default();
        let round = filters.begin(5);
        filters.restart(false);
        assert!(!filters.feed(round, &ids(0..1)));
        filters.finish(round);
        filters.abandon(round);
        assert!(knows(&filters, 0..5) && filters.is_wanted(), "there is still none");
    }
}
