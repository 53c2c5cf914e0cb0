//! A store in which a write can land in the middle of a read.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use kv::{Batch, Durability, Kv, MemKv, Order, Read, Snapshot, Visit};
use types::Result;

/// A store whose writes can be held back until so many reads have been made. Clones are the same store.
#[derive(Clone, Debug)]
pub struct LateKv {
    store: MemKv,
    held: Arc<Mutex<Option<Held>>>,
}

/// Writes that are held back, in order, and the reads that come before them.
#[derive(Debug)]
struct Held {
    batches: Vec<(Batch, Durability)>,
    reads: usize,
}

#[derive(Debug)]
struct LateSnapshot {
    snapshot: Arc<dyn Snapshot>,
    kv: LateKv,
}

impl LateKv {
    pub fn new(seed: u64) -> Self {
        Self { store: MemKv::new(seed), held: Arc::default() }
    }

    /// Rots every row.
    pub fn rot(&self) {
        self.store.flush().unwrap();
        assert!(self.store.rot(10_000) > 0);
    }

    /// Holds back all writes from now on; whoever writes is told that they are done.
    pub fn hold(&self) {
        *self.lock() = Some(Held { batches: Vec::new(), reads: usize::MAX });
    }

    /// What is held lands after so many reads: each look at a key, and each row of a scan, is one.
    pub fn release_after(&self, reads: usize) {
        self.lock().as_mut().expect("hold() comes first").reads = reads;
    }

    /// What is held lands now.
    pub fn release(&self) {
        let held = self.lock().take();
        for (batch, durability) in held.into_iter().flat_map(|held| held.batches) {
            self.store.write(batch, durability).unwrap();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap()
    }

    fn count_read(&self) {
        let is_due = self.lock().as_mut().is_some_and(|held| {
            held.reads = held.reads.saturating_sub(1);
            held.reads == 0
        });
        if is_due {
            self.release();
        }
    }

    fn scan_in(&self, read: &dyn Read, range: (&[u8], &[u8], Order), visit: &mut Visit<'_>) -> Result<()> {
        let (start, end, order) = range;
        read.scan(start, end, order, &mut |key, value| {
            self.count_read();
            visit(key, value)
        })
    }
}

impl Read for LateKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.store.get(key);
        self.count_read();
        value
    }

    fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<()> {
        self.scan_in(&self.store, (start, end, order), visit)
    }
}

impl Kv for LateKv {
    fn write(&self, batch: Batch, durability: Durability) -> Result<()> {
        if let Some(held) = &mut *self.lock() {
            held.batches.push((batch, durability));
            return Ok(());
        }
        self.store.write(batch, durability)
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        Arc::new(LateSnapshot { snapshot: self.store.snapshot(), kv: self.clone() })
    }

    fn flush(&self) -> Result<()> {
        self.store.flush()
    }

    fn approximate_size(&self, start: &[u8], end: &[u8]) -> Result<u64> {
        self.store.approximate_size(start, end)
    }
}

impl Read for LateSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.snapshot.get(key);
        self.kv.count_read();
        value
    }

    fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<()> {
        self.kv.scan_in(&*self.snapshot, (start, end, order), visit)
    }
}

impl Snapshot for LateSnapshot {}
