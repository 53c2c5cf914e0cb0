//! Bytes to chunks to shards, and back.
//!
//! Owns: where a file is cut, what a chunk is called, how it is compressed, sealed and erasure coded, the filter that answers
//! "surely not stored", and the list of chunks that is a file. Pure: the same input gives the same output everywhere.
//! Knows nothing of: disks, network, who may read what.

pub mod compress;
pub mod erasure;
pub mod filter;
pub mod manifest;
pub mod sealed;
pub mod split;

use types::ChunkId;

/// The name of a chunk: BLAKE3-256 of its plain bytes.
pub fn chunk_id(plain: &[u8]) -> ChunkId {
    ChunkId(*blake3::hash(plain).as_bytes())
}
