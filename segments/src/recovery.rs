//! Opening a disk: completes the index from the segments and finds where to continue writing.
//!
//! Owns: the decision between a torn tail, which is cut, and damage, which is kept and reported.
//! Knows nothing of: superblocks' meaning, queues.

use std::sync::Arc;

use env::{Disk, File, OpenMode};
use types::{Error, Result};

use super::engine::{Active, Shared, entry};
use super::index::IndexChange;
use super::record::Header;
use super::segment::{self, SEGMENT_HEADER_SIZE, Step, Walk};

/// Index changes that are written together; bounds the memory of a rebuild.
const BATCH_COUNT_MAX: usize = 4096;

/// A segment that can be continued: its number, its file, and where its last good record ends.
type Writable = (u32, Arc<dyn File>, u64);

/// Up to where the index is complete.
#[derive(Clone, Copy, Debug)]
struct Position {
    segment: u32,
    offset: u64,
}

/// Completes the index and returns the segment to write.
pub(crate) fn recover(shared: &Shared) -> Result<Active> {
    let disk = &*shared.disk;
    let numbers = usable_segments(shared)?;
    for &number in &numbers {
        let file = disk.open(&segment::path(&shared.root, number), OpenMode::ReadWrite)?;
        shared.segments.write().expect("never poisoned: no panic inside").insert(number, file);
    }
    keep_names(shared);
    let known = known_position(shared)?;
    let is_rebuild = known.is_none();
    if is_rebuild {
        if !numbers.is_empty() {
            tracing::warn!(
                "disk {}: the index is missing; rebuilding it from the segments",
                shared.root.display()
            );
        }
        shared.index.clear()?;
    }
    shared.status().damage = shared.index.damage()?;
    let start = known.unwrap_or(Position { segment: 0, offset: SEGMENT_HEADER_SIZE });
    let mut replay = Replay { shared, is_rebuild, last: numbers.last().copied().unwrap_or(0) };
    let mut writable = None;
    for &number in numbers.iter().filter(|&&number| number >= start.segment) {
        if !is_durable(shared, number) && !replay.is_rebuild {
            // What is in memory can be read as long as the process lives. The index may learn of it, but must not count
            // as complete then: the next start rebuilds it from what is really there.
            shared.index.forget_checkpoint()?;
            replay.is_rebuild = true;
        }
        let offset = if number == start.segment { start.offset } else { SEGMENT_HEADER_SIZE };
        writable = replay.segment(number, offset)?;
    }
    // Extents that were known before and are found again count once.
    shared.status().damage = shared.index.damage()?;
    if shared.is_read_only() {
        return last_segment(shared);
    }
    let active = match writable {
        Some((number, file, end)) => Active::resume(shared, number, file, end),
        None => Active::create(shared, numbers.last().map_or(1, |last| last + 1))?,
    };
    assert!(numbers.iter().max() <= Some(&active.number), "no segment comes after the one that is written");
    assert!(active.end >= SEGMENT_HEADER_SIZE, "records begin after the header");
    replay.commit(shared.change(), Some((active.number, active.end)))?;
    if is_rebuild {
        // Only now does it count as an index; from now on a missing one means that it was lost.
        shared.index.flush()?;
    }
    Ok(active)
}

/// Makes a segment durable as it is: a process that was killed left bytes that are read from memory and may still be
/// lost with the power. False when the disk fails, or did before.
fn is_durable(shared: &Shared, number: u32) -> bool {
    if shared.is_read_only() {
        return false;
    }
    let synced = shared.segments.read().expect("never poisoned: no panic inside")[&number].sync_data();
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
fn last_segment(shared: &Shared) -> Result<Active> {
    let last = shared
        .segments
        .read()
        .expect("never poisoned: no panic inside")
        .last_key_value()
        .map(|(n, f)| (*n, f.clone()));
    let (number, file) =
        last.ok_or_else(|| Error::unavailable("the disk failed before anything was written; replace it"))?;
    let end = file.len()?;
    Ok(Active::resume(shared, number, file, end))
}

/// The segments, without a last one whose creation a crash interrupted: nothing was ever written to that.
fn usable_segments(shared: &Shared) -> Result<Vec<u32>> {
    let disk = &*shared.disk;
    let mut numbers = segment::list(disk, &shared.root)?;
    if let Some(&last) = numbers.last() {
        let path = segment::path(&shared.root, last);
        let file = disk.open(&path, OpenMode::Read)?;
        let has_header = segment::has_header(&*file, shared.superblock().uuid, last);
        if !has_header && file.len()? <= SEGMENT_HEADER_SIZE && !shared.is_read_only() {
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

/// What the index knows, if that can be true.
fn known_position(shared: &Shared) -> Result<Option<Position>> {
    let Some(checkpoint) = shared.index.checkpoint(shared.superblock().uuid)? else { return Ok(None) };
    let segments = shared.segments.read().expect("never poisoned: no panic inside");
    let len = segments.get(&checkpoint.segment).map(|file| file.len()).transpose()?;
    if len.is_none_or(|len| len < checkpoint.offset) {
        tracing::error!(
            "disk {}: segment {} was written up to {} and ends before: bytes are lost; repair restores them",
            shared.root.display(),
            checkpoint.segment,
            checkpoint.offset
        );
        return Ok(None);
    }
    shared.status().totals = checkpoint.totals;
    Ok(Some(Position { segment: checkpoint.segment, offset: checkpoint.offset }))
}

struct Replay<'a> {
    shared: &'a Shared,
    is_rebuild: bool,
    last: u32,
}

impl Replay<'_> {
    /// Brings one segment's records from `offset` on into the index. Returns the segment and its end if it can be
    /// continued.
    fn segment(&self, number: u32, offset: u64) -> Result<Option<Writable>> {
        let file = self.shared.segments.read().expect("never poisoned: no panic inside")[&number].clone();
        let place = self.shared.place(number);
        if let Some(headers) = segment::read_footer(&*file, place) {
            let new = headers.iter().filter(|header| u64::from(header.offset) >= offset);
            self.apply(number, offset, new.map(|header| Step::Record(*header)))?;
            return Ok(None);
        }
        let mut tail = None;
        let walk = Walk::new(&*file, place, offset)?.inspect(|step| {
            if let Step::Tail { offset, .. } = step {
                tail = Some(*offset);
            }
        });
        let end = self.apply(number, offset, walk)?;
        match tail {
            _ if number != self.last => Ok(None),
            None => Ok(Some((number, file, end))),
            // Without an index nobody knows whether this was acknowledged: it stays as it is, and is reported.
            Some(_) if self.is_rebuild => Ok(None),
            Some(torn) => {
                tracing::info!("segment {number}: a crash tore the last batch; it is cut at {torn}");
                file.set_len(torn)?;
                file.sync_data()?;
                Ok(Some((number, file, torn)))
            }
        }
    }

    /// Returns the end of the last good record.
    fn apply(&self, number: u32, offset: u64, steps: impl Iterator<Item = Step>) -> Result<u64> {
        let mut end = offset;
        let mut change = self.shared.change();
        for step in steps {
            match step {
                Step::Record(header) => {
                    apply_record(&mut change, &header, number)?;
                    end = header.end();
                }
                Step::Damaged { offset, size, flaw } => {
                    self.report(number, offset, size, flaw);
                    change.quarantine(number, offset, size);
                }
                Step::Tail { offset, flaw } if number != self.last || self.is_rebuild => {
                    let file_end = self.shared.segments.read().expect("never poisoned: no panic inside")
                        [&number]
                        .len()?;
                    self.report(number, offset, file_end - offset, flaw);
                    change.quarantine(number, offset, file_end - offset);
                    end = file_end;
                }
                Step::Tail { .. } => {}
            }
            if change.len() >= BATCH_COUNT_MAX {
                self.commit(change, self.checkpoint(number, end))?;
                change = self.shared.change();
            }
        }
        self.commit(change, self.checkpoint(number, end))?;
        Ok(end)
    }

    /// A rebuild that is cut short starts over: half an index must not pass for one that knows what was acknowledged.
    fn checkpoint(&self, number: u32, end: u64) -> Option<(u32, u64)> {
        (!self.is_rebuild).then_some((number, end))
    }

    fn commit(&self, change: IndexChange<'_>, checkpoint: Option<(u32, u64)>) -> Result<()> {
        let (totals, damage) = change.commit(self.shared.superblock().uuid, checkpoint)?;
        let mut status = self.shared.status();
        (status.totals, status.damage) = (totals, damage);
        Ok(())
    }

    fn report(&self, number: u32, offset: u64, size: u64, flaw: &str) {
        let error = Error::corrupt(format!("segment {number}: {size} bytes at {offset}: {flaw}"));
        tracing::error!(
            "disk {}: {error}; quarantined, repair restores what was there",
            self.shared.root.display()
        );
    }
}

fn apply_record(change: &mut IndexChange<'_>, header: &Header, segment: u32) -> Result<()> {
    match entry(header, segment) {
        Some(entry) => change.put(header.key, entry),
        None => change.delete(header.key),
    }
}

/// Opens the lock file of a disk and locks it.
pub(crate) fn lock(disk: &dyn Disk, root: &std::path::Path) -> Result<Arc<dyn File>> {
    let file = disk.open(&root.join("LOCK"), OpenMode::Create)?;
    if !file.try_lock()? {
        return Err(Error::conflict(format!(
            "disk {} is in use by another process; stop that first",
            root.display()
        )));
    }
    Ok(file)
}
