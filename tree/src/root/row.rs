//! Rows of the root partition. Format: `docs/formats/metadata-rows.md`.

use proto::map::ClusterMap;
use proto::seal::ClusterSecret;
use serde::{Deserialize, Serialize};
use types::{FeatureLevel, Millis, Result};

use crate::failure::Halt;
use crate::replica::unknown_table;
use crate::row::{canonical, rows};

/// Key of the cluster map.
pub const MAP: &[u8] = b"m";
/// Key of [`Secrets`].
pub const SECRETS: &[u8] = b"b";
/// Key of the number of nodes there have been.
pub const NODE_COUNT: &[u8] = b"cn";
/// Key of the number of disks there have been.
pub const DISK_COUNT: &[u8] = b"cd";

/// What lets a meta node admit others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// Certificate and key of the cluster's authority, PEM.
    pub authority: String,
    /// The secret all nodes share.
    pub secret: ClusterSecret,
}

rows! {
    "cluster map" = ClusterMap;
    "secrets" = Secrets;
    "join tokens" = Millis;
}

/// A row as every replica at this level has it.
pub fn canonical_of(key: &[u8], value: &[u8], level: FeatureLevel) -> Result<Vec<u8>, Halt> {
    let canonical = match key {
        MAP => canonical::<ClusterMap>,
        SECRETS => canonical::<Secrets>,
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
