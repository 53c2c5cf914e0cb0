//! Making the index of a disk anew from its segments, while the disk is used.
//!
//! Owns: what a key's records, taken together, say of it: the last one counts. Records that are written meanwhile are
//! in a table of their own, and come last.
//! Knows nothing of: who runs it, how often it is tried.

use std::ops::ControlFlow;
use std::sync::Mutex;

use env::disk::Cause;
use kv::Batch;
use proto::block::ShardKey;
use types::limits::REBUILD_RUN_COUNT;
use types::{Error, Result};

use crate::engine::Engine;
use crate::index::{Entry, IndexChange, Known, Mode, Tables, Totals, tables};
use crate::record::{Content, Header};
use crate::records;
use crate::segment::walk::{Bad, Step};
use crate::segment::{self, SEGMENT_HEADER_SIZE};
use crate::shared::Shared;

/// Brings an index that is lost, or not complete yet, back to knowing everything. Nothing to do for a good one.
pub(crate) fn restore(shared: &Shared, engine: &Mutex<Engine>) -> Result<()> {
    let lock = || engine.lock().expect("a job that panicked ended the disk");
    if shared.index.mode() == Mode::Lost {
        lock().begin_rebuild()?;
    }
    let (tables, Mode::Rebuilding { before }) = shared.index.view() else { return Ok(()) };
    let rebuilt = rebuild(shared, &tables, before).and_then(|totals| lock().adopt(totals));
    // Half an index is none.
    rebuilt.inspect_err(|_| shared.index.set_mode(Mode::Lost))
}

/// Reads all segments before one into the tables; returns what is live.
pub(crate) fn rebuild(shared: &Shared, tables: &Tables, before: u32) -> Result<Totals> {
    let numbers = segment::list(&*shared.disk, &shared.root)?;
    let mut rebuild = Rebuild { shared, tables, run: Vec::new(), has_lost: false };
    for number in numbers.into_iter().filter(|number| *number < before) {
        rebuild.segment(number)?;
    }
    rebuild.end_run()?;
    tables.totals()
}

struct Rebuild<'a> {
    shared: &'a Shared,
    tables: &'a Tables,
    /// What records said, in their order, since the last rows were written.
    run: Vec<(ShardKey, Known)>,
    /// Some shard was lost at some time: then its row may have to go.
    has_lost: bool,
}

impl Rebuild<'_> {
    fn segment(&mut self, number: u32) -> Result<()> {
        let file = match self.shared.files.get(number) {
            Err(error) if Cause::of(&error) == Cause::Medium => {
                self.note(number, 0, u64::MAX, "it cannot be opened")?;
                return Ok(());
            }
            opened => opened?,
        };
        // What a killed process left may be in memory only, and the index outlives it.
        if !self.shared.is_read_only()
            && let Err(error) = file.sync_data()
        {
            self.shared.fail("a sync failed", &error.into());
        }
        let shared = self.shared;
        records::visit(shared, number, &*file, SEGMENT_HEADER_SIZE, &mut |step| {
            match step {
                Step::Record(header) => self.record(number, &header)?,
                Step::Bad(bad) => self.bad(number, &bad)?,
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(())
    }

    fn record(&mut self, number: u32, header: &Header) -> Result<()> {
        let known = match (Entry::of(header, number), header.content) {
            (Some(entry), _) => Known::Stored(entry),
            (None, Content::Lost(meta)) => Known::Lost(meta),
            (None, _) => Known::Absent,
        };
        self.add(header.key, known)
    }

    /// Nobody knows any more what was acknowledged: what may be a torn tail is kept, and counts as damage.
    fn bad(&mut self, number: u32, bad: &Bad) -> Result<()> {
        self.note(number, bad.offset, bad.size, bad.flaw)?;
        match bad.header {
            Some(header) if self.has_copy(&header)? => Ok(()),
            Some(Header { key, content: Content::Shard(meta), .. }) => self.add(key, Known::Lost(meta)),
            // Its header says it all.
            Some(header) => self.record(number, &header),
            None => Ok(()),
        }
    }

    /// True when the bytes were there before this record: then they still are.
    fn has_copy(&self, header: &Header) -> Result<bool> {
        let before = self.run.iter().rev().find(|(key, _)| *key == header.key);
        let known = match before {
            Some((_, known)) => *known,
            None => self.tables.known(&header.key)?,
        };
        Ok(matches!(known, Known::Stored(entry) if entry.is_copy(header)))
    }

    fn note(&mut self, number: u32, offset: u64, size: u64, flaw: &str) -> Result<()> {
        self.shared.report_damage(number, offset, size, flaw);
        self.tables.note_damage(number, offset, size)
    }

    fn add(&mut self, key: ShardKey, known: Known) -> Result<()> {
        self.has_lost |= matches!(known, Known::Lost(_));
        self.run.push((key, known));
        if self.run.len() >= REBUILD_RUN_COUNT { self.end_run() } else { Ok(()) }
    }

    /// Writes rows for what came up, over those of earlier runs: all that were lost, then all that are stored.
    fn end_run(&mut self) -> Result<()> {
        // Stable: the last of the records of a key stays the last.
        self.run.sort_by_key(|(key, _)| *key);
        let mut batch = Batch::new();
        if self.has_lost {
            self.last_of_each().for_each(|(key, known)| tables::lost_row(&mut batch, key, known));
        }
        self.last_of_each().for_each(|(key, known)| tables::shard_row(&mut batch, key, known));
        self.run.clear();
        self.tables.ingest(batch)
    }

    fn last_of_each(&self) -> impl Iterator<Item = &(ShardKey, Known)> {
        let rows = self.run.iter().enumerate();
        let is_last = |index: usize, key| self.run.get(index + 1).is_none_or(|(next, _)| next != key);
        rows.filter(move |(index, (key, _))| is_last(*index, key)).map(|(_, row)| row)
    }
}

impl Engine {
    /// Throws the index away. From now on records go to a segment of their own, and to a table of their own.
    pub(crate) fn begin_rebuild(&mut self) -> Result<()> {
        let mut before = u32::MAX;
        if !self.shared.is_read_only() {
            // The same segment, if nothing was ever acknowledged in it.
            self.active.undo()?;
            if self.active.end > SEGMENT_HEADER_SIZE {
                self.active.roll(&self.shared)?;
            }
            before = self.active.number;
        }
        let Shared { index, disk, root, .. } = &*self.shared;
        tracing::warn!("disk {}: the index is lost; rebuilding it from the segments", root.display());
        index.replace(&**disk, root, before)
    }

    /// Takes a rebuilt index into use, with what has happened since it was begun.
    pub(crate) fn adopt(&mut self, totals: Totals) -> Result<()> {
        let shared = self.shared.clone();
        let (tables, Mode::Rebuilding { .. }) = shared.index.view() else {
            return Err(Error::unavailable("the index was lost again while it was rebuilt"));
        };
        let (mut totals, mut damage) = (totals, tables.damage()?);
        let uuid = shared.superblock().uuid;
        let mut after = None;
        loop {
            let page = tables.all_fresh(after, REBUILD_PAGE_COUNT)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            let mut change = IndexChange::new(tables.clone(), false, totals, damage);
            for (key, known) in page {
                change.set(key, known)?;
            }
            (totals, damage) = change.commit(uuid, None)?;
        }
        let mut change = IndexChange::new(tables.clone(), false, totals, damage);
        change.forget_fresh();
        // What a disk that failed shows may still be lost with its power: the next start looks again.
        let complete = (!shared.is_read_only()).then_some((self.active.number, self.active.end));
        let (totals, damage) = change.commit(uuid, complete)?;
        // Only now does it count as an index; from now on a missing one means that it was lost.
        tables.flush()?;
        let mut status = shared.status();
        (status.totals, status.damage) = (totals, damage);
        drop(status);
        shared.index.set_mode(Mode::Ready);
        tracing::info!("disk {}: the index is complete, {} records", shared.root.display(), totals.records);
        Ok(())
    }
}

/// Rows that are moved at once from one table to another.
const REBUILD_PAGE_COUNT: usize = 4096;
