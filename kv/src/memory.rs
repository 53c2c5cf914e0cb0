//! A store in memory that forgets at a crash what was not made durable, and fails on demand. For tests and simulation.

mod faults;
mod rows;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use types::{Error, Result};

use crate::{Batch, Durability, Kv, Order, Read, Snapshot, Visit};
use faults::Dice;
use rows::{Found, Rows};

pub use faults::{KvCounts, KvFaults};

/// Like RocksDB's memtable: when this much is unsynced, the store flushes on its own.
const UNSYNCED_SIZE_MAX: usize = 16 * types::limits::MIB;

/// An in-memory store. Clones share the content.
#[derive(Clone, Debug)]
pub struct MemKv {
    state: Arc<Mutex<State>>,
    life: u64,
}

/// What was durable in a store at one moment, to be put back.
#[derive(Clone, Debug)]
pub struct KvImage(Arc<Rows>);

#[derive(Debug)]
struct State {
    /// What reads see. Shared with snapshots and copied only when written while one is held.
    current: Arc<Rows>,
    /// What a crash can not take away.
    durable: Arc<Rows>,
    /// Batches since `durable`, in order.
    unsynced: Vec<(Batch, Durability)>,
    unsynced_size: usize,
    dice: Dice,
    /// Handles of an earlier life are those of a process that is gone.
    life: u64,
}

#[derive(Debug)]
struct MemSnapshot {
    rows: Arc<Rows>,
    store: MemKv,
}

impl MemKv {
    /// An empty, healthy store; `seed` decides on crashes and faults.
    pub fn new(seed: u64) -> Self {
        let state = State {
            current: Arc::default(),
            durable: Arc::default(),
            unsynced: Vec::new(),
            unsynced_size: 0,
            dice: Dice::new(seed),
            life: 0,
        };
        Self { life: state.life, state: Arc::new(Mutex::new(state)) }
    }

    /// Power loss: `Synced` batches survive, and a random prefix of the `Buffered` ones since the last flush.
    pub fn crash(&self) {
        let mut state = self.lock();
        let buffered = state.buffered_count();
        let kept = state.dice.random.below(buffered + 1);
        let survived = state.survivors(kept);
        state.replace(survived);
        state.dice.counts.crashes += 1;
        state.dice.counts.crash_lost_batches += buffered - kept;
    }

    /// Batches that a power loss could take.
    pub fn unsynced_count(&self) -> u64 {
        self.lock().buffered_count()
    }

    /// Another, healthy store, as this one would be after a power loss that left so many of the `Buffered` batches.
    pub fn after_crash(&self, kept: u64) -> Self {
        let store = Self::new(0);
        store.lock().replace(self.lock().survivors(kept));
        store
    }

    /// Gives the store to a new process: what was written stays, and all handles and snapshots from before, this one
    /// included, answer `Unavailable`, so that what is left of the old process changes nothing. Calls that are not part
    /// of [`Kv`] work through any handle.
    pub fn reopen(&self) -> Self {
        let mut state = self.lock();
        state.life += 1;
        Self { state: self.state.clone(), life: state.life }
    }

    /// Replaces the plan of what goes wrong.
    pub fn set_faults(&self, faults: KvFaults) {
        self.lock().dice.plan = faults;
    }

    /// The plan as it stands, with what is left of [`env::disk::When::Next`].
    pub fn faults(&self) -> KvFaults {
        self.lock().dice.plan
    }

    /// What has gone wrong so far.
    pub fn counts(&self) -> KvCounts {
        self.lock().dice.counts
    }

    /// Rots up to `count` random rows of those that are durable: reading them is `Corrupt` until they are written
    /// again or deleted. Snapshots that are held do not see it. Returns how many there are now that were good before.
    pub fn rot(&self, count: u64) -> u64 {
        let mut state = self.lock();
        let rotten = state.rot(count);
        state.dice.counts.rotten_rows += rotten;
        rotten
    }

    /// Loses everything.
    pub fn lose(&self) {
        let mut state = self.lock();
        state.replace(Arc::default());
        state.dice.counts.losses += 1;
    }

    /// What would be left if the power failed now and took all it can.
    pub fn image(&self) -> KvImage {
        KvImage(self.lock().survivors(0))
    }

    /// Replaces everything by an earlier state, as a restored backup of the disk does.
    pub fn put_back(&self, image: &KvImage) {
        let mut state = self.lock();
        state.replace(image.0.clone());
        state.dice.counts.rollbacks += 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("never poisoned: no panic inside")
    }

    /// For the calls of a process.
    fn lock_as_store(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if state.life == self.life {
            return Ok(state);
        }
        state.dice.counts.stale += 1;
        Err(Error::unavailable("the store was opened again by another process"))
    }

    fn lock_to_read(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.lock_as_store()?;
        state.dice.read()?;
        Ok(state)
    }

    /// Gives the error for a row that rotted, and counts it.
    fn report<T>(&self, found: Found<T>) -> Result<T> {
        found.map_err(|key| {
            self.lock().dice.counts.rot_reported += 1;
            Error::corrupt(format!("row {} does not match its checksum", key.escape_ascii()))
        })
    }

    /// Scans one state of the store without holding the lock: `visit` may use the store.
    fn scan_rows(
        &self,
        rows: &Rows,
        fails_after: Option<u64>,
        (start, end, order): (&[u8], &[u8], Order),
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        let mut left = fails_after.unwrap_or(u64::MAX);
        let scanned = rows.scan(start, end, order, &mut |key, value| {
            if left == 0 {
                return std::ops::ControlFlow::Break(());
            }
            left -= 1;
            visit(key, value)
        });
        self.report(scanned)?;
        if fails_after.is_some() { Err(faults::failed("scan")) } else { Ok(()) }
    }
}

impl State {
    fn buffered_count(&self) -> u64 {
        let is_buffered = |(_, durability): &&(Batch, Durability)| *durability == Durability::Buffered;
        self.unsynced.iter().filter(is_buffered).count() as u64
    }

    fn flush(&mut self) {
        self.durable = self.current.clone();
        self.unsynced.clear();
        self.unsynced_size = 0;
    }

    /// What is left when of the `Buffered` batches only the first `kept` are.
    fn survivors(&self, mut kept: u64) -> Arc<Rows> {
        let mut survivors = self.durable.clone();
        for (batch, durability) in &self.unsynced {
            if *durability == Durability::Buffered {
                if kept == 0 {
                    continue;
                }
                kept -= 1;
            }
            Arc::make_mut(&mut survivors).apply(batch);
        }
        survivors
    }

    fn replace(&mut self, rows: Arc<Rows>) {
        self.current = rows;
        self.flush();
    }

    fn rot(&mut self, count: u64) -> u64 {
        let size = self.durable.len();
        let mut rotten = 0;
        for _ in 0..if size == 0 { 0 } else { count } {
            let index = self.dice.random.below(size as u64) as usize;
            let key = self.durable.key(index).expect("below the number of rows").clone();
            // A row that was written since is in memory, and comes from there.
            if self.current.is_same(&self.durable, &key) {
                Arc::make_mut(&mut self.current).rot(&key);
            }
            rotten += u64::from(Arc::make_mut(&mut self.durable).rot(&key));
        }
        rotten
    }
}

impl Read for MemKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let rows = self.lock_to_read()?.current.clone();
        self.report(rows.get(key))
    }

    fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<()> {
        let mut state = self.lock_as_store()?;
        let (rows, fails_after) = (state.current.clone(), state.dice.scan());
        drop(state);
        self.scan_rows(&rows, fails_after, (start, end, order), visit)
    }
}

impl Kv for MemKv {
    fn write(&self, batch: Batch, durability: Durability) -> Result<()> {
        let mut state = self.lock_as_store()?;
        state.dice.write()?;
        Arc::make_mut(&mut state.current).apply(&batch);
        state.unsynced_size += batch.size();
        state.unsynced.push((batch, durability));
        if state.unsynced_size > UNSYNCED_SIZE_MAX {
            state.flush();
        }
        Ok(())
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        Arc::new(MemSnapshot { rows: self.lock().current.clone(), store: self.clone() })
    }

    fn flush(&self) -> Result<()> {
        let mut state = self.lock_as_store()?;
        state.dice.flush()?;
        state.flush();
        Ok(())
    }

    fn approximate_size(&self, start: &[u8], end: &[u8]) -> Result<u64> {
        Ok(self.lock_as_store()?.current.size(start, end))
    }
}

impl Read for MemSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        drop(self.store.lock_to_read()?);
        self.store.report(self.rows.get(key))
    }

    fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<()> {
        let fails_after = self.store.lock_as_store()?.dice.scan();
        self.store.scan_rows(&self.rows, fails_after, (start, end, order), visit)
    }
}

impl Snapshot for MemSnapshot {}
