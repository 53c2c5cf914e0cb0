//! What one command makes of a partition, before it counts.

use bytes::Bytes;
use kv::{Changes, Order, Overlay, Read, Visit};
use types::{FeatureLevel, Millis, Result};

use crate::row::{self, Row};

/// What a command knows beside the state. Part of the log, and so the same on every replica (I-DET).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Its place among the commands of the partition.
    pub index: u64,
    /// The clock of its proposer.
    pub time: Millis,
    /// The feature level that the partition has reached.
    pub level: FeatureLevel,
}

/// The state of a partition with the changes of one command. Dropped, it was never there.
pub struct Draft<'a> {
    rows: Overlay<'a>,
    /// What the command knows.
    pub at: At,
}

impl<'a> Draft<'a> {
    /// No changes yet.
    pub fn new(state: &'a dyn Read, at: At) -> Self {
        Self { rows: Overlay::new(state), at }
    }

    /// A draft on top of this one, for what may be given up halfway.
    pub fn attempt(&self) -> Draft<'_> {
        Draft::new(self, self.at)
    }

    /// Takes over what an attempt has changed.
    pub fn absorb(&mut self, changes: Changes) {
        self.rows.absorb(changes);
    }

    /// The changes alone.
    pub fn into_changes(self) -> Changes {
        self.rows.into_changes()
    }

    /// Sets a row.
    pub fn put<T: Row>(&mut self, key: impl Into<Bytes>, row: &T) {
        self.rows.put(key, row::encode(row, self.at.level));
    }

    /// Removes a row.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.rows.delete(key);
    }

    /// Number of changed rows.
    pub fn change_count(&self) -> usize {
        self.rows.len()
    }
}

impl Read for Draft<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.rows.get(key)
    }

    fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<()> {
        self.rows.scan(start, end, order, visit)
    }
}
