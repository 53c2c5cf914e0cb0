//! Keys, and what follows from them.

use std::fmt;

use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use serde::{Deserialize, Serialize};
use types::{ChunkId, KeyId, TenantId};

use super::header::{Header, Salt};

/// A key that payloads are sealed with. Never leaves the nodes of a cluster but sealed by another.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealKey {
    /// Whose data it seals.
    pub tenant: TenantId,
    /// Which of the cluster's keys.
    pub id: KeyId,
    /// 32 random bytes.
    #[serde(with = "serde_bytes")]
    pub secret: [u8; 32],
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({} of tenant {})", self.id, self.tenant)
    }
}

impl SealKey {
    /// The key of one payload.
    pub(super) fn payload_key(&self, id: &ChunkId, header: &Header) -> LessSafeKey {
        let mut hasher = self.hasher("cloudsync 1 key of a sealed payload");
        hasher.update(&header.tenant.0.to_le_bytes()).update(&header.key.0.to_le_bytes());
        hasher.update(&id.0).update(&header.salt);
        let key = UnboundKey::new(&AES_256_GCM, hasher.finalize().as_bytes()).expect("32 bytes are a key");
        LessSafeKey::new(key)
    }

    /// Different for different payloads, and tells nothing about them.
    pub(super) fn salt(&self, payload: &[u8]) -> Salt {
        let hash = self.hasher("cloudsync 1 salt of a sealed payload").update(payload).finalize();
        hash.as_bytes()[..16].try_into().expect("16 of 32 bytes")
    }

    /// For one purpose, so that nothing made for another fits.
    pub(super) fn hasher(&self, purpose: &'static str) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_derive_key(purpose);
        hasher.update(&self.secret);
        hasher
    }
}
