//! The chunk index: which chunks exist, behind a Bloom filter.
//!
//! The exact rows are replicated state. Every node derives the filter from them on its own: "surely absent" costs no
//! look at the rows; "perhaps" costs one. A filter that is too old costs bytes, never data.

mod filter;
mod golden;
mod row;

#[cfg(test)]
pub mod tests;

use bytes::Bytes;
use kv::{Order, Read};
use proto::command::IndexCommand;
use proto::index::{Amendment, ChunkState, Exception, IndexStats, KnownChunk, News, StoredChunk};
use types::limits::{CHUNK_PAGE_COUNT, FILTER_PAGE_COUNT, PIN_COUNT_MAX};
use types::{ChunkId, ChunkKey, Epoch, Error, FeatureLevel, GcEpoch, Possession, Result, Slot};

use crate::answer;
use crate::draft::Draft;
use crate::failure::{Failure, Halt, refuse};
use crate::replica::{Machine, unknown_table};
use crate::row::{decode, first_key, load, scan_page};
pub use filter::{Filters, Round};
pub use row::Touch;
use row::{ChunkRow, FlagRow, TotalsRow};

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
            stats.displaced += totals.displaced;
            stats.thin += totals.thin;
            stats.lost += totals.lost;
            Ok(())
        })?;
        Ok(stats)
    }

    fn register(
        &self,
        state: &mut Draft<'_>,
        map: Epoch,
        chunks: Vec<(StoredChunk, Vec<Exception>)>,
    ) -> Result<Vec<Touched>, Failure> {
        let fence = row::fence(state)?;
        if map < fence {
            return refuse(Error::stale_epoch(format!(
                "the chunks were placed by the map of epoch {map}, by now it takes {fence}: refresh the map"
            )));
        }
        let epoch = row::epoch(state)?;
        let ids: Vec<ChunkId> = chunks.iter().map(|(new, _)| new.chunk.id).collect();
        let register = |(new, exceptions)| register_one(state, epoch, &new, exceptions);
        let touched = chunks.into_iter().map(register).collect::<Result<_, _>>()?;
        self.filters.insert(&ids);
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

/// A chunk that is already known keeps its incarnation: the shards just written are orphans for GC, unless they are of
/// the same one. One that was lost is there again.
fn register_one(
    state: &mut Draft<'_>,
    epoch: GcEpoch,
    new: &StoredChunk,
    exceptions: Vec<Exception>,
) -> Result<Touched, Halt> {
    let old = load::<ChunkRow>(state, &row::chunk_key(&new.chunk))?;
    let lost = match old {
        Some(row) if row.state != ChunkState::Lost => {
            let is_better = row.generation == new.generation && exceptions.len() < row.exceptions.len();
            let better = ChunkRow { exceptions, ..row.clone() };
            if is_better {
                replace(state, &new.chunk, Some(&row), &better)?;
            }
            return Ok(Some(touch(state, &new.chunk, if is_better { better } else { row }, epoch)));
        }
        lost => lost,
    };
    if new.generation.epoch().next() < epoch {
        return Ok(None); // Its shards may have been reclaimed as orphans by now.
    }
    let row = ChunkRow::new(new, exceptions, epoch);
    replace(state, &new.chunk, lost.as_ref(), &row)?;
    Ok(Some(row.touch()))
}

/// Writes the row of a chunk in place of the one before, with all that is counted.
fn replace(
    state: &mut Draft<'_>,
    chunk: &ChunkKey,
    before: Option<&ChunkRow>,
    after: &ChunkRow,
) -> Result<(), Halt> {
    let key = row::totals_key(chunk.id.slot());
    let mut totals = load::<TotalsRow>(state, &key)?.unwrap_or_default();
    before.into_iter().for_each(|before| totals.remove(before));
    totals.add(after);
    state.put(key, &totals);
    match (before.is_some_and(ChunkRow::is_flagged), after.is_flagged()) {
        (false, true) => state.put(row::flag_key(chunk), &FlagRow),
        (true, false) => state.delete(row::flag_key(chunk)),
        _ => {}
    }
    state.put(row::chunk_key(chunk), after);
    Ok(())
}

/// Takes note of what a node has found out. False when it is not about the chunk as it is now.
fn amend(state: &mut Draft<'_>, amendment: &Amendment) -> Result<bool, Halt> {
    let Amendment { chunk, generation, news } = amendment;
    let before = load::<ChunkRow>(state, &row::chunk_key(chunk))?;
    let Some(before) = before.filter(|row| row.generation == *generation) else { return Ok(false) };
    let mut after = before.clone();
    let is_so = match *news {
        News::Moved { slot, was, now } => after.move_part(slot, was, now),
        News::Lost => std::mem::replace(&mut after.state, ChunkState::Lost) != ChunkState::Lost,
        News::Found => std::mem::replace(&mut after.state, ChunkState::Live) == ChunkState::Lost,
    };
    if is_so {
        replace(state, chunk, Some(&before), &after)?;
    }
    Ok(is_so)
}

/// What the index knows of chunks.
pub fn look_up_known(state: &dyn Read, chunks: &[ChunkKey]) -> Result<Vec<Option<KnownChunk>>> {
    let look = |chunk: &ChunkKey| {
        let row = load::<ChunkRow>(state, &row::chunk_key(chunk)).map_err(Halt::into_error)?;
        Ok(row.map(|row| row.known(*chunk)))
    };
    chunks.iter().map(look).collect()
}

/// The epoch of the oldest map that chunks may be registered by.
pub fn fence(state: &dyn Read) -> Result<Epoch> {
    row::fence(state).map_err(Halt::into_error)
}

/// A page of the chunks between two ids, both included, after `after`; all or only those that are not whole. True when
/// there are more.
pub fn list_known(
    state: &dyn Read,
    (first, last): (ChunkId, ChunkId),
    after: Option<ChunkKey>,
    is_flagged: bool,
) -> Result<(Vec<KnownChunk>, bool)> {
    let page = || -> Result<(Vec<KnownChunk>, bool), Halt> {
        type Parse = fn(&[u8]) -> Option<ChunkKey>;
        let (range, key, parse): (_, fn(&ChunkKey) -> Vec<u8>, Parse) = match is_flagged {
            true => (row::flag_range(&first, &last), row::flag_key, row::chunk_of_flag),
            false => (row::chunk_range_of(&first, &last), row::chunk_key, row::chunk_of_key),
        };
        let (mut start, end) = range;
        if let Some(after) = after {
            start = start.max([&key(&after)[..], &[0]].concat());
        }
        let mut chunks = Vec::new();
        let more = scan_page(state, (&start, &end, Order::Forward), CHUNK_PAGE_COUNT, |key, _| {
            chunks.push(parse(key).ok_or_else(|| unknown_table(key))?);
            Ok(())
        })?;
        let row = |chunk: &ChunkKey| {
            let row = load::<ChunkRow>(state, &row::chunk_key(chunk))?;
            Ok(row.ok_or_else(|| crate::row::damaged::<FlagRow>("its chunk has no row"))?.known(*chunk))
        };
        Ok((chunks.iter().map(row).collect::<Result<_, Halt>>()?, more))
    };
    page().map_err(Halt::into_error)
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
            IndexCommand::Register { epoch, chunks } => answer::of(self.register(state, epoch, chunks)),
            IndexCommand::Pin(chunks) => answer::of(self.pin(state, &chunks)),
            IndexCommand::Fence(epoch) => {
                let fence = row::fence(state)?.max(epoch);
                state.put(row::fence_key(), &fence);
                Ok(answer::encode(&Ok(())))
            }
            IndexCommand::Amend(amendments) => {
                let done = amendments.iter().map(|amendment| amend(state, amendment));
                Ok(answer::encode(&Ok(done.collect::<Result<Vec<bool>, Halt>>()?)))
            }
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
