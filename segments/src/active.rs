//! The segment that is being written.
//!
//! Owns: where it ends, what is reserved behind that, and the way back after a write that failed.
//! Knows nothing of: what is written.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use env::File;
use types::limits::{DISK_RESERVE_AHEAD_PART, MIB, SEGMENT_HEADERS_SIZE_MAX};

use crate::segment::{self, Ended, SEGMENT_HEADER_SIZE};
use crate::shared::Shared;

/// Space is reserved in steps of this size, so that many small appends do not scatter a segment over the disk.
const ALLOCATION_STEP: u64 = 16 * MIB as u64;

#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) number: u32,
    pub(crate) file: Arc<dyn File>,
    /// Everything before it is durable.
    pub(crate) end: u64,
    pub(crate) allocated: u64,
    /// The headers of its records, for the footer; `None` when there are too many, or some were written before this
    /// process began.
    headers: Option<Vec<u8>>,
    /// What a failed write left behind `end` could not be cut yet.
    is_dirty: bool,
    /// A sync of it failed: the next batch goes to another segment.
    pub(crate) is_suspect: bool,
}

impl Active {
    /// Creates segment `number`, to be written from its start.
    pub(crate) fn create(shared: &Shared, number: u32, before: Option<Ended>) -> io::Result<Self> {
        let uuid = shared.superblock().uuid;
        shared.files.close(number);
        let file = segment::create(&*shared.disk, &shared.root, uuid, number, before)?;
        let active = Self::resume(shared, number, file, SEGMENT_HEADER_SIZE);
        Ok(Self { headers: Some(Vec::new()), ..active })
    }

    /// Continues a segment at `end`.
    pub(crate) fn resume(shared: &Shared, number: u32, file: Arc<dyn File>, end: u64) -> Self {
        shared.files.set_active(number, file.clone());
        Self { number, file, end, allocated: end, headers: None, is_dirty: false, is_suspect: false }
    }

    /// Goes on in the next segment; this one is sealed in the background.
    pub(crate) fn roll(&mut self, shared: &Shared) -> io::Result<()> {
        let end = u32::try_from(self.end).expect("the engine checks every offset in a segment");
        let next = Active::create(shared, self.number + 1, Some(Ended { segment: self.number, end }))?;
        assert!(next.number > self.number, "a sealed segment is never written again");
        let old = std::mem::replace(self, next);
        shared.unsealed().push(old.number, old.end, old.headers);
        Ok(())
    }

    /// Writes behind the end, which does not move before [`Active::advance`].
    pub(crate) fn append(&mut self, parts: &[Bytes], size: u64, free: u64) -> io::Result<()> {
        assert!(!self.is_dirty, "prepare() cuts what a failed write left");
        let end = self.end + size;
        let parts: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
        debug_assert_eq!(parts.iter().map(|part| part.len() as u64).sum::<u64>(), size);
        let written = self.allocate(end, free).and_then(|()| self.file.write_at(&parts, self.end));
        assert!(written.is_err() || self.allocated >= end, "space is reserved before it is written");
        written
    }

    /// All up to `end` is durable and in the index.
    pub(crate) fn advance(&mut self, end: u64, headers: &[u8]) {
        assert!(end >= self.end, "the end of what is durable only grows (I-ACK)");
        self.end = end;
        match &mut self.headers {
            Some(known) if known.len() + headers.len() <= SEGMENT_HEADERS_SIZE_MAX => {
                known.extend_from_slice(headers);
            }
            // The background reads them again.
            known => *known = None,
        }
    }

    /// Cuts what a failed write left, so that nothing of it is where the next batch goes, or behind it.
    pub(crate) fn undo(&mut self) -> io::Result<()> {
        self.is_dirty = true;
        self.clean()
    }

    pub(crate) fn clean(&mut self) -> io::Result<()> {
        if self.is_dirty {
            self.file.set_len(self.end)?;
            self.allocated = self.end;
            self.is_dirty = false;
        }
        Ok(())
    }

    /// Never takes much of what is free: others need it, too.
    fn allocate(&mut self, end: u64, free: u64) -> io::Result<()> {
        if end > self.allocated {
            let allocated = end.next_multiple_of(ALLOCATION_STEP).min(end + free / DISK_RESERVE_AHEAD_PART);
            self.file.allocate(allocated)?;
            self.allocated = allocated;
        }
        Ok(())
    }
}
