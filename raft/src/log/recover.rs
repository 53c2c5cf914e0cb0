//! Reads the segments when a node starts: whole commits count, a torn tail is cut, anything else is corruption.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use env::{Disk, File, OpenMode};
use types::{Error, PartitionId, Result};

use super::entry::{EntryId, GroupState};
use super::group::{EntryPlace, GroupLog};
use super::record::{self, Framed, Record};
use super::segment::{self, BadHeader};

/// What the files say.
#[derive(Debug)]
pub struct Recovered {
    pub groups: BTreeMap<PartitionId, GroupLog>,
    /// Open files by segment number, each with its size.
    pub segments: BTreeMap<u64, (Arc<dyn File>, u64)>,
    /// Number for the next commit.
    pub commit_next: u64,
}

#[derive(Default)]
struct Replay {
    groups: BTreeMap<PartitionId, GroupReplay>,
    commit_next: u64,
}

#[derive(Default)]
struct GroupReplay {
    state: GroupState,
    /// With gaps while records are missing whose entries were purged or truncated later.
    entries: BTreeMap<u64, EntryPlace>,
}

/// How far a segment can be read.
struct Extent {
    /// Just after the last whole commit.
    end: usize,
    /// Nothing follows.
    whole: bool,
}

/// Reads all segments in `dir`.
pub fn recover(disk: &dyn Disk, dir: &Path) -> Result<Recovered> {
    let mut numbers = Vec::new();
    for name in disk.read_dir(dir)? {
        numbers.extend(name.to_str().and_then(segment::number));
    }
    numbers.sort_unstable();
    let mut replay = Replay { commit_next: 1, ..Replay::default() };
    let mut segments: BTreeMap<u64, (Arc<dyn File>, u64)> = BTreeMap::new();
    for (at, &number) in numbers.iter().enumerate() {
        let path = segment::path(dir, number);
        let bytes = Bytes::from(disk.read(&path)?);
        let previous = segments.last_key_value().map(|(number, _)| *number);
        let extent = replay.segment(number, previous, &bytes)?;
        if !extent.whole {
            refuse_survivors(disk, dir, &bytes[extent.end..], &numbers[at..], replay.commit_next)?;
        }
        if extent.end == 0 {
            disk.remove_file(&path)?;
            break;
        }
        let file = disk.open(&path, OpenMode::ReadWrite)?;
        if !extent.whole {
            tracing::info!(path = %path.display(), at = extent.end, "cut a torn commit, which nobody was told of");
            file.set_len(extent.end as u64)?;
        }
        segments.insert(number, (file, extent.end as u64));
        if !extent.whole {
            break;
        }
    }
    // What a process that was killed has left in memory is read, so it must not be lost with the power. Of the bytes
    // only the last commit can be.
    if let Some((_, (last, _))) = segments.last_key_value() {
        last.sync_data()?;
    }
    disk.sync_dir(dir)?;
    let commit_next = replay.commit_next;
    let groups = replay.finish()?;
    Ok(Recovered { groups, segments, commit_next })
}

/// A commit begins only when the one before is durable. So a whole record of a later commit after damaged bytes
/// proves that these were durable once: cutting there would take back what was acknowledged.
fn refuse_survivors(disk: &dyn Disk, dir: &Path, rest: &[u8], numbers: &[u64], commit: u64) -> Result<()> {
    let damaged = |number: u64| {
        Error::corrupt(format!(
            "{} is damaged before its end: the raft log of this node cannot be trusted; remove the node from the \
             cluster and add it again",
            segment::path(dir, number).display()
        ))
    };
    if has_later_commit(&Bytes::copy_from_slice(rest), commit) {
        return Err(damaged(numbers[0]));
    }
    for &number in &numbers[1..] {
        if has_later_commit(&Bytes::from(disk.read(&segment::path(dir, number))?), commit) {
            return Err(damaged(numbers[0]));
        }
    }
    Ok(())
}

fn has_later_commit(bytes: &Bytes, commit: u64) -> bool {
    let magic = record::MAGIC.to_le_bytes();
    let starts = bytes.windows(magic.len()).enumerate().filter(|(_, window)| *window == magic);
    starts.filter_map(|(at, _)| record::decode(&bytes.slice(at..))).any(|(found, _)| found.commit > commit)
}

impl Replay {
    /// Takes in all whole commits of a segment.
    fn segment(&mut self, number: u64, previous: Option<u64>, bytes: &Bytes) -> Result<Extent> {
        let header = match segment::decode(bytes) {
            Ok(header) if header.number == number => header,
            Err(BadHeader::Version(version)) => {
                return Err(Error::invalid(format!(
                    "segment {number} of the raft log has format version {version}: start a newer cloudsync"
                )));
            }
            _ => return Ok(Extent { end: 0, whole: false }),
        };
        if previous == Some(number - 1) && header.commit_first != self.commit_next {
            return Err(Error::corrupt(format!(
                "segment {} of the raft log has lost its end: remove this node from the cluster and add it again",
                number - 1
            )));
        }
        self.commit_next = header.commit_first;
        let mut end = segment::HEADER_SIZE;
        let mut at = end;
        let mut commit: Vec<(Framed, usize)> = Vec::new();
        while at < bytes.len() {
            let Some((framed, size)) = record::decode(&bytes.slice(at..)) else { break };
            if framed.commit != self.commit_next {
                break;
            }
            let is_end = framed.record == Record::End;
            commit.push((framed, at));
            at += size;
            if is_end {
                commit.drain(..).for_each(|(framed, at)| self.apply(framed, number, at));
                self.commit_next += 1;
                end = at;
            }
        }
        // A segment becomes visible together with its first commit; without one it is a torn attempt.
        let end = if end == segment::HEADER_SIZE { 0 } else { end };
        Ok(Extent { end, whole: end == bytes.len() })
    }

    fn apply(&mut self, framed: Framed, segment: u64, at: usize) {
        let group = self.groups.entry(framed.group).or_default();
        match framed.record {
            Record::Entry(id, body) => {
                group.entries.split_off(&id.index);
                group.entries.insert(id.index, EntryPlace::new(id.term, segment, at as u64, &body));
            }
            // When it was written its group had this entry. The one before may be gone with its segment, and what is
            // found in its place may be older: one that was replaced by a record that is gone as well.
            Record::Moved(id, body) => {
                group.entries.insert(id.index, EntryPlace::new(id.term, segment, at as u64, &body));
            }
            Record::Vote(vote) => group.state.vote = Some(vote),
            Record::Truncate(index) => drop(group.entries.split_off(&index)),
            Record::Purge(id) => group.purge(id),
            Record::Committed(id) => group.state.committed = Some(id),
            Record::State(state) => {
                group.entries.split_off(&state.last.map_or(0, |last| last.index + 1));
                if let Some(purged) = state.purged {
                    group.purge(purged);
                }
                group.state = state;
            }
            Record::End => {}
        }
    }

    fn finish(self) -> Result<BTreeMap<PartitionId, GroupLog>> {
        self.groups.into_iter().map(|(id, group)| Ok((id, group.finish(id)?))).collect()
    }
}

impl GroupReplay {
    fn purge(&mut self, id: EntryId) {
        self.entries = self.entries.split_off(&(id.index + 1));
        self.state.purged = Some(id);
    }

    fn finish(self, id: PartitionId) -> Result<GroupLog> {
        let start = self.state.purged.map_or(0, |purged| purged.index + 1);
        if self.entries.keys().copied().ne(start..start + self.entries.len() as u64) {
            return Err(Error::corrupt(format!(
                "entries of partition {id} are missing in the raft log: remove this node from the cluster and add it \
                 again"
            )));
        }
        Ok(GroupLog::recovered(self.state, start, self.entries.into_values().collect()))
    }
}
