//! Messages to the partitions of the chunk index.

use serde::{Deserialize, Serialize};
use types::{ChunkId, GcEpoch, Generation, PartitionId};

use crate::seal::Receipt;

/// Asks which chunks exist and touches those that do, so that they cannot be collected before they are committed.
/// All ids belong to one partition ([`crate::map::ClusterMap::chunk_partition`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The partition that all of them belong to.
    pub partition: PartitionId,
    /// At most `PIN_COUNT_MAX`.
    pub chunks: Vec<ChunkId>,
}

/// Answer to [`Pin`]: per chunk a receipt, or `None` for "upload it".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// In the order of the request.
    pub receipts: Vec<Option<Receipt>>,
}

/// One chunk whose shards are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Name of the chunk.
    pub chunk: ChunkId,
    /// The incarnation that was written.
    pub generation: Generation,
    /// Bytes of the chunk.
    pub plain_size: u32,
    /// Bytes on all disks together, without headers.
    pub disk_size: u32,
}

/// From coordinators only: makes durable chunks known. All belong to one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// The partition that all of them belong to.
    pub partition: PartitionId,
    /// At most `BATCH_OP_COUNT_MAX`.
    pub chunks: Vec<Registration>,
}

/// Answer to [`Register`]: per chunk a receipt, or `None` when its generation is too old (store it again).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// In the order of the request.
    pub receipts: Vec<Option<Receipt>>,
}

/// Asks for the totals of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchIndexStats {
    /// A partition of the index; `Invalid` for any other.
    pub partition: PartitionId,
}

/// What a partition of the index knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexStats {
    /// Live chunks.
    pub chunks: u64,
    /// Their bytes, each chunk counted once.
    pub plain_bytes: u64,
    /// Bytes on disks for them, redundancy included.
    pub disk_bytes: u64,
    /// The current GC cycle.
    pub epoch: GcEpoch,
    /// Lookups that the Bloom filter answered without the index, on the node that was asked, since it started.
    pub filter_negatives: u64,
    /// Lookups there that went on to the index.
    pub filter_positives: u64,
}
