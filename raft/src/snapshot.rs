//! Snapshots: the state of a group on its way to a node that is too far behind for the log.
//!
//! The sender reads a consistent view and sends it in pieces; the receiver writes them as a new generation of the
//! state (see `state.rs`), so whatever breaks off leaves nothing that could be served.

use std::ops::ControlFlow;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kv::{Order, Read};
use types::limits::MIB;
use types::{Error, Result};

use crate::message::{Piece, PieceEnd};
use crate::state::{Staged, State, StateStore};

/// Bytes of rows in one piece; a single larger row still goes alone.
const PIECE_SIZE_TARGET: usize = 2 * MIB;

/// What openraft passes around as a snapshot.
#[derive(Debug)]
pub enum SnapshotData {
    /// The state of this node at some moment.
    Built { state: State, commands: u64 },
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
    /// Begins at the first row.
    pub fn new(state: State) -> Self {
        Self { state, next: Some(Vec::new()), row_count: 0 }
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
pub struct Receiver(Option<Receiving>);

#[derive(Debug)]
struct Receiving {
    transfer: u64,
    count_next: u64,
    row_count: u64,
    staged: Staged,
}

impl Receiver {
    /// Takes the next piece. With the last one, returns the staged state. `Conflict` for a piece that is not the next,
    /// `Corrupt` for a damaged one.
    pub fn take(&mut self, store: &StateStore, piece: Piece) -> Result<Option<(Staged, PieceEnd)>> {
        if piece.count == 0 {
            let staged = store.stage();
            self.0 = Some(Receiving { transfer: piece.transfer, count_next: 0, row_count: 0, staged });
        }
        let expected = |r: &&mut Receiving| r.transfer == piece.transfer && r.count_next == piece.count;
        let Some(receiving) = self.0.as_mut().filter(expected) else {
            return Err(Error::conflict(format!(
                "piece {} of a snapshot is not the next one: start again",
                piece.count
            )));
        };
        if crc32fast::hash(&piece.rows) != piece.crc {
            return Err(Error::corrupt(format!(
                "piece {} of a snapshot was damaged on its way",
                piece.count
            )));
        }
        let rows = decode_rows(&piece.rows)?;
        let slices: Vec<(&[u8], &[u8])> = rows.iter().map(|(key, value)| (&key[..], &value[..])).collect();
        receiving.staged.write(&slices)?;
        receiving.count_next += 1;
        receiving.row_count += rows.len() as u64;
        let Some(end) = piece.last else { return Ok(None) };
        let Some(Receiving { row_count, staged, .. }) = self.0.take() else { return Ok(None) };
        if row_count != end.row_count {
            return Err(Error::corrupt(format!(
                "a snapshot has {row_count} rows instead of {}",
                end.row_count
            )));
        }
        Ok(Some((staged, end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
