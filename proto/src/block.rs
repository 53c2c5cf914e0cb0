//! Messages to blockservers.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use types::limits::{CHUNK_SIZE_MAX, SEALED_SIZE_MAX, SHARD_COUNT_MAX};
use types::{ChunkId, ChunkKey, DiskId, Error, Generation, KeyId, PgId, Profile, Result, Scope};

use crate::seal::{Receipt, Ticket};

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChunkKind {
    /// A run of file bytes.
    Data,
    /// A node of a manifest tree (`chunk::manifest`). Its receipt is made from its children's.
    ManifestNode,
}

/// Stores a chunk; the body is its plain bytes. Any blockserver coordinates; the holder of the first live slot saves
/// a hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutChunk {
    /// Where it is stored.
    pub scope: Scope,
    /// Name of the body: `chunk::chunk_id`, or `chunk::manifest::node_id` for a manifest node.
    pub id: ChunkId,
    /// Decides how the body is named.
    pub kind: ChunkKind,
    /// For a manifest node: the receipts of its entries, in order. Otherwise empty.
    pub receipts: Vec<Receipt>,
}

/// Answer to [`PutChunk`]: the chunk is as durable as I-ACK promises, and registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkStored {
    /// For the commit.
    pub receipt: Receipt,
}

/// Reads a chunk; the reply's body is its plain bytes, cut to the range asked for. `NotFound` when no disk has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetChunk {
    /// Name of the chunk.
    pub id: ChunkId,
    /// Says in which scope, and is the right to read it; of nodes only the scope is looked at.
    pub ticket: Ticket,
    /// What the reader takes it for; a node's children are opened to the reader by the reply.
    pub kind: ChunkKind,
    /// First byte and number of bytes wanted, cut at the chunk's end; `None` for all.
    pub range: Option<(u32, u32)>,
}

/// Answer to [`GetChunk`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRead {
    /// For a manifest node: tickets for its entries, in order. Otherwise empty.
    pub tickets: Vec<Ticket>,
}

/// How a chunk's stored payload is laid out over the slots of its placement group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// One of `k + m` shards.
    Shard {
        /// Data shards.
        k: u8,
        /// Parity shards.
        m: u8,
    },
    /// A whole copy.
    Replica,
}

/// What is known of a shard besides its bytes; stored in its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardMeta {
    /// Shape of the stripe.
    pub layout: Layout,
    /// Bytes of the chunk.
    pub plain_size: u32,
    /// Bytes of the payload that was coded: the chunk, compressed if `compressed`, and sealed.
    pub stored_size: u32,
    /// What is sealed is a zstd frame.
    pub compressed: bool,
    /// The key that it is sealed with.
    pub key: KeyId,
}

impl ShardMeta {
    /// `Invalid` when no chunk has such a shard at `slot`: a peer or a disk may say anything.
    pub fn check(&self, slot: u8) -> Result<()> {
        let count = match self.layout {
            Layout::Shard { k, m } => Profile::new(k, m)?.n(),
            Layout::Replica => SHARD_COUNT_MAX,
        };
        if usize::from(slot) >= count
            || !(1..=CHUNK_SIZE_MAX).contains(&(self.plain_size as usize))
            || !(1..=SEALED_SIZE_MAX).contains(&(self.stored_size as usize))
        {
            return Err(Error::invalid(format!(
                "slot {slot} of {count}, as {self:?}, is a part of no chunk"
            )));
        }
        Ok(())
    }
}

/// Name of one shard of one incarnation of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardKey {
    /// The chunk it is a piece or copy of.
    pub chunk: ChunkKey,
    /// Which incarnation of the chunk.
    pub generation: Generation,
    /// Position in the placement group, and in the stripe.
    pub slot: u8,
}

/// Node to node: makes a shard durable. The body is its bytes. Repeating it succeeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutShard {
    /// The disk that is to have it.
    pub disk: DiskId,
    /// Which shard.
    pub key: ShardKey,
    /// How it is laid out and coded.
    pub meta: ShardMeta,
    /// CRC-32 of the body, checked before the disk is touched.
    pub crc: u32,
}

/// Node to node: reads a shard. The reply's body is its bytes. `Corrupt` when it is there but damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetShard {
    /// The disk to look on.
    pub disk: DiskId,
    /// The chunk whose shard is wanted.
    pub chunk: ChunkKey,
    /// Only this slot; `None` for whatever shard or replica the disk has.
    pub slot: Option<u8>,
    /// Only this incarnation; `None` for the newest.
    pub generation: Option<Generation>,
    /// First byte and number of bytes wanted; `None` for all, no bytes to learn what it is only.
    pub range: Option<(u32, u32)>,
}

impl GetShard {
    /// Which bytes of the shard; `None` for all.
    pub fn bytes(&self) -> Option<Range<u32>> {
        self.range.map(|(start, count)| start..start.saturating_add(count))
    }
}

/// Node to node: removes a shard that somebody else has now. One that is not there is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteShard {
    /// The disk that has it.
    pub disk: DiskId,
    /// Which shard.
    pub key: ShardKey,
}

/// Node to node: a shard's bytes are wrong although they match their checksum, as the seal of their chunk has shown. Its
/// disk counts it as lost from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DistrustShard {
    /// The disk that has it.
    pub disk: DiskId,
    /// Which shard.
    pub key: ShardKey,
}

/// Answer to [`GetShard`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRead {
    /// What was found.
    pub key: ShardKey,
    /// How it is laid out and coded.
    pub meta: ShardMeta,
    /// CRC-32 of the body.
    pub crc: u32,
}

/// Node to node: what a disk holds of a placement group, in order. For whoever checks that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListShards {
    /// The disk to list.
    pub disk: DiskId,
    /// The placement group to list.
    pub pg: PgId,
    /// Continue after this key; `None` to begin.
    pub after: Option<ShardKey>,
}

/// Answer to [`ListShards`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardList {
    /// In key order.
    pub shards: Vec<(ShardKey, ShardMeta)>,
    /// There is more after the last one.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(layout: Layout, plain_size: u32, stored_size: u32, slot: u8, want: bool) {
        let meta = ShardMeta { layout, plain_size, stored_size, compressed: false, key: KeyId(1) };
        assert_eq!(meta.check(slot).is_ok(), want, "slot {slot} of {meta:?}");
    }

    #[test]
    fn shards_that_no_chunk_has() {
        let shard = |k, m| Layout::Shard { k, m };
        let max = CHUNK_SIZE_MAX as u32;
        check(shard(4, 2), 100, 90, 0, true);
        check(shard(4, 2), max, SEALED_SIZE_MAX as u32, 5, true);
        check(shard(4, 2), max, SEALED_SIZE_MAX as u32 + 1, 5, false);
        check(shard(4, 2), 100, 90, 6, false);
        for (k, m) in [(0, 0), (0, 2), (4, 0), (255, 255), (30, 3)] {
            check(shard(k, m), 100, 90, 0, false);
        }
        check(shard(4, 2), 0, 90, 0, false);
        check(shard(4, 2), 100, 0, 0, false);
        check(shard(4, 2), max + 1, 90, 0, false);
        check(shard(4, 2), 100, u32::MAX, 0, false);
        check(Layout::Replica, 1, 1, 31, true);
        check(Layout::Replica, 1, 1, 32, false);
        check(Layout::Replica, 1, 0, 0, false);
    }
}
