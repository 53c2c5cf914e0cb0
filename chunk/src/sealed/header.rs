//! What precedes the frames of a sealed payload.

use types::limits::{SEALED_FRAME_SIZE, SEALED_HEADER_SIZE};
use types::{Error, KeyId, Result, TenantId};

const MAGIC: [u8; 4] = *b"CSSL";
const VERSION: u8 = 1;

/// What tells payloads of one chunk apart: compressors of other versions make other bytes of it.
pub(super) type Salt = [u8; 16];

/// Of a payload that is the chunk itself: its name says what it is.
pub(super) const NO_SALT: Salt = [0; 16];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) tenant: TenantId,
    pub(super) key: KeyId,
    pub(super) salt: Salt,
}

impl Header {
    pub(super) fn to_bytes(self) -> [u8; SEALED_HEADER_SIZE] {
        let mut bytes = [0; SEALED_HEADER_SIZE];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[5] = SEALED_FRAME_SIZE.trailing_zeros() as u8;
        bytes[8..12].copy_from_slice(&self.tenant.0.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.key.0.to_le_bytes());
        bytes[16..].copy_from_slice(&self.salt);
        bytes
    }

    /// The header of a sealed payload, and what follows it; `Corrupt` when it is none.
    pub(super) fn split(sealed: &[u8]) -> Result<(Self, &[u8])> {
        let Some((header, frames)) = sealed.split_first_chunk() else {
            return Err(Error::corrupt(format!(
                "a payload of {} bytes is too short to be sealed",
                sealed.len()
            )));
        };
        Ok((Self::parse(header)?, frames))
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
