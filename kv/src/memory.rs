//! A store in memory that forgets at a crash what was not made durable. For tests and simulation.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use env::Random;
use types::Result;

use crate::{Batch, Durability, Kv, Op, Order, Read, Snapshot, Visit, is_empty_range};

type Rows = BTreeMap<Bytes, Bytes>;

/// Like RocksDB's memtable: when this much is unsynced, the store flushes on its own.
const UNSYNCED_SIZE_MAX: usize = 16 * types::limits::MIB;

/// An in-memory store. Clones share the content.
#[derive(Clone, Debug)]
pub struct MemKv {
    state: Arc<Mutex<State>>,
    random: Random,
}

#[derive(Debug, Default)]
struct State {
    /// What reads see. Shared with snapshots and copied only when written while one is held.
    current: Arc<Rows>,
    /// What a crash can not take away.
    durable: Arc<Rows>,
    /// Batches since `durable`, in order.
    unsynced: Vec<(Batch, Durability)>,
    unsynced_size: usize,
}

#[derive(Debug)]
struct MemSnapshot(Arc<Rows>);

impl MemKv {
    /// An empty store whose crashes are drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: Arc::default(), random: Random::seeded(seed) }
    }

    /// Power loss: `Synced` batches survive, and a random prefix of the `Buffered` ones since the last flush.
    pub fn crash(&self) {
        let mut state = self.lock();
        let batches = std::mem::take(&mut state.unsynced);
        let buffered = batches.iter().filter(|(_, durability)| *durability == Durability::Buffered).count();
        let mut kept = self.random.below(buffered as u64 + 1);
        let survived = Arc::make_mut(&mut state.durable);
        for (batch, durability) in &batches {
            if *durability == Durability::Synced {
                apply(survived, batch);
            } else if kept > 0 {
                kept -= 1;
                apply(survived, batch);
            }
        }
        state.current = state.durable.clone();
        state.unsynced_size = 0;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("never poisoned: no panic inside")
    }

    fn current(&self) -> Arc<Rows> {
        self.lock().current.clone()
    }
}

impl State {
    fn flush(&mut self) {
        self.durable = self.current.clone();
        self.unsynced.clear();
        self.unsynced_size = 0;
    }
}

fn apply(map: &mut Rows, batch: &Batch) {
    for op in batch.ops() {
        match op {
            Op::Put(key, value) => {
                map.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            }
            Op::Delete(key) => {
                map.remove(key);
            }
            Op::DeleteRange(start, end) => {
                let keys: Vec<Bytes> = range(map, start, end).map(|(key, _)| key.clone()).collect();
                keys.iter().for_each(|key| drop(map.remove(key)));
            }
        }
    }
}

fn range<'a>(
    map: &'a Rows,
    start: &[u8],
    end: &[u8],
) -> impl DoubleEndedIterator<Item = (&'a Bytes, &'a Bytes)> {
    let bounds = match is_empty_range(start, end) {
        true => (Bound::Included(start), Bound::Excluded(start)),
        false if end.is_empty() => (Bound::Included(start), Bound::Unbounded),
        false => (Bound::Included(start), Bound::Excluded(end)),
    };
    map.range::<[u8], _>(bounds)
}

impl Read for Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(BTreeMap::get(self, key).cloned())
    }

    fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<()> {
        let mut range = range(self, start, end);
        while let Some((key, value)) = if order == Order::Forward { range.next() } else { range.next_back() }
        {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Read for MemKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Read::get(&*self.current(), key)
    }

    fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<()> {
        self.current().scan(start, end, order, visit)
    }
}

impl Kv for MemKv {
    fn write(&self, batch: Batch, durability: Durability) -> Result<()> {
        let mut state = self.lock();
        apply(Arc::make_mut(&mut state.current), &batch);
        state.unsynced_size += batch.size();
        state.unsynced.push((batch, durability));
        if state.unsynced_size > UNSYNCED_SIZE_MAX {
            state.flush();
        }
        Ok(())
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        Arc::new(MemSnapshot(self.current()))
    }

    fn flush(&self) -> Result<()> {
        self.lock().flush();
        Ok(())
    }

    fn approximate_size(&self, start: &[u8], end: &[u8]) -> Result<u64> {
        Ok(range(&self.current(), start, end).map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }
}

impl Read for MemSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Read::get(&*self.0, key)
    }

    fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<()> {
        self.0.scan(start, end, order, visit)
    }
}

impl Snapshot for MemSnapshot {}
