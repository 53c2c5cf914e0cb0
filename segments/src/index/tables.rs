//! The tables of one index, as they are at the moment.
//!
//! Owns: reading them. Knows nothing of: whether they are complete.

use std::ops::ControlFlow;
use std::sync::Arc;

use kv::{Batch, Durability, Kv, Order};
use proto::block::{ShardKey, ShardMeta};
use types::{ChunkId, ChunkKey, DiskUuid, Generation, Result};

use super::row::{
    Checkpoint, Entry, Known, Totals, key_bytes, meta_bytes, parse_fresh, parse_key, parse_meta, parse_scrub,
    scrub_bytes,
};
use crate::progress::ScrubProgress;

pub(super) const SHARDS: u8 = b's';
pub(super) const QUARANTINE: u8 = b'q';
pub(super) const LOST: u8 = b'l';
pub(super) const FRESH: u8 = b'f';
pub(super) const CHECKPOINT: &[u8] = b"c";
const SEALED: &[u8] = b"b";
const SCRUB: &[u8] = b"k";
const TRUSTED: &[u8] = b"t";
const ALL: (ChunkId, ChunkId) = (ChunkId([0; 32]), ChunkId([0xff; 32]));

/// What is wrong with a disk's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Extents that were found damaged, ever.
    pub(crate) quarantined: u64,
    /// Shards among them that have not been put again.
    pub(crate) lost: u64,
}

/// Clones are the same tables.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    pub(super) kv: Arc<dyn Kv>,
}

impl Tables {
    pub(crate) fn new(kv: Arc<dyn Kv>) -> Self {
        Self { kv }
    }

    pub(crate) fn is_same(&self, other: &Tables) -> bool {
        Arc::ptr_eq(&self.kv, &other.kv)
    }

    pub(crate) fn entry(&self, key: &ShardKey) -> Result<Option<Entry>> {
        self.get(SHARDS, key, Entry::parse)
    }

    /// What complete tables know of a shard.
    pub(crate) fn known(&self, key: &ShardKey) -> Result<Known> {
        match self.entry(key)? {
            Some(entry) => Ok(Known::Stored(entry)),
            None => Ok(self.lost_meta(key)?.map_or(Known::Absent, Known::Lost)),
        }
    }

    /// What became of a shard while the index was rebuilt.
    pub(crate) fn fresh(&self, key: &ShardKey) -> Result<Known> {
        Ok(self.get(FRESH, key, parse_fresh)?.unwrap_or(Known::Unknown))
    }

    /// All of that in order, after `after`, at most `limit`.
    pub(crate) fn all_fresh(&self, after: Option<ShardKey>, limit: usize) -> Result<Vec<(ShardKey, Known)>> {
        self.list_in(FRESH, (ALL, after, limit), |_| true, parse_fresh)
    }

    /// What is known of a shard that was lost and has not been put again.
    pub(crate) fn lost_meta(&self, key: &ShardKey) -> Result<Option<ShardMeta>> {
        self.get(LOST, key, parse_meta)
    }

    fn get<T>(&self, table: u8, key: &ShardKey, parse: fn(&[u8]) -> Result<T>) -> Result<Option<T>> {
        self.kv.get(&key_bytes(table, key))?.map(|value| parse(&value)).transpose()
    }

    /// The entry of the newest generation that matches, of any slot when none is named.
    pub(crate) fn newest(
        &self,
        chunk: ChunkKey,
        slot: Option<u8>,
        generation: Option<Generation>,
    ) -> Result<Option<(ShardKey, Entry)>> {
        self.newest_in(SHARDS, (chunk, slot, generation), Entry::parse)
    }

    /// The same among shards that were lost to damage.
    pub(crate) fn newest_lost(
        &self,
        chunk: ChunkKey,
        slot: Option<u8>,
        generation: Option<Generation>,
    ) -> Result<Option<(ShardKey, ShardMeta)>> {
        self.newest_in(LOST, (chunk, slot, generation), parse_meta)
    }

    fn newest_in<T>(
        &self,
        table: u8,
        (chunk, slot, generation): (ChunkKey, Option<u8>, Option<Generation>),
        parse: fn(&[u8]) -> Result<T>,
    ) -> Result<Option<(ShardKey, T)>> {
        if let (Some(slot), Some(generation)) = (slot, generation) {
            let key = ShardKey { chunk, generation, slot };
            return Ok(self.get(table, &key, parse)?.map(|row| (key, row)));
        }
        let asked = |key: &ShardKey| {
            slot.is_none_or(|slot| key.slot == slot)
                && generation.is_none_or(|generation| key.generation == generation)
        };
        let mut found = Ok(None);
        let prefix = [&[table], &chunk.to_bytes()[..]].concat();
        self.kv.scan(&prefix, &kv::prefix_end(&prefix), Order::Backward, &mut |key, value| {
            match parse_key(key) {
                Ok(key) if !asked(&key) => return ControlFlow::Continue(()),
                Ok(key) => found = parse(value).map(|row| Some((key, row))),
                Err(error) => found = Err(error),
            }
            ControlFlow::Break(())
        })?;
        found
    }

    /// Entries of chunks from `first` to `last`, in order, after `after`, at most `limit`.
    pub(crate) fn list(
        &self,
        range: (ChunkId, ChunkId),
        after: Option<ShardKey>,
        limit: usize,
    ) -> Result<Vec<(ShardKey, Entry)>> {
        self.list_in(SHARDS, (range, after, limit), |_| true, Entry::parse)
    }

    /// Entries that are `asked` for, in order, after `after`, at most `limit`. Looks at all entries: for rare use.
    pub(crate) fn find(
        &self,
        asked: &dyn Fn(&Entry) -> bool,
        after: Option<ShardKey>,
        limit: usize,
    ) -> Result<Vec<(ShardKey, Entry)>> {
        self.list_in(SHARDS, (ALL, after, limit), asked, Entry::parse)
    }

    /// Shards that were damaged and have not been put again, in order, after `after`, at most `limit`.
    pub(crate) fn lost(&self, after: Option<ShardKey>, limit: usize) -> Result<Vec<(ShardKey, ShardMeta)>> {
        self.list_in(LOST, (ALL, after, limit), |_| true, parse_meta)
    }

    fn list_in<T>(
        &self,
        table: u8,
        ((first, last), after, limit): ((ChunkId, ChunkId), Option<ShardKey>, usize),
        asked: impl Fn(&T) -> bool,
        parse: fn(&[u8]) -> Result<T>,
    ) -> Result<Vec<(ShardKey, T)>> {
        let mut start = [&[table], &first.0[..]].concat();
        if let Some(after) = after {
            // The next key in byte order.
            start = start.max([&key_bytes(table, &after)[..], &[0]].concat());
        }
        let end = kv::prefix_end(&[&[table], &last.0[..]].concat());
        let mut found = Ok(Vec::new());
        self.kv.scan(&start, &end, Order::Forward, &mut |key, value| {
            let Ok(list) = &mut found else { return ControlFlow::Break(()) };
            if list.len() == limit {
                return ControlFlow::Break(());
            }
            match parse_key(key).and_then(|key| Ok((key, parse(value)?))) {
                Ok((_, row)) if !asked(&row) => {}
                Ok(pair) => {
                    let last = list.last().map(|(key, _)| *key).or(after);
                    assert!(last < Some(pair.0), "a listing is in order, each shard once");
                    list.push(pair);
                }
                Err(error) => found = Err(error),
            }
            ControlFlow::Continue(())
        })?;
        found
    }

    /// `None` when there is none, or one of another disk or version: the index must be rebuilt.
    pub(crate) fn checkpoint(&self, uuid: DiskUuid) -> Result<Option<Checkpoint>> {
        let value = self.kv.get(CHECKPOINT)?;
        Ok(value.and_then(|value| Checkpoint::parse(&value)).filter(|checkpoint| checkpoint.uuid == uuid))
    }

    /// True when this extent is known to be damaged.
    pub(crate) fn is_quarantined(&self, segment: u32, offset: u64) -> Result<bool> {
        Ok(self.kv.get(&extent_key(segment, offset))?.is_some())
    }

    /// How much damage is known.
    pub(crate) fn damage(&self) -> Result<Damage> {
        Ok(Damage { quarantined: self.count(QUARANTINE)?, lost: self.count(LOST)? })
    }

    fn count(&self, table: u8) -> Result<u64> {
        let mut count = 0;
        self.kv.scan(&[table], &kv::prefix_end(&[table]), Order::Forward, &mut |_, _| {
            count += 1;
            ControlFlow::Continue(())
        })?;
        Ok(count)
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) -> Result<()> {
        let mut batch = Batch::new();
        for prefix in [SEALED[0], CHECKPOINT[0], FRESH, SCRUB[0], LOST, QUARANTINE, SHARDS, TRUSTED[0]] {
            batch.delete_range(&[prefix], &kv::prefix_end(&[prefix]));
        }
        self.kv.write(batch, Durability::Buffered)
    }

    /// The next open rebuilds the index.
    pub(crate) fn forget_checkpoint(&self) -> Result<()> {
        let mut batch = Batch::new();
        batch.delete(CHECKPOINT);
        self.kv.write(batch, Durability::Buffered)
    }

    /// Live records. Looks at all of them.
    pub(crate) fn totals(&self) -> Result<Totals> {
        let mut totals = Ok(Totals::default());
        self.kv.scan(&[SHARDS], &kv::prefix_end(&[SHARDS]), Order::Forward, &mut |_, value| match (
            &mut totals,
            Entry::parse(value),
        ) {
            (Ok(totals), Ok(entry)) => {
                totals.records += 1;
                totals.bytes += u64::from(entry.payload_size);
                ControlFlow::Continue(())
            }
            (_, Ok(_)) => ControlFlow::Break(()),
            (totals, Err(error)) => {
                *totals = Err(error);
                ControlFlow::Break(())
            }
        })?;
        totals
    }

    /// Takes many rows of several tables at once: in order, each of them once.
    pub(crate) fn ingest(&self, batch: Batch) -> Result<()> {
        self.kv.ingest(batch)
    }

    /// Notes damaged bytes that a rebuild met.
    pub(crate) fn note_damage(&self, segment: u32, offset: u64, size: u64) -> Result<()> {
        let mut batch = Batch::new();
        batch.put(&extent_key(segment, offset), &size.to_le_bytes());
        self.kv.write(batch, Durability::Buffered)
    }

    /// All segments before this one have footers, as far as they can have any.
    pub(crate) fn sealed_before(&self) -> Result<u32> {
        let value = self.kv.get(SEALED)?;
        Ok(value.and_then(|value| value[..].try_into().ok()).map_or(0, u32::from_le_bytes))
    }

    pub(crate) fn set_sealed_before(&self, segment: u32) -> Result<()> {
        let mut batch = Batch::new();
        batch.put(SEALED, &segment.to_le_bytes());
        self.kv.write(batch, Durability::Buffered)
    }

    /// How far verifying has come; from the start when that is not known.
    pub(crate) fn scrub_progress(&self) -> Result<ScrubProgress> {
        Ok(self.kv.get(SCRUB)?.and_then(|value| parse_scrub(&value)).unwrap_or_default())
    }

    pub(crate) fn set_scrub_progress(&self, progress: &ScrubProgress) -> Result<()> {
        let mut batch = Batch::new();
        batch.put(SCRUB, &scrub_bytes(progress));
        self.kv.write(batch, Durability::Buffered)
    }

    /// True when all that should be on the disk was compared with these tables since they were begun.
    pub(crate) fn is_trusted(&self) -> Result<bool> {
        Ok(self.kv.get(TRUSTED)?.is_some())
    }

    pub(crate) fn trust(&self) -> Result<()> {
        let mut batch = Batch::new();
        batch.put(TRUSTED, &[]);
        self.kv.write(batch, Durability::Buffered)
    }

    pub(crate) fn distrust(&self) -> Result<()> {
        let mut batch = Batch::new();
        batch.delete(TRUSTED);
        self.kv.write(batch, Durability::Buffered)
    }

    /// Makes all changes durable.
    pub(crate) fn flush(&self) -> Result<()> {
        self.kv.flush()
    }
}

pub(super) fn extent_key(segment: u32, offset: u64) -> Vec<u8> {
    let offset = u32::try_from(offset).expect("a segment is shorter than 4 GiB");
    [&[QUARANTINE], &segment.to_be_bytes()[..], &offset.to_be_bytes()].concat()
}

/// Adds the row that a shard has, or no longer has, among those that were lost.
pub(crate) fn lost_row(batch: &mut Batch, key: &ShardKey, known: &Known) {
    match known {
        Known::Lost(meta) => batch.put(&key_bytes(LOST, key), &meta_bytes(meta)),
        _ => batch.delete(&key_bytes(LOST, key)),
    }
}

/// Adds the row that a shard has, or no longer has, among those that are stored.
pub(crate) fn shard_row(batch: &mut Batch, key: &ShardKey, known: &Known) {
    match known {
        Known::Stored(entry) => batch.put(&key_bytes(SHARDS, key), &entry.to_bytes()),
        _ => batch.delete(&key_bytes(SHARDS, key)),
    }
}
