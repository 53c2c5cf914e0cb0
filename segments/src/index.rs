//! Where each record is: a cache over the segments, in a key-value store.
//!
//! Owns: keys and values of the index, and the checkpoint: the position up to which it is complete. Entries, totals and
//! checkpoint change in one batch, so whatever part of the index survives a crash is a true state of the past.
//! Knows nothing of: files. Everything here can be rebuilt from the segments.
//!
//! ```text
//! s chunk(32) generation(8, BE) slot(1) -> segment 4, offset 4, payload size 4, payload crc 4, layout 3, flags 1, plain 4, stored 4
//! q segment(4, BE) offset(4, BE)        -> size 8        damaged bytes
//! l chunk(32) generation(8, BE) slot(1) -> layout 3, flags 1, plain 4, stored 4, key 4    a shard that was there,
//!                                          until it is put again or deleted
//! c                                     -> version 1, disk uuid 16, segment 4, offset 8, records 8, bytes 8
//! ```

pub(crate) mod row;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use kv::{Batch, Durability, Kv, Order};
use proto::block::{ShardKey, ShardMeta};
use types::{ChunkId, ChunkKey, DiskUuid, Generation, Result};

pub(crate) use row::{Checkpoint, Entry, Totals};
use row::{key_bytes, meta_bytes, parse_key, parse_meta};

const SHARDS: u8 = b's';
const QUARANTINE: u8 = b'q';
const LOST: u8 = b'l';
const CHECKPOINT: &[u8] = b"c";
const ALL: (ChunkId, ChunkId) = (ChunkId([0; 32]), ChunkId([0xff; 32]));

/// What is wrong with a disk's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Extents that were found damaged, ever.
    pub(crate) quarantined: u64,
    /// Shards among them that have not been put again.
    pub(crate) lost: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct ShardIndex {
    kv: Arc<dyn Kv>,
}

impl ShardIndex {
    pub(crate) fn new(kv: Arc<dyn Kv>) -> Self {
        Self { kv }
    }

    pub(crate) fn entry(&self, key: &ShardKey) -> Result<Option<Entry>> {
        self.get(SHARDS, key, Entry::parse)
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
    pub(crate) fn is_quarantined(&self, segment: u32, offset: u32) -> Result<bool> {
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
        for prefix in [CHECKPOINT[0], LOST, QUARANTINE, SHARDS] {
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

    /// Makes all changes durable.
    pub(crate) fn flush(&self) -> Result<()> {
        self.kv.flush()
    }

    /// Starts a change on top of these figures.
    pub(crate) fn change(&self, totals: Totals, damage: Damage) -> IndexChange<'_> {
        let (pending, lost) = (BTreeMap::new(), BTreeMap::new());
        IndexChange { index: self, batch: Batch::new(), pending, lost, totals, damage }
    }
}

fn extent_key(segment: u32, offset: u32) -> Vec<u8> {
    [&[QUARANTINE], &segment.to_be_bytes()[..], &offset.to_be_bytes()].concat()
}

/// Changes that become visible together. Its own reads see them already.
pub(crate) struct IndexChange<'a> {
    index: &'a ShardIndex,
    batch: Batch,
    pending: BTreeMap<ShardKey, Option<Entry>>,
    lost: BTreeMap<ShardKey, bool>,
    pub(crate) totals: Totals,
    pub(crate) damage: Damage,
}

impl IndexChange<'_> {
    pub(crate) fn entry(&self, key: &ShardKey) -> Result<Option<Entry>> {
        match self.pending.get(key) {
            Some(entry) => Ok(*entry),
            None => self.index.entry(key),
        }
    }

    /// Number of changes.
    pub(crate) fn len(&self) -> usize {
        self.batch.len()
    }

    pub(crate) fn put(&mut self, key: ShardKey, entry: Entry) -> Result<()> {
        self.uncount(&key)?;
        self.found(&key)?;
        self.totals.records += 1;
        self.totals.bytes += u64::from(entry.payload_size);
        self.batch.put(&key_bytes(SHARDS, &key), &entry.to_bytes());
        self.pending.insert(key, Some(entry));
        Ok(())
    }

    pub(crate) fn delete(&mut self, key: ShardKey) -> Result<()> {
        self.uncount(&key)?;
        self.found(&key)?;
        self.batch.delete(&key_bytes(SHARDS, &key));
        self.pending.insert(key, None);
        Ok(())
    }

    /// A shard whose record turned out to be damaged.
    pub(crate) fn lose(&mut self, key: ShardKey, meta: &ShardMeta) -> Result<()> {
        self.delete(key)?;
        self.batch.put(&key_bytes(LOST, &key), &meta_bytes(meta));
        self.lost.insert(key, true);
        self.damage.lost += 1;
        Ok(())
    }

    pub(crate) fn is_lost(&self, key: &ShardKey) -> Result<bool> {
        match self.lost.get(key) {
            Some(lost) => Ok(*lost),
            // A healthy disk is spared a lookup for every key.
            None => Ok(self.damage.lost > 0 && self.index.get(LOST, key, parse_meta)?.is_some()),
        }
    }

    /// A shard that was lost is back, or no longer wanted.
    fn found(&mut self, key: &ShardKey) -> Result<()> {
        if self.is_lost(key)? {
            self.batch.delete(&key_bytes(LOST, key));
            self.lost.insert(*key, false);
            assert!(self.damage.lost > 0, "what is found was counted as lost");
            self.damage.lost -= 1;
        }
        Ok(())
    }

    pub(crate) fn quarantine(&mut self, segment: u32, offset: u64, size: u64) {
        let offset = u32::try_from(offset).expect("a segment is shorter than 4 GiB");
        self.batch.put(&extent_key(segment, offset), &size.to_le_bytes());
        self.damage.quarantined += 1;
    }

    fn uncount(&mut self, key: &ShardKey) -> Result<()> {
        if let Some(old) = self.entry(key)? {
            let Totals { records, bytes } = self.totals;
            assert!(
                records > 0 && bytes >= old.payload_size.into(),
                "what is taken away was counted: {old:?}"
            );
            self.totals.records -= 1;
            self.totals.bytes -= u64::from(old.payload_size);
        }
        Ok(())
    }

    /// Makes the changes visible, and with them the position up to which the index is complete. The caller has made the
    /// bytes before that durable: an entry must never point at bytes that a power cut can take away (I-ACK).
    pub(crate) fn commit(mut self, uuid: DiskUuid, complete: Option<(u32, u64)>) -> Result<(Totals, Damage)> {
        if let Some((segment, offset)) = complete {
            let checkpoint = Checkpoint { uuid, segment, offset, totals: self.totals };
            self.batch.put(CHECKPOINT, &checkpoint.to_bytes());
        }
        self.index.kv.write(self.batch, Durability::Buffered)?;
        Ok((self.totals, self.damage))
    }
}
