//! Rows of the root partition. Format: `docs/formats/metadata-rows.md`.

use kv::{Overlay, Read};
use proto::seal::ClusterSecret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use types::{NamespaceName, Result};

/// Key of the cluster map.
pub const MAP: &[u8] = b"m";
/// Key of [`Secrets`].
pub const SECRETS: &[u8] = b"b";
/// Key of the number of nodes there have been.
pub const NODE_COUNT: &[u8] = b"cn";
/// Key of the number of disks there have been.
pub const DISK_COUNT: &[u8] = b"cd";
/// Key of the number of namespaces there have been.
pub const NAMESPACE_COUNT: &[u8] = b"cs";

/// What lets a meta node admit others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// Certificate and key of the cluster's authority, PEM.
    pub authority: String,
    /// The secret all nodes share.
    pub secret: ClusterSecret,
}

/// Key of a namespace's id.
pub fn namespace_key(name: &NamespaceName) -> Vec<u8> {
    [b"n", name.as_str().as_bytes()].concat()
}

/// Key of a token's expiry.
pub fn token_key(hash: &[u8; 32]) -> Vec<u8> {
    [b"t", &hash[..]].concat()
}

/// Increments a counter and returns the new number; numbers are never used twice.
pub fn next_count(state: &mut Overlay<'_>, key: &'static [u8]) -> Result<u64> {
    let count = load::<u64>(state, key)?.unwrap_or(0) + 1;
    state.put(key, proto::encode(&count));
    Ok(count)
}

/// Reads a row; `None` when there is none, `Invalid` when it cannot be decoded.
pub fn load<T: DeserializeOwned>(state: &dyn Read, key: &[u8]) -> Result<Option<T>> {
    state.get(key)?.map(|bytes| proto::decode(&bytes)).transpose()
}
