//! Rows of the root partition. Format: `docs/formats/metadata-rows.md`.

use bytes::Bytes;
use proto::keys::KeyRing;
use proto::map::ClusterMap;
use serde::{Deserialize, Serialize};
use types::{FeatureLevel, Millis, Result};

use crate::failure::Halt;
use crate::replica::unknown_table;
use crate::row::{canonical, rows};

/// Key of the cluster map.
pub const MAP: &[u8] = b"m";
/// Key of [`SealedSecrets`].
pub const SECRETS: &[u8] = b"b";
/// Key of the key ring.
pub const KEY_RING: &[u8] = b"k";
/// Key of the number of nodes there have been.
pub const NODE_COUNT: &[u8] = b"cn";
/// Key of the number of disks there have been.
pub const DISK_COUNT: &[u8] = b"cd";

/// What lets a meta node admit others ([`super::Secrets`]), sealed by the unlock key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecrets(pub Bytes);

rows! {
    "cluster map" = ClusterMap;
    "secrets" = SealedSecrets;
    "key ring" = KeyRing;
    "join tokens" = Millis;
}

/// A row as every replica at this level has it.
pub fn canonical_of(key: &[u8], value: &[u8], level: FeatureLevel) -> Result<Vec<u8>, Halt> {
    let canonical = match key {
        MAP => canonical::<ClusterMap>,
        SECRETS => canonical::<SealedSecrets>,
        KEY_RING => canonical::<KeyRing>,
        NODE_COUNT | DISK_COUNT => canonical::<u64>,
        [b't', ..] => canonical::<Millis>,
        _ => return Err(unknown_table(key)),
    };
    canonical(value, level)
}

/// Key of a token's expiry.
pub fn token_key(hash: &[u8; 32]) -> Vec<u8> {
    [b"t", &hash[..]].concat()
}
