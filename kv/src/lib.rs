//! Ordered keys, atomic batches, snapshots.
//!
//! Owns: RocksDB (named in `rocks.rs` only), an in-memory twin that loses unsynced writes, views over both: a part of
//! the keys ([`Keyspace`]) and changes not yet written ([`Overlay`]).
//! Knows nothing of: Raft, files, what the keys mean. There is one flat key space per store; prefixes are the
//! caller's, so that every batch and every flush is atomic over all of them.
//!
//! All calls block: call them from a task only where they are known to be short.

mod batch;
mod conformance;
mod keyspace;
mod memory;
mod overlay;
mod rocks;

use std::fmt::Debug;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use types::Result;

pub use batch::{Batch, Op};
pub use keyspace::Keyspace;
pub use memory::{KvCounts, KvFaults, KvImage, MemKv};
pub use overlay::{Changes, Overlay};
pub use rocks::{Options, RocksKv};

/// Direction of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Forward,
    /// Largest key first.
    Backward,
}

/// When a batch survives a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On return. Says nothing about earlier `Buffered` batches.
    Synced,
    /// After the next [`Kv::flush`] at the latest. After a crash the store holds a prefix of the `Buffered` batches.
    Buffered,
}

/// Receives the entries of a scan and says whether to go on.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Ordered keys that can be read: a store, a snapshot of one, or a view. Errors: `Corrupt` when files are damaged,
/// `Unavailable` when the disk fails.
pub trait Read: Send + Sync {
    /// The value of `key`; `None` when it is absent.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Visits the entries with `start <= key < end` in `order` until `visit` says Break. An empty `end` is no bound.
    /// Sees one state of the store, whatever is written meanwhile; `visit` may read the store again.
    fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<()>;
}

/// One state of a store that later writes do not change. Holding it keeps old values on disk.
pub trait Snapshot: Read + Debug {}

/// A store of ordered keys. Errors as in [`Read`].
pub trait Kv: Read + Debug {
    /// Applies all operations of `batch` in their order, or none.
    fn write(&self, batch: Batch, durability: Durability) -> Result<()>;
    /// Applies puts and deletes whose keys ascend, each of them once, all or none; durable on return, as
    /// [`Durability::Synced`]. For batches of megabytes, which it takes several times faster than [`Kv::write`].
    fn ingest(&self, batch: Batch) -> Result<()> {
        check_ingest(&batch);
        self.write(batch, Durability::Synced)
    }
    /// The state now.
    fn snapshot(&self) -> Arc<dyn Snapshot>;
    /// Makes all earlier writes durable.
    fn flush(&self) -> Result<()>;
    /// About how many bytes the entries with `start <= key < end` take on disk (empty `end`: no bound).
    fn approximate_size(&self, start: &[u8], end: &[u8]) -> Result<u64>;
}

/// The smallest key greater than all keys that begin with `prefix`; empty (no bound) when there is none.
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

/// What [`Kv::ingest`] takes. Not all backends would notice.
fn check_ingest(batch: &Batch) {
    let key = |op| match op {
        Op::Put(key, _) | Op::Delete(key) => key,
        Op::DeleteRange(..) => panic!("ingest() takes no ranges"),
    };
    let keys: Vec<&[u8]> = batch.ops().map(key).collect();
    assert!(keys.is_sorted_by(|a, b| a < b), "ingest() takes keys in order, each of them once");
}

/// True for a range without keys. Implementations answer it at once; not all backends allow `start > end`.
fn is_empty_range(start: &[u8], end: &[u8]) -> bool {
    !end.is_empty() && start >= end
}

#[cfg(test)]
mod tests {
    use super::prefix_end;

    #[test]
    fn prefix_end_is_the_next_sibling() {
        for (prefix, end) in [
            (&b"a"[..], &b"b"[..]),
            (b"a\xff", b"b"),
            (b"a\x00", b"a\x01"),
            (b"\xff\xff", b""),
            (b"", b""),
            (b"a\xfe\xff", b"a\xff"),
        ] {
            assert_eq!(prefix_end(prefix), end, "{prefix:?}");
        }
    }
}
