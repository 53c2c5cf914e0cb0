//! Secrets of a few bytes, such as keys, sealed by a key: as payloads that are named by a hash under that key, which
//! stands before them.

use bytes::Bytes;
use types::{ChunkId, Error, Result};

use super::frames::Frames;
use super::header::{Header, NO_SALT};
use super::key::SealKey;

const NAME_SIZE: usize = 32;

/// Seals a secret for a purpose, such as "tenant key 3": where another one is expected it does not open.
pub fn seal_secret(key: &SealKey, purpose: &str, secret: &[u8]) -> Bytes {
    let name = name(key, purpose, secret);
    let header = Header { tenant: key.tenant, key: key.id, salt: NO_SALT };
    [&name.0[..], &Frames::new(key, &name, header).seal(secret)].concat().into()
}

/// Opens what [`seal_secret`] made; `Denied` with another key or for another purpose.
pub fn open_secret(key: &SealKey, purpose: &str, sealed: &[u8]) -> Result<Bytes> {
    let opened = || {
        let (name, sealed) = sealed.split_first_chunk::<NAME_SIZE>()?;
        let name = ChunkId(*name);
        let (frames, bytes) = Frames::of(key, &name, sealed).ok()?;
        Some((name, frames.open(bytes, 0..usize::MAX).ok()?))
    };
    match opened() {
        Some((found, secret)) if found == name(key, purpose, &secret) => Ok(secret),
        _ => Err(Error::denied(format!("key {} of tenant {} does not open {purpose}", key.id, key.tenant))),
    }
}

fn name(key: &SealKey, purpose: &str, secret: &[u8]) -> ChunkId {
    let mut hasher = key.hasher("cloudsync 1 name of a sealed secret");
    hasher.update(&(purpose.len() as u64).to_le_bytes()).update(purpose.as_bytes()).update(secret);
    ChunkId(*hasher.finalize().as_bytes())
}
