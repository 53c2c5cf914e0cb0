//! Reading what nobody reads, to find damage while there are other copies.
//!
//! Owns: where it is on the disk, and what a pass has found. Whoever calls decides how fast it goes.
//! Knows nothing of: repair; what it finds is lost, as if a reader had found it.

use std::io;

use env::File;
use env::disk::Cause;
use proto::block::ShardKey;
use types::limits::{SCRUB_FOUND_COUNT_MAX, SCRUB_WINDOW_SIZE};
use types::{Millis, Result};

use crate::change::Change;
use crate::index::Entry;
use crate::progress::ScrubProgress;
use crate::record::{Content, Header};
use crate::records;
use crate::segment::walk::{Bad, Step, Walk};
use crate::segment::{self, SEGMENT_HEADER_SIZE};
use crate::shared::Shared;

/// What one step came to.
#[derive(Debug)]
pub(crate) struct Stepped {
    pub(crate) progress: ScrubProgress,
    /// To be committed before the progress is kept.
    pub(crate) losses: Vec<Change>,
}

/// Reads the next records, up to about `budget` bytes, from the medium.
pub(crate) fn step(shared: &Shared, now: Millis, budget: u64) -> Result<Stepped> {
    let mut progress = shared.ask(|tables| tables.scrub_progress())?;
    let numbers = segment::list(&*shared.disk, &shared.root)?;
    let (last, written) = shared.frontier();
    let mut scrub = Scrub { shared, left: budget, losses: Vec::new() };
    let ahead = numbers.into_iter().filter(|number| (progress.segment..=last).contains(number));
    for number in ahead.collect::<Vec<_>>() {
        if progress.segment != number {
            (progress.segment, progress.offset) = (number, 0);
        }
        progress.offset = progress.offset.max(SEGMENT_HEADER_SIZE);
        let is_last = number == last;
        if !scrub.segment(number, is_last.then_some(written), &mut progress)? {
            return Ok(Stepped { progress, losses: scrub.losses });
        }
        (progress.segment, progress.offset) = (number + 1, 0);
    }
    let passes = progress.passes + 1;
    let done = ScrubProgress { segment: 0, offset: 0, passes, last_pass: Some(now), ..progress };
    Ok(Stepped { progress: done, losses: scrub.losses })
}

/// What the next pass begins with.
pub(crate) fn begin_pass(progress: ScrubProgress) -> ScrubProgress {
    match progress.segment {
        0 => ScrubProgress { checked: 0, found: 0, ..progress },
        _ => progress,
    }
}

struct Scrub<'a> {
    shared: &'a Shared,
    left: u64,
    losses: Vec<Change>,
}

impl Scrub<'_> {
    /// Goes on in one segment; true at its end.
    fn segment(&mut self, number: u32, written: Option<u64>, progress: &mut ScrubProgress) -> Result<bool> {
        let shared = self.shared;
        let file = match shared.files.get(number) {
            Err(error) if Cause::of(&error) == Cause::Medium => {
                self.found(number, 0, u64::MAX, None, progress)?;
                return Ok(true);
            }
            opened => opened?,
        };
        let end = match written {
            Some(end) => end,
            None => self.end(number, &*file)?,
        };
        let mut uncached = progress.offset;
        let mut walk = Walk::new(&*file, shared.place(number), progress.offset, end);
        while progress.offset < end {
            if self.left == 0 || self.losses.len() >= SCRUB_FOUND_COUNT_MAX {
                return Ok(false);
            }
            if progress.offset >= uncached {
                // What is in memory is not what is on the medium.
                uncached = (progress.offset + SCRUB_WINDOW_SIZE).min(end);
                file.uncache(progress.offset..uncached.next_multiple_of(segment::SEGMENT_HEADER_SIZE));
            }
            let Some(step) = walk.next() else { break };
            let (from, to) = match step? {
                Step::Record(header) => (u64::from(header.offset), header.end()),
                Step::Bad(bad) => {
                    self.bad(number, &bad, progress)?;
                    (bad.offset, bad.offset + bad.size)
                }
            };
            // Nor does it stay: it was read once, for this.
            file.uncache(from..to);
            (progress.offset, progress.checked) = (to, progress.checked + (to - from));
            self.left = self.left.saturating_sub(to - from);
        }
        Ok(true)
    }

    /// Where the records of a segment end that is not written any more. One without a good footer gets another one.
    fn end(&self, number: u32, file: &dyn File) -> io::Result<u64> {
        let bounds = records::bounds(self.shared, number, file)?;
        if bounds.footer.is_none() && bounds.is_certain {
            self.shared.unsealed().push(number, bounds.end, None);
        }
        Ok(bounds.end)
    }

    fn bad(&mut self, number: u32, bad: &Bad, progress: &mut ScrubProgress) -> Result<()> {
        self.found(number, bad.offset, bad.size, bad.header, progress)
    }

    fn found(
        &mut self,
        number: u32,
        offset: u64,
        size: u64,
        header: Option<Header>,
        progress: &mut ScrubProgress,
    ) -> Result<()> {
        let shared = self.shared;
        progress.found += 1;
        let is_known = shared.ask(|tables| tables.is_quarantined(number, offset))?;
        let lost = self.entries(number, offset, size, header)?;
        if !is_known && lost.is_empty() {
            // Nobody's any more, but a sign of what else the disk does.
            shared.report_damage(number, offset, size, "found by verifying; nobody needs it");
            shared.ask(|tables| tables.note_damage(number, offset, size))?;
            shared.status().damage.quarantined += 1;
        }
        self.losses.extend(lost.into_iter().map(|(key, entry)| Change::Quarantine { key, entry }));
        Ok(())
    }

    /// What the index has there.
    fn entries(
        &self,
        number: u32,
        offset: u64,
        size: u64,
        header: Option<Header>,
    ) -> Result<Vec<(ShardKey, Entry)>> {
        let is_there = move |entry: &Entry| {
            entry.segment == number && (offset..offset.saturating_add(size)).contains(&entry.offset.into())
        };
        self.shared.ask(|tables| match header {
            Some(Header { key, content: Content::Shard(_), .. }) => {
                let found = tables.entry(&key)?.filter(is_there);
                Ok(found.map(|entry| (key, entry)).into_iter().collect())
            }
            Some(_) => Ok(Vec::new()),
            None => tables.find(&is_there, None, SCRUB_FOUND_COUNT_MAX),
        })
    }
}
