//! What computes shards, whoever does it.

use types::Result;

/// Computes the shards of a stripe. Two implementations with equal bytes: the library's and ours.
pub trait Codec: Send + Sync {
    /// Fills the `m` parity shards from the `k` data shards; all have the same size.
    fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<()>;
    /// Fills every missing shard; at least `k` must be there (else `Unavailable`), all of the same size.
    fn reconstruct(&self, shards: &mut [Option<Vec<u8>>]) -> Result<()>;
}
