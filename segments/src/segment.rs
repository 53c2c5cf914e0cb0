//! A segment file: its name, its header, and how it comes to be.
//!
//! Owns: the header, which also says where the records of the segment before it end.
//! Knows nothing of: records, the index, what is live.

pub(crate) mod footer;
pub(crate) mod walk;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::disk::Cause;
use env::{Disk, File, OpenMode};
use types::DiskUuid;

/// Records begin after this.
pub(crate) const SEGMENT_HEADER_SIZE: u64 = HEADER_BLOCK_SIZE as u64;
const HEADER_BLOCK_SIZE: usize = 4096;
const MAGIC: [u8; 8] = *b"CSSEGMT\0";
const VERSION: u16 = 2;
/// magic 8, version 2, zero 2, segment 4, disk uuid 16, segment before 4, its end 4, crc 4.
const USED_SIZE: usize = 44;

pub(crate) fn directory(root: &Path) -> PathBuf {
    root.join("seg")
}

pub(crate) fn path(root: &Path, number: u32) -> PathBuf {
    directory(root).join(format!("{number:08}.seg"))
}

/// Numbers of the segments of a disk, ascending.
pub(crate) fn list(disk: &dyn Disk, root: &Path) -> io::Result<Vec<u32>> {
    let names = disk.read_dir(&directory(root))?;
    let number = |name: &std::ffi::OsString| name.to_str()?.strip_suffix(".seg")?.parse().ok();
    let mut numbers: Vec<u32> = names.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Where the records of a segment end: all before it was durable when the next segment was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) segment: u32,
    pub(crate) end: u32,
}

/// Creates an empty segment, durably. One that could not be completed is removed again. `before`: the segment that was
/// written until now; without it nobody could tell records that were lost from a footer that a crash tore.
pub(crate) fn create(
    disk: &dyn Disk,
    root: &Path,
    uuid: DiskUuid,
    number: u32,
    before: Option<Ended>,
) -> io::Result<Arc<dyn File>> {
    let path = path(root, number);
    let file = match disk.open(&path, OpenMode::CreateNew) {
        // Left by an attempt that could not be undone: nothing was ever written to it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove_file(&path)?;
            disk.open(&path, OpenMode::CreateNew)?
        }
        opened => opened?,
    };
    let mut header = header_bytes(uuid, number, before);
    header.resize(HEADER_BLOCK_SIZE, 0);
    let made = file.write_at(&[&header], 0).and_then(|()| file.sync_data());
    match made.and_then(|()| disk.sync_dir(&directory(root))) {
        Ok(()) => Ok(file),
        Err(error) => {
            // Whether it goes or not: the next attempt takes its place.
            let _ = disk.remove_file(&path);
            Err(error)
        }
    }
}

fn header_bytes(uuid: DiskUuid, number: u32, before: Option<Ended>) -> Vec<u8> {
    let Ended { segment, end } = before.unwrap_or(Ended { segment: 0, end: 0 });
    let mut bytes = Vec::with_capacity(HEADER_BLOCK_SIZE);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&uuid.0);
    bytes.extend_from_slice(&segment.to_le_bytes());
    bytes.extend_from_slice(&end.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// What the first bytes of a segment say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// It is this segment, made after that one.
    Good(Option<Ended>),
    /// It begins with something else, or is too short.
    Other,
    /// The disk does not give them.
    Unreadable,
}

/// Reads the header. Errors are those that say nothing about the medium.
pub(crate) fn opening(file: &dyn File, uuid: DiskUuid, number: u32) -> io::Result<Opening> {
    let mut bytes = [0; USED_SIZE];
    match read_twice(file, &mut bytes, 0)? {
        Bytes::Read => {}
        Bytes::Missing => return Ok(Opening::Other),
        Bytes::Unreadable => return Ok(Opening::Unreadable),
    }
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let before = Ended { segment: word(32), end: word(36) };
    let before = (before.end > 0).then_some(before);
    match bytes[..] == header_bytes(uuid, number, before) {
        true => Ok(Opening::Good(before)),
        false => Ok(Opening::Other),
    }
}

/// What came of reading bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    Read,
    /// The file ends before.
    Missing,
    /// The medium does not give them, asked twice: that is no proof of what they are.
    Unreadable,
}

/// Fills `bytes`. Errors are those that say nothing about the medium: asking again later helps.
pub(crate) fn read_twice(file: &dyn File, bytes: &mut [u8], offset: u64) -> io::Result<Bytes> {
    let first = file.read_exact_at(bytes, offset);
    let is_medium = |error: &io::Error| Cause::of(error) == Cause::Medium;
    let read = match first {
        Err(error) if is_medium(&error) => file.read_exact_at(bytes, offset),
        other => other,
    };
    match read {
        Ok(()) => Ok(Bytes::Read),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Bytes::Missing),
        Err(error) if is_medium(&error) => Ok(Bytes::Unreadable),
        Err(error) => Err(error),
    }
}
