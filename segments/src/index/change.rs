//! Changes of the index that become visible together.
//!
//! Owns: totals that follow every change. Knows nothing of: segments' bytes.

use std::collections::BTreeMap;

use kv::{Batch, Durability};
use proto::block::{ShardKey, ShardMeta};
use types::{DiskUuid, Result};

use super::row::{Checkpoint, Entry, Known, Totals, fresh_bytes, key_bytes, meta_bytes};
use super::tables::{CHECKPOINT, Damage, FRESH, LOST, SHARDS, Tables, extent_key};

/// Its own reads see the changes already.
pub(crate) struct IndexChange {
    tables: Tables,
    is_fresh: bool,
    batch: Batch,
    pending: BTreeMap<ShardKey, Known>,
    pub(crate) totals: Totals,
    pub(crate) damage: Damage,
}

impl IndexChange {
    /// Starts a change on top of these figures; of an index that is being rebuilt, in a table of its own.
    pub(crate) fn new(tables: Tables, is_fresh: bool, totals: Totals, damage: Damage) -> Self {
        Self { tables, is_fresh, batch: Batch::new(), pending: BTreeMap::new(), totals, damage }
    }

    pub(crate) fn known(&self, key: &ShardKey) -> Result<Known> {
        if let Some(known) = self.pending.get(key) {
            return Ok(*known);
        }
        if self.is_fresh {
            return self.tables.fresh(key);
        }
        if let Some(entry) = self.tables.entry(key)? {
            return Ok(Known::Stored(entry));
        }
        // A healthy disk is spared a lookup for every key.
        if self.damage.lost == 0 {
            return Ok(Known::Absent);
        }
        Ok(self.tables.lost_meta(key)?.map_or(Known::Absent, Known::Lost))
    }

    /// Number of changes.
    pub(crate) fn len(&self) -> usize {
        self.batch.len()
    }

    pub(crate) fn put(&mut self, key: ShardKey, entry: Entry) -> Result<()> {
        self.set(key, Known::Stored(entry))
    }

    pub(crate) fn delete(&mut self, key: ShardKey) -> Result<()> {
        self.set(key, Known::Absent)
    }

    /// A shard whose record turned out to be damaged.
    pub(crate) fn lose(&mut self, key: ShardKey, meta: &ShardMeta) -> Result<()> {
        self.set(key, Known::Lost(*meta))
    }

    pub(crate) fn set(&mut self, key: ShardKey, known: Known) -> Result<()> {
        if self.is_fresh {
            self.batch.put(&key_bytes(FRESH, &key), &fresh_bytes(&known));
            self.pending.insert(key, known);
            return Ok(());
        }
        match self.known(&key)? {
            Known::Stored(old) => self.uncount(&key, &old),
            Known::Lost(_) => {
                assert!(self.damage.lost > 0, "what is found was counted as lost");
                self.batch.delete(&key_bytes(LOST, &key));
                self.damage.lost -= 1;
            }
            Known::Absent | Known::Unknown => {}
        }
        match &known {
            Known::Stored(entry) => {
                self.totals.records += 1;
                self.totals.bytes += u64::from(entry.payload_size);
                self.batch.put(&key_bytes(SHARDS, &key), &entry.to_bytes());
            }
            Known::Lost(meta) => {
                self.damage.lost += 1;
                self.batch.put(&key_bytes(LOST, &key), &meta_bytes(meta));
            }
            Known::Absent | Known::Unknown => {}
        }
        self.pending.insert(key, known);
        Ok(())
    }

    fn uncount(&mut self, key: &ShardKey, old: &Entry) {
        let Totals { records, bytes } = self.totals;
        assert!(records > 0 && bytes >= old.payload_size.into(), "what is taken away was counted: {old:?}");
        self.totals.records -= 1;
        self.totals.bytes -= u64::from(old.payload_size);
        self.batch.delete(&key_bytes(SHARDS, key));
    }

    pub(crate) fn quarantine(&mut self, segment: u32, offset: u64, size: u64) {
        self.batch.put(&extent_key(segment, offset), &size.to_le_bytes());
        self.damage.quarantined += 1;
    }

    /// Forgets what happened during a rebuild: it is in the other tables now.
    pub(crate) fn forget_fresh(&mut self) {
        self.batch.delete_range(&[FRESH], &kv::prefix_end(&[FRESH]));
    }

    /// Makes the changes visible, and with them the position up to which the index is complete. The caller has made the
    /// bytes before that durable: an entry must never point at bytes that a power cut can take away (I-ACK).
    pub(crate) fn commit(mut self, uuid: DiskUuid, complete: Option<(u32, u64)>) -> Result<(Totals, Damage)> {
        if let Some((segment, offset)) = complete.filter(|_| !self.is_fresh) {
            let checkpoint = Checkpoint { uuid, segment, offset, totals: self.totals };
            self.batch.put(CHECKPOINT, &checkpoint.to_bytes());
        }
        self.tables.kv.write(self.batch, Durability::Buffered)?;
        Ok((self.totals, self.damage))
    }
}
