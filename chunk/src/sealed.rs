//! Encryption of what is stored: a payload in frames, each of which opens on its own (docs/formats/sealed.md).
//!
//! Owns: the header, the key and the nonces of a payload, the refusal of whatever was not sealed like this.
//! Knows nothing of: where keys are kept, which of them a tenant has, who may read.
//!
//! Deterministic: one chunk sealed twice with one key gives the same bytes, so that whoever tries again writes what is
//! there already. That is safe only because a payload's own key follows from what the payload is: no key ever meets
//! two payloads.

mod frames;
mod key;
mod secret;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use types::limits::{SEALED_FRAME_SIZE, SEALED_HEADER_SIZE, SEALED_TAG_SIZE};
use types::{ChunkId, Error, KeyId, Result, TenantId};

use crate::compress::Stored;
use frames::Frames;
pub use key::SealKey;
pub use secret::{open_secret, seal_secret};

const MAGIC: [u8; 4] = *b"CSSL";
const VERSION: u8 = 1;
/// Of a payload that is the chunk itself: its name says what it is.
const NO_SALT: Salt = [0; 16];

/// What tells payloads of one chunk apart: compressors of other versions make other bytes of it.
type Salt = [u8; 16];

/// What precedes the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    tenant: TenantId,
    key: KeyId,
    salt: Salt,
}

impl Header {
    fn to_bytes(self) -> [u8; SEALED_HEADER_SIZE] {
        let mut bytes = [0; SEALED_HEADER_SIZE];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[5] = SEALED_FRAME_SIZE.trailing_zeros() as u8;
        bytes[8..12].copy_from_slice(&self.tenant.0.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.key.0.to_le_bytes());
        bytes[16..].copy_from_slice(&self.salt);
        bytes
    }

    fn parse(bytes: &[u8; SEALED_HEADER_SIZE]) -> Result<Self> {
        if bytes[..4] != MAGIC {
            return Err(Error::corrupt("a payload is not sealed: it has no header"));
        }
        if bytes[4] != VERSION {
            return Err(Error::corrupt(format!(
                "a payload is sealed in version {}, this program knows {VERSION}: update it",
                bytes[4]
            )));
        }
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let header = Self {
            tenant: TenantId(number(8)),
            key: KeyId(number(12)),
            salt: bytes[16..].try_into().expect("16 bytes"),
        };
        if header.to_bytes() != *bytes {
            return Err(Error::corrupt("the header of a sealed payload contradicts its version"));
        }
        Ok(header)
    }
}

/// Seals what is stored of a chunk. The chunk's name must be that of its plain bytes.
pub fn seal(key: &SealKey, id: &ChunkId, stored: &Stored) -> Bytes {
    let salt = if stored.compressed { key.salt(&stored.bytes) } else { NO_SALT };
    let header = Header { tenant: key.tenant, key: key.id, salt };
    Frames::new(key, id, header).seal(&stored.bytes)
}

/// The tenant and key that a sealed payload names; `Corrupt` when it is none.
pub fn sealed_with(sealed: &[u8]) -> Result<(TenantId, KeyId)> {
    let (header, _) = split(sealed)?;
    Ok((header.tenant, header.key))
}

/// Opens a sealed payload of a chunk; `Corrupt`, and nothing of it, unless every byte is as it was sealed, with this key
/// and for this chunk.
pub fn open(key: &SealKey, id: &ChunkId, sealed: &[u8]) -> Result<Bytes> {
    let (frames, bytes) = frames(key, id, sealed)?;
    frames.open(bytes, 0..usize::MAX)
}

/// Opens bytes `offset..offset + count` of a payload, cut at its end, and no frame that has none of them.
pub fn open_range(key: &SealKey, id: &ChunkId, sealed: &[u8], offset: usize, count: usize) -> Result<Bytes> {
    let (frames, bytes) = frames(key, id, sealed)?;
    frames.open(bytes, offset..offset.saturating_add(count))
}

/// A number that is equal for equal sealed bytes of one chunk that are coded in the same way (`code`, 0 for copies): what
/// they follow from is in the header.
pub fn fingerprint(sealed: &[u8], code: u32) -> Result<u64> {
    let (header, _) = split(sealed)?;
    let hash = blake3::hash(&[&header.to_bytes()[..], &code.to_le_bytes()].concat());
    Ok(u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight bytes")))
}

/// Bytes of a payload of `size` bytes, once it is sealed. An empty one has a frame, too: it is what proves it.
pub fn sealed_size(size: usize) -> usize {
    SEALED_HEADER_SIZE + size + size.div_ceil(SEALED_FRAME_SIZE).max(1) * SEALED_TAG_SIZE
}

/// What opens a sealed payload, and its frames.
fn frames<'a, 'b>(key: &'a SealKey, id: &'a ChunkId, sealed: &'b [u8]) -> Result<(Frames<'a>, &'b [u8])> {
    let (header, bytes) = split(sealed)?;
    let frames = Frames::new(key, id, header);
    if (header.tenant, header.key) == (key.tenant, key.id) {
        Ok((frames, bytes))
    } else {
        Err(frames.damaged(&format!("it is sealed with key {} of tenant {}", header.key, header.tenant)))
    }
}

fn split(sealed: &[u8]) -> Result<(Header, &[u8])> {
    let Some((header, frames)) = sealed.split_first_chunk() else {
        return Err(Error::corrupt(format!("a payload of {} bytes is too short to be sealed", sealed.len())));
    };
    Ok((Header::parse(header)?, frames))
}
