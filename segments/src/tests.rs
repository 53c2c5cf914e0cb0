//! I-DISK, I-ACK, I-READ on one disk: the engine on a disk that loses, tears, rots, fills and fails.

mod crash;
mod crash_states;
mod damage;
mod faults;
mod faulty;
mod formats;
mod hanging;
mod identity;
mod rebuilding;
mod rubbish;
mod scrubbing;
mod sealing;
mod service;
mod space;
mod unreadable;

use std::sync::Arc;

use bytes::Bytes;
use env::Env;
use kv::{Kv, MemKv};
use proto::block::{Layout, ShardKey, ShardMeta};
use types::{ChunkId, ClusterId, Error, Generation, KeyId, NodeId, Result, Scope};

use super::change::Change;
use super::engine::Engine;
use super::index::Mode;
use super::open::{DiskConfig, open_engine};
use super::read::read_record;
use super::rebuild;
use super::seal;
use super::space::Purpose;
use faulty::FaultyDisk;

fn key(n: u64) -> ShardKey {
    // Neighbours in the index that differ in chunk, scope, generation and slot.
    let chunk = chunk::chunk_id(&(n / 8).to_le_bytes()).within(Scope(1 + (n / 4 % 2) as u32));
    ShardKey { chunk, generation: Generation(n / 2 % 2), slot: u8::try_from(n % 2).unwrap() }
}

/// The bytes that are stored under a key; mostly small, sometimes of several blocks.
fn payload(n: u64) -> Bytes {
    let size = if n.is_multiple_of(17) { 200_000 + n } else { 1 + n * 37 % 2000 };
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}

fn meta(n: u64) -> ShardMeta {
    let layout = if n.is_multiple_of(3) { Layout::Replica } else { Layout::Shard { k: 4, m: 2 } };
    ShardMeta {
        layout,
        plain_size: 300_000,
        stored_size: 200_000,
        compressed: n.is_multiple_of(2),
        key: KeyId(n as u32),
    }
}

fn put(n: u64) -> Change {
    Change::Put { key: key(n), meta: meta(n), payload: payload(n), crc: None, purpose: Purpose::Store }
}

fn config() -> DiskConfig {
    let config = DiskConfig::new("/disk", ClusterId([1; 16]), NodeId(7), None);
    DiskConfig { segment_size: 64 << 10, ..config }
}

fn environment(disk: &FaultyDisk) -> Env {
    Env { disk: Arc::new(disk.clone()), ..Env::simulated(9) }
}

/// Opens a disk, and rebuilds its index if it must.
fn open(disk: &FaultyDisk, kv: &MemKv) -> Result<Engine> {
    let mut engine = open_unready(disk, kv)?;
    restore(&mut engine)?;
    Ok(engine)
}

fn open_unready(disk: &FaultyDisk, kv: &MemKv) -> Result<Engine> {
    let kv = kv.clone();
    open_engine(&environment(disk), config(), move |_| Ok(Arc::new(kv.clone()) as Arc<dyn Kv>))
}

/// What the background does for an index that is not complete.
fn restore(engine: &mut Engine) -> Result<()> {
    let (tables, Mode::Rebuilding { before }) = engine.shared.index.view() else { return Ok(()) };
    let totals = rebuild::rebuild(&engine.shared, &tables, before)?;
    engine.adopt(totals)
}

/// The payload under a key; `NotFound` when there is none.
fn read(engine: &Engine, n: u64) -> Result<Bytes> {
    let entry = engine.shared.index.tables().entry(&key(n))?.ok_or_else(|| Error::not_found("nothing"))?;
    assert_eq!(entry.meta, meta(n));
    read_record(&engine.shared, &key(n), &entry, None)
}

fn count(engine: &Engine) -> u64 {
    let all = (ChunkId([0; 32]), ChunkId([0xff; 32]));
    engine.shared.index.tables().list(all, None, usize::MAX).unwrap().len() as u64
}
