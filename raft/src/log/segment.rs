//! Segment files: their names and first bytes.

use std::path::{Path, PathBuf};

use types::limits::COUNTER_MAX;

const MAGIC: [u8; 8] = *b"CSRAFTLG";
const VERSION: u32 = 2;
/// Bytes before the first record.
pub const HEADER_SIZE: usize = 32;
const SUFFIX: &str = ".raftlog";

/// First bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Segments are counted from 1 and the numbers are never reused.
    pub number: u64,
    /// Number of the first commit in it: one more than the last of the segment before, so that a lost tail shows.
    pub commit_first: u64,
}

/// Why a header cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    /// Torn or rotten.
    Damaged,
    /// Whole, but of another version of this program.
    Version(u32),
}

/// Where segment `number` lives.
pub fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}{SUFFIX}"))
}

/// The number in a file's name; `None` for other files.
pub fn number(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_suffix(SUFFIX)?, 16).ok()
}

/// The first bytes of a segment.
pub fn encode(header: Header) -> [u8; HEADER_SIZE] {
    let mut bytes = [0; HEADER_SIZE];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&header.number.to_le_bytes());
    bytes[20..28].copy_from_slice(&header.commit_first.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads the first bytes of a segment.
pub fn decode(bytes: &[u8]) -> Result<Header, BadHeader> {
    let header: &[u8; HEADER_SIZE] = bytes.first_chunk().ok_or(BadHeader::Damaged)?;
    let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    if header[..8] != MAGIC || u32_at(28) != crc32fast::hash(&header[..28]) {
        return Err(BadHeader::Damaged);
    }
    if u32_at(8) != VERSION {
        return Err(BadHeader::Version(u32_at(8)));
    }
    let header = Header { number: u64_at(12), commit_first: u64_at(20) };
    let counted = 1..=COUNTER_MAX;
    match counted.contains(&header.number) && counted.contains(&header.commit_first) {
        true => Ok(header),
        false => Err(BadHeader::Damaged),
    }
}
