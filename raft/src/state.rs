//! Where a group keeps its state in the store, and how it is replaced as a whole without anyone seeing half of it.
//!
//! Keys: `m` group -> [`Meta`]; `s` group generation key -> value (numbers big-endian). A snapshot is written as a new
//! generation; one batch then makes it the current one. The old one is deleted when its last reader is gone.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use kv::{Batch, Durability, Keyspace, Kv, Order, Overlay, Read, Visit, prefix_end};
use serde::{Deserialize, Serialize};
use types::limits::COUNTER_MAX;
use types::{Error, PartitionId, Result};

use crate::codec;
use crate::engine::{LogId, StoredMembership};
use crate::log::EntryId;

/// Bytes of one batch while a state is copied.
const COPY_SIZE_MAX: usize = types::limits::MIB;
/// Generations are begun by this node only, and not so many: a larger number is not one of ours.
const GENERATION_MAX: u32 = u32::MAX / 2;

/// What is known of a group's state, written in the same batch as every change of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Meta {
    pub generation: u32,
    /// The last entry applied.
    pub log: Option<LogId>,
    pub membership: StoredMembership,
    /// Commands applied.
    pub commands: u64,
}

/// The state of a group, to be read. Holding one delays the deletion of a replaced state.
#[derive(Clone)]
pub struct State {
    space: Keyspace<Arc<dyn Read>>,
    _generation: Arc<Generation>,
}

/// The state of one group in the store.
#[derive(Debug)]
pub struct StateStore {
    kv: Arc<dyn Kv>,
    group: PartitionId,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    meta: Meta,
    generation: Arc<Generation>,
    /// Larger than every generation that was ever begun in this process.
    generation_next: u32,
}

/// The keys of one generation; deletes them when it was replaced and the last reader is gone.
#[derive(Debug)]
struct Generation {
    kv: Arc<dyn Kv>,
    prefix: Vec<u8>,
    retired: AtomicBool,
}

/// A generation that is being filled. Dropped without [`StateStore::adopt`] it deletes what was written.
#[derive(Debug)]
pub struct Staged {
    number: u32,
    generation: Arc<Generation>,
}

impl Read for State {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.space.get(key)
    }

    fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<()> {
        self.space.scan(start, end, order, visit)
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "State({})", self.space.prefix().escape_ascii())
    }
}

fn meta_key(group: PartitionId) -> Vec<u8> {
    [&b"m"[..], &group.0.to_be_bytes()].concat()
}

fn group_prefix(group: PartitionId) -> Vec<u8> {
    [&b"s"[..], &group.0.to_be_bytes()].concat()
}

fn state_prefix(group: PartitionId, generation: u32) -> Vec<u8> {
    [&group_prefix(group)[..], &generation.to_be_bytes()].concat()
}

fn read_meta(read: &dyn Read, group: PartitionId) -> Result<Meta> {
    match read.get(&meta_key(group))? {
        Some(bytes) => Meta::parse(&bytes).map_err(|e| e.context(format!("state of partition {group}"))),
        None => Ok(Meta::default()),
    }
}

impl Meta {
    /// Reads it; `Corrupt` when it says what cannot be counted on from.
    fn parse(bytes: &[u8]) -> Result<Self> {
        let meta: Self = codec::decode_stored(bytes)?;
        let is_possible = |log: &LogId| EntryId::from(log).is_possible();
        if meta.generation > GENERATION_MAX
            || meta.commands > COUNTER_MAX
            || !meta.log.as_ref().is_none_or(is_possible)
        {
            return Err(Error::corrupt(format!("what is known of it cannot be: {meta:?}")));
        }
        Ok(meta)
    }
}

/// The groups that have a state.
pub fn groups(read: &dyn Read) -> Result<Vec<PartitionId>> {
    let mut found = Vec::new();
    read.scan(b"m", &prefix_end(b"m"), Order::Forward, &mut |key, _| {
        found.extend(key[1..].try_into().map(|id| PartitionId(u32::from_be_bytes(id))));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Deletes the state of a group that nobody has open, and what is known of it.
pub fn forget(batch: &mut Batch, group: PartitionId) {
    let prefix = group_prefix(group);
    batch.delete(&meta_key(group));
    batch.delete_range(&prefix, &prefix_end(&prefix));
}

/// Commands of a group that are applied in a store which nobody has open.
pub fn commands_applied(read: &dyn Read, group: PartitionId) -> Result<u64> {
    Ok(read_meta(read, group)?.commands)
}

impl StateStore {
    /// Opens the state of `group` and deletes what a crash left of generations that never became current, or were
    /// replaced.
    pub fn open(kv: Arc<dyn Kv>, group: PartitionId) -> Result<Self> {
        let meta = read_meta(&*kv, group)?;
        let prefix = state_prefix(group, meta.generation);
        let all = group_prefix(group);
        for (start, end) in [(all.clone(), prefix.clone()), (prefix_end(&prefix), prefix_end(&all))] {
            if has_key(&*kv, &start, &end)? {
                let mut batch = Batch::new();
                batch.delete_range(&start, &end);
                kv.write(batch, Durability::Buffered)?;
            }
        }
        let generation = Arc::new(Generation { kv: kv.clone(), prefix, retired: AtomicBool::new(false) });
        let generation_next = meta.generation + 1;
        Ok(Self { kv, group, current: Mutex::new(Current { meta, generation, generation_next }) })
    }

    /// The state, always the newest: two reads may see a change in between.
    pub fn read(&self) -> State {
        let current = self.lock();
        let prefix = current.generation.prefix.clone();
        State { space: Keyspace::new(self.kv.clone(), prefix), _generation: current.generation.clone() }
    }

    /// The state as it is now, and what is known of it.
    pub fn snapshot(&self) -> Result<(State, Meta)> {
        let (snapshot, generation) = {
            let current = self.lock();
            (self.kv.snapshot(), current.generation.clone())
        };
        let meta = read_meta(&*snapshot, self.group)?;
        let prefix = state_prefix(self.group, meta.generation);
        assert_eq!(prefix, generation.prefix, "a reader holds the generation that it reads");
        Ok((State { space: Keyspace::new(snapshot, prefix), _generation: generation }, meta))
    }

    /// The store that has it.
    pub fn kv(&self) -> &dyn Kv {
        &*self.kv
    }

    /// What is known of the state as it is now.
    pub fn meta(&self) -> Meta {
        self.lock().meta.clone()
    }

    /// Writes changes of the state, and what is known of it then, as one batch.
    pub fn commit(&self, changes: &Overlay<'_>, meta: Meta) -> Result<()> {
        let mut current = self.lock();
        check_order(&current.meta, &meta);
        assert_eq!(meta.generation, current.meta.generation, "only adopt() begins another generation");
        let mut batch = Batch::new();
        changes.write_into(&current.generation.prefix, &mut batch);
        batch.put(&meta_key(self.group), &codec::encode(&meta));
        self.kv.write(batch, Durability::Buffered)?;
        current.meta = meta;
        Ok(())
    }

    /// Begins a state that is to replace the current one.
    pub fn stage(&self) -> Staged {
        let mut current = self.lock();
        let number = current.generation_next;
        assert!(number > current.meta.generation, "rows are staged beside the state, never in it");
        current.generation_next += 1;
        let prefix = state_prefix(self.group, number);
        Staged {
            number,
            generation: Arc::new(Generation { kv: self.kv.clone(), prefix, retired: AtomicBool::new(true) }),
        }
    }

    /// Makes `staged` the state, durable on return. `Corrupt` when it has seen fewer commands than this one.
    pub fn adopt(&self, staged: Staged, meta: Meta) -> Result<()> {
        let mut current = self.lock();
        // The count comes from another node. One that is smaller for a longer log is of another history (I-DET).
        if meta.commands < current.meta.commands {
            return Err(Error::corrupt(format!(
                "a snapshot with {} commands is to replace the state of partition {}, which has seen {}",
                meta.commands, self.group, current.meta.commands
            )));
        }
        let meta = Meta { generation: staged.number, ..meta };
        let prefix = state_prefix(self.group, staged.number);
        assert_eq!(staged.generation.prefix, prefix, "a group adopts what it has staged itself");
        assert!(meta.log >= current.meta.log, "openraft installs no snapshot that is older than the state");
        let mut batch = Batch::new();
        batch.put(&meta_key(self.group), &codec::encode(&meta));
        // After the rows in the order of the store's writes: a crash keeps them all or forgets this.
        self.kv.write(batch, Durability::Buffered)?;
        staged.generation.retired.store(false, Ordering::Relaxed);
        let old = std::mem::replace(&mut current.generation, staged.generation);
        old.retired.store(true, Ordering::Relaxed);
        current.meta = meta;
        drop(current);
        self.kv.flush()
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().expect("poisoned by a broken promise only")
    }
}

impl Staged {
    /// Writes rows.
    pub fn write(&self, rows: &[(&[u8], &[u8])]) -> Result<()> {
        let mut batch = Batch::new();
        for (key, value) in rows {
            batch.put(&[&self.generation.prefix, *key].concat(), value);
        }
        self.generation.kv.write(batch, Durability::Buffered)
    }

    /// Writes all rows of `source`.
    pub fn copy(&self, source: &State) -> Result<()> {
        let mut batch = Batch::new();
        let mut result = Ok(());
        source.scan(b"", b"", Order::Forward, &mut |key, value| {
            batch.put(&[&self.generation.prefix, key].concat(), value);
            if batch.size() > COPY_SIZE_MAX {
                result = self.generation.kv.write(std::mem::take(&mut batch), Durability::Buffered);
            }
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        result?;
        self.generation.kv.write(batch, Durability::Buffered)
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if !self.retired.load(Ordering::Relaxed) {
            return;
        }
        let mut batch = Batch::new();
        batch.delete_range(&self.prefix, &prefix_end(&self.prefix));
        if let Err(e) = self.kv.write(batch, Durability::Buffered) {
            tracing::warn!(error = %e, "a replaced state was not deleted; the next start will do it");
        }
    }
}

/// A state goes forward: it never forgets a command or an entry it has seen.
fn check_order(before: &Meta, after: &Meta) {
    assert!(after.commands >= before.commands, "the index of commands only grows");
    assert!(after.log >= before.log, "entries are applied in their order");
    assert!(
        after.log > before.log || after.commands == before.commands,
        "commands are counted with the entry that has them"
    );
}

fn has_key(read: &dyn Read, start: &[u8], end: &[u8]) -> Result<bool> {
    let mut found = false;
    read.scan(start, end, Order::Forward, &mut |_, _| {
        found = true;
        ControlFlow::Break(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests;
