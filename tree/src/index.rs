//! The chunk index: which chunks exist, behind a Bloom filter.
//!
//! The exact rows are replicated state. Every node derives the filter from them on its own: "surely absent" costs no
//! look at the rows; "perhaps" costs one. A filter that is too old costs bytes, never data.

mod filter;
mod row;

#[cfg(test)]
pub mod tests;

use bytes::Bytes;
use kv::{Order, Read};
use proto::command::IndexCommand;
use proto::index::{IndexStats, Registration};
use types::limits::{FILTER_PAGE_COUNT, PIN_COUNT_MAX};
use types::{ChunkId, ChunkKey, Error, FeatureLevel, GcEpoch, Possession, Result, Slot};

use crate::answer;
use crate::draft::Draft;
use crate::failure::{Failure, Halt, refuse};
use crate::replica::{Machine, unknown_table};
use crate::row::{decode, first_key, load, scan_page};
pub use filter::{Filters, Round};
pub use row::Touch;
use row::{ChunkRow, ChunkState, TotalsRow};

/// The answer to a pin or registration; `None`: store it.
pub type Touched = Option<Touch>;

/// The state machine of one index partition.
#[derive(Debug, Default)]
pub struct IndexMachine {
    filters: Filters,
}

/// What the rows say about a chunk that is to be pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinning {
    /// It does not exist, or whoever asks does not have it: upload it.
    Absent,
    /// It was already touched in the current epoch: nothing to write.
    Touched(Touch),
    /// It exists and must be touched through the log.
    Stale,
}

impl IndexMachine {
    /// Looks chunks up, without touching them.
    pub fn look_up(&self, state: &dyn Read, chunks: &[(ChunkKey, Possession)]) -> Result<Vec<Pinning>> {
        let candidates = self.filters.may_contain(chunks.iter().map(|(chunk, _)| &chunk.id));
        let epoch = row::epoch(state).map_err(Halt::into_error)?;
        let look = |((chunk, shown), candidate): (&(ChunkKey, Possession), bool)| {
            let row = if candidate { load::<ChunkRow>(state, &row::chunk_key(chunk)) } else { Ok(None) };
            Ok(match row.map_err(Halt::into_error)? {
                Some(row) if row.is_had_by(shown) => match row.state {
                    ChunkState::Live if row.touch >= epoch => Pinning::Touched(row.touch()),
                    _ => Pinning::Stale,
                },
                _ => Pinning::Absent,
            })
        };
        chunks.iter().zip(candidates).map(look).collect()
    }

    /// The filter in front of the rows.
    pub fn filters(&self) -> &Filters {
        &self.filters
    }

    /// Totals of the partition; the filter's counts are those of this process.
    pub fn stats(&self, state: &dyn Read) -> Result<IndexStats> {
        self.read_stats(state).map_err(Halt::into_error)
    }

    fn read_stats(&self, state: &dyn Read) -> Result<IndexStats, Halt> {
        let (filter_negatives, filter_positives) = self.filters.counts();
        let epoch = row::epoch(state)?;
        let mut stats = IndexStats { epoch, filter_negatives, filter_positives, ..IndexStats::default() };
        let (start, end) = row::totals_range();
        scan_page(state, (&start, &end, Order::Forward), Slot::COUNT.into(), |_, value| {
            let totals: TotalsRow = decode(value)?;
            stats.chunks += totals.chunks;
            stats.plain_bytes += totals.plain_bytes;
            stats.disk_bytes += totals.disk_bytes;
            Ok(())
        })?;
        Ok(stats)
    }

    fn register(&self, state: &mut Draft<'_>, chunks: &[Registration]) -> Result<Vec<Touched>, Halt> {
        let epoch = row::epoch(state)?;
        let touched = chunks.iter().map(|new| register_one(state, epoch, new)).collect::<Result<_, _>>()?;
        self.filters.insert(&chunks.iter().map(|new| new.chunk.id).collect::<Vec<_>>());
        Ok(touched)
    }

    fn pin(&self, state: &mut Draft<'_>, chunks: &[(ChunkKey, Possession)]) -> Result<Vec<Touched>, Failure> {
        if chunks.len() > PIN_COUNT_MAX {
            return refuse(Error::invalid(format!(
                "{} chunks in one pin, at most {PIN_COUNT_MAX} are allowed",
                chunks.len()
            )));
        }
        let epoch = row::epoch(state)?;
        chunks
            .iter()
            .map(|(chunk, shown)| {
                let row = load::<ChunkRow>(state, &row::chunk_key(chunk))?;
                Ok(row.filter(|row| row.is_had_by(shown)).map(|row| touch(state, chunk, row, epoch)))
            })
            .collect()
    }
}

/// Whoever needs a chunk keeps it from being collected.
fn touch(state: &mut Draft<'_>, chunk: &ChunkKey, row: ChunkRow, epoch: GcEpoch) -> Touch {
    let row = ChunkRow { touch: row.touch.max(epoch), state: ChunkState::Live, ..row };
    state.put(row::chunk_key(chunk), &row);
    row.touch()
}

/// A chunk that is already known keeps its incarnation: the shards just written are orphans for GC. One that was lost is
/// there again.
fn register_one(state: &mut Draft<'_>, epoch: GcEpoch, new: &Registration) -> Result<Touched, Halt> {
    let old = load::<ChunkRow>(state, &row::chunk_key(&new.chunk))?;
    let lost = match old {
        Some(row) if row.state != ChunkState::Lost => return Ok(Some(touch(state, &new.chunk, row, epoch))),
        lost => lost,
    };
    if new.generation.epoch().next() < epoch {
        return Ok(None); // Its shards may have been reclaimed as orphans by now.
    }
    let key = row::totals_key(new.chunk.id.slot());
    let mut totals = load::<TotalsRow>(state, &key)?.unwrap_or_default();
    let before = totals.chunks;
    lost.iter().for_each(|lost| totals.remove(lost));
    let row = ChunkRow::new(new, epoch);
    totals.add(&row);
    assert!(totals.chunks - before <= 1, "a chunk is counted when it becomes known, once");
    state.put(key, &totals);
    Ok(Some(touch(state, &new.chunk, row, epoch)))
}

/// Chunks that have a row, for a filter: a page of them after `after`, and where to go on.
pub fn list_chunks(state: &dyn Read, after: Option<ChunkKey>) -> Result<(Vec<ChunkId>, Option<ChunkKey>)> {
    let (start, end) = row::chunk_range(after);
    let (mut chunks, mut last) = (Vec::new(), None);
    let more = scan_page(state, (&start, &end, Order::Forward), FILTER_PAGE_COUNT, |key, _| {
        last = Some(row::chunk_of_key(key).ok_or_else(|| unknown_table(key))?);
        chunks.extend(last.map(|chunk| chunk.id));
        Ok(())
    });
    let more = more.map_err(Halt::into_error)?;
    Ok((chunks, last.filter(|_| more)))
}

impl Machine for IndexMachine {
    type Command = IndexCommand;

    fn carry_out(&self, state: &mut Draft<'_>, command: IndexCommand) -> Result<Bytes, Halt> {
        match command {
            IndexCommand::Register(chunks) => Ok(answer::encode(&Ok(self.register(state, &chunks)?))),
            IndexCommand::Pin(chunks) => answer::of(self.pin(state, &chunks)),
        }
    }

    fn applied(&self) {
        self.filters.committed();
    }

    fn restored(&self, state: &dyn Read) -> Result<(), Halt> {
        let (start, end) = row::totals_range();
        self.filters.restart(first_key(state, &start, &end)?.is_none());
        Ok(())
    }

    fn canonical(key: &[u8], value: &[u8], level: FeatureLevel) -> Result<Vec<u8>, Halt> {
        row::canonical_of(key, value, level)
    }
}
