//! The footer of a segment that is not written any more: the headers of its records once more, in one place, so that
//! the index is rebuilt without reading the segment.
//!
//! Owns: the bytes of the footer. Knows nothing of: what the headers say.

use std::io;

use env::File;

use super::{Bytes, read_twice};
use crate::record::{HEADER_SIZE, Header, Place};

const MAGIC: [u8; 8] = *b"CSFOOTER";
/// magic 8, segment 4, count 4, offset 4, crc of the headers 4, disk 8, crc of this 4, zero 4.
const TAIL_SIZE: usize = 40;

/// A footer that matches its checksums.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    /// Where the records end and it begins.
    pub(crate) start: u64,
    /// The headers of all records, in order.
    pub(crate) headers: Vec<Header>,
}

/// Writes the footer behind the last record, durably. `headers` are those of all records.
pub(crate) fn write(file: &dyn File, place: Place, end: u64, headers: &[u8]) -> io::Result<()> {
    assert!(headers.len().is_multiple_of(HEADER_SIZE), "whole headers");
    let count = u32::try_from(headers.len() / HEADER_SIZE).expect("a record is longer than a byte");
    let start = u32::try_from(end).expect("the engine checks every offset in a segment");
    let tail = tail(place, count, start, crc32fast::hash(headers));
    file.write_at(&[headers, &tail], end)?;
    // Also gives back what was reserved for more records.
    file.set_len(end + (headers.len() + TAIL_SIZE) as u64)?;
    file.sync_data()
}

fn tail(place: Place, count: u32, offset: u32, crc: u32) -> [u8; TAIL_SIZE] {
    let mut bytes = [0; TAIL_SIZE];
    bytes[..8].copy_from_slice(&MAGIC);
    for (i, number) in [place.segment, count, offset, crc].into_iter().enumerate() {
        bytes[8 + 4 * i..12 + 4 * i].copy_from_slice(&number.to_le_bytes());
    }
    bytes[24..32].copy_from_slice(&place.disk);
    let crc = crc32fast::hash(&bytes[..32]);
    bytes[32..36].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The footer of a sealed segment; `None` when it is not sealed, or the footer is damaged. Errors are those that say
/// nothing about the medium.
pub(crate) fn read(file: &dyn File, place: Place) -> io::Result<Option<Footer>> {
    let Some(tail_start) = file.len()?.checked_sub(TAIL_SIZE as u64) else { return Ok(None) };
    let mut found = [0; TAIL_SIZE];
    if read_twice(file, &mut found, tail_start)? != Bytes::Read {
        return Ok(None);
    }
    let number = |at: usize| u32::from_le_bytes(found[at..at + 4].try_into().expect("four bytes"));
    let (count, start, crc) = (number(12), number(16), number(20));
    let size = count as usize * HEADER_SIZE;
    if found != tail(place, count, start, crc) || u64::from(start) + size as u64 != tail_start {
        return Ok(None);
    }
    let mut bytes = vec![0; size];
    if read_twice(file, &mut bytes, start.into())? != Bytes::Read || crc32fast::hash(&bytes) != crc {
        return Ok(None);
    }
    let parse = |bytes: &[u8]| {
        let bytes: &[u8; HEADER_SIZE] = bytes.try_into().ok()?;
        let offset = u32::from_le_bytes(bytes[76..80].try_into().expect("four bytes"));
        Header::parse(bytes, place, offset).ok()
    };
    let headers: Option<Vec<Header>> = bytes.chunks_exact(HEADER_SIZE).map(parse).collect();
    Ok(headers.map(|headers| Footer { start: start.into(), headers }))
}
