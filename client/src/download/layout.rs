//! Where the bytes of a file are, and which of them a range needs.
//!
//! Owns: the parts of a file in order, the cutting of ranges, and that no part has another size than its manifest says.
//! Knows nothing of: how the parts came to be known, connections, files.
//! Pure: plain values in, plain values out.

#[cfg(test)]
mod tests;

use std::ops::Range;

use bytes::Bytes;
use chunk::manifest::ChunkRef;
use proto::seal::Ticket;
use types::limits::CHUNK_SIZE_MAX;
use types::{ChunkId, Error, Result};

/// A whole chunk is proven by its name, a part of it only by the node that opened its seal: that is worth it when there
/// are so many times as many bytes in the chunk.
const EXCERPT_SHARE: usize = 4;

/// The content of a file: parts one after the other. What was left out of it is before the first or after the last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FileLayout {
    parts: Vec<FilePart>,
    size: u64,
}

/// A run of bytes of the file, at least one.
#[derive(Debug, PartialEq, Eq)]
struct FilePart {
    offset: u64,
    size: u64,
    source: PartSource,
}

#[derive(Debug, PartialEq, Eq)]
enum PartSource {
    /// The bytes came with the manifest.
    Inline(Bytes),
    /// The bytes are this chunk, and this is the right to read it.
    Chunk(ChunkId, Ticket),
}

/// How to come by the next bytes of a range.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadStep {
    /// Here they are; the first is at `offset` in the file.
    Take { offset: u64, bytes: Bytes },
    /// Read this chunk and give its bytes to [`PartRead::take`].
    Fetch(PartRead),
}

/// The bytes of a chunk that a range needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PartRead {
    /// The chunk that holds the bytes.
    pub chunk: ChunkId,
    /// The right to read it.
    pub ticket: Ticket,
    /// Where the first byte that is needed is in the file.
    offset: u64,
    /// Bytes of the chunk, by its manifest.
    size: usize,
    /// Which of them are needed.
    needed: Range<usize>,
}

impl FileLayout {
    /// Appends bytes that came with the manifest.
    pub(super) fn push_inline(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.push(bytes.len() as u64, PartSource::Inline(bytes));
        }
    }

    /// Appends a chunk. `Corrupt` when no chunk can have its size.
    pub(super) fn push_chunk(&mut self, chunk: ChunkRef, ticket: Ticket) -> Result<()> {
        if !(1..=CHUNK_SIZE_MAX).contains(&(chunk.size as usize)) {
            return Err(Error::corrupt(format!(
                "the manifest has a chunk of an impossible size: {} of {} bytes",
                chunk.id, chunk.size
            )));
        }
        self.push(chunk.size.into(), PartSource::Chunk(chunk.id, ticket));
        Ok(())
    }

    /// Leaves out what nobody will ask for, up to an offset.
    pub(super) fn skip_to(&mut self, offset: u64) {
        assert!(self.size <= offset, "parts come in order");
        self.size = offset;
    }

    fn push(&mut self, size: u64, source: PartSource) {
        let end = self.size.checked_add(size).expect("memory does not hold parts for 2^64 bytes");
        self.parts.push(FilePart { offset: self.size, size, source });
        self.size = end;
    }

    /// Bytes of the file.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// What to read for the bytes of `range` that the file has, in order; nothing when it has none of them.
    pub(super) fn read(&self, range: Range<u64>) -> impl Iterator<Item = ReadStep> + '_ {
        let first = self.parts.partition_point(|part| part.end() <= range.start);
        let end = if range.is_empty() { 0 } else { range.end };
        let touched = self.parts[first..].iter().take_while(move |part| part.offset < end);
        touched.map(move |part| part.read(&range))
    }
}

impl FilePart {
    fn end(&self) -> u64 {
        self.offset + self.size
    }

    /// What to read for the bytes of this part in `range`, which touches it.
    fn read(&self, range: &Range<u64>) -> ReadStep {
        let (offset, end) = (range.start.max(self.offset), range.end.min(self.end()));
        assert!(offset < end, "a part that the range does not touch is not read");
        let needed = (offset - self.offset) as usize..(end - self.offset) as usize;
        match &self.source {
            PartSource::Inline(bytes) => ReadStep::Take { offset, bytes: bytes.slice(needed) },
            PartSource::Chunk(chunk, ticket) => {
                let (chunk, ticket, size) = (*chunk, *ticket, self.size as usize);
                ReadStep::Fetch(PartRead { chunk, ticket, offset, size, needed })
            }
        }
    }
}

impl ReadStep {
    /// Where the first of the bytes is in the file.
    pub(super) fn offset(&self) -> u64 {
        match self {
            ReadStep::Take { offset, .. } => *offset,
            ReadStep::Fetch(part) => part.offset,
        }
    }
}

impl PartRead {
    /// First byte of the chunk and number of bytes, when so few are needed that the others should not be read.
    pub(super) fn excerpt(&self) -> Option<(u32, u32)> {
        let (start, count) = (self.needed.start, self.needed.len());
        (count * EXCERPT_SHARE <= self.size).then_some((start as u32, count as u32))
    }

    /// Bytes that were read as [`PartRead::excerpt`] says. `Corrupt` when they are not as many.
    pub(super) fn take_excerpt(&self, bytes: Bytes) -> Result<Bytes> {
        if bytes.len() != self.needed.len() {
            return Err(Error::corrupt(format!("chunk {} is not as long as its manifest says", self.chunk)));
        }
        Ok(bytes)
    }

    /// Of all bytes of the chunk those that are needed, without a copy. `Corrupt` when the chunk has not as many bytes
    /// as its manifest says.
    pub(super) fn take(&self, bytes: Bytes) -> Result<Bytes> {
        if bytes.len() != self.size {
            return Err(Error::corrupt(format!("chunk {} is not as long as its manifest says", self.chunk)));
        }
        Ok(bytes.slice(self.needed.clone()))
    }
}
