//! The shared log of a node: the entries and votes of all its groups in one stream of segment files.
//!
//! Owns: the file format (`docs/formats/raft-log.md`), group commit (one write and one fdatasync for everything that
//! queued meanwhile, whichever group it is for), recovery, the space: deleting segments that nothing needs any more, and
//! moving what little is needed of old ones.
//! Knows nothing of: what an entry means, elections, openraft.
//!
//! Votes, entries, truncations and purges are one ordered stream: a crash leaves a prefix of it, cut at a commit. A
//! failed write or fdatasync is final (what the disk holds is unknown from then on): all that waits and all that comes
//! later gets the error, and the node must be restarted.

mod archive;
mod clean;
mod commit;
mod entry;
mod group;
mod headroom;
mod record;
mod recover;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use env::task::DiskQueue;
use env::{Disk, Env, File};
use types::limits::{LOG_SIZE_TARGET, MIB};
use types::{Error, ErrorKind, PartitionId, Result};

pub use archive::News;
pub use entry::{EntryId, GroupState, LogEntry, SavedVote};
pub use headroom::Headroom;

use group::{EntryPlace, GroupLog};
use record::Record;

/// Segments large enough that syncing the directory is rare, small enough that space comes back soon. Steps of cleaning
/// that a disk writes in the time of a few syncs, because commits wait for them.
const SIZES: Sizes = Sizes { segment: 64 * MIB as u64, log: LOG_SIZE_TARGET, step: 2 * MIB as u64 };

/// Called when what it was given with is durable, or with the error that ended the log.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// The log of a node, open for all its groups.
pub struct Log {
    shared: Arc<LogShared>,
    /// Where commits run; `None` once the log is closed.
    queue: Mutex<Option<DiskQueue>>,
}

struct LogShared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    sizes: Sizes,
    headroom: Mutex<Headroom>,
    state: Mutex<LogState>,
}

/// How large things may become, in bytes.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// A segment is closed when it has reached this.
    segment: u64,
    /// All segments together; beyond it old ones are cleaned.
    log: u64,
    /// What cleaning adds to one commit.
    step: u64,
}

struct LogState {
    groups: BTreeMap<PartitionId, GroupLog>,
    segments: BTreeMap<u64, Segment>,
    /// Number of the segment that `pending` goes to.
    current: u64,
    /// Where `pending` begins in it.
    pending_start: u64,
    pending: Vec<u8>,
    /// Somebody waits for `pending`.
    urgent: bool,
    /// A job that commits is queued or runs.
    is_scheduled: bool,
    done: Vec<Done>,
    /// Entries of which `pending` has a copy.
    moves: Vec<Move>,
    /// The segment that is being cleaned.
    moved_from: u64,
    /// Its entries that are still to be copied, the last one first.
    to_move: Vec<(PartitionId, u64)>,
    /// `None` without an archive.
    archive: Option<Archived>,
    /// Number of the commit that `pending` becomes.
    commit: u64,
    /// Number of the last commit that is durable.
    mark: u64,
    closed: bool,
    broken: Option<Error>,
}

/// An entry that has a copy.
#[derive(Clone, Copy, Debug)]
struct Move {
    group: PartitionId,
    id: EntryId,
    source: EntryPlace,
    target: EntryPlace,
}

/// How far an archive is.
#[derive(Debug)]
struct Archived {
    /// It has, or has lost, all segments before this one.
    next: u64,
    /// Of these, those it has lost and was not told of.
    lost: Range<u64>,
}

#[derive(Debug, Default)]
struct Segment {
    /// `None` until its first commit.
    file: Option<Arc<dyn File>>,
    /// Bytes in it; for the current one, before its last commit.
    size: u64,
    /// Entries in it that are still part of their group's log.
    live: u64,
    /// Bytes of these entries.
    live_size: u64,
    /// An entry in it cannot be read, so it cannot be cleaned.
    damaged: bool,
}

impl Log {
    /// Opens the log in `dir`, creating it when missing. `Corrupt` when something acknowledged is lost or damaged.
    pub fn open(env: &Env, dir: PathBuf, queue: DiskQueue) -> Result<Self> {
        Self::open_with(env, dir, queue, SIZES)
    }

    fn open_with(env: &Env, dir: PathBuf, queue: DiskQueue, sizes: Sizes) -> Result<Self> {
        let what = format!("open the raft log in {}", dir.display());
        env.disk.create_dir_durably(&dir).map_err(|e| Error::from(e).context(&what))?;
        let recovered = recover::recover(&*env.disk, &dir).map_err(|e| e.context(&what))?;
        let state = Mutex::new(LogState::new(recovered, sizes.segment));
        let shared = LogShared { disk: env.disk.clone(), dir, sizes, headroom: Mutex::default(), state };
        shared.look_at_headroom();
        let shared = Arc::new(shared);
        Ok(Self { shared, queue: Mutex::new(Some(queue)) })
    }

    /// What is known of `group`; nothing for a new one.
    pub fn state(&self, group: PartitionId) -> GroupState {
        self.lock().groups.get(&group).map(GroupLog::state).unwrap_or_default()
    }

    /// Adds entries; they can be read at once. An entry replaces all of its group from its index on.
    /// `Invalid` when one is too large.
    pub fn append(&self, group: PartitionId, entries: Vec<LogEntry>, done: Done) -> Result<()> {
        let mut state = self.lock();
        for entry in entries {
            state.append(group, entry)?;
        }
        self.finish(state, Some(done));
        Ok(())
    }

    /// Saves a vote.
    pub fn save_vote(&self, group: PartitionId, vote: SavedVote, done: Done) {
        let mut state = self.lock();
        state.group(group).vote = Some(vote);
        state.write(group, &Record::Vote(vote));
        self.finish(state, Some(done));
    }

    /// Remembers what is committed. Written with the next commit of the log, which nobody waits for.
    pub fn save_committed(&self, group: PartitionId, id: EntryId) {
        let mut state = self.lock();
        let group = state.group(group);
        group.committed = Some(id);
        group.committed_unwritten = true;
    }

    /// Removes the entries of `group` from `index` on.
    pub fn truncate(&self, group: PartitionId, index: u64) {
        let mut state = self.lock();
        let removed = state.group(group).truncate(index);
        state.release(&removed);
        state.write(group, &Record::Truncate(index));
        self.finish(state, None);
    }

    /// Removes the entries of `group` up to `id`; a log that ends before it continues after it. Only for what the
    /// state on disk contains.
    pub fn purge(&self, group: PartitionId, id: EntryId) {
        let mut state = self.lock();
        let removed = state.group(group).purge(id);
        state.release(&removed);
        state.write(group, &Record::Purge(id));
        self.finish(state, None);
    }

    /// Forgets all of `group` but its vote, which a replica keeps for as long as its store: it may become a member again.
    pub fn forget(&self, group: PartitionId, done: Done) {
        let mut state = self.lock();
        let vote = state.group(group).vote;
        let left = GroupState { vote, ..GroupState::default() };
        let forgotten =
            std::mem::replace(state.group(group), GroupLog::recovered(left, 0, Default::default()));
        let removed: Vec<_> = forgotten.places().copied().collect();
        state.release(&removed);
        state.write(group, &Record::State(left));
        self.finish(state, Some(done));
    }

    /// The groups that have entries, or had some.
    pub fn groups(&self) -> Vec<PartitionId> {
        let state = self.lock();
        let is_there = |log: &GroupLog| log.last().is_some();
        state.groups.iter().filter(|(_, log)| is_there(log)).map(|(id, _)| *id).collect()
    }

    /// The entries with `start <= index < end`, until `size_max` bytes are reached but at least one. May read files;
    /// `Corrupt` when an entry is damaged, which ends the log: what it promised cannot be kept.
    pub fn read(&self, group: PartitionId, start: u64, end: u64, size_max: u64) -> Result<Vec<LogEntry>> {
        let found: Vec<_> = {
            let state = self.lock();
            let Some(group) = state.groups.get(&group) else { return Ok(Vec::new()) };
            let with_file = |(id, place, body): (EntryId, EntryPlace, Option<Bytes>)| {
                let file = state.segments.get(&place.segment).and_then(|segment| segment.file.clone());
                (id, place, body, file)
            };
            group.find(start, end, size_max).into_iter().map(with_file).collect()
        };
        let read = |(id, place, body, file): (EntryId, EntryPlace, Option<Bytes>, Option<Arc<dyn File>>)| {
            let body = match body {
                Some(body) => body,
                None => {
                    let file = file.expect("only written entries leave the memory");
                    let mut bytes = vec![0; place.size as usize];
                    file.read_exact_at(&mut bytes, u64::from(place.offset))?;
                    record::decode_entry(bytes.into(), group, id)?
                }
            };
            Ok(LogEntry { id, body })
        };
        let entries: Result<_> = found.into_iter().map(read).collect();
        entries.inspect_err(|e| {
            if e.kind() == ErrorKind::Corrupt {
                self.lock().broken.get_or_insert_with(|| e.clone());
            }
        })
    }

    /// Number and bytes of the entries of `group` up to `index`.
    pub fn usage_upto(&self, group: PartitionId, index: u64) -> (u64, u64) {
        self.lock().groups.get(&group).map(|group| group.usage_upto(index)).unwrap_or_default()
    }

    /// Bytes of the entries of each group.
    pub fn usages(&self) -> Vec<u64> {
        self.lock().groups.values().map(GroupLog::size).collect()
    }

    /// Bytes of all segments.
    pub fn size(&self) -> u64 {
        self.lock().size()
    }

    /// Index of the first entry of the newest ones that together have at most `count` entries and `size` bytes.
    pub fn tail_start(&self, group: PartitionId, count: u64, size: u64) -> u64 {
        self.lock().groups.get(&group).map_or(0, |group| group.tail_start(count, size))
    }

    /// Number of the last commit that is durable; 0 in a new log.
    pub fn mark(&self) -> u64 {
        self.lock().mark
    }

    /// What there was room for when it was last looked at.
    pub fn headroom(&self) -> Headroom {
        *self.shared.lock_headroom()
    }

    /// Looks how much room there is.
    pub fn look_at_headroom(&self) {
        self.shared.look_at_headroom();
    }

    /// Why the log does not work any more; `None` while it does.
    pub fn broken(&self) -> Option<Error> {
        self.lock().broken.clone()
    }

    /// Writes what is queued and stops. Later calls get an error.
    pub fn close(&self) {
        if std::mem::replace(&mut self.lock().closed, true) {
            return;
        }
        // Waits for the commit in progress; what came up meanwhile is written here.
        drop(self.lock_queue().take());
        self.shared.run();
        self.lock()
            .broken
            .get_or_insert_with(|| Error::unavailable("this node is stopping: ask another one"));
    }

    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.shared.lock()
    }

    /// Hands over what `state` has queued.
    fn finish(&self, mut state: MutexGuard<'_, LogState>, done: Option<Done>) {
        if let Some(done) = done {
            state.done.push(done);
            state.urgent = true;
        }
        if !state.urgent {
            return;
        }
        let must_schedule = !std::mem::replace(&mut state.is_scheduled, true);
        drop(state);
        if !must_schedule {
            return;
        }
        let shared = self.shared.clone();
        match &*self.lock_queue() {
            Some(queue) => queue.push(move || shared.run()),
            None => shared.run(),
        }
    }

    fn lock_queue(&self) -> MutexGuard<'_, Option<DiskQueue>> {
        self.queue.lock().expect("never poisoned: jobs do not panic")
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Log({})", self.shared.dir.display())
    }
}
