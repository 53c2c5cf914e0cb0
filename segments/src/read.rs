//! Reading one record: right bytes, or an error that says whether they are lost.
//!
//! Owns: what is read of a record for a range of its payload, and every check on it.
//! Knows nothing of: how the entry was found, what becomes of a record that is lost.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use env::File;
use env::disk::Cause;
use proto::block::ShardKey;
use types::limits::RECORD_BLOCK_SIZE;
use types::{Error, Result};

use crate::index::Entry;
use crate::record::{self, Blocks, HEADER_SIZE, Header};
use crate::shared::Shared;
use crate::superblock;

/// A payload up to this size is read as a whole even for a part of it: one request to the disk instead of three.
const WHOLE_READ_SIZE_MAX: usize = 2 * RECORD_BLOCK_SIZE;

/// The bytes of a record, checked. `Corrupt`: they are damaged, or the medium does not give them, asked twice.
/// `Unavailable`: something else is in the way, and says nothing about them.
pub(crate) fn read_record(
    shared: &Shared,
    key: &ShardKey,
    entry: &Entry,
    range: Option<Range<u32>>,
) -> Result<Bytes> {
    let size = entry.payload_size as usize;
    let range = range.map_or(0..size, |range| range.start as usize..range.end as usize);
    if range.start > range.end || range.end > size {
        return Err(Error::invalid(format!("bytes {range:?} of a shard of {size}")));
    }
    let reading = Reading { shared, key, entry, file: open(shared, key, entry)? };
    let at = u64::from(entry.offset);
    if range.len() == size || size <= WHOLE_READ_SIZE_MAX {
        let total = usize::try_from(record::record_size(size)).expect("a record fits in memory");
        let bytes = reading.read(total, at)?;
        let header = reading.check_header(&bytes[..HEADER_SIZE])?;
        let checked = record::check_payload(&header, &bytes[HEADER_SIZE..]);
        checked.map_err(|flaw| reading.damaged(flaw))?;
        return Ok(bytes.slice(HEADER_SIZE + range.start..HEADER_SIZE + range.end));
    }
    reading.check_header(&reading.read(HEADER_SIZE, at)?)?;
    let blocks = Blocks::of(size, &range);
    let bytes = reading.read(blocks.end - blocks.start, at + (HEADER_SIZE + blocks.start) as u64)?;
    let table = reading.read(blocks.table_end - blocks.table_start, at + blocks.table_start as u64)?;
    blocks.check(&bytes, &table).map_err(|flaw| reading.damaged(flaw))?;
    Ok(bytes.slice(range.start - blocks.start..range.end - blocks.start))
}

fn corrupt(key: &ShardKey, entry: &Entry, flaw: &str) -> Error {
    Error::corrupt(format!(
        "slot {} of chunk {} in segment {} at {}: {flaw}",
        key.slot, key.chunk, entry.segment, entry.offset
    ))
}

/// The segment's file. That it is gone says something only where the rest of the disk is there: behind a mount point
/// that lost its file system everything is gone, and nothing is lost.
fn open(shared: &Shared, key: &ShardKey, entry: &Entry) -> Result<Arc<dyn File>> {
    let mut opened = shared.files.get(entry.segment);
    if opened.as_ref().is_err_and(|error| Cause::of(error) == Cause::Medium) {
        shared.health.count(|count| count.media_read_errors += 1);
        opened = shared.files.get(entry.segment);
    }
    opened.map_err(|error| match Cause::of(&error) {
        Cause::Medium => {
            shared.health.count(|count| count.unreadable += 1);
            corrupt(key, entry, "the segment cannot be opened")
        }
        _ if error.kind() == io::ErrorKind::NotFound && superblock::is_there(&*shared.disk, &shared.root) => {
            shared.health.count(|count| count.damaged += 1);
            corrupt(key, entry, "the segment is gone")
        }
        _ => unavailable(shared, &error),
    })
}

fn unavailable(shared: &Shared, error: &io::Error) -> Error {
    Error::unavailable(format!("disk {}: {error}", shared.root.display()))
}

struct Reading<'a> {
    shared: &'a Shared,
    key: &'a ShardKey,
    entry: &'a Entry,
    file: Arc<dyn File>,
}

impl Reading<'_> {
    fn read(&self, size: usize, at: u64) -> Result<Bytes> {
        let mut bytes = BytesMut::with_capacity(size);
        let mut read = self.file.read_append_exact(&mut bytes, size, at);
        if read.as_ref().is_err_and(|error| Cause::of(error) == Cause::Medium) {
            // A second look helps with a bad cable, or a sector that the drive is about to give up.
            self.shared.health.count(|count| count.media_read_errors += 1);
            bytes.clear();
            read = self.file.read_append_exact(&mut bytes, size, at);
        }
        match read {
            Ok(()) => Ok(bytes.freeze()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.damaged("the segment ends before it"))
            }
            Err(error) if Cause::of(&error) == Cause::Medium => {
                self.shared.health.count(|count| count.media_read_errors += 1);
                self.shared.health.count(|count| count.unreadable += 1);
                Err(corrupt(self.key, self.entry, "cannot be read"))
            }
            Err(error) => Err(unavailable(self.shared, &error)),
        }
    }

    fn damaged(&self, flaw: &str) -> Error {
        self.shared.health.count(|count| count.damaged += 1);
        corrupt(self.key, self.entry, flaw)
    }

    fn check_header(&self, bytes: &[u8]) -> Result<Header> {
        let bytes: &[u8; HEADER_SIZE] = bytes.try_into().expect("HEADER_SIZE bytes were read");
        let place = self.shared.place(self.entry.segment);
        let header = Header::parse(bytes, place, self.entry.offset).map_err(|flaw| self.damaged(flaw))?;
        let same = header.key == *self.key && Entry::of(&header, self.entry.segment) == Some(*self.entry);
        if same { Ok(header) } else { Err(self.damaged("another record is there")) }
    }
}
