//! Opening a disk: completes the index from the segments and finds where to continue writing.
//!
//! Owns: the decision between a torn tail, which is cut, and damage, which is kept and reported.
//! Knows nothing of: superblocks' meaning, queues.

use std::ops::ControlFlow;

use env::OpenMode;
use env::disk::Cause;
use types::limits::SEGMENT_MISSING_COUNT_MAX;
use types::{Error, ErrorKind, Result};

use crate::active::Active;
use crate::holes::Holes;
use crate::index::{Entry, IndexChange, Known, Mode};
use crate::record::{Content, Header};
use crate::records;
use crate::segment::walk::{Bad, Step};
use crate::segment::{self, Ended, Opening, SEGMENT_HEADER_SIZE, footer};
use crate::shared::Shared;

/// Index changes that are written together; bounds the memory of a replay.
const BATCH_COUNT_MAX: usize = 4096;

/// A segment that can be continued: its number, and where its last good record ends.
type Writable = (u32, u64);

/// Up to where the index is complete.
#[derive(Clone, Copy, Debug)]
struct Position {
    segment: u32,
    offset: u64,
}

/// Completes the index, or begins a new one, and returns the segment to write.
pub(crate) fn recover(shared: &Shared) -> Result<Active> {
    let numbers = usable_segments(shared)?;
    keep_names(shared);
    let mut holes = Holes::default();
    let known = known_position(shared, &mut holes);
    let completed =
        known.and_then(|known| known.map(|known| complete(shared, &numbers, known, holes)).transpose());
    let active = match completed {
        Ok(Some(active)) => active,
        Ok(None) => begin(shared, &numbers)?,
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            shared.lose_index(&shared.index.tables(), &error);
            shared.index.replace(&*shared.disk, &shared.root, 0)?;
            begin(shared, &usable_segments(shared)?)?
        }
        Err(error) => return Err(error),
    };
    assert!(numbers.iter().max() <= Some(&active.number), "no segment comes after the one that is written");
    shared.unsealed().look_until(active.number);
    Ok(active)
}

/// Without an index: nothing that was written before is known until it is rebuilt, in the background. What comes goes to
/// a new segment.
fn begin(shared: &Shared, numbers: &[u32]) -> Result<Active> {
    let tables = shared.index.tables();
    let cleared = tables.clear();
    let is_read_only = shared.is_read_only();
    let active = match is_read_only {
        true => last_segment(shared, numbers)?,
        false => continue_writing(shared, numbers, empty_segment(shared, numbers)?, 0)?,
    };
    if let Err(error) = cleared {
        // The background puts another one in its place.
        shared.lose_index(&tables, &error);
        return Ok(active);
    }
    if !numbers.is_empty() {
        let root = shared.root.display();
        tracing::warn!("disk {root}: the index is missing; rebuilding it from the segments");
        let before = if is_read_only { u32::MAX } else { active.number };
        shared.index.set_mode(Mode::Rebuilding { before });
        return Ok(active);
    }
    shared.index.set_mode(Mode::Ready);
    shared.commit(shared.change(), Some((active.number, active.end)))?;
    // From now on a missing one means that it was lost.
    tables.flush()?;
    Ok(active)
}

/// The last segment, if nothing was ever written to it: an earlier attempt to rebuild made it.
fn empty_segment(shared: &Shared, numbers: &[u32]) -> Result<Option<Writable>> {
    let Some(&last) = numbers.last() else { return Ok(None) };
    let file = match shared.files.get(last) {
        Err(error) if Cause::of(&error) == Cause::Medium => return Ok(None),
        opened => opened?,
    };
    let opening = segment::opening(&*file, shared.superblock().uuid, last)?;
    let is_empty = matches!(opening, Opening::Good(_)) && file.len()? == SEGMENT_HEADER_SIZE;
    Ok(is_empty.then_some((last, SEGMENT_HEADER_SIZE)))
}

/// Completes the index from what was written after its checkpoint.
fn complete(shared: &Shared, numbers: &[u32], known: Position, holes: Holes) -> Result<Active> {
    shared.index.set_mode(Mode::Ready);
    let tables = shared.index.tables();
    shared.status().damage = tables.damage()?;
    let last = numbers.last().copied().unwrap_or(0);
    let mut replay = Replay { shared, is_durable: true, last, holes, missing: Vec::new() };
    replay.missing_segments(numbers, known.segment)?;
    let mut writable = None;
    for &number in numbers.iter().filter(|&&number| number >= known.segment) {
        if replay.is_durable && !is_durable(shared, number) {
            // What is in memory can be read as long as the process lives. The index may learn of it, but must not count
            // as complete then: the next start rebuilds it from what is really there.
            tables.forget_checkpoint()?;
            replay.is_durable = false;
        }
        let offset = if number == known.segment { known.offset } else { SEGMENT_HEADER_SIZE };
        writable = replay.segment(number, offset)?;
    }
    replay.lose_in_holes()?;
    // Extents that were known before and are found again count once.
    shared.status().damage = tables.damage()?;
    if shared.is_read_only() {
        return last_segment(shared, numbers);
    }
    let active = continue_writing(shared, numbers, writable, known.segment)?;
    assert!(active.end >= SEGMENT_HEADER_SIZE, "records begin after the header");
    shared.commit(shared.change(), Some((active.number, active.end)))?;
    Ok(active)
}

/// The last segment, if it can be continued, or a new one behind all that the index knows.
fn continue_writing(
    shared: &Shared,
    numbers: &[u32],
    writable: Option<Writable>,
    known: u32,
) -> Result<Active> {
    let path = |number| segment::path(&shared.root, number);
    if let Some((number, end)) = writable {
        let file = shared.disk.open(&path(number), OpenMode::ReadWrite)?;
        return Ok(Active::resume(shared, number, file, end));
    }
    let Some(&last) = numbers.last() else { return Ok(Active::create(shared, known + 1, None)?) };
    // Whatever is in it counts, good or bad: nobody knows that it was never acknowledged.
    let footer = match shared.files.get(last) {
        Err(error) if Cause::of(&error) == Cause::Medium => None,
        opened => footer::read(&*opened?, shared.place(last))?,
    };
    let end = match footer {
        Some(footer) => footer.start,
        None => shared.disk.metadata(&path(last))?.size,
    };
    let end = u32::try_from(end).unwrap_or(u32::MAX);
    Ok(Active::create(shared, known.max(last) + 1, Some(Ended { segment: last, end }))?)
}

/// Makes a segment durable as it is: a process that was killed left bytes that are read from memory and may still be
/// lost with the power. False when the disk fails, or did before.
fn is_durable(shared: &Shared, number: u32) -> bool {
    if shared.is_read_only() {
        return false;
    }
    let synced = match shared.files.get(number) {
        // Nothing of it can be read, so nothing of it can be lost any more.
        Err(error) if Cause::of(&error) == Cause::Medium => Ok(()),
        opened => opened.and_then(|file| file.sync_data()),
    };
    // All who want to write are told of the failure; reading goes on.
    synced.map_err(|error| shared.fail("a sync failed", &error.into())).is_ok()
}

/// Makes the names of the segments durable: a process that was killed may have created the last one without it.
fn keep_names(shared: &Shared) {
    if !shared.is_read_only()
        && let Err(error) = shared.disk.sync_dir(&segment::directory(&shared.root))
    {
        // All who want to write are told of the failure; reading goes on.
        shared.fail("a sync failed", &error.into());
    }
}

/// For a disk that is never written again: whatever is there.
fn last_segment(shared: &Shared, numbers: &[u32]) -> Result<Active> {
    let &number = numbers
        .last()
        .ok_or_else(|| Error::unavailable("the disk failed before anything was written; replace it"))?;
    let file = shared.files.get(number)?;
    let end = file.len()?;
    Ok(Active::resume(shared, number, file, end))
}

/// The segments, without a last one whose creation a crash interrupted: nothing was ever written to that.
fn usable_segments(shared: &Shared) -> Result<Vec<u32>> {
    let disk = &*shared.disk;
    let mut numbers = segment::list(disk, &shared.root)?;
    if let Some(&last) = numbers.last() {
        let path = segment::path(&shared.root, last);
        let is_left_over = match disk.open(&path, OpenMode::Read) {
            Err(error) if Cause::of(&error) == Cause::Medium => false,
            opened => {
                let file = opened?;
                let opening = segment::opening(&*file, shared.superblock().uuid, last)?;
                opening == Opening::Other && file.len()? <= SEGMENT_HEADER_SIZE
            }
        };
        if is_left_over && !shared.is_read_only() {
            disk.remove_file(&path)?;
            numbers.pop();
        }
    }
    if numbers.last() == Some(&u32::MAX) {
        return Err(Error::corrupt(format!(
            "disk {}: no segment can follow {:08}.seg; move that file away, it is none of this disk's",
            shared.root.display(),
            u32::MAX
        )));
    }
    Ok(numbers)
}

/// What the index knows, if that can be true. A segment that is shorter than it should be does not make the index
/// wrong: it is the only one who still knows what is gone.
fn known_position(shared: &Shared, holes: &mut Holes) -> Result<Option<Position>> {
    let Some(checkpoint) = shared.index.tables().checkpoint(shared.superblock().uuid)? else {
        return Ok(None);
    };
    let len = match shared.disk.metadata(&segment::path(&shared.root, checkpoint.segment)) {
        Ok(found) => found.size,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error.into()),
    };
    if len < checkpoint.offset {
        tracing::error!(
            "disk {}: segment {} was written up to {} and ends at {len}: bytes are lost; repair restores them",
            shared.root.display(),
            checkpoint.segment,
            checkpoint.offset
        );
        holes.add(checkpoint.segment, len..u64::MAX);
    }
    shared.status().totals = checkpoint.totals;
    Ok(Some(Position { segment: checkpoint.segment, offset: checkpoint.offset }))
}

struct Replay<'a> {
    shared: &'a Shared,
    /// All that was read so far survives a power cut.
    is_durable: bool,
    last: u32,
    holes: Holes,
    /// Segments whose files are gone.
    missing: Vec<u32>,
}

/// How far a segment was followed.
struct Followed {
    /// The end of the last good record.
    end: u64,
    is_whole: bool,
    torn_at: Option<u64>,
}

impl Replay<'_> {
    /// Notices files that are gone. Whoever removes one on purpose leaves a note of it in the index. `Corrupt` when more are
    /// gone than can be: then it is not the files that are damaged but what says so, the index or a name.
    fn missing_segments(&mut self, numbers: &[u32], known: u32) -> Result<()> {
        for number in (1..=known.max(self.last)).filter(|number| numbers.binary_search(number).is_err()) {
            if !self.shared.index.tables().is_quarantined(number, 0)? {
                self.missing.push(number);
            }
            if self.missing.len() > SEGMENT_MISSING_COUNT_MAX {
                return Err(Error::corrupt(format!(
                    "more segments are gone before {number} than there were"
                )));
            }
        }
        for number in &self.missing {
            self.shared.report_damage(*number, 0, u64::MAX, "the file is gone");
            self.holes.add(*number, 0..u64::MAX);
        }
        Ok(())
    }

    /// Brings one segment's records from `offset` on into the index. Returns the segment and its end if it can be
    /// continued.
    fn segment(&mut self, number: u32, offset: u64) -> Result<Option<Writable>> {
        let file = match self.shared.files.get(number) {
            Err(error) if Cause::of(&error) == Cause::Medium => {
                self.shared.report_damage(number, 0, u64::MAX, "it cannot be opened");
                self.holes.add(number, 0..u64::MAX);
                return Ok(None);
            }
            opened => opened?,
        };
        // When not all is durable, nobody knows whether the last batch was acknowledged: it stays, and is reported.
        let cuts = number == self.last && self.is_durable;
        let mut followed = Followed { end: offset, is_whole: true, torn_at: None };
        let shared = self.shared;
        let mut change = shared.change();
        let visited = records::visit(shared, number, &*file, offset, &mut |step| {
            match step {
                Step::Record(header) => {
                    apply_record(&mut change, &header, number)?;
                    followed.end = header.end();
                }
                Step::Bad(bad) if bad.may_be_torn && cuts => {
                    followed.torn_at = Some(bad.offset);
                    return Ok(ControlFlow::Break(()));
                }
                Step::Bad(bad) => {
                    self.lose(&mut change, number, &bad)?;
                    followed.end = bad.offset + bad.size;
                    followed.is_whole = false;
                }
            }
            if change.len() >= BATCH_COUNT_MAX {
                let full = std::mem::replace(&mut change, shared.change());
                self.commit(full, number, followed.end)?;
                change = shared.change();
            }
            Ok(ControlFlow::Continue(()))
        })?;
        self.commit(change, number, followed.end)?;
        let is_last = number == self.last && !visited.has_footer;
        if !is_last || !followed.is_whole || visited.end < offset {
            return Ok(None);
        }
        if let Some(torn) = followed.torn_at {
            tracing::info!("segment {number}: a crash tore the last batch; it is cut at {torn}");
            self.cut(number, torn)?;
        }
        Ok(Some((number, followed.end)))
    }

    fn cut(&self, number: u32, at: u64) -> Result<()> {
        let file = self.shared.disk.open(&segment::path(&self.shared.root, number), OpenMode::ReadWrite)?;
        file.set_len(at)?;
        Ok(file.sync_data()?)
    }

    /// Bytes that were there once: whose they were is lost, not absent.
    fn lose(&mut self, change: &mut IndexChange, number: u32, bad: &Bad) -> Result<()> {
        self.shared.report_damage(number, bad.offset, bad.size, bad.flaw);
        if bad.is_unreadable {
            self.shared.health.count(|count| count.unreadable += 1);
        }
        change.quarantine(number, bad.offset, bad.size);
        let known = bad.header.map(|header| change.known(&header.key)).transpose()?;
        match bad.header {
            // The bytes were there before this record: they still are.
            Some(header) if matches!(known, Some(Known::Stored(entry)) if entry.is_copy(&header)) => Ok(()),
            Some(Header { key, content: Content::Shard(meta), .. }) => change.lose(key, &meta),
            // Its header says it all.
            Some(header) => apply_record(change, &header, number),
            None => {
                self.holes.add(number, bad.offset..bad.offset + bad.size);
                Ok(())
            }
        }
    }

    /// Entries that point where nothing can be read any more.
    fn lose_in_holes(&mut self) -> Result<()> {
        let holes = std::mem::take(&mut self.holes);
        if !holes.is_empty() {
            // What was written there after the index was last made durable is in neither of them.
            self.shared.index.tables().distrust()?;
        }
        let mut after = None;
        while !holes.is_empty() {
            let page = self.shared.index.tables().find(&|entry| holes.has(entry), after, BATCH_COUNT_MAX)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            let mut change = self.shared.change();
            for (key, entry) in &page {
                change.lose(*key, &entry.meta)?;
            }
            self.shared.commit(change, None)?;
        }
        let mut change = self.shared.change();
        for number in std::mem::take(&mut self.missing) {
            change.quarantine(number, 0, u64::MAX);
        }
        self.shared.commit(change, None)
    }

    fn commit(&self, change: IndexChange, number: u32, end: u64) -> Result<()> {
        // Entries in holes are looked for at the end: until then the index must not say that it knows of them.
        let is_complete = self.is_durable && self.holes.is_empty();
        self.shared.commit(change, is_complete.then_some((number, end)))
    }
}

pub(crate) fn apply_record(change: &mut IndexChange, header: &Header, segment: u32) -> Result<()> {
    match (Entry::of(header, segment), header.content) {
        (Some(entry), _) => change.put(header.key, entry),
        (None, Content::Lost(meta)) => change.lose(header.key, &meta),
        (None, _) => change.delete(header.key),
    }
}
