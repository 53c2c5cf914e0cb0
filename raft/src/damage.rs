//! What was found to be damaged of the states, by whatever read met it first: a command, a question, a transfer.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use kv::{Batch, Durability, Kv, Order, Read, Snapshot, Visit};
use types::{Error, ErrorKind, Result};

/// The first damage of a store, once there is any.
#[derive(Clone, Debug, Default)]
pub struct Damage(Arc<OnceLock<Error>>);

impl Damage {
    /// Keeps in mind that a read has met damage. Any other error is none.
    pub fn note<T>(&self, read: Result<T>) -> Result<T> {
        if let Err(e) = &read
            && e.kind() == ErrorKind::Corrupt
        {
            let _ = self.0.set(e.clone()); // The first counts.
        }
        read
    }

    /// What it is.
    pub fn found(&self) -> Option<Error> {
        self.0.get().cloned()
    }
}

/// A store, or a snapshot of one, that notes what is damaged of it.
#[derive(Debug)]
pub struct Checked<K: ?Sized> {
    damage: Damage,
    inner: Arc<K>,
}

impl<K: ?Sized> Checked<K> {
    pub fn new(inner: Arc<K>, damage: Damage) -> Arc<Self> {
        Arc::new(Self { damage, inner })
    }
}

impl<K: Read + ?Sized> Read for Checked<K> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.damage.note(self.inner.get(key))
    }

    fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<()> {
        self.damage.note(self.inner.scan(start, end, order, visit))
    }
}

impl Snapshot for Checked<dyn Snapshot> {}

impl Kv for Checked<dyn Kv> {
    fn write(&self, batch: Batch, durability: Durability) -> Result<()> {
        self.damage.note(self.inner.write(batch, durability))
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        Checked::new(self.inner.snapshot(), self.damage.clone())
    }

    fn flush(&self) -> Result<()> {
        self.damage.note(self.inner.flush())
    }

    fn approximate_size(&self, start: &[u8], end: &[u8]) -> Result<u64> {
        self.inner.approximate_size(start, end)
    }
}
