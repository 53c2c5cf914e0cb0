//! The writing side of a disk: one batch of changes at a time, with one fdatasync for all of them.
//!
//! Owns: the active segment and the order append, sync, index. Called by one thread only.
//! Knows nothing of: who waits for the batch.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use env::disk::Cause;
use env::mutant::Mutant;
use env::{File, Space};
use proto::block::{ShardKey, ShardMeta};
use types::limits::{DISK_FULL_RETRY_MS, KIB, SEALED_SIZE_MAX};
use types::{Error, ErrorKind, Result};

use crate::active::Active;
use crate::change::Change;
use crate::fault::{Fault, Meaning};
use crate::index::{Entry, IndexChange, Known, Mode, not_known};
use crate::record::{self, ALIGNMENT, Content, Header, Tail};
use crate::segment::SEGMENT_HEADER_SIZE;
use crate::shared::Shared;
use crate::space::{self, Purpose};

/// A batch of at least this size does not stay in the system's page cache (decision 0010).
const BULK_SIZE_MIN: u64 = 64 * KIB as u64;
/// The system caches files in pages of this size, or of a multiple.
const PAGE_SIZE: u64 = 4 * KIB as u64;

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) active: Active,
    /// Size at which a segment is sealed.
    pub(crate) segment_size: u64,
    /// Held until the engine is gone.
    pub(crate) _lock: Arc<dyn File>,
}

/// A batch in the making: bytes to append, in parts, and what they change.
struct Group {
    change: IndexChange,
    parts: Vec<Bytes>,
    headers: Vec<u8>,
    size: u64,
    /// Before anything of it is written.
    space: Space,
}

impl Engine {
    /// Applies the changes in their order; on return those that succeeded are durable and visible.
    pub(crate) fn commit(&mut self, changes: &[Change]) -> Vec<Result<()>> {
        let reason = self.shared.status().read_only.clone();
        if let Some(reason) = reason {
            return changes.iter().map(|change| self.note_loss(change, &reason)).collect();
        }
        self.try_commit(changes).unwrap_or_else(|fault| vec![Err(self.settle(fault)); changes.len()])
    }

    fn try_commit(&mut self, changes: &[Change]) -> Result<Vec<Result<()>>, Fault> {
        if self.shared.index.mode() == Mode::Lost {
            return Err(Fault::Refused(not_known()));
        }
        let space = self.prepare(changes)?;
        let shared = self.shared.clone();
        let (change, parts, headers) = (shared.change(), Vec::new(), Vec::new());
        let mut group = Group { change, parts, headers, size: 0, space };
        let mut results = Vec::with_capacity(changes.len());
        for change in changes {
            match self.plan(&mut group, change) {
                // Only the index can be that here.
                Err(error) if error.kind() == ErrorKind::Corrupt => return Err(Fault::Index(error)),
                result => results.push(result),
            }
        }
        self.write(group)?;
        Ok(results)
    }

    /// On a disk that takes nothing any more, the index at least can know of a loss.
    fn note_loss(&self, change: &Change, reason: &str) -> Result<()> {
        if !change.is_loss() {
            return Err(Error::unavailable(reason));
        }
        if self.shared.index.mode() == Mode::Lost {
            return Err(not_known());
        }
        let mut index = self.shared.change();
        if let Some(entry) = self.suspect(&mut index, change)? {
            index.lose(*change.key(), &entry.meta)?;
        }
        self.shared.commit(index, None)
    }

    /// Makes sure that the batch fits in the active segment; returns how much room there is.
    fn prepare(&mut self, changes: &[Change]) -> Result<Space, Fault> {
        let size: u64 = changes.iter().map(Change::size_max).sum();
        let space = self.shared.look_at_space().map_err(Fault::Refused)?;
        self.active.clean().map_err(Fault::Write)?;
        let has_records = self.active.end > SEGMENT_HEADER_SIZE;
        let is_long = self.active.end + size > self.segment_size;
        if has_records && (is_long || self.active.is_suspect) {
            self.active.roll(&self.shared).map_err(Fault::Write)?;
        }
        assert!(
            self.active.end == SEGMENT_HEADER_SIZE || self.active.end + size <= self.segment_size,
            "only a batch that is larger than a segment passes its size"
        );
        Ok(space)
    }

    /// Adds one change to the batch.
    fn plan(&self, group: &mut Group, change: &Change) -> Result<()> {
        match change {
            Change::Put { key, meta, payload, crc, purpose } => {
                self.plan_put(group, *key, *meta, payload, (*crc, *purpose))
            }
            Change::Delete { key } => {
                if group.change.known(key)? != Known::Absent {
                    self.append(group, *key, Content::Deleted, &Bytes::new(), record::tail(&[]));
                    group.change.delete(*key)?;
                }
                Ok(())
            }
            Change::Quarantine { .. } | Change::Distrust { .. } if Mutant::LossUnnoticed.is_planted() => {
                Ok(())
            }
            Change::Quarantine { key, .. } | Change::Distrust { key } => {
                if let Some(entry) = self.suspect(&mut group.change, change)? {
                    // As a record, too: a rebuilt index must not take the shard for a good one.
                    let content = Content::Lost(entry.meta);
                    self.append(group, *key, content, &Bytes::new(), record::tail(&[]));
                    group.change.lose(*key, &entry.meta)?;
                }
                Ok(())
            }
        }
    }

    /// The entry that is lost by this change; `None` when there is another one by now. Damaged bytes are taken out of
    /// use.
    fn suspect(&self, index: &mut IndexChange, change: &Change) -> Result<Option<Entry>> {
        match (index.known(change.key())?, change) {
            (Known::Stored(found), Change::Quarantine { entry, .. }) if found == *entry => {
                let size = record::record_size(entry.payload_size as usize);
                index.quarantine(entry.segment, entry.offset.into(), size);
                Ok(Some(found))
            }
            (Known::Stored(found), Change::Distrust { .. }) => Ok(Some(found)),
            (Known::Unknown, Change::Distrust { .. }) => Err(not_known()),
            _ => Ok(None),
        }
    }

    fn plan_put(
        &self,
        group: &mut Group,
        key: ShardKey,
        meta: ShardMeta,
        payload: &Bytes,
        (crc, purpose): (Option<u32>, Purpose),
    ) -> Result<()> {
        if !(1..=SEALED_SIZE_MAX).contains(&payload.len()) {
            return Err(Error::invalid(format!(
                "a shard of {} bytes; 1 to {SEALED_SIZE_MAX} are allowed",
                payload.len()
            )));
        }
        meta.check(key.slot)?;
        let tail = record::tail(payload);
        if crc.is_some_and(|crc| crc != tail.payload_crc) {
            return Err(Error::unavailable("a shard was damaged in transit: send it again"));
        }
        if let Known::Stored(old) = group.change.known(&key)? {
            let same = old.meta == meta
                && old.payload_size as usize == payload.len()
                && old.payload_crc == tail.payload_crc;
            return match same {
                true => Ok(()),
                false => Err(Error::conflict(format!(
                    "slot {} of chunk {} generation {} is already stored with other bytes; put a new generation",
                    key.slot, key.chunk, key.generation
                ))),
            };
        }
        let size = group.size + record::record_size(payload.len());
        if !space::has_room(group.space, size, purpose) {
            let (root, Space { free, total }) = (self.shared.root.display(), group.space);
            let what = format!("disk {root} is full, {free} of {total} bytes are free; add a disk");
            return Err(Error::busy(what, DISK_FULL_RETRY_MS));
        }
        let header = self.append(group, key, Content::Shard(meta), payload, tail);
        let entry = Entry::of(&header, self.active.number).expect("a record of a shard");
        group.change.put(key, entry)
    }

    /// Appends a record to the batch.
    fn append(
        &self,
        group: &mut Group,
        key: ShardKey,
        content: Content,
        payload: &Bytes,
        tail: Tail,
    ) -> Header {
        let offset = |offset: u64| {
            u32::try_from(offset).expect("a batch passes SEGMENT_SIZE_MAX by far less than 3 GiB")
        };
        let header = Header {
            key,
            content,
            payload_size: u32::try_from(payload.len()).expect("checked against SEALED_SIZE_MAX"),
            payload_crc: tail.payload_crc,
            offset: offset(self.active.end + group.size),
            batch_offset: offset(self.active.end),
        };
        assert!((header.offset as usize).is_multiple_of(ALIGNMENT), "a search finds every record");
        let bytes = header.to_bytes(self.shared.place(self.active.number));
        let size = (bytes.len() + payload.len() + tail.bytes.len()) as u64;
        assert_eq!(size, record::record_size(payload.len()), "the next record begins where this one ends");
        group.parts.extend([Bytes::copy_from_slice(&bytes), payload.clone(), tail.bytes.into()]);
        group.headers.extend_from_slice(&bytes);
        group.size += size;
        header
    }

    /// Append, sync, index.
    fn write(&mut self, group: Group) -> Result<(), Fault> {
        if group.change.len() == 0 {
            return Ok(());
        }
        if group.size > 0 {
            self.active.append(&group.parts, group.size, group.space.free).map_err(Fault::Write)?;
            if !Mutant::SkippedSync.is_planted() {
                self.active.file.sync_data().map_err(Fault::Sync)?;
            }
        }
        let end = self.active.end + group.size;
        if group.size >= BULK_SIZE_MIN {
            // From the start of the page that the previous batch ended in: it stayed, because it was not full.
            self.active.file.uncache(self.active.end / PAGE_SIZE * PAGE_SIZE..end);
        }
        self.shared.commit(group.change, Some((self.active.number, end))).map_err(Fault::Index)?;
        self.active.advance(end, &group.headers);
        self.shared.set_frontier(self.active.number, end);
        self.shared.status().had_no_room = false;
        Ok(())
    }

    /// Does what a failure asks for; returns the answer to those who wait.
    fn settle(&mut self, fault: Fault) -> Error {
        let is_sync = matches!(fault, Fault::Sync(_));
        match fault.meaning(&self.shared.root) {
            Meaning::Answer(error) => error,
            Meaning::Final(what, error) => self.shared.fail(what, &error),
            // What was appended stays: it is durable, but nobody who waits is told so. A later batch cannot put its
            // checkpoint behind it: there is none until the index is rebuilt.
            Meaning::IndexLost(error) => self.shared.lose_index(&self.shared.index.tables(), &error),
            Meaning::Passing { answer, is_full } => {
                self.shared.status().had_no_room |= is_full;
                // What a failed sync leaves of the file's last page is for the system to say; better not go on in it.
                self.active.is_suspect |= is_sync;
                match self.active.undo() {
                    Err(error) if is_final(&error) => {
                        self.shared.fail("a failed write could not be undone", &error.into())
                    }
                    // What is not undone now is undone before the next batch.
                    _ => answer,
                }
            }
        }
    }
}

fn is_final(error: &io::Error) -> bool {
    matches!(Cause::of(error), Cause::Medium | Cause::Device)
}
