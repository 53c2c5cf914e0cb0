//! What is known of one group's log: where its entries are, and the newest of them.

use std::collections::VecDeque;

use bytes::Bytes;

use super::entry::{EntryId, GroupState, SavedVote};
use super::record;

/// Bytes of entries per group that are kept in memory for replication and apply. Entries not yet written are kept as
/// well, whatever their size.
const CACHE_SIZE_MAX: usize = 4 * types::limits::MIB;

/// Where an entry is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryPlace {
    pub term: u64,
    pub segment: u64,
    pub offset: u32,
    pub size: u32,
}

/// Index and state of one group.
#[derive(Debug, Default)]
pub struct GroupLog {
    pub vote: Option<SavedVote>,
    pub purged: Option<EntryId>,
    pub committed: Option<EntryId>,
    /// `committed` is newer than the newest record of it.
    pub committed_unwritten: bool,
    /// Log index of `places[0]`.
    start: u64,
    places: VecDeque<EntryPlace>,
    /// Bytes of all records in `places`.
    size: u64,
    /// Bodies of the last entries.
    cache: VecDeque<Bytes>,
    cache_size: usize,
}

impl GroupLog {
    /// A group as found on disk.
    pub fn recovered(state: GroupState, start: u64, places: VecDeque<EntryPlace>) -> Self {
        let size = places.iter().map(|place| u64::from(place.size)).sum();
        let GroupState { vote, purged, committed, .. } = state;
        Self { vote, purged, committed, start, places, size, ..Self::default() }
    }

    /// Everything but the entries.
    pub fn state(&self) -> GroupState {
        GroupState { vote: self.vote, purged: self.purged, last: self.last(), committed: self.committed }
    }

    /// The newest entry, or what was purged when there is none.
    pub fn last(&self) -> Option<EntryId> {
        match self.places.back() {
            Some(place) => Some(EntryId { term: place.term, index: self.end() - 1 }),
            None => self.purged,
        }
    }

    /// One more than the index of the last entry.
    pub fn end(&self) -> u64 {
        self.start + self.places.len() as u64
    }

    /// Bytes of the entries.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Number and bytes of the entries up to `index`.
    pub fn usage_upto(&self, index: u64) -> (u64, u64) {
        let count = index.saturating_add(1).saturating_sub(self.start).min(self.places.len() as u64);
        let places = self.places.iter().take(usize::try_from(count).expect("at most the length of a queue"));
        (count, places.map(|place| u64::from(place.size)).sum())
    }

    /// The places of all entries.
    pub fn places(&self) -> impl Iterator<Item = &EntryPlace> {
        self.places.iter()
    }

    /// Indexes of the entries in `segment`.
    pub fn in_segment(&self, segment: u64) -> impl Iterator<Item = u64> {
        let found = self.places.iter().zip(self.start..).filter(move |(place, _)| place.segment == segment);
        found.map(|(_, index)| index)
    }

    /// Where the entry at `index` is.
    pub fn place(&self, index: u64) -> Option<EntryPlace> {
        self.places.get(usize::try_from(index.checked_sub(self.start)?).ok()?).copied()
    }

    /// Notes that an entry is at `target` now. False when it was not at `source` any more.
    pub fn move_place(&mut self, index: u64, source: &EntryPlace, target: &EntryPlace) -> bool {
        let is_there = self.place(index) == Some(*source);
        if is_there {
            let at = usize::try_from(index - self.start).expect("less than the length of a queue");
            self.places[at] = *target;
        }
        is_there
    }

    /// Adds an entry at the end. False when it would leave a hole.
    pub fn push(&mut self, index: u64, place: EntryPlace, body: Bytes) -> bool {
        if self.places.is_empty() && self.purged.is_none() {
            self.start = index;
        }
        if index != self.end() {
            return false;
        }
        self.size += u64::from(place.size);
        self.cache_size += body.len();
        self.places.push_back(place);
        self.cache.push_back(body);
        true
    }

    /// Removes the entries from `index` on and returns where they were.
    pub fn truncate(&mut self, index: u64) -> Vec<EntryPlace> {
        let kept =
            usize::try_from(index.saturating_sub(self.start)).unwrap_or(usize::MAX).min(self.places.len());
        let removed: Vec<EntryPlace> = self.places.drain(kept..).collect();
        for _ in 0..removed.len() {
            self.cache_size -= self.cache.pop_back().map_or(0, |body| body.len());
        }
        self.forget(&removed);
        removed
    }

    /// Removes the entries up to `id` and returns where they were.
    pub fn purge(&mut self, id: EntryId) -> Vec<EntryPlace> {
        let gone = usize::try_from((id.index + 1).saturating_sub(self.start)).unwrap_or(usize::MAX);
        let removed: Vec<EntryPlace> = self.places.drain(..gone.min(self.places.len())).collect();
        while self.cache.len() > self.places.len() {
            self.cache_size -= self.cache.pop_front().map_or(0, |body| body.len());
        }
        self.forget(&removed);
        self.purged = self.purged.max(Some(id));
        self.start = id.index + 1;
        removed
    }

    /// Drops bodies from memory that are written (before `written`, a segment and an offset) and beyond the limit.
    pub fn evict(&mut self, written: (u64, u64)) {
        while self.cache_size > CACHE_SIZE_MAX {
            let place = self.places[self.places.len() - self.cache.len()];
            if (place.segment, u64::from(place.offset)) >= written {
                return;
            }
            self.cache_size -= self.cache.pop_front().map_or(0, |body| body.len());
        }
    }

    /// Where the entries from `start` (inclusive) to `end` are, until `size_max` bytes are reached but at least one;
    /// with the body of those in memory.
    pub fn find(&self, start: u64, end: u64, size_max: u64) -> Vec<(EntryId, EntryPlace, Option<Bytes>)> {
        let cached_from = self.places.len() - self.cache.len();
        let mut found = Vec::new();
        let mut size = 0;
        for index in start.max(self.start)..end.min(self.end()) {
            let at = usize::try_from(index - self.start).expect("less than the length of a queue");
            let place = self.places[at];
            size += u64::from(place.size);
            if !found.is_empty() && size > size_max {
                break;
            }
            let body = at.checked_sub(cached_from).map(|at| self.cache[at].clone());
            found.push((EntryId { term: place.term, index }, place, body));
        }
        found
    }

    /// Index of the first entry of the newest ones that together have at most `count` entries and `size` bytes.
    pub fn tail_start(&self, count: u64, size: u64) -> u64 {
        let mut left = size;
        let mut kept = 0;
        for place in self.places.iter().rev() {
            if kept == count || u64::from(place.size) > left {
                break;
            }
            left -= u64::from(place.size);
            kept += 1;
        }
        self.end() - kept
    }

    fn forget(&mut self, removed: &[EntryPlace]) {
        self.size -= removed.iter().map(|place| u64::from(place.size)).sum::<u64>();
    }
}

impl EntryPlace {
    /// The place of an entry that is about to be written.
    pub fn new(term: u64, segment: u64, offset: u64, body: &[u8]) -> Self {
        let offset = u32::try_from(offset).expect("a segment ends soon after its target size");
        let size = u32::try_from(record::entry_size(body.len())).expect("append() refuses larger entries");
        Self { term, segment, offset, size }
    }
}
