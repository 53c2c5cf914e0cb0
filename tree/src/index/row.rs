//! Rows of an index partition. Format: `docs/formats/metadata-rows.md`.

use kv::Read;
use proto::block::ChunkKind;
use proto::index::{Locator, Registration, Sizes};
use serde::{Deserialize, Serialize};
use types::{ChunkKey, DiskId, FeatureLevel, GcEpoch, Generation, Possession, Result, Slot};

use crate::failure::Halt;
use crate::replica::unknown_table;
use crate::row::{PARTITION, canonical, load, rows};

/// Behind its slot.
const CHUNK: u8 = b'h';
/// Behind all slots.
const TOTALS: u8 = b's';
/// Behind all slots.
const EPOCH: u8 = b'g';

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
    /// Parts that are not where the placement group has their slots, in the order of slots.
    pub exceptions: Vec<(u8, DiskId)>,
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

/// Sums over all chunks of a slot.
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

impl ChunkRow {
    /// What was stored, touched in `epoch`.
    pub fn new(stored: &Registration, epoch: GcEpoch) -> Self {
        Self {
            generation: stored.generation,
            touch: epoch,
            state: ChunkState::Live,
            kind: stored.kind,
            locator: stored.locator,
            possession: stored.possession,
            sizes: stored.sizes,
            exceptions: stored.exceptions.clone(),
        }
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
        self.chunks += 1;
        self.plain_bytes += u64::from(row.sizes.plain);
        self.disk_bytes += u64::from(row.sizes.disk);
    }

    /// Forgets a chunk that was counted.
    pub fn remove(&mut self, row: &ChunkRow) {
        self.chunks -= 1;
        self.plain_bytes -= u64::from(row.sizes.plain);
        self.disk_bytes -= u64::from(row.sizes.disk);
    }
}

/// A row as every replica at this level has it.
pub fn canonical_of(key: &[u8], value: &[u8], level: FeatureLevel) -> Result<Vec<u8>, Halt> {
    let canonical = match key {
        [0xff, 0xff, TOTALS, ..] => canonical::<TotalsRow>,
        [0xff, 0xff, EPOCH] => canonical::<GcEpoch>,
        key if chunk_of_key(key).is_some() => canonical::<ChunkRow>,
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
