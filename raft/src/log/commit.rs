//! Group commit: gathers records, writes them with one fdatasync, starts and deletes segments.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, MutexGuard};

use env::{File, OpenMode};
use types::{Error, PartitionId, Result};

use super::group::{EntryPlace, GroupLog};
use super::record::{self, Record};
use super::recover::Recovered;
use super::segment;
use super::{Done, Headroom, LogEntry, LogShared, LogState, Move, Segment};

/// One write: what was queued when the one before was durable.
struct Batch {
    segment: u64,
    commit: u64,
    offset: u64,
    bytes: Vec<u8>,
    /// `None` for the first of a segment.
    file: Option<Arc<dyn File>>,
    done: Vec<Done>,
    /// Segments without live entries. Deleted after this commit, because what emptied them must be durable first.
    empty: Vec<u64>,
    /// Entries that are copied by this commit.
    moves: Vec<Move>,
}

impl LogState {
    pub(super) fn new(recovered: Recovered, segment_size: u64) -> Self {
        let current = recovered.segments.last_key_value().map_or(0, |(number, _)| *number);
        let mut segments: BTreeMap<u64, Segment> = recovered
            .segments
            .into_iter()
            .map(|(number, (file, size))| (number, Segment { file: Some(file), size, ..Segment::default() }))
            .collect();
        for place in recovered.groups.values().flat_map(GroupLog::places) {
            segments.get_mut(&place.segment).expect("found in this segment").add(place);
        }
        let segments_end = segments.get(&current).map_or(0, |segment| segment.size);
        let mut state = Self {
            groups: recovered.groups,
            segments,
            current,
            pending_start: segments_end,
            pending: Vec::new(),
            urgent: false,
            is_scheduled: false,
            done: Vec::new(),
            moves: Vec::new(),
            moved_from: 0,
            to_move: Vec::new(),
            archive: None,
            commit: recovered.commit_next,
            mark: recovered.commit_next - 1,
            closed: false,
            broken: None,
        };
        if current == 0 || state.pending_start >= segment_size {
            state.start_segment();
        }
        state
    }

    pub(super) fn group(&mut self, group: PartitionId) -> &mut GroupLog {
        self.groups.entry(group).or_default()
    }

    /// Queues a record of `group`.
    pub(super) fn write(&mut self, group: PartitionId, record: &Record) {
        record::encode(&mut self.pending, group, self.commit, record);
    }

    /// Queues an entry and makes it readable.
    pub(super) fn append(&mut self, id: PartitionId, entry: LogEntry) -> Result<()> {
        let LogEntry { id: entry_id, body } = entry;
        if !record::fits(&body) {
            return Err(Error::invalid(format!(
                "an entry of {} bytes is too large for the raft log",
                body.len()
            )));
        }
        let offset = self.pending_start + self.pending.len() as u64;
        let place = EntryPlace::new(entry_id.term, self.current, offset, &body);
        let removed = self.group(id).truncate(entry_id.index);
        self.release(&removed);
        if !self.group(id).push(entry_id.index, place, body.clone()) {
            return Err(Error::internal(format!(
                "entry {} of partition {id} would leave a hole",
                entry_id.index
            )));
        }
        self.segments.entry(place.segment).or_default().add(&place);
        self.write(id, &Record::Entry(entry_id, body));
        Ok(())
    }

    /// Counts entries as gone.
    pub(super) fn release(&mut self, removed: &[EntryPlace]) {
        for place in removed {
            self.segments.get_mut(&place.segment).expect("deleted only when empty").remove(place);
        }
    }

    fn start_segment(&mut self) {
        assert!(self.pending.is_empty(), "a segment starts between two commits");
        self.current += 1;
        self.pending_start = segment::HEADER_SIZE as u64;
        self.segments.insert(self.current, Segment::default());
        let states: Vec<_> = self.groups.iter().map(|(id, group)| (*id, group.state())).collect();
        for (group, state) in states {
            self.write(group, &Record::State(state));
        }
        self.groups.values_mut().for_each(|group| group.committed_unwritten = false);
    }

    /// Takes all that is queued as one commit. `None` when there is nothing that somebody waits for.
    fn take(&mut self, segment_size: u64) -> Option<Batch> {
        if !self.urgent && !self.closed {
            return None;
        }
        self.urgent = false;
        let ids: Vec<PartitionId> = self.groups.keys().copied().collect();
        for id in ids {
            let group = self.group(id);
            if let (true, Some(committed)) = (std::mem::take(&mut group.committed_unwritten), group.committed)
            {
                self.write(id, &Record::Committed(committed));
            }
        }
        if self.pending.is_empty() && self.done.is_empty() {
            return None;
        }
        self.write(PartitionId(0), &Record::End);
        let batch = Batch {
            segment: self.current,
            commit: self.commit,
            offset: self.pending_start,
            bytes: std::mem::take(&mut self.pending),
            file: self.segments[&self.current].file.clone(),
            done: std::mem::take(&mut self.done),
            empty: self.empty_segments(),
            moves: std::mem::take(&mut self.moves),
        };
        self.pending_start += batch.bytes.len() as u64;
        self.segments.get_mut(&self.current).expect("the current one is never deleted").size =
            self.pending_start;
        self.commit += 1;
        if self.pending_start >= segment_size {
            self.start_segment();
        }
        Some(batch)
    }

    /// Bytes of all segments.
    pub(super) fn size(&self) -> u64 {
        self.segments.values().map(|segment| segment.size).sum()
    }

    fn empty_segments(&self) -> Vec<u64> {
        let older = self.segments.range(..self.archived_before());
        older
            .filter(|(_, segment)| segment.live == 0 && segment.file.is_some())
            .map(|(number, _)| *number)
            .collect()
    }
}

impl LogShared {
    pub(super) fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().expect("never poisoned: callbacks run outside")
    }

    /// Commits until nobody waits for anything.
    pub(super) fn run(&self) {
        while self.commit() {}
    }

    /// Writes one commit. False when there is nothing to write.
    fn commit(&self) -> bool {
        let mut state = self.lock();
        if let Some(e) = state.broken.clone() {
            state.pending.clear();
            (state.urgent, state.is_scheduled) = (false, false);
            let done = std::mem::take(&mut state.done);
            drop(state);
            done.into_iter().for_each(|done| done(Err(io::Error::other(e.to_string()))));
            return false;
        }
        let Some(batch) = state.take(self.sizes.segment) else {
            state.is_scheduled = false;
            let empty = if state.pending.is_empty() { state.empty_segments() } else { Vec::new() };
            drop(state);
            self.delete(&empty);
            return false;
        };
        drop(state);
        let result = self.write(&batch);
        let mut state = self.lock();
        match &result {
            Ok(file) => {
                state.mark = batch.commit;
                state.segments.get_mut(&batch.segment).expect("not empty or current").file =
                    Some(file.clone());
                let written = (batch.segment, batch.offset + batch.bytes.len() as u64);
                state.groups.values_mut().for_each(|group| group.evict(written));
                state.finish_moves(&batch.moves);
            }
            Err(e) => {
                tracing::error!(dir = %self.dir.display(), error = %e, "the raft log cannot be written: replace the disk and restart");
                state.broken = Some(Error::unavailable(format!(
                    "this node cannot write its raft log any more ({e}): replace the disk and restart it"
                )));
            }
        }
        drop(state);
        if result.is_ok() {
            self.delete(&batch.empty);
            self.clean();
        }
        for done in batch.done {
            done(result.as_ref().map(|_| ()).map_err(|e| io::Error::new(e.kind(), e.to_string())));
        }
        true
    }

    pub(super) fn lock_headroom(&self) -> MutexGuard<'_, Headroom> {
        self.headroom.lock().expect("never poisoned: nothing happens inside")
    }

    pub(super) fn look_at_headroom(&self) {
        let found = match self.disk.space(&self.dir) {
            Ok(space) => Headroom::of(space.free, space.total),
            Err(e) => {
                tracing::warn!(dir = %self.dir.display(), error = %e, "cannot see how much room the raft log has");
                return;
            }
        };
        let before = std::mem::replace(&mut *self.lock_headroom(), found);
        match found {
            _ if found == before => {}
            Headroom::Everything => {
                tracing::info!(dir = %self.dir.display(), "the metadata disk has room again")
            }
            _ => {
                tracing::error!(dir = %self.dir.display(), only = ?found, "the metadata disk is full: free space or add a node");
            }
        }
    }

    fn write(&self, batch: &Batch) -> io::Result<Arc<dyn File>> {
        if let Some(file) = &batch.file {
            file.write_at(&[&batch.bytes], batch.offset)?;
            file.sync_data()?;
            return Ok(file.clone());
        }
        let file = self.disk.open(&segment::path(&self.dir, batch.segment), OpenMode::CreateNew)?;
        // Saves time later, but must not cost a log that has room for a little.
        if let Err(e) = file.allocate(self.sizes.segment)
            && e.kind() != io::ErrorKind::StorageFull
        {
            return Err(e);
        }
        let header = segment::Header { number: batch.segment, commit_first: batch.commit };
        file.write_at(&[&segment::encode(header), &batch.bytes], 0)?;
        file.sync_data()?;
        self.disk.sync_dir(&self.dir)?;
        self.look_at_headroom();
        Ok(file)
    }

    /// Deletes segments. A failure costs only space: they are found empty again at the next commit or start.
    fn delete(&self, numbers: &[u64]) {
        for number in numbers {
            let path = segment::path(&self.dir, *number);
            match self.disk.remove_file(&path) {
                Ok(()) => drop(self.lock().segments.remove(number)),
                Err(e) => {
                    tracing::warn!(path = %path.display(), error = %e, "cannot delete a segment; will try again")
                }
            }
        }
    }
}
