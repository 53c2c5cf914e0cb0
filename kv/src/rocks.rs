//! RocksDB, tuned to be small: many stores share one machine.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DB, DBCompressionType, DBRawIterator, FlushOptions,
    IngestExternalFileOptions, ReadOptions, SstFileWriter, WriteBatch, WriteOptions,
};
use types::limits::{KIB, MIB};
use types::{Error, Result};

use crate::{Batch, Durability, Kv, Op, Order, Read, Snapshot, Visit, is_empty_range};

/// What a store may use of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of recent writes held in memory before they are flushed to a file; at most three such buffers exist.
    pub write_buffer_size: usize,
    /// Bytes of blocks held in memory for reading, index and filter blocks included.
    pub cache_size: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { write_buffer_size: 16 * MIB, cache_size: 32 * MIB }
    }
}

/// A store in a directory of its own.
#[derive(Clone)]
pub struct RocksKv {
    db: Arc<DB>,
    options: Options,
    /// Number of the next file that is ingested.
    ingested: Arc<AtomicU64>,
}

struct RocksSnapshot {
    /// Dropped before `db`: fields are dropped in their order.
    snapshot: rocksdb::Snapshot<'static>,
    db: Arc<DB>,
}

impl RocksKv {
    /// Opens the store in `path`, creating it when missing. `Conflict` when another process has it open, `Corrupt` when
    /// its files are damaged, otherwise `Unavailable`.
    pub fn open(path: &Path, options: Options) -> Result<Self> {
        let db = DB::open(&db_options(options), path).map_err(|e| open_error(path, &e))?;
        Ok(Self { db: Arc::new(db), options, ingested: Arc::default() })
    }

    /// Where the store lives.
    pub fn path(&self) -> PathBuf {
        self.db.path().to_owned()
    }
}

fn db_options(options: Options) -> rocksdb::Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(options.cache_size));
    table.set_block_size(16 * KIB);
    table.set_bloom_filter(10.0, false);
    table.set_whole_key_filtering(true);
    table.set_cache_index_and_filter_blocks(true);
    // In parts: a whole filter of a large store is larger than what one shard of the cache may hold, and would be read
    // from its file for every key that is looked up.
    table.set_partition_filters(true);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_metadata_block_size(4 * KIB);
    table.set_pin_top_level_index_and_filter(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);

    let mut db = rocksdb::Options::default();
    db.create_if_missing(true);
    db.set_block_based_table_factory(&table);
    db.set_compression_type(DBCompressionType::Lz4);
    db.set_write_buffer_size(options.write_buffer_size);
    db.set_max_write_buffer_number(3);
    db.set_level_compaction_dynamic_level_bytes(true);
    db.set_max_background_jobs(2);
    db.set_max_open_files(512);
    db.set_bytes_per_sync(MIB as u64);
    // The info log is for experts with a problem; it must not fill the disk.
    db.set_max_log_file_size(MIB);
    db.set_keep_log_file_num(3);
    db.set_stats_dump_period_sec(0);
    db
}

fn open_error(path: &Path, e: &rocksdb::Error) -> Error {
    let path = path.display();
    let text = e.to_string();
    if text.contains("lock hold by current process") || text.contains("While lock file") {
        return Error::conflict(format!(
            "{path} is in use by another process: stop that process first ({text})"
        ));
    }
    match e.kind() {
        rocksdb::ErrorKind::Corruption => Error::corrupt(format!(
            "{path} is damaged and was not opened: move it away and let this node fetch its state again ({text})"
        )),
        _ => Error::unavailable(format!("cannot open {path}: check that the directory is writable ({text})")),
    }
}

fn rocks_error(what: &str, e: &rocksdb::Error) -> Error {
    match e.kind() {
        rocksdb::ErrorKind::Corruption => Error::corrupt(format!("{what}: {e}")),
        _ => Error::unavailable(format!("{what}: {e}: check the disk")),
    }
}

fn to_rocks(batch: &Batch) -> WriteBatch {
    let mut rocks = WriteBatch::default();
    for op in batch.ops() {
        match op {
            Op::Put(key, value) => rocks.put(key, value),
            Op::Delete(key) => rocks.delete(key),
            Op::DeleteRange(start, end) => rocks.delete_range(start, end),
        }
    }
    rocks
}

/// Tells RocksDB the bounds: without an upper one, an iterator walks over the tombstones of whatever comes after.
fn bounded(start: &[u8], end: &[u8]) -> ReadOptions {
    let mut read = ReadOptions::default();
    read.set_iterate_lower_bound(start);
    if !end.is_empty() {
        read.set_iterate_upper_bound(end);
    }
    read
}

fn visit_all(mut iterator: DBRawIterator<'_>, order: Order, visit: &mut Visit<'_>) -> Result<()> {
    match order {
        Order::Forward => iterator.seek_to_first(),
        Order::Backward => iterator.seek_to_last(),
    }
    while let Some((key, value)) = iterator.item() {
        if visit(key, value).is_break() {
            return Ok(());
        }
        match order {
            Order::Forward => iterator.next(),
            Order::Backward => iterator.prev(),
        }
    }
    iterator.status().map_err(|e| rocks_error("scan", &e))
}

impl Read for RocksKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.db.get_pinned(key).map_err(|e| rocks_error("get", &e))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<()> {
        if is_empty_range(start, end) {
            return Ok(());
        }
        visit_all(self.db.raw_iterator_opt(bounded(start, end)), order, visit)
    }
}

impl Kv for RocksKv {
    fn write(&self, batch: Batch, durability: Durability) -> Result<()> {
        let mut options = WriteOptions::default();
        match durability {
            Durability::Synced => options.set_sync(true),
            Durability::Buffered => options.disable_wal(true),
        }
        self.db.write_opt(to_rocks(&batch), &options).map_err(|e| rocks_error("write", &e))
    }

    fn ingest(&self, batch: Batch) -> Result<()> {
        crate::check_ingest(&batch);
        if batch.is_empty() {
            return Ok(());
        }
        let failed = |e: rocksdb::Error| rocks_error("ingest", &e);
        // One that a crash left is written over: the names begin anew, and RocksDB does not know it.
        let path = self.db.path().join(format!("ingest-{}", self.ingested.fetch_add(1, Relaxed)));
        let options = db_options(self.options);
        let mut file = SstFileWriter::create(&options);
        file.open(&path).map_err(failed)?;
        for op in batch.ops() {
            match op {
                Op::Put(key, value) => file.put(key, value).map_err(failed)?,
                Op::Delete(key) => file.delete(key).map_err(failed)?,
                Op::DeleteRange(..) => unreachable!("checked above"),
            }
        }
        file.finish().map_err(failed)?;
        let mut how = IngestExternalFileOptions::default();
        how.set_move_files(true);
        self.db.ingest_external_file_opts(&how, vec![path]).map_err(failed)
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        let db = self.db.clone();
        // SAFETY: the snapshot borrows the DB behind `db`, which the same struct keeps alive and drops later; the DB
        // does not move, it is behind an Arc.
        let snapshot = unsafe {
            std::mem::transmute::<rocksdb::Snapshot<'_>, rocksdb::Snapshot<'static>>(db.snapshot())
        };
        Arc::new(RocksSnapshot { snapshot, db: self.db.clone() })
    }

    fn flush(&self) -> Result<()> {
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db.flush_opt(&options).map_err(|e| rocks_error("flush", &e))
    }

    fn approximate_size(&self, start: &[u8], end: &[u8]) -> Result<u64> {
        // RocksDB needs an end; no key of ours is greater than this one.
        let end = if end.is_empty() { &[u8::MAX; 64][..] } else { end };
        if start >= end {
            return Ok(0);
        }
        Ok(self.db.get_approximate_sizes(&[rocksdb::Range::new(start, end)]).iter().sum())
    }
}

impl Read for RocksSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.snapshot.get_pinned(key).map_err(|e| rocks_error("get", &e))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<()> {
        if is_empty_range(start, end) {
            return Ok(());
        }
        visit_all(self.snapshot.raw_iterator_opt(bounded(start, end)), order, visit)
    }
}

impl Snapshot for RocksSnapshot {}

impl fmt::Debug for RocksKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RocksKv({})", self.db.path().display())
    }
}

impl fmt::Debug for RocksSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RocksSnapshot({})", self.db.path().display())
    }
}
