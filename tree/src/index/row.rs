//! Rows of an index partition. Format: `docs/formats/metadata-rows.md`.

use kv::Read;
use serde::{Deserialize, Serialize};
use types::{ChunkId, FeatureLevel, GcEpoch, Generation, Result};

use crate::failure::Halt;
use crate::replica::unknown_table;
use crate::row::{canonical, load, rows};

const CHUNK: u8 = b'h';
const TOTALS: u8 = b's';
const EPOCH: u8 = b'g';

/// A chunk that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRow {
    /// Its live incarnation.
    pub generation: Generation,
    /// Last GC epoch in which it was pinned or written.
    pub touch: GcEpoch,
    /// Bytes of the chunk.
    pub plain_size: u32,
    /// Bytes of all its shards or replicas.
    pub disk_size: u32,
}

/// Sums over all chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalsRow {
    /// Number of chunks.
    pub chunks: u64,
    /// Sum of their sizes.
    pub plain_bytes: u64,
    /// Sum of what they take on disks.
    pub disk_bytes: u64,
}

rows! {
    "chunks" = ChunkRow;
    "totals" = TotalsRow;
    "GC epoch" = GcEpoch;
}

/// A row as every replica at this level has it.
pub fn canonical_of(key: &[u8], value: &[u8], level: FeatureLevel) -> Result<Vec<u8>, Halt> {
    let canonical = match key.first().copied() {
        Some(CHUNK) => canonical::<ChunkRow>,
        Some(TOTALS) => canonical::<TotalsRow>,
        Some(EPOCH) => canonical::<GcEpoch>,
        _ => return Err(unknown_table(key)),
    };
    canonical(value, level)
}

/// Key of a [`ChunkRow`].
pub fn chunk_key(chunk: &ChunkId) -> Vec<u8> {
    [&[CHUNK], &chunk.0[..]].concat()
}

/// Chunk in the key of a [`ChunkRow`].
pub fn chunk_of_key(key: &[u8]) -> Option<ChunkId> {
    key.get(1..)?.try_into().ok().map(ChunkId)
}

/// Range of the keys of all chunks.
pub fn chunk_range() -> (Vec<u8>, Vec<u8>) {
    (vec![CHUNK], vec![CHUNK + 1])
}

/// Key of the [`TotalsRow`].
pub fn totals_key() -> Vec<u8> {
    vec![TOTALS]
}

/// The current GC epoch.
pub fn epoch(state: &dyn Read) -> Result<GcEpoch, Halt> {
    Ok(load(state, &[EPOCH])?.unwrap_or_default())
}
