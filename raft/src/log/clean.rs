//! Keeps the log small beside groups that write little: copies the entries that are still needed of old segments to the
//! end of the log, so that these segments can go.
//!
//! A copy is written with a commit like everything else, and counts only when that commit is durable: until then the
//! entry is read where it was, and its segment stays. After a crash both may be there, and they are the same.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use env::File;
use types::{PartitionId, Result};

use super::entry::EntryId;
use super::group::EntryPlace;
use super::record::{self, Record};
use super::{LogShared, LogState, Move, Segment};

impl Segment {
    /// Counts an entry that is in it.
    pub(super) fn add(&mut self, place: &EntryPlace) {
        self.live += 1;
        self.live_size += u64::from(place.size);
    }

    /// Counts an entry as gone.
    pub(super) fn remove(&mut self, place: &EntryPlace) {
        self.live -= 1;
        self.live_size -= u64::from(place.size);
    }

    /// True when cleaning it gives back a quarter or more of its size: with less, copying costs more than it gains.
    fn is_worth_cleaning(&self) -> bool {
        self.live > 0 && self.file.is_some() && !self.damaged && self.live_size <= self.size / 4 * 3
    }
}

/// An entry that is to be copied.
struct Found {
    group: PartitionId,
    id: EntryId,
    place: EntryPlace,
    file: Arc<dyn File>,
}

impl LogState {
    /// The next entries to copy, up to `step` bytes of one segment: the one with the least to copy.
    fn next_to_move(&mut self, size_max: u64, step: u64) -> Vec<Found> {
        if self.size() <= size_max || self.closed {
            return Vec::new();
        }
        if self.to_move.is_empty() {
            let older = self.segments.range(..self.archived_before());
            let worth = older.filter(|(_, segment)| segment.is_worth_cleaning());
            let Some((&number, _)) = worth.min_by_key(|(_, segment)| segment.live_size) else {
                return Vec::new();
            };
            let entries =
                self.groups.iter().flat_map(|(id, log)| log.in_segment(number).map(|index| (*id, index)));
            self.to_move = entries.collect();
            self.to_move.reverse();
            self.moved_from = number;
        }
        let Some(file) = self.segments.get(&self.moved_from).and_then(|segment| segment.file.clone()) else {
            self.to_move.clear();
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut size = 0;
        while size < step
            && let Some((group, index)) = self.to_move.pop()
        {
            // Gone by now, or replaced.
            let Some(place) = self.group(group).place(index).filter(|place| place.segment == self.moved_from)
            else {
                continue;
            };
            size += u64::from(place.size);
            found.push(Found { group, id: EntryId { term: place.term, index }, place, file: file.clone() });
        }
        found
    }

    /// Queues a copy of an entry, unless the entry is gone by now.
    fn copy(&mut self, found: &Found, body: Bytes) {
        let Found { group, id, place: source, .. } = *found;
        if self.group(group).place(id.index) != Some(source) {
            return;
        }
        let offset = self.pending_start + self.pending.len() as u64;
        let target = EntryPlace::new(id.term, self.current, offset, &body);
        self.write(group, &Record::Moved(id, body));
        self.moves.push(Move { group, id, source, target });
        self.urgent = true;
    }

    /// From now on the entries are read from their copies, which are durable.
    pub(super) fn finish_moves(&mut self, moves: &[Move]) {
        for Move { group, id, source, target } in moves {
            if !self.group(*group).move_place(id.index, source, target) {
                continue;
            }
            self.segments.get_mut(&source.segment).expect("deleted only when empty").remove(source);
            self.segments.get_mut(&target.segment).expect("just written").add(target);
        }
        // Another commit deletes what is empty now.
        self.urgent |= !moves.is_empty();
    }
}

impl LogShared {
    /// Queues the next copies while the log is too large.
    pub(super) fn clean(&self) {
        let found = self.lock().next_to_move(self.sizes.log, self.sizes.step);
        for entry in found {
            match entry.read() {
                Ok(body) => self.lock().copy(&entry, body),
                Err(e) => {
                    tracing::error!(error = %e, "a segment of the raft log cannot be cleaned and stays");
                    let mut state = self.lock();
                    let segment = state.segments.get_mut(&entry.place.segment);
                    segment.into_iter().for_each(|segment| segment.damaged = true);
                    state.to_move.clear();
                    return;
                }
            }
        }
    }
}

impl Found {
    fn read(&self) -> Result<Bytes> {
        let mut bytes = vec![0; self.place.size as usize];
        self.file.read_exact_at(&mut bytes, u64::from(self.place.offset))?;
        record::decode_entry(bytes.into(), self.group, self.id)
    }
}
