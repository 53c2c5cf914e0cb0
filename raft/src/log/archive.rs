//! What an archive has of the log: a segment that it has not taken stays, as long as there is room.

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::PathBuf;

use super::{Archived, Log, LogState, segment};

/// What an archive is to be told next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// These segments were deleted before it took them.
    Lost(Range<u64>),
    /// This segment will not change any more; the file is there until the archive is done with it.
    Sealed(u64, PathBuf),
}

impl Log {
    /// From now on sealed segments stay until [`Log::archived`] is called.
    pub fn keep_for_archive(&self) {
        let mut state = self.lock();
        let next = state.segments.first_key_value().map_or(0, |(number, _)| *number);
        state.archive = Some(Archived { next, lost: 0..0 });
    }

    /// What the archive is to be told next, in the order of segments.
    pub fn archive_news(&self) -> Option<News> {
        let state = self.lock();
        let progress = state.archive.as_ref()?;
        if !progress.lost.is_empty() {
            return Some(News::Lost(progress.lost.clone()));
        }
        let number = state.sealed(progress.next).next()?;
        Some(News::Sealed(number, segment::path(&self.shared.dir, number)))
    }

    /// The archive was told `news`.
    pub fn archived(&self, news: &News) {
        let mut state = self.lock();
        let Some(progress) = &mut state.archive else { return };
        match news {
            News::Lost(lost) => progress.lost.start = lost.end,
            // Given up while the archive took it.
            News::Sealed(number, _) if progress.lost.contains(number) => progress.lost.start = number + 1,
            News::Sealed(number, _) => progress.next = progress.next.max(number + 1),
        }
    }

    /// Gives up the oldest segments that the archive has not taken while they have more than `size_max` bytes together:
    /// the node needs the room. Returns their numbers.
    pub fn limit_archive(&self, size_max: u64) -> Option<Range<u64>> {
        let mut state = self.lock();
        let next = state.archive.as_ref()?.next;
        let waiting: Vec<(u64, u64)> =
            state.sealed(next).map(|number| (number, state.segments[&number].size)).collect();
        let mut size: u64 = waiting.iter().map(|(_, size)| size).sum();
        let mut end = next;
        for (number, segment_size) in waiting {
            if size <= size_max {
                break;
            }
            size -= segment_size;
            end = number + 1;
        }
        if end == next {
            return None;
        }
        let progress = state.archive.as_mut().expect("looked at above");
        progress.next = end;
        progress.lost = if progress.lost.is_empty() { next..end } else { progress.lost.start..end };
        Some(next..end)
    }
}

impl LogState {
    /// Segments from `number` on that will not change any more. A segment gets its file with its first commit, which
    /// begins when the last one of the segment before is durable.
    fn sealed(&self, number: u64) -> impl Iterator<Item = u64> {
        let begun = self.segments.iter().rev().find(|(_, segment)| segment.file.is_some());
        let end = begun.map_or(0, |(number, _)| *number);
        self.segments.range(number.min(end)..end).map(|(number, _)| *number)
    }

    /// Segments before this one may be deleted.
    pub(super) fn archived_before(&self) -> u64 {
        self.archive.as_ref().map_or(u64::MAX, |progress| progress.next).min(self.current)
    }
}
