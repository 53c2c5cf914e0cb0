//! The chunk index: which chunks exist, behind a Bloom filter.
//!
//! The exact rows are replicated state. Every node derives the filter from them on its own: "surely absent" costs no
//! look at the rows; "perhaps" costs one. A filter that is too old costs bytes, never data.

mod row;

#[cfg(test)]
pub mod tests;

use std::ops::ControlFlow;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chunk::filter::{BloomFilter, Filter};
use kv::{Order, Read};
use proto::command::IndexCommand;
use proto::index::{IndexStats, Registration};
use types::limits::PIN_COUNT_MAX;
use types::{ChunkId, Error, FeatureLevel, GcEpoch, Generation, Result};

use crate::answer;
use crate::draft::Draft;
use crate::failure::{Failure, Halt, refuse};
use crate::replica::Machine;
use crate::row::load;
use row::{ChunkRow, TotalsRow};

/// A filter starts with room for this many chunks and doubles when it is full.
const FILTER_CAPACITY_MIN: u64 = 1 << 16;
/// Seed of the filters. Chunk ids are hashes already; the seed only has to stay the same forever.
const FILTER_SEED: [u8; 32] = *b"CloudSync chunk existence filter";

/// The answer to a pin or registration: the live incarnation and the epoch it was touched in; `None`: store it.
pub type Touched = Option<(Generation, GcEpoch)>;

/// The state machine of one index partition.
#[derive(Debug)]
pub struct IndexMachine {
    filter: RwLock<BloomFilter>,
    negatives: AtomicU64,
    positives: AtomicU64,
}

/// What the rows say about a chunk that is to be pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinning {
    /// It does not exist: upload it.
    Absent,
    /// It was already touched in the current epoch: nothing to write.
    Touched(Generation, GcEpoch),
    /// It exists and must be touched through the log.
    Stale,
}

impl Default for IndexMachine {
    fn default() -> Self {
        Self {
            filter: RwLock::new(filter_for(FILTER_CAPACITY_MIN)),
            negatives: AtomicU64::new(0),
            positives: AtomicU64::new(0),
        }
    }
}

impl IndexMachine {
    /// Looks chunks up, without touching them.
    pub fn look_up(&self, state: &dyn Read, chunks: &[ChunkId]) -> Result<Vec<Pinning>> {
        let candidates: Vec<bool> = {
            let filter = self.filter.read().expect("no panic while it is held");
            chunks.iter().map(|chunk| filter.may_contain(chunk)).collect()
        };
        let positives = candidates.iter().filter(|c| **c).count() as u64;
        self.positives.fetch_add(positives, Ordering::Relaxed);
        self.negatives.fetch_add(chunks.len() as u64 - positives, Ordering::Relaxed);
        let epoch = row::epoch(state).map_err(Halt::into_error)?;
        let look = |(chunk, candidate): (&ChunkId, bool)| {
            let row = if candidate { load::<ChunkRow>(state, &row::chunk_key(chunk)) } else { Ok(None) };
            Ok(match row.map_err(Halt::into_error)? {
                None => Pinning::Absent,
                Some(row) if row.touch >= epoch => Pinning::Touched(row.generation, row.touch),
                Some(_) => Pinning::Stale,
            })
        };
        chunks.iter().zip(candidates).map(look).collect()
    }

    /// Totals of the partition; the filter's counts are those of this process.
    pub fn stats(&self, state: &dyn Read) -> Result<IndexStats> {
        self.read_stats(state).map_err(Halt::into_error)
    }

    fn read_stats(&self, state: &dyn Read) -> Result<IndexStats, Halt> {
        let totals: TotalsRow = load(state, &row::totals_key())?.unwrap_or_default();
        Ok(IndexStats {
            chunks: totals.chunks,
            plain_bytes: totals.plain_bytes,
            disk_bytes: totals.disk_bytes,
            epoch: row::epoch(state)?,
            filter_negatives: self.negatives.load(Ordering::Relaxed),
            filter_positives: self.positives.load(Ordering::Relaxed),
        })
    }

    fn register(&self, state: &mut Draft<'_>, chunks: &[Registration]) -> Result<Vec<Touched>, Halt> {
        let epoch = row::epoch(state)?;
        let mut totals: TotalsRow = load(state, &row::totals_key())?.unwrap_or_default();
        let before = totals.chunks;
        let touched: Vec<Touched> = chunks
            .iter()
            .map(|new| register_one(state, &mut totals, epoch, new))
            .collect::<Result<_, Halt>>()?;
        assert!(
            totals.chunks - before <= chunks.len() as u64,
            "a chunk is counted when it becomes known, once"
        );
        state.put(row::totals_key(), &totals);
        let is_full = {
            let mut filter = self.filter.write().expect("no panic while it is held");
            chunks.iter().for_each(|new| filter.insert(&new.chunk));
            filter.is_full()
        };
        // Nothing is read while it is held: a panic there would close the filter for good.
        if is_full {
            let filter = filter_of(state)?;
            *self.filter.write().expect("no panic while it is held") = filter;
        }
        debug_assert!(
            {
                let filter = self.filter.read().expect("no panic while it is held");
                chunks.iter().all(|new| filter.may_contain(&new.chunk))
            },
            "what was just registered is not surely absent"
        );
        Ok(touched)
    }

    fn pin(&self, state: &mut Draft<'_>, chunks: &[ChunkId]) -> Result<Vec<Touched>, Failure> {
        if chunks.len() > PIN_COUNT_MAX {
            return refuse(Error::invalid(format!(
                "{} chunks in one pin, at most {PIN_COUNT_MAX} are allowed",
                chunks.len()
            )));
        }
        let epoch = row::epoch(state)?;
        chunks
            .iter()
            .map(|chunk| {
                let key = row::chunk_key(chunk);
                let Some(mut row) = load::<ChunkRow>(state, &key)? else { return Ok(None) };
                row.touch = row.touch.max(epoch);
                state.put(key, &row);
                Ok(Some((row.generation, row.touch)))
            })
            .collect()
    }
}

/// A chunk that is already known keeps its incarnation: the shards just written are orphans for GC.
fn register_one(
    state: &mut Draft<'_>,
    totals: &mut TotalsRow,
    epoch: GcEpoch,
    new: &Registration,
) -> Result<Touched, Halt> {
    let key = row::chunk_key(&new.chunk);
    if let Some(mut row) = load::<ChunkRow>(state, &key)? {
        row.touch = row.touch.max(epoch);
        state.put(key, &row);
        return Ok(Some((row.generation, row.touch)));
    }
    if new.generation.epoch().next() < epoch {
        return Ok(None); // Its shards may have been reclaimed as orphans by now.
    }
    let row = ChunkRow {
        generation: new.generation,
        touch: epoch,
        plain_size: new.plain_size,
        disk_size: new.disk_size,
    };
    state.put(key, &row);
    totals.chunks += 1;
    totals.plain_bytes += u64::from(new.plain_size);
    totals.disk_bytes += u64::from(new.disk_size);
    Ok(Some((row.generation, row.touch)))
}

impl Machine for IndexMachine {
    type Command = IndexCommand;

    fn carry_out(&self, state: &mut Draft<'_>, command: IndexCommand) -> Result<Bytes, Halt> {
        match command {
            IndexCommand::Register(chunks) => Ok(answer::encode(&Ok(self.register(state, &chunks)?))),
            IndexCommand::Pin(chunks) => answer::of(self.pin(state, &chunks)),
        }
    }

    fn restored(&self, state: &dyn Read) -> Result<(), Halt> {
        // Without its rows the partition can answer nothing: no filter rather than "absent" for what exists.
        let filter = filter_of(state)?;
        *self.filter.write().expect("no panic while it is held") = filter;
        Ok(())
    }

    fn canonical(key: &[u8], value: &[u8], level: FeatureLevel) -> Result<Vec<u8>, Halt> {
        row::canonical_of(key, value, level)
    }
}

/// The filter of all rows, with room to double.
fn filter_of(state: &dyn Read) -> Result<BloomFilter, Halt> {
    let totals: TotalsRow = load(state, &row::totals_key())?.unwrap_or_default();
    let mut filter = filter_for(totals.chunks * 2);
    let (start, end) = row::chunk_range();
    let scanned = state.scan(&start, &end, Order::Forward, &mut |key, _| {
        if let Some(chunk) = row::chunk_of_key(key) {
            filter.insert(&chunk);
        }
        ControlFlow::Continue(())
    });
    scanned.map_err(Halt::new)?;
    Ok(filter)
}

fn filter_for(count: u64) -> BloomFilter {
    BloomFilter::new(count.max(FILTER_CAPACITY_MIN), &FILTER_SEED).expect("the capacity is within its limits")
}
