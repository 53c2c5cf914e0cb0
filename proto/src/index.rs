//! Messages to the partitions of the chunk index.

use serde::{Deserialize, Serialize};
use types::{ChunkId, ChunkKey, DiskId, GcEpoch, Generation, PartitionId, Possession, Scope};

use crate::block::{ChunkKind, Layout};
use crate::seal::Receipt;

/// Asks which chunks exist and touches those that do, so that they cannot be collected before they are committed.
/// All ids belong to one partition ([`crate::map::ClusterMap::chunk_partition`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The partition that all of them belong to.
    pub partition: PartitionId,
    /// Where they are looked for.
    pub scope: Scope,
    /// At most `PIN_COUNT_MAX`. With the wrong second hash a chunk is as good as absent: an id that leaked is worth
    /// nothing.
    pub chunks: Vec<(ChunkId, Possession)>,
}

/// Answer to [`Pin`]: per chunk a receipt, or `None` for "upload it": it is absent, or lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// In the order of the request.
    pub receipts: Vec<Option<Receipt>>,
}

/// One chunk whose shards are durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Which chunk.
    pub chunk: ChunkKey,
    /// The incarnation that was written.
    pub generation: Generation,
    /// What it holds.
    pub kind: ChunkKind,
    /// Where it is.
    pub locator: Locator,
    /// What a pin has to show.
    pub possession: Possession,
    /// How large it is.
    pub sizes: Sizes,
    /// Parts that are not where the placement group has their slots, in the order of slots.
    pub exceptions: Vec<(u8, DiskId)>,
}

/// Where the bytes of a chunk are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Locator {
    /// In the slots of its placement group, laid out like this.
    Slots(Layout),
}

/// How large a chunk is, in each of its forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Bytes of the file that it stands for: its own, or for a manifest node those of all chunks below it.
    pub content: u64,
    /// Its own bytes.
    pub plain: u32,
    /// Bytes of the payload that was coded: compressed and sealed.
    pub stored: u32,
    /// Bytes on all disks together, without headers.
    pub disk: u32,
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
