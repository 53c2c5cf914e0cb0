//! One record of the log as bytes. The picture is in `docs/formats/raft-log.md`.

use bytes::Bytes;
use types::limits::COUNTER_MAX;
use types::{Error, PartitionId, Result};

use super::entry::{EntryId, GroupState, SavedVote};

/// Begins every record, so that a scan for survivors after damaged bytes can find them.
pub const MAGIC: u32 = u32::from_le_bytes(*b"RRC1");
/// Bytes before the body.
pub const HEADER_SIZE: usize = 44;
/// A body: the largest entry and room for what the codec adds.
const BODY_SIZE_MAX: usize = types::limits::FRAME_SIZE_MAX;
/// The kind whose place for an index has something else.
const VOTE: u8 = 2;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An entry of a group; replaces all entries of the group from its index on.
    Entry(EntryId, Bytes),
    /// The same entry as at an older place, whose segment is to go; what follows it in its group stays.
    Moved(EntryId, Bytes),
    /// The group's newest vote.
    Vote(SavedVote),
    /// All entries of the group from this index on are gone.
    Truncate(u64),
    /// All entries of the group up to this one are gone and will not be needed.
    Purge(EntryId),
    /// Entries up to this one are known to be committed.
    Committed(EntryId),
    /// Everything but the entries: stands at the head of a segment for every group, so that older segments can go.
    State(GroupState),
    /// All records of a commit stand before this one.
    End,
}

/// A record with the group it belongs to and the commit it was written with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framed {
    pub group: PartitionId,
    pub commit: u64,
    pub record: Record,
}

/// Appends a record to `out`.
pub fn encode(out: &mut Vec<u8>, group: PartitionId, commit: u64, record: &Record) {
    let start = out.len();
    let (kind, id, body) = match record {
        Record::Entry(id, body) => (1u8, *id, body.clone()),
        Record::Moved(id, body) => (8, *id, body.clone()),
        Record::Vote(vote) => {
            (VOTE, EntryId { term: vote.term, index: vote.node }, vec![u8::from(vote.committed)].into())
        }
        Record::Truncate(index) => (3, EntryId { term: 0, index: *index }, Bytes::new()),
        Record::Purge(id) => (4, *id, Bytes::new()),
        Record::Committed(id) => (5, *id, Bytes::new()),
        Record::State(state) => (6, EntryId::default(), encode_state(state).into()),
        Record::End => (7, EntryId::default(), Bytes::new()),
    };
    let size = u32::try_from(body.len()).expect("append() refuses larger entries");
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&group.0.to_le_bytes());
    out.extend_from_slice(&commit.to_le_bytes());
    out.extend_from_slice(&id.index.to_le_bytes());
    out.extend_from_slice(&id.term.to_le_bytes());
    out.extend_from_slice(&[kind, 0, 0, 0]);
    out.extend_from_slice(&body);
    let crc = crc32fast::hash(&out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// Reads the record that begins at the first byte and says how long it is. `None`: no whole, undamaged record there.
pub fn decode(bytes: &Bytes) -> Option<(Framed, usize)> {
    let header = bytes.get(..HEADER_SIZE)?;
    let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let size = u32_at(8) as usize;
    if u32_at(0) != MAGIC || size > BODY_SIZE_MAX || bytes.len() < HEADER_SIZE + size {
        return None;
    }
    let end = HEADER_SIZE + size;
    if crc32fast::hash(&bytes[8..end]) != u32_at(4) {
        return None;
    }
    let body = bytes.slice(HEADER_SIZE..end);
    let id = EntryId { index: u64_at(24), term: u64_at(32) };
    let commit = u64_at(16);
    // A vote has a replica in the place of the index.
    if commit > COUNTER_MAX || id.term > COUNTER_MAX || header[40] != VOTE && !id.is_possible() {
        return None;
    }
    let record = match header[40] {
        1 => Record::Entry(id, body),
        VOTE => Record::Vote(SavedVote { term: id.term, node: id.index, committed: *body.first()? != 0 }),
        3 => Record::Truncate(id.index),
        4 => Record::Purge(id),
        5 => Record::Committed(id),
        6 => Record::State(decode_state(&body)?),
        7 => Record::End,
        8 => Record::Moved(id, body),
        _ => return None,
    };
    Some((Framed { group: PartitionId(u32_at(12)), commit, record }, end))
}

/// Reads back the body of an entry that was written at a known place.
pub fn decode_entry(bytes: Bytes, group: PartitionId, id: EntryId) -> Result<Bytes> {
    match decode(&bytes) {
        Some((
            Framed {
                group: found,
                record: Record::Entry(found_id, body) | Record::Moved(found_id, body),
                ..
            },
            _,
        )) if found == group && found_id == id => Ok(body),
        _ => Err(Error::corrupt(format!(
            "entry {} of partition {group} is damaged in the raft log: remove this node and add it again",
            id.index
        ))),
    }
}

/// Bytes of an entry's record with a body of `size`.
pub fn entry_size(size: usize) -> usize {
    HEADER_SIZE + size
}

/// True when an entry with this body can be written.
pub fn fits(body: &[u8]) -> bool {
    body.len() <= BODY_SIZE_MAX
}

fn encode_state(state: &GroupState) -> Vec<u8> {
    let mut out = Vec::new();
    match state.vote {
        None => out.push(0),
        Some(vote) => {
            out.push(1 + u8::from(vote.committed));
            out.extend_from_slice(&vote.term.to_le_bytes());
            out.extend_from_slice(&vote.node.to_le_bytes());
        }
    }
    for id in [state.purged, state.last, state.committed] {
        match id {
            None => out.push(0),
            Some(id) => {
                out.push(1);
                out.extend_from_slice(&id.term.to_le_bytes());
                out.extend_from_slice(&id.index.to_le_bytes());
            }
        }
    }
    out
}

fn decode_state(body: &[u8]) -> Option<GroupState> {
    let mut rest = body;
    let vote = match take::<1>(&mut rest)? {
        [0] => None,
        [tag] => {
            let (term, node) = take_pair(&mut rest)?;
            Some(SavedVote { term, node, committed: tag == 2 })
        }
    };
    if vote.is_some_and(|vote| vote.term > COUNTER_MAX) {
        return None;
    }
    let mut id = || match take::<1>(&mut rest)? {
        [0] => Some(None),
        _ => take_pair(&mut rest).map(|(term, index)| Some(EntryId { term, index })),
    };
    let state = GroupState { vote, purged: id()?, last: id()?, committed: id()? };
    let ids = [state.purged, state.last, state.committed];
    let are_possible = ids.into_iter().flatten().all(EntryId::is_possible);
    (rest.is_empty() && are_possible).then_some(state)
}

fn take_pair(rest: &mut &[u8]) -> Option<(u64, u64)> {
    Some((u64::from_le_bytes(take(rest)?), u64::from_le_bytes(take(rest)?)))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}
