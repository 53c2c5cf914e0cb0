//! Snapshots: the state of a group on its way to a node that is too far behind for the log.
//!
//! The sender reads a consistent view and sends it in pieces, a few at once; the receiver writes them, in any order, as
//! a new generation of the state (see `state.rs`), so whatever breaks off leaves nothing that could be served. A sender
//! first asks what the receiver has, and goes on from there.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use env::time::{Instant, now};
use kv::{Order, Read};
use types::limits::{FOLLOWER_SILENCE_MAX, MIB, SNAPSHOT_PAUSE_MAX, SNAPSHOT_WINDOW};
use types::{Error, Result};

use crate::engine::{LogId, Vote};
use crate::message::{Begun, Piece, PieceEnd, Received};
use crate::outgoing::View;
use crate::state::{Staged, State, StateStore};

/// Bytes of rows in one piece; a single larger row still goes alone.
const PIECE_SIZE_TARGET: usize = 2 * MIB;

/// What openraft passes around as a snapshot.
#[derive(Debug)]
pub enum SnapshotData {
    /// The state of this node at some moment.
    Built(View),
    /// What another node has sent.
    Received { staged: Staged, commands: u64 },
}

/// Cuts a state into pieces.
#[derive(Debug)]
pub struct Cutter {
    state: State,
    /// Keys from here on are still to be sent; `None` when all are.
    next: Option<Vec<u8>>,
    pub row_count: u64,
}

impl Cutter {
    /// Begins after the first `row_count` rows, of which `last` is the key of the last one.
    pub fn new(state: State, row_count: u64, last: Option<&[u8]>) -> Self {
        // The first key after `last` that there can be.
        let next = last.map_or(Vec::new(), |last| [last, b"\0"].concat());
        Self { state, next: Some(next), row_count }
    }

    /// True when all rows were given out.
    pub fn is_done(&self) -> bool {
        self.next.is_none()
    }

    /// The next rows, encoded.
    pub fn rows(&mut self) -> Result<Bytes> {
        let Some(start) = self.next.take() else { return Ok(Bytes::new()) };
        let mut rows = BytesMut::new();
        let mut next = None;
        let count = &mut self.row_count;
        self.state.scan(&start, b"", Order::Forward, &mut |key, value| {
            if !rows.is_empty() && rows.len() + key.len() + value.len() > PIECE_SIZE_TARGET {
                next = Some(key.to_vec());
                return ControlFlow::Break(());
            }
            for part in [key, value] {
                rows.put_u32_le(u32::try_from(part.len()).expect("rows are smaller than a command"));
                rows.put_slice(part);
            }
            *count += 1;
            ControlFlow::Continue(())
        })?;
        assert!(
            next.as_ref().is_none_or(|next| *next > start),
            "every piece brings the snapshot closer to its end"
        );
        self.next = next;
        Ok(rows.freeze())
    }
}

/// Reads the rows of a piece.
fn decode_rows(rows: &Bytes) -> Result<Vec<(Bytes, Bytes)>> {
    let mut rest = rows.clone();
    let mut part = || {
        let size = rest.try_get_u32_le().ok()? as usize;
        (rest.len() >= size).then(|| rest.split_to(size))
    };
    let mut found = Vec::new();
    let mut left = rows.len();
    while left > 0 {
        let (Some(key), Some(value)) = (part(), part()) else {
            return Err(Error::corrupt("a piece of a snapshot cannot be read: the sender will start again"));
        };
        left -= 8 + key.len() + value.len();
        found.push((key, value));
    }
    Ok(found)
}

/// Puts pieces together again.
#[derive(Debug, Default)]
pub struct Receiver {
    under_way: Option<Receiving>,
    /// The last snapshot that became the state, and the vote of this node then: its sender may not have heard of it.
    done: Option<(LogId, Vote)>,
}

#[derive(Debug)]
struct Receiving {
    snapshot: LogId,
    staged: Staged,
    /// All pieces before this one are here.
    count: u64,
    row_count: u64,
    last: Option<Bytes>,
    used: Instant,
    /// Pieces that have overtaken others.
    ahead: BTreeMap<u64, Part>,
}

/// What is known of a piece that is written.
#[derive(Debug)]
struct Part {
    row_count: u64,
    last: Option<Bytes>,
    end: Option<PieceEnd>,
}

impl Receiver {
    /// What there is of the snapshot at `snapshot`. What there is of another one is deleted.
    pub fn begin(&mut self, store: &StateStore, snapshot: LogId) -> Received {
        if let Some((_, vote)) = self.done.as_ref().filter(|(done, _)| *done == snapshot) {
            return Received::Done(*vote);
        }
        if self.under_way.as_ref().is_none_or(|receiving| receiving.snapshot != snapshot) {
            let staged = store.stage();
            let (count, row_count, last, used, ahead) = (0, 0, None, now(), BTreeMap::new());
            self.under_way = Some(Receiving { snapshot, staged, count, row_count, last, used, ahead });
        }
        let receiving = self.under_way.as_mut().expect("just begun, or before");
        // The sender goes on after what is whole.
        receiving.ahead.clear();
        receiving.used = now();
        let Receiving { count, row_count, last, .. } = receiving;
        Received::Pieces { count: *count, row_count: *row_count, last: last.clone() }
    }

    /// True when a piece of a snapshot that is under way came lately.
    pub fn goes_on(&self) -> bool {
        self.under_way.as_ref().is_some_and(|receiving| receiving.used.elapsed() < FOLLOWER_SILENCE_MAX)
    }

    /// What there is of a snapshot that is under way.
    pub fn begun(&self) -> Option<Begun> {
        let Receiving { snapshot, count, row_count, last, .. } = self.under_way.as_ref()?;
        Some(Begun { snapshot: *snapshot, count: *count, row_count: *row_count, last: last.clone() })
    }

    /// Takes a piece. When it was the last one missing, returns the staged state. `Conflict` for a piece that nobody can
    /// expect, `Corrupt` for a damaged one.
    pub fn take(&mut self, piece: Piece) -> Result<Option<(Staged, PieceEnd)>> {
        let receiving = self.under_way.as_mut().filter(|receiving| receiving.snapshot == piece.snapshot);
        let window = |receiving: &&mut Receiving| piece.count < receiving.count + SNAPSHOT_WINDOW as u64;
        let Some(receiving) = receiving.filter(window) else {
            return Err(Error::conflict(format!(
                "piece {} of a snapshot is not expected: ask how much of it is here",
                piece.count
            )));
        };
        if piece.count < receiving.count || receiving.ahead.contains_key(&piece.count) {
            return Ok(None);
        }
        let part = receiving.write(&piece)?;
        receiving.used = now();
        receiving.ahead.insert(piece.count, part);
        let Some(end) = receiving.advance() else { return Ok(None) };
        let Some(Receiving { row_count, staged, .. }) = self.under_way.take() else { return Ok(None) };
        if row_count != end.row_count {
            return Err(Error::corrupt(format!(
                "a snapshot has {row_count} rows instead of {}",
                end.row_count
            )));
        }
        Ok(Some((staged, end)))
    }

    /// Deletes what there is of a snapshot whose sender has been silent for too long to go on.
    pub fn expire(&mut self) {
        self.under_way.take_if(|receiving| receiving.used.elapsed() >= SNAPSHOT_PAUSE_MAX);
    }

    /// Notes that the snapshot is the state now.
    pub fn finish(&mut self, snapshot: LogId, vote: Vote) {
        self.done = Some((snapshot, vote));
    }
}

impl Receiving {
    fn write(&self, piece: &Piece) -> Result<Part> {
        if crc32fast::hash(&piece.rows) != piece.crc {
            return Err(Error::corrupt(format!(
                "piece {} of a snapshot was damaged on its way: send it again",
                piece.count
            )));
        }
        let rows = decode_rows(&piece.rows)?;
        let slices: Vec<(&[u8], &[u8])> = rows.iter().map(|(key, value)| (&key[..], &value[..])).collect();
        self.staged.write(&slices)?;
        // A copy, so that the piece's memory goes.
        let last = rows.last().map(|(key, _)| Bytes::copy_from_slice(key));
        Ok(Part { row_count: rows.len() as u64, last, end: piece.last.clone() })
    }

    /// Counts pieces that have no gap before them any more; returns the end when that was the last one.
    fn advance(&mut self) -> Option<PieceEnd> {
        while let Some(part) = self.ahead.remove(&self.count) {
            self.count += 1;
            self.row_count += part.row_count;
            self.last = part.last.or(self.last.take());
            if part.end.is_some() {
                return part.end;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kv::MemKv;
    use types::{ErrorKind, PartitionId};

    use super::*;
    use crate::engine::SnapshotMeta;
    use crate::log::EntryId;

    /// The rows of a piece as text, or that it cannot be read.
    #[track_caller]
    fn check(piece: &[u8], want: Option<&[(&str, &str)]>) {
        let found = decode_rows(&Bytes::copy_from_slice(piece)).ok();
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let found: Option<Vec<(String, String)>> =
            found.map(|rows| rows.into_iter().map(|(key, value)| (text(key), text(value))).collect());
        let want = want.map(|rows| rows.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        assert_eq!(found, want, "{piece:?}");
    }

    #[test]
    fn rows_are_read_whole_or_not_at_all() {
        check(b"", Some(&[]));
        check(b"\x01\0\0\0a\x02\0\0\0bc", Some(&[("a", "bc")]));
        check(b"\0\0\0\0\0\0\0\0\x01\0\0\0a\0\0\0\0", Some(&[("", ""), ("a", "")]));
        // A key without a value, a part that is cut, a size that is cut or beyond the end, a byte too many.
        check(b"\x01\0\0\0a", None);
        check(b"\x01\0\0\0a\x02\0\0\0b", None);
        check(b"\x01\0\0", None);
        check(b"\xff\xff\xff\xff\0\0\0\0", None);
        check(b"\x01\0\0\0a\0\0\0\0z", None);
    }

    const GROUP: PartitionId = PartitionId(5);

    fn position(index: u64) -> LogId {
        EntryId { term: 1, index }.into()
    }

    /// Piece `count` of a snapshot of three rows, a row each.
    fn piece(index: u64, count: u64) -> Piece {
        let rows = Bytes::from([&b"\x01\0\0\0"[..], &[b'a' + count as u8], b"\0\0\0\0"].concat());
        let meta = SnapshotMeta { last_log_id: Some(position(index)), ..SnapshotMeta::default() };
        let end = PieceEnd { vote: Vote::new_committed(1, 2), meta, commands: 0, row_count: 3 };
        let crc = crc32fast::hash(&rows);
        Piece { snapshot: position(index), count, rows, crc, last: (count == 2).then_some(end) }
    }

    /// Gives pieces, by number, to a receiver that was asked to begin, and tells its answers and what it has then.
    #[track_caller]
    fn receive(pieces: &[u64], want: &str) {
        let store = StateStore::open(Arc::new(MemKv::new(1)), GROUP).unwrap();
        let mut receiver = Receiver::default();
        receiver.begin(&store, position(7));
        let mut answer = |count: &u64| match receiver.take(piece(7, *count)) {
            Ok(None) => "more".to_owned(),
            Ok(Some((_, end))) => format!("all {}", end.row_count),
            Err(e) => format!("{:?}", e.kind()),
        };
        let answers: Vec<String> = pieces.iter().map(&mut answer).collect();
        let has = match receiver.begin(&store, position(7)) {
            Received::Pieces { count, row_count, last } => format!("{count} {row_count} {last:?}"),
            Received::Done(_) => unreachable!("nobody said so"),
        };
        assert_eq!(format!("{}; {has}", answers.join(" ")), want);
    }

    #[test]
    fn pieces_may_overtake_each_other() {
        receive(&[], "; 0 0 None");
        receive(&[0, 1], "more more; 2 2 Some(b\"b\")");
        receive(&[0, 1, 2], "more more all 3; 0 0 None");
        receive(&[2, 0, 1], "more more all 3; 0 0 None");
        // What is beyond a gap is not counted, and sent again.
        receive(&[0, 2], "more more; 1 1 Some(b\"a\")");
        receive(&[0, 0, 2, 2, 1], "more more more more all 3; 0 0 None");
        receive(&[4], "Conflict; 0 0 None");
    }

    #[test]
    fn a_receiver_says_what_it_cannot_take() {
        let store = StateStore::open(Arc::new(MemKv::new(1)), GROUP).unwrap();
        let mut receiver = Receiver::default();
        let kind = |taken: Result<Option<_>>| taken.err().map(|e| e.kind());
        assert_eq!(kind(receiver.take(piece(7, 0))), Some(ErrorKind::Conflict), "it was restarted");
        receiver.begin(&store, position(7));
        let damaged = Piece { crc: 1, ..piece(7, 0) };
        assert_eq!(kind(receiver.take(damaged)), Some(ErrorKind::Corrupt));
        assert_eq!(kind(receiver.take(piece(8, 0))), Some(ErrorKind::Conflict), "another snapshot");
        assert_eq!(kind(receiver.take(piece(7, 0))), None);
        receiver.begin(&store, position(8));
        assert_eq!(kind(receiver.take(piece(7, 1))), Some(ErrorKind::Conflict), "a newer one was begun");
        let mut short = piece(8, 2);
        short.count = 0;
        assert_eq!(kind(receiver.take(short)), Some(ErrorKind::Corrupt), "two rows are missing");
        receiver.finish(position(9), Vote::new_committed(3, 2));
        assert!(
            matches!(receiver.begin(&store, position(9)), Received::Done(_)),
            "its sender has not heard of it"
        );
    }
}
