//! Where each record is: a cache over the segments, in a key-value store.
//!
//! Owns: keys and values of the index, and the checkpoint: the position up to which it is complete. Entries, totals and
//! checkpoint change in one batch, so whatever part of the index survives a crash is a true state of the past.
//! Knows nothing of: files. Everything here can be made again from the segments.
//!
//! ```text
//! s chunk(32) generation(8, BE) slot(1) -> segment 4, offset 4, payload size 4, payload crc 4, layout 3, flags 1, plain 4, stored 4
//! q segment(4, BE) offset(4, BE)        -> size 8        damaged bytes
//! l chunk(32) generation(8, BE) slot(1) -> as under s    a shard that was there, until it is put again or deleted
//! c                                     -> version 1, disk uuid 16, segment 4, offset 8, records 8, bytes 8
//! ```

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use kv::{Batch, Durability, Kv, Order};
use proto::block::{Layout, ShardKey, ShardMeta};
use types::{ChunkId, DiskUuid, Error, Generation, Result};

const SHARDS: u8 = b's';
const QUARANTINE: u8 = b'q';
const LOST: u8 = b'l';
const CHECKPOINT: &[u8] = b"c";
const VERSION: u8 = 1;
const ENTRY_SIZE: usize = 28;
const CHECKPOINT_SIZE: usize = 45;

/// Where a record is, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) payload_size: u32,
    pub(crate) payload_crc: u32,
    pub(crate) meta: ShardMeta,
}

/// Live records of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) records: u64,
    /// Bytes of their payloads.
    pub(crate) bytes: u64,
}

/// What is wrong with a disk's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Extents that were found damaged, ever.
    pub(crate) quarantined: u64,
    /// Shards among them that are not there again.
    pub(crate) lost: u64,
}

/// The index knows every record before this position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) uuid: DiskUuid,
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    pub(crate) totals: Totals,
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
        self.get(SHARDS, key)
    }

    fn get(&self, table: u8, key: &ShardKey) -> Result<Option<Entry>> {
        self.kv.get(&key_bytes(table, key))?.map(|value| Entry::parse(&value)).transpose()
    }

    /// The entry of the newest generation that is asked for, of whatever slot when none is named.
    pub(crate) fn newest(
        &self,
        chunk: ChunkId,
        slot: Option<u8>,
        generation: Option<Generation>,
    ) -> Result<Option<(ShardKey, Entry)>> {
        self.newest_in(SHARDS, chunk, slot, generation)
    }

    /// The same among shards that were damaged.
    pub(crate) fn newest_lost(
        &self,
        chunk: ChunkId,
        slot: Option<u8>,
        generation: Option<Generation>,
    ) -> Result<Option<(ShardKey, Entry)>> {
        self.newest_in(LOST, chunk, slot, generation)
    }

    fn newest_in(
        &self,
        table: u8,
        chunk: ChunkId,
        slot: Option<u8>,
        generation: Option<Generation>,
    ) -> Result<Option<(ShardKey, Entry)>> {
        if let (Some(slot), Some(generation)) = (slot, generation) {
            let key = ShardKey { chunk, generation, slot };
            return Ok(self.get(table, &key)?.map(|entry| (key, entry)));
        }
        let asked = |key: &ShardKey| {
            slot.is_none_or(|slot| key.slot == slot)
                && generation.is_none_or(|generation| key.generation == generation)
        };
        let mut found = Ok(None);
        let prefix = [&[table], &chunk.0[..]].concat();
        self.kv.scan(&prefix, &kv::prefix_end(&prefix), Order::Backward, &mut |key, value| {
            match parse_key(key) {
                Ok(key) if !asked(&key) => return ControlFlow::Continue(()),
                Ok(key) => found = Entry::parse(value).map(|entry| Some((key, entry))),
                Err(error) => found = Err(error),
            }
            ControlFlow::Break(())
        })?;
        found
    }

    /// Entries of chunks from `first` to `last`, in order, behind `after`, at most `limit`.
    pub(crate) fn list(
        &self,
        (first, last): (ChunkId, ChunkId),
        after: Option<ShardKey>,
        limit: usize,
    ) -> Result<Vec<(ShardKey, Entry)>> {
        self.list_in(SHARDS, (first, last), after, limit)
    }

    /// Shards that were damaged and are not there again, in order, behind `after`, at most `limit`.
    pub(crate) fn lost(&self, after: Option<ShardKey>, limit: usize) -> Result<Vec<(ShardKey, Entry)>> {
        self.list_in(LOST, (ChunkId([0; 32]), ChunkId([0xff; 32])), after, limit)
    }

    fn list_in(
        &self,
        table: u8,
        (first, last): (ChunkId, ChunkId),
        after: Option<ShardKey>,
        limit: usize,
    ) -> Result<Vec<(ShardKey, Entry)>> {
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
            match parse_key(key).and_then(|key| Ok((key, Entry::parse(value)?))) {
                Ok(pair) => list.push(pair),
                Err(error) => found = Err(error),
            }
            ControlFlow::Continue(())
        })?;
        found
    }

    /// `None` when there is none, or one of another disk or version: the index must be made again.
    pub(crate) fn checkpoint(&self, uuid: DiskUuid) -> Result<Option<Checkpoint>> {
        let value = self.kv.get(CHECKPOINT)?;
        Ok(value.and_then(|value| Checkpoint::parse(&value)).filter(|checkpoint| checkpoint.uuid == uuid))
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

    /// The next open makes the index again.
    pub(crate) fn forget_checkpoint(&self) -> Result<()> {
        let mut batch = Batch::new();
        batch.delete(CHECKPOINT);
        self.kv.write(batch, Durability::Buffered)
    }

    /// Makes all changes durable.
    pub(crate) fn flush(&self) -> Result<()> {
        self.kv.flush()
    }

    /// Begins a change on top of these figures.
    pub(crate) fn change(&self, totals: Totals, damage: Damage) -> IndexChange<'_> {
        let (pending, lost) = (BTreeMap::new(), BTreeMap::new());
        IndexChange { index: self, batch: Batch::new(), pending, lost, totals, damage }
    }
}

/// Changes that become visible together. Sees its own.
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
    pub(crate) fn lose(&mut self, key: ShardKey, entry: Entry) -> Result<()> {
        self.delete(key)?;
        self.batch.put(&key_bytes(LOST, &key), &entry.to_bytes());
        self.lost.insert(key, true);
        self.damage.lost += 1;
        Ok(())
    }

    pub(crate) fn is_lost(&self, key: &ShardKey) -> Result<bool> {
        match self.lost.get(key) {
            Some(lost) => Ok(*lost),
            // A healthy disk is not asked about every key.
            None => Ok(self.damage.lost > 0 && self.index.get(LOST, key)?.is_some()),
        }
    }

    /// A shard that was lost is there again, or not wanted any more.
    fn found(&mut self, key: &ShardKey) -> Result<()> {
        if self.is_lost(key)? {
            self.batch.delete(&key_bytes(LOST, key));
            self.lost.insert(*key, false);
            self.damage.lost -= 1;
        }
        Ok(())
    }

    pub(crate) fn quarantine(&mut self, segment: u32, offset: u64, size: u64) {
        let offset = u32::try_from(offset).expect("a segment is shorter than 4 GiB");
        let key = [&[QUARANTINE], &segment.to_be_bytes()[..], &offset.to_be_bytes()].concat();
        self.batch.put(&key, &size.to_le_bytes());
        self.damage.quarantined += 1;
    }

    fn uncount(&mut self, key: &ShardKey) -> Result<()> {
        if let Some(old) = self.entry(key)? {
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

fn key_bytes(table: u8, key: &ShardKey) -> Vec<u8> {
    [&[table], &key.chunk.0[..], &key.generation.0.to_be_bytes(), &[key.slot]].concat()
}

fn parse_key(bytes: &[u8]) -> Result<ShardKey> {
    let bytes: &[u8; 42] = bytes.try_into().map_err(|_| damaged())?;
    Ok(ShardKey {
        chunk: ChunkId(bytes[1..33].try_into().expect("32 bytes")),
        generation: Generation(u64::from_be_bytes(bytes[33..41].try_into().expect("eight bytes"))),
        slot: bytes[41],
    })
}

fn damaged() -> Error {
    Error::corrupt(
        "the disk's index holds rubbish; stop the node, delete the disk's `index` directory, and start it",
    )
}

impl Entry {
    fn to_bytes(self) -> [u8; ENTRY_SIZE] {
        let mut bytes = [0; ENTRY_SIZE];
        for (i, number) in
            [self.segment, self.offset, self.payload_size, self.payload_crc].into_iter().enumerate()
        {
            bytes[4 * i..4 * i + 4].copy_from_slice(&number.to_le_bytes());
        }
        if let Layout::Shard { k, m } = self.meta.layout {
            bytes[16..19].copy_from_slice(&[1, k, m]);
        }
        bytes[19] = self.meta.compressed.into();
        bytes[20..24].copy_from_slice(&self.meta.plain_size.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.meta.stored_size.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Entry> {
        let bytes: &[u8; ENTRY_SIZE] = bytes.try_into().map_err(|_| damaged())?;
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let layout =
            if bytes[16] == 1 { Layout::Shard { k: bytes[17], m: bytes[18] } } else { Layout::Replica };
        Ok(Entry {
            segment: number(0),
            offset: number(4),
            payload_size: number(8),
            payload_crc: number(12),
            meta: ShardMeta {
                layout,
                plain_size: number(20),
                stored_size: number(24),
                compressed: bytes[19] != 0,
            },
        })
    }
}

impl Checkpoint {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CHECKPOINT_SIZE);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.uuid.0);
        bytes.extend_from_slice(&self.segment.to_le_bytes());
        for number in [self.offset, self.totals.records, self.totals.bytes] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Checkpoint> {
        let bytes: &[u8; CHECKPOINT_SIZE] = bytes.try_into().ok()?;
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        (bytes[0] == VERSION).then(|| Checkpoint {
            uuid: DiskUuid(bytes[1..17].try_into().expect("16 bytes")),
            segment: u32::from_le_bytes(bytes[17..21].try_into().expect("four bytes")),
            offset: number(21),
            totals: Totals { records: number(29), bytes: number(37) },
        })
    }
}
