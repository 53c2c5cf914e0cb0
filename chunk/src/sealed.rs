//! Encryption of what is stored: a payload in frames, each of which opens on its own (docs/formats/sealed.md).
//!
//! Owns: the header, the key and the nonces of a payload, the refusal of whatever was not sealed like this.
//! Knows nothing of: where keys are kept, which of them a tenant has, who may read.
//!
//! Deterministic: one chunk sealed twice with one key gives the same bytes, so that whoever tries again writes what is
//! there already. That is safe only because a payload's own key follows from what the payload is: no key ever meets
//! two payloads.

mod frames;
mod header;
mod key;
mod secret;
#[cfg(test)]
mod tests;

use std::ops::Range;

use bytes::Bytes;
use types::limits::SEALED_HEADER_SIZE;
use types::{ChunkId, KeyId, Result, TenantId};

use crate::compress::Stored;
use frames::{Frames, Span};
use header::{Header, NO_SALT};
pub use key::SealKey;
pub use secret::{open_secret, seal_secret};

/// Seals what is stored of a chunk. The chunk's name must be that of its plain bytes.
pub fn seal(key: &SealKey, id: &ChunkId, stored: &Stored) -> Bytes {
    let salt = if stored.compressed { key.salt(&stored.bytes) } else { NO_SALT };
    let header = Header { tenant: key.tenant, key: key.id, salt };
    Frames::new(key, id, header).seal(&stored.bytes)
}

/// The tenant and key that a sealed payload names; `Corrupt` when it is none.
pub fn sealed_with(sealed: &[u8]) -> Result<(TenantId, KeyId)> {
    let (header, _) = Header::split(sealed)?;
    Ok((header.tenant, header.key))
}

/// Opens a sealed payload of a chunk; `Corrupt`, and nothing of it, unless every byte is as it was sealed, with this key
/// and for this chunk.
pub fn open(key: &SealKey, id: &ChunkId, sealed: &[u8]) -> Result<Bytes> {
    let (frames, bytes) = Frames::of(key, id, sealed)?;
    frames.open(bytes, 0..usize::MAX)
}

/// Opens bytes `offset..offset + count` of a payload, cut at its end, and no frame that has none of them.
pub fn open_range(key: &SealKey, id: &ChunkId, sealed: &[u8], offset: usize, count: usize) -> Result<Bytes> {
    let (frames, bytes) = Frames::of(key, id, sealed)?;
    frames.open(bytes, offset..offset.saturating_add(count))
}

/// A few bytes of a chunk of which no more is read than the frames that they are in.
#[derive(Debug)]
pub struct Excerpt {
    /// Bytes of the chunk.
    size: usize,
    range: Range<usize>,
}

impl Excerpt {
    /// Bytes `offset..offset + count` of a chunk of `size` bytes, cut at its end.
    pub fn new(size: usize, offset: usize, count: usize) -> Self {
        Self { size, range: offset..offset.saturating_add(count) }
    }

    /// Which bytes of the sealed payload must be read, when it was not compressed.
    pub fn sealed_range(&self) -> Range<usize> {
        let frames = Span::of(self.size, self.range.clone()).bytes();
        SEALED_HEADER_SIZE + frames.start..SEALED_HEADER_SIZE + frames.end
    }

    /// Opens what was read; `Corrupt`, and nothing of it, unless it is as it was sealed, with this key and for this chunk.
    pub fn open(&self, key: &SealKey, id: &ChunkId, read: &[u8]) -> Result<Bytes> {
        let header = Header { tenant: key.tenant, key: key.id, salt: NO_SALT };
        Frames::new(key, id, header).open_span(read, &Span::of(self.size, self.range.clone()))
    }
}

/// A number that is equal for equal sealed bytes of one chunk that are coded in the same way (`code`, 0 for copies): what
/// they follow from is in the header.
pub fn fingerprint(sealed: &[u8], code: u32) -> Result<u64> {
    let (header, _) = Header::split(sealed)?;
    let hash = blake3::hash(&[&header.to_bytes()[..], &code.to_le_bytes()].concat());
    Ok(u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight bytes")))
}
