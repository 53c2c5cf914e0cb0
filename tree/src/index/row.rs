//! Rows of an index partition. Format: `docs/formats/metadata-rows.md`.

use kv::Read;
use proto::block::ChunkKind;
use proto::index::{ChunkState, Exception, Holder, KnownChunk, Locator, Sizes, StoredChunk, holder};
use serde::{Deserialize, Serialize};
use types::{ChunkId, ChunkKey, Epoch, FeatureLevel, GcEpoch, Generation, Possession, Result, Slot};

use crate::failure::Halt;
use crate::replica::unknown_table;
use crate::row::{PARTITION, canonical, load, rows};

/// Behind its slot.
const CHUNK: u8 = b'h';
/// Behind all slots.
const FLAG: u8 = b'f';
/// Behind all slots.
const TOTALS: u8 = b's';
/// Behind all slots.
const EPOCH: u8 = b'g';
/// Behind all slots.
const FENCE: u8 = b'm';

/// A chunk that exists and was touched, so that it is not collected for a while: what a receipt says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touch {
    /// Its live incarnation.
    pub generation: Generation,
    /// The epoch it was touched in.
    pub epoch: GcEpoch,
    /// Bytes of the file that it stands for.
    pub size: u64,
}

/// A chunk that exists, or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRow {
    /// Its newest incarnation.
    pub generation: Generation,
    /// Last GC epoch in which it was pinned or written.
    pub touch: GcEpoch,
    /// Whether it can be had.
    pub state: ChunkState,
    /// What it holds.
    pub kind: ChunkKind,
    /// Where it is.
    pub locator: Locator,
    /// What a pin has to show.
    pub possession: Possession,
    /// How large it is.
    pub sizes: Sizes,
    /// Parts that are not on the disks of their slots, in the order of slots.
    pub exceptions: Vec<Exception>,
}

/// Marks a chunk that is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagRow;

/// Sums over all chunks of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalsRow {
    /// Number of chunks.
    pub chunks: u64,
    /// Sum of their sizes.
    pub plain_bytes: u64,
    /// Sum of what they take on disks.
    pub disk_bytes: u64,
    /// Chunks with exceptions.
    pub displaced: u64,
    /// Of these, chunks that lack a part.
    pub thin: u64,
    /// Chunks that are lost.
    pub lost: u64,
}

rows! {
    "chunks" = ChunkRow;
    "totals" = TotalsRow;
    "GC epoch" = GcEpoch;
    "flags" = FlagRow;
    "fence" = Epoch;
}

impl ChunkRow {
    /// What was stored, touched in `epoch`.
    pub fn new(stored: &StoredChunk, exceptions: Vec<Exception>, epoch: GcEpoch) -> Self {
        Self {
            generation: stored.generation,
            touch: epoch,
            state: ChunkState::Live,
            kind: stored.kind,
            locator: stored.locator,
            possession: stored.possession,
            sizes: stored.sizes,
            exceptions,
        }
    }

    /// What nodes are told of it.
    pub fn known(self, chunk: ChunkKey) -> KnownChunk {
        let Self { generation, touch: _, state, kind, locator, possession, sizes, exceptions } = self;
        let stored = StoredChunk { chunk, generation, kind, locator, possession, sizes };
        KnownChunk { stored, state, exceptions }
    }

    /// Something about it is to be put right.
    pub fn is_flagged(&self) -> bool {
        self.state == ChunkState::Lost || !self.exceptions.is_empty()
    }

    /// Somebody else has a part from now on; false when the one that had it before is not the expected one.
    pub fn move_part(&mut self, slot: u8, was: Holder, now: Holder) -> bool {
        if holder(&self.exceptions, slot) != was {
            return false;
        }
        self.exceptions.retain(|exception| exception.slot != slot);
        let disk = match now {
            Holder::Home => return true,
            Holder::Disk(disk) => Some(disk),
            Holder::Nobody => None,
        };
        self.exceptions.push(Exception { slot, disk });
        self.exceptions.sort_by_key(|exception| exception.slot);
        true
    }

    /// True when it can be had by whoever shows this: the bytes' second hash.
    pub fn is_had_by(&self, shown: &Possession) -> bool {
        self.state != ChunkState::Lost && self.possession == *shown
    }

    /// What a receipt says about it.
    pub fn touch(&self) -> Touch {
        Touch { generation: self.generation, epoch: self.touch, size: self.sizes.content }
    }
}

impl TotalsRow {
    /// Counts a chunk.
    pub fn add(&mut self, row: &ChunkRow) {
        self.change(row, u64::checked_add);
    }

    /// Forgets a chunk that was counted.
    pub fn remove(&mut self, row: &ChunkRow) {
        self.change(row, u64::checked_sub);
    }

    fn change(&mut self, row: &ChunkRow, by: impl Fn(u64, u64) -> Option<u64>) {
        let is_thin = row.exceptions.iter().any(|exception| exception.disk.is_none());
        for (sum, part) in [
            (&mut self.chunks, 1),
            (&mut self.plain_bytes, row.sizes.plain.into()),
            (&mut self.disk_bytes, row.sizes.disk.into()),
            (&mut self.displaced, (!row.exceptions.is_empty()).into()),
            (&mut self.thin, is_thin.into()),
            (&mut self.lost, (row.state == ChunkState::Lost).into()),
        ] {
            *sum = by(*sum, part).expect("what is taken away was counted");
        }
    }
}

/// A row as every replica at this level has it.
pub fn canonical_of(key: &[u8], value: &[u8], level: FeatureLevel) -> Result<Vec<u8>, Halt> {
    let canonical = match key {
        [0xff, 0xff, TOTALS, ..] => canonical::<TotalsRow>,
        [0xff, 0xff, EPOCH] => canonical::<GcEpoch>,
        [0xff, 0xff, FENCE] => canonical::<Epoch>,
        key if chunk_of_key(key).is_some() => canonical::<ChunkRow>,
        key if chunk_of_flag(key).is_some() => canonical::<FlagRow>,
        _ => return Err(unknown_table(key)),
    };
    canonical(value, level)
}

/// Key of a [`ChunkRow`].
pub fn chunk_key(chunk: &ChunkKey) -> Vec<u8> {
    [&chunk.id.slot().to_bytes()[..], &[CHUNK], &chunk.to_bytes()].concat()
}

/// Chunk in the key of a [`ChunkRow`]; `None` for any other key.
pub fn chunk_of_key(key: &[u8]) -> Option<ChunkKey> {
    let (slot, rest) = key.split_first_chunk::<2>()?;
    let chunk = ChunkKey::from_bytes(rest.strip_prefix(&[CHUNK])?.try_into().ok()?);
    (chunk.id.slot().to_bytes() == *slot).then_some(chunk)
}

/// Key of the [`FlagRow`] of a chunk. Behind all slots, so that whoever looks for what is to be put right finds nothing at
/// once; it follows from the chunk's row, and need not move with its slot.
pub fn flag_key(chunk: &ChunkKey) -> Vec<u8> {
    [&PARTITION[..], &[FLAG], &chunk.to_bytes()].concat()
}

/// Chunk in the key of a [`FlagRow`].
pub fn chunk_of_flag(key: &[u8]) -> Option<ChunkKey> {
    let chunk = key.strip_prefix(&PARTITION)?.strip_prefix(&[FLAG])?;
    Some(ChunkKey::from_bytes(chunk.try_into().ok()?))
}

/// Range of the keys of [`FlagRow`]s between two chunks, both included.
pub fn flag_range(first: &ChunkId, last: &ChunkId) -> (Vec<u8>, Vec<u8>) {
    let key = |id: &ChunkId| [&PARTITION[..], &[FLAG], &id.0].concat();
    (key(first), kv::prefix_end(&key(last)))
}

/// Range of the keys of the chunks between two ids, both included.
pub fn chunk_range_of(first: &ChunkId, last: &ChunkId) -> (Vec<u8>, Vec<u8>) {
    let key = |id: &ChunkId| [&id.slot().to_bytes()[..], &[CHUNK], &id.0].concat();
    (key(first), kv::prefix_end(&key(last)))
}

/// Range of the keys of all chunks, or of those after one.
pub fn chunk_range(after: Option<ChunkKey>) -> (Vec<u8>, Vec<u8>) {
    let start = after.map_or_else(Vec::new, |after| [&chunk_key(&after)[..], &[0]].concat());
    (start, PARTITION.to_vec())
}

/// Key of the [`TotalsRow`] of a slot.
pub fn totals_key(slot: Slot) -> Vec<u8> {
    [&PARTITION[..], &[TOTALS], &slot.to_bytes()].concat()
}

/// Range of the keys of the totals of all slots.
pub fn totals_range() -> (Vec<u8>, Vec<u8>) {
    ([&PARTITION[..], &[TOTALS]].concat(), [&PARTITION[..], &[TOTALS + 1]].concat())
}

/// Key of the GC epoch.
pub fn epoch_key() -> Vec<u8> {
    [&PARTITION[..], &[EPOCH]].concat()
}

/// The current GC epoch.
pub fn epoch(state: &dyn Read) -> Result<GcEpoch, Halt> {
    Ok(load(state, &epoch_key())?.unwrap_or_default())
}

/// Key of the epoch of the oldest map that chunks may be registered by.
pub fn fence_key() -> Vec<u8> {
    [&PARTITION[..], &[FENCE]].concat()
}

/// The epoch of the oldest map that chunks may be registered by.
pub fn fence(state: &dyn Read) -> Result<Epoch, Halt> {
    Ok(load(state, &fence_key())?.unwrap_or(Epoch(0)))
}
