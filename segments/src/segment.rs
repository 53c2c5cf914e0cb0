//! A segment file: its header, a walk over its records, and the footer that makes the walk unnecessary.
//!
//! Owns: telling a torn tail from damage. Knows nothing of: the index, what is live.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::{Disk, File, OpenMode};
use types::limits::KIB;
use types::{DiskUuid, Result};

use super::record::{self, ALIGNMENT, Flaw, HEADER_SIZE, Header, Place};

/// Records begin after this.
pub(crate) const SEGMENT_HEADER_SIZE: u64 = HEADER_BLOCK_SIZE as u64;
const HEADER_BLOCK_SIZE: usize = 4096;
const MAGIC: [u8; 8] = *b"CSSEGMT\0";
const FOOTER_MAGIC: [u8; 8] = *b"CSFOOTER";
const VERSION: u16 = 1;
/// magic 8, version 2, zero 2, segment 4, disk uuid 16, crc 4.
const USED_SIZE: usize = 36;
/// magic 8, segment 4, count 4, offset 4, crc of the headers 4, disk 8, crc of this 4, zero 4.
const FOOTER_TAIL_SIZE: usize = 40;
/// Bytes read at once when searching for the next record: a bad sector costs no more than this.
const SEARCH_SIZE: usize = 4 * KIB;

pub(crate) fn directory(root: &Path) -> PathBuf {
    root.join("seg")
}

pub(crate) fn path(root: &Path, number: u32) -> PathBuf {
    directory(root).join(format!("{number:08}.seg"))
}

/// Numbers of the segments of a disk, ascending.
pub(crate) fn list(disk: &dyn Disk, root: &Path) -> Result<Vec<u32>> {
    let names = disk.read_dir(&directory(root))?;
    let number = |name: &std::ffi::OsString| name.to_str()?.strip_suffix(".seg")?.parse().ok();
    let mut numbers: Vec<u32> = names.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Creates an empty segment, durably. One that could not be completed is removed again.
pub(crate) fn create(disk: &dyn Disk, root: &Path, uuid: DiskUuid, number: u32) -> io::Result<Arc<dyn File>> {
    let path = path(root, number);
    let file = disk.open(&path, OpenMode::CreateNew)?;
    let mut header = header_bytes(uuid, number);
    header.resize(HEADER_BLOCK_SIZE, 0);
    let made = file.write_at(&[&header], 0).and_then(|()| file.sync_data());
    match made.and_then(|()| disk.sync_dir(&directory(root))) {
        Ok(()) => Ok(file),
        Err(error) => disk.remove_file(&path).and(Err(error)),
    }
}

fn header_bytes(uuid: DiskUuid, number: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USED_SIZE);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&uuid.0);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// True when the file begins with the header of this segment.
pub(crate) fn has_header(file: &dyn File, uuid: DiskUuid, number: u32) -> bool {
    let mut bytes = [0; USED_SIZE];
    file.read_exact_at(&mut bytes, 0).is_ok() && bytes[..] == header_bytes(uuid, number)
}

/// What a walk meets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A record that matches all its checksums.
    Record(Header),
    /// Bytes that were good once: a record of a later batch follows them.
    Damaged { offset: u64, size: u64, flaw: Flaw },
    /// Bytes up to the end of the file that may never have been durable: what a crash leaves of its last batch.
    Tail { offset: u64, flaw: Flaw },
}

/// Walks over the records of a segment from one offset to the end of the file, checking all of them.
pub(crate) struct Walk<'a> {
    file: &'a dyn File,
    place: Place,
    offset: u64,
    end: u64,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(file: &'a dyn File, place: Place, offset: u64) -> Result<Self> {
        Ok(Self { file, place, offset, end: file.len()? })
    }

    fn damaged(&mut self, flaw: Flaw) -> Step {
        let offset = self.offset;
        let mut next = None;
        let mut search = offset + ALIGNMENT as u64;
        while let Some(header) = self.find_header(search) {
            next.get_or_insert(u64::from(header.offset));
            if u64::from(header.batch_offset) > offset {
                self.offset = next.expect("set above");
                return Step::Damaged { offset, size: self.offset - offset, flaw };
            }
            search = u64::from(header.offset) + ALIGNMENT as u64;
        }
        self.offset = self.end;
        Step::Tail { offset, flaw }
    }

    fn record(&self) -> Result<Header, Flaw> {
        let header = read_header(self.file, self.place, self.offset)?;
        check_record(self.file, &header)?;
        Ok(header)
    }

    /// The first good header at or after `from`. Unreadable places are skipped.
    fn find_header(&self, from: u64) -> Option<Header> {
        let mut window = vec![0; SEARCH_SIZE + HEADER_SIZE];
        let mut at = from;
        while at + HEADER_SIZE as u64 <= self.end {
            let size = window.len().min(usize::try_from(self.end - at).unwrap_or(usize::MAX));
            if self.file.read_exact_at(&mut window[..size], at).is_ok() {
                let last = (size - HEADER_SIZE).min(SEARCH_SIZE - ALIGNMENT);
                let found = (0..=last).step_by(ALIGNMENT).find_map(|i| {
                    let bytes = window[i..i + HEADER_SIZE].try_into().expect("HEADER_SIZE bytes");
                    Header::parse(bytes, self.place, u32::try_from(at + i as u64).ok()?).ok()
                });
                if found.is_some() {
                    return found;
                }
            }
            at += SEARCH_SIZE as u64;
        }
        None
    }
}

impl Iterator for Walk<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.offset >= self.end {
            return None;
        }
        let before = self.offset;
        let step = match self.record() {
            Ok(header) => {
                self.offset = header.end();
                Step::Record(header)
            }
            Err(flaw) => self.damaged(flaw),
        };
        assert!(self.offset > before, "a walk goes on, whatever it meets: {step:?}");
        Some(step)
    }
}

/// The header of the record at `offset`.
pub(crate) fn read_header(file: &dyn File, place: Place, offset: u64) -> Result<Header, Flaw> {
    let mut bytes = [0; HEADER_SIZE];
    file.read_exact_at(&mut bytes, offset).map_err(|_| "the header cannot be read")?;
    Header::parse(&bytes, place, u32::try_from(offset).map_err(|_| "no segment is this long")?)
}

fn check_record(file: &dyn File, header: &Header) -> Result<(), Flaw> {
    let start = u64::from(header.offset) + HEADER_SIZE as u64;
    let size = usize::try_from(header.end() - start).expect("a record fits in memory");
    let mut bytes = vec![0; size];
    file.read_exact_at(&mut bytes, start).map_err(|_| "the payload cannot be read")?;
    record::check_payload(header, &bytes)
}

/// Copies the headers of all records after the last one: with them the index is rebuilt without reading the segment.
pub(crate) fn write_footer(file: &dyn File, place: Place, end: u64) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut offset = SEGMENT_HEADER_SIZE;
    let mut count = 0u32;
    let walk = Walk { file, place, offset, end };
    while offset < end {
        // The payloads were checked when they were written; only the places where records begin matter here.
        let header = read_header(file, place, offset).ok().or_else(|| walk.find_header(offset));
        let Some(header) = header else { break };
        bytes.extend_from_slice(&header.to_bytes(place));
        count += 1;
        offset = header.end();
    }
    let crc = crc32fast::hash(&bytes);
    let start = u32::try_from(end).expect("the engine checks every offset in a segment");
    bytes.extend_from_slice(&footer_tail(place, count, start, crc));
    file.write_at(&[&bytes], end)?;
    file.sync_data()
}

fn footer_tail(place: Place, count: u32, offset: u32, crc: u32) -> [u8; FOOTER_TAIL_SIZE] {
    let mut bytes = [0; FOOTER_TAIL_SIZE];
    bytes[..8].copy_from_slice(&FOOTER_MAGIC);
    for (i, number) in [place.segment, count, offset, crc].into_iter().enumerate() {
        bytes[8 + 4 * i..12 + 4 * i].copy_from_slice(&number.to_le_bytes());
    }
    bytes[24..32].copy_from_slice(&place.disk);
    let crc = crc32fast::hash(&bytes[..32]);
    bytes[32..36].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The headers of all records of a sealed segment, in order; `None` when it is not sealed or the footer is damaged.
pub(crate) fn read_footer(file: &dyn File, place: Place) -> Option<Vec<Header>> {
    let tail_start = file.len().ok()?.checked_sub(FOOTER_TAIL_SIZE as u64)?;
    let mut tail = [0; FOOTER_TAIL_SIZE];
    file.read_exact_at(&mut tail, tail_start).ok()?;
    let number = |at: usize| u32::from_le_bytes(tail[at..at + 4].try_into().expect("four bytes"));
    let (count, start, crc) = (number(12), number(16), number(20));
    let size = count as usize * HEADER_SIZE;
    if tail != footer_tail(place, count, start, crc) || u64::from(start) + size as u64 != tail_start {
        return None;
    }
    let mut bytes = vec![0; size];
    file.read_exact_at(&mut bytes, start.into()).ok()?;
    if crc32fast::hash(&bytes) != crc {
        return None;
    }
    let parse = |bytes: &[u8]| {
        let bytes: &[u8; HEADER_SIZE] = bytes.try_into().ok()?;
        let offset = u32::from_le_bytes(bytes[76..80].try_into().expect("four bytes"));
        Header::parse(bytes, place, offset).ok()
    };
    bytes.chunks_exact(HEADER_SIZE).map(parse).collect()
}
