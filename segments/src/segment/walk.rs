//! A walk over the records of a segment that checks all of them.
//!
//! Owns: telling a torn tail from damage, and what cannot be read from both.
//! Knows nothing of: the index, what is live, what is done about damage.

use std::io;
use std::ops::Range;

use env::File;
use env::mutant::Mutant;
use types::limits::KIB;

use super::{Bytes, read_twice};
use crate::record::{self, ALIGNMENT, Flaw, HEADER_SIZE, Header, Place};

/// Bytes read at once when searching for the next record.
const SEARCH_SIZE: usize = 4 * KIB;
/// When they cannot be read, these pieces of them perhaps can: no disk has smaller ones.
const SECTOR_SIZE: u64 = 512;

/// What a walk meets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A record that matches all its checksums.
    Record(Header),
    /// Bytes that are no good record.
    Bad(Bad),
}

/// Bytes that are no good record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) flaw: Flaw,
    /// Whose record it was: its header is good.
    pub(crate) header: Option<Header>,
    /// No good record of a later batch follows, and all that follows can be read: this may never have been durable.
    pub(crate) may_be_torn: bool,
    pub(crate) is_unreadable: bool,
}

/// Walks from one offset to another.
pub(crate) struct Walk<'a> {
    file: &'a dyn File,
    place: Place,
    offset: u64,
    end: u64,
}

/// What a search for the next header found on its way.
struct Search {
    next: Option<Header>,
    met_unreadable: bool,
}

/// Why a record is bad.
struct Defect {
    flaw: Flaw,
    is_unreadable: bool,
}

impl<'a> Walk<'a> {
    /// Over the records between `offset` and `end`.
    pub(crate) fn new(file: &'a dyn File, place: Place, offset: u64, end: u64) -> Self {
        Self { file, place, offset, end }
    }

    fn step(&mut self) -> io::Result<Step> {
        let header = match read_header(self.file, self.place, self.offset)? {
            Ok(header) => header,
            Err(fault) => return Ok(Step::Bad(self.bad(fault, None)?)),
        };
        match self.check_record(&header)? {
            Ok(()) => {
                self.offset = header.end();
                Ok(Step::Record(header))
            }
            Err(fault) => Ok(Step::Bad(self.bad(fault, Some(header))?)),
        }
    }

    /// Goes on behind what is bad at the current offset.
    fn bad(&mut self, Defect { flaw, is_unreadable }: Defect, header: Option<Header>) -> io::Result<Bad> {
        let offset = self.offset;
        // A good header says how long its record is; otherwise the next good header ends what is bad.
        let known_end = header.map(|header| header.end().min(self.end));
        let mut search = self.search(known_end.unwrap_or(offset + ALIGNMENT as u64))?;
        let next = search.next.map_or(self.end, |next| next.offset.into());
        let mut met_unreadable = search.met_unreadable;
        let mut is_proven = false;
        while let Some(later) = search.next {
            is_proven = u64::from(later.batch_offset) > offset;
            if is_proven {
                break;
            }
            search = self.search(u64::from(later.offset) + ALIGNMENT as u64)?;
            met_unreadable |= search.met_unreadable;
        }
        self.offset = known_end.unwrap_or(next);
        let is_readable = Mutant::ErrorAsTail.is_planted() || (!is_unreadable && !met_unreadable);
        let may_be_torn = !is_proven && is_readable;
        Ok(Bad { offset, size: self.offset - offset, flaw, header, may_be_torn, is_unreadable })
    }

    fn check_record(&self, header: &Header) -> io::Result<Result<(), Defect>> {
        if header.end() > self.end {
            return Ok(Err(Defect { flaw: "the record is cut short", is_unreadable: false }));
        }
        let start = u64::from(header.offset) + HEADER_SIZE as u64;
        let size = usize::try_from(header.end() - start).expect("a record fits in memory");
        let mut bytes = vec![0; size];
        Ok(match read_twice(self.file, &mut bytes, start)? {
            Bytes::Read => {
                record::check_payload(header, &bytes).map_err(|flaw| Defect { flaw, is_unreadable: false })
            }
            other => Err(fault(other)),
        })
    }

    /// The first good header at or after `from`.
    fn search(&self, from: u64) -> io::Result<Search> {
        let mut window = vec![0; SEARCH_SIZE + HEADER_SIZE];
        let mut met_unreadable = false;
        let mut at = from;
        while at + HEADER_SIZE as u64 <= self.end {
            let size = window.len().min(usize::try_from(self.end - at).unwrap_or(usize::MAX));
            let holes = match read_twice(self.file, &mut window[..size], at)? {
                Bytes::Read => Vec::new(),
                Bytes::Missing => break,
                Bytes::Unreadable => self.read_sectors(&mut window[..size], at)?,
            };
            met_unreadable |= !holes.is_empty();
            let is_whole = |start: usize| {
                holes.iter().all(|hole| hole.end <= start || start + HEADER_SIZE <= hole.start)
            };
            let last = (size - HEADER_SIZE).min(SEARCH_SIZE - ALIGNMENT);
            let next = (0..=last).step_by(ALIGNMENT).filter(|i| is_whole(*i)).find_map(|i| {
                let bytes = window[i..i + HEADER_SIZE].try_into().expect("HEADER_SIZE bytes");
                Header::parse(bytes, self.place, u32::try_from(at + i as u64).ok()?).ok()
            });
            if next.is_some() {
                return Ok(Search { next, met_unreadable });
            }
            at += SEARCH_SIZE as u64;
        }
        Ok(Search { next: None, met_unreadable })
    }

    /// Reads what can be read of a window, and says where it cannot.
    fn read_sectors(&self, window: &mut [u8], at: u64) -> io::Result<Vec<Range<usize>>> {
        let (mut holes, mut start) = (Vec::new(), 0);
        while start < window.len() {
            let rest = SECTOR_SIZE - (at + start as u64) % SECTOR_SIZE;
            let end = window.len().min(start + usize::try_from(rest).expect("at most a sector"));
            if read_twice(self.file, &mut window[start..end], at + start as u64)? != Bytes::Read {
                holes.push(start..end);
            }
            start = end;
        }
        Ok(holes)
    }
}

impl Iterator for Walk<'_> {
    type Item = io::Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.end {
            return None;
        }
        let before = self.offset;
        let step = self.step();
        if step.is_err() {
            self.offset = self.end; // It says nothing about the segment: whoever walks begins again.
        }
        assert!(self.offset > before, "a walk goes on, whatever it meets: {step:?}");
        Some(step)
    }
}

fn fault(read: Bytes) -> Defect {
    match read {
        Bytes::Unreadable => Defect { flaw: "it cannot be read", is_unreadable: true },
        _ => Defect { flaw: "the segment ends before it", is_unreadable: false },
    }
}

/// The header of the record at `offset`.
fn read_header(file: &dyn File, place: Place, offset: u64) -> io::Result<Result<Header, Defect>> {
    let mut bytes = [0; HEADER_SIZE];
    Ok(match read_twice(file, &mut bytes, offset)? {
        Bytes::Read => u32::try_from(offset)
            .map_err(|_| "no segment is this long")
            .and_then(|offset| Header::parse(&bytes, place, offset))
            .map_err(|flaw| Defect { flaw, is_unreadable: false }),
        other => Err(fault(other)),
    })
}

/// The headers of all records from `offset` to `end`, as bytes, without a look at payloads; `None` when one of them is
/// not good.
pub(crate) fn headers(file: &dyn File, place: Place, offset: u64, end: u64) -> io::Result<Option<Vec<u8>>> {
    let (mut bytes, mut at) = (Vec::new(), offset);
    while at < end {
        let Ok(header) = read_header(file, place, at)? else { return Ok(None) };
        bytes.extend_from_slice(&header.to_bytes(place));
        at = header.end();
    }
    Ok((at == end).then_some(bytes))
}
