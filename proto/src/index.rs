//! Messages to the partitions of the chunk index.

use serde::{Deserialize, Serialize};
use types::{ChunkId, ChunkKey, DiskId, Epoch, GcEpoch, Generation, PartitionId, Possession, Profile, Scope};

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

/// What is known of a chunk whose parts are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredChunk {
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
}

/// One chunk whose parts are durable, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// What was stored.
    pub stored: StoredChunk,
    /// The disk of each part that is durable, by slot, in their order.
    pub parts: Vec<(u8, DiskId)>,
}

/// A part that is not on the disk of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    /// Which part.
    pub slot: u8,
    /// Where it is instead; `None`: nowhere, it must be made.
    pub disk: Option<DiskId>,
}

/// Who has a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holder {
    /// The disk of its slot.
    Home,
    /// Another one.
    Disk(DiskId),
    /// Nobody: it must be made.
    Nobody,
}

/// Whether a chunk can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChunkState {
    /// All promises hold.
    Live,
    /// Too few of its parts are left: whoever stores it again heals it.
    Lost,
    /// Nothing referred to it in this GC epoch: to be swept later, unless somebody pins or stores it.
    Condemned(GcEpoch),
}

/// A chunk as the index has it: what its disks should have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownChunk {
    /// What was stored.
    pub stored: StoredChunk,
    /// Whether it can be had.
    pub state: ChunkState,
    /// Parts that are not at home, in the order of slots.
    pub exceptions: Vec<Exception>,
}

impl KnownChunk {
    /// Who has a part.
    pub fn holder(&self, slot: u8) -> Holder {
        holder(&self.exceptions, slot)
    }

    /// How many parts it has; they are in the slots from 0 on.
    pub fn part_count(&self, profile: Profile) -> u8 {
        match self.stored.locator {
            Locator::Slots(Layout::Shard { k, m }) => k + m,
            Locator::Slots(Layout::Replica) => profile.replicas() as u8,
        }
    }
}

/// Who has a part, by these exceptions.
pub fn holder(exceptions: &[Exception], slot: u8) -> Holder {
    match exceptions.iter().find(|exception| exception.slot == slot) {
        None => Holder::Home,
        Some(Exception { disk: Some(disk), .. }) => Holder::Disk(*disk),
        Some(Exception { disk: None, .. }) => Holder::Nobody,
    }
}

/// From nodes: the chunks from `first` to `last`, in their order, a page at a time. All belong to one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListChunks {
    /// Which partition.
    pub partition: PartitionId,
    /// The first id that is wanted.
    pub first: ChunkId,
    /// The last id that is wanted.
    pub last: ChunkId,
    /// Where the page before ended.
    pub after: Option<ChunkKey>,
    /// Only those that are not whole: lost ones, and such with exceptions.
    pub flagged: bool,
    /// No chunk that is registered later may be so by a map older than this.
    pub fence: Epoch,
}

/// Answer to [`ListChunks`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkList {
    /// In the order of their keys, at most `CHUNK_PAGE_COUNT`.
    pub chunks: Vec<KnownChunk>,
    /// There are more after the last one.
    pub more: bool,
}

/// From nodes: what the index knows of chunks. All belong to one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookUp {
    /// Which partition.
    pub partition: PartitionId,
    /// At most `BATCH_OP_COUNT_MAX`.
    pub chunks: Vec<ChunkKey>,
}

/// Answer to [`LookUp`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookedUp {
    /// In the order of the request; `None` for a chunk that is not in the index.
    pub chunks: Vec<Option<KnownChunk>>,
}

/// From nodes: what has become of parts. All belong to one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amend {
    /// Which partition.
    pub partition: PartitionId,
    /// At most `BATCH_OP_COUNT_MAX`.
    pub amendments: Vec<Amendment>,
}

/// Answer to [`Amend`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amended {
    /// In the order of the request: false when the chunk, or the part, is not as expected any more.
    pub done: Vec<bool>,
}

/// News of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amendment {
    /// Which chunk.
    pub chunk: ChunkKey,
    /// Of which incarnation; of another nothing is said.
    pub generation: Generation,
    /// What is new.
    pub news: News,
}

/// What a node has found out about a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// Somebody else has a part.
    Moved {
        /// Which part.
        slot: u8,
        /// Who had it, as far as the index knew.
        was: Holder,
        /// Who has it.
        now: Holder,
    },
    /// Fewer parts are left than it takes to read it.
    Lost,
    /// It was lost, and can be read after all.
    Found,
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
    /// Chunks with parts that are not at home.
    pub displaced: u64,
    /// Of these, chunks that lack a part.
    pub thin: u64,
    /// Chunks that cannot be read.
    pub lost: u64,
    /// Lookups that the Bloom filter answered without the index, on the node that was asked, since it started.
    pub filter_negatives: u64,
    /// Lookups there that went on to the index.
    pub filter_positives: u64,
}
