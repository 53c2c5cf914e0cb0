//! The bytes of one simulated file: what is on the platter, what the cache shows, and what is on its way between them.
//!
//! Owns: what a crash, a sync and a dropped cache do to bytes. Knows nothing of: names, handles, when faults happen.

use std::ops::Range;

use crate::Random;

/// What a disk writes as a whole; old ones and new ones.
const SECTOR_SIZES: [u64; 2] = [512, 4096];
/// The cache is dropped in pages of this size.
const PAGE_SIZE: u64 = 4096;
/// Like a kernel, the disk writes the oldest changes back on its own when a file has this much that is not synced.
const PENDING_SIZE_MAX: usize = 16 * types::limits::MIB;

/// Invariant: `durable` with all of `pending` applied has the length of `current`.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// What a crash cannot take away.
    durable: Vec<u8>,
    /// What reads see.
    current: Vec<u8>,
    /// Changes since the last sync, in order: a crash keeps any subset of them, any write perhaps torn.
    pending: Vec<Change>,
    pending_size: usize,
    /// Space for so many bytes is taken, whatever the length.
    reserved: u64,
    /// The cache shows bytes that no sync will bring to the platter.
    diverged: bool,
    changes: u64,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
    /// What is left of a write whose bytes are lost: the file is at least so long.
    Grow(u64),
}

/// What a crash took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Losses {
    /// Changes of which nothing is left.
    pub lost: u64,
    /// Writes of which a part is left.
    pub torn: u64,
}

impl Content {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.current.len() as u64
    }

    /// What a crash cannot take away.
    pub fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// Bytes that a crash cannot take away.
    pub fn durable_len(&self) -> u64 {
        self.durable.len() as u64
    }

    /// Bytes of the disk that it takes.
    pub fn footprint(&self) -> u64 {
        self.len().max(self.reserved)
    }

    /// Grows with every change.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// As [`crate::File::read_at`].
    pub fn read(&self, bytes: &mut [u8], offset: u64) -> usize {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.current.get(start..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        count
    }

    /// Writes to the cache.
    pub fn write(&mut self, offset: u64, bytes: Vec<u8>) {
        self.change(Change::Write(offset, bytes));
    }

    /// Writes to the cache what will never reach the platter.
    pub fn write_lost(&mut self, offset: u64, bytes: Vec<u8>) {
        let grow = Change::Grow(offset + bytes.len() as u64);
        Change::Write(offset, bytes).apply(&mut self.current);
        self.diverged = true;
        self.push(grow);
    }

    /// What is left here of a write that went elsewhere: zeros where it would have made the file longer.
    pub fn write_elsewhere(&mut self, end: u64) {
        self.change(Change::Grow(end));
    }

    /// Cuts or extends.
    pub fn set_len(&mut self, len: u64) {
        self.reserved = 0; // A file system gives back all that is behind the new end.
        self.change(Change::SetLen(len));
    }

    /// Takes space for `len` bytes.
    pub fn reserve(&mut self, len: u64) {
        self.reserved = self.reserved.max(len);
    }

    /// Overwrites what is there, in the cache and on the platter; never makes the file longer.
    pub fn overwrite(&mut self, offset: u64, bytes: &[u8]) {
        for copy in [&mut self.durable, &mut self.current] {
            let start = copy.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
            let count = bytes.len().min(copy.len() - start);
            copy[start..start + count].copy_from_slice(&bytes[..count]);
        }
        self.changes += 1;
    }

    /// Flips one bit, in the cache and on the platter.
    pub fn flip_bit(&mut self, offset: u64, bit: u8) {
        for copy in [&mut self.durable, &mut self.current] {
            if let Some(byte) = copy.get_mut(usize::try_from(offset).unwrap_or(usize::MAX)) {
                *byte ^= 1 << bit;
            }
        }
    }

    /// Makes all changes durable.
    pub fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
        self.pending_size = 0;
    }

    /// A sync that fails leaves any part of the changes marked as written, as Linux does: the next sync succeeds
    /// without them, and the cache shows them until it is dropped.
    pub fn sync_failed(&mut self, random: &Random) {
        for change in &mut self.pending {
            if let Change::Write(offset, bytes) = change
                && random.below(2) == 0
            {
                self.pending_size -= bytes.len();
                *change = Change::Grow(*offset + bytes.len() as u64);
                self.diverged = true;
            }
        }
    }

    /// Drops whole pages of the cache; what is not synced stays.
    pub fn uncache(&mut self, range: Range<u64>) {
        let (start, end) = (range.start.next_multiple_of(PAGE_SIZE), range.end / PAGE_SIZE * PAGE_SIZE);
        let end = end.min(self.len());
        if self.diverged && start < end {
            let range = usize::try_from(start).expect("below the length")..end as usize;
            let written = self.written();
            self.current[range.clone()].copy_from_slice(&written[range]);
        }
    }

    /// Drops all of the cache; what is not synced stays.
    pub fn drop_cache(&mut self) {
        if self.diverged {
            self.current = self.written();
            self.diverged = false;
        }
    }

    /// Loses any part of what was not synced: whole changes, the end of a write, or single sectors of it.
    pub fn crash(&mut self, random: &Random) -> Losses {
        let mut losses = Losses::default();
        for change in std::mem::take(&mut self.pending) {
            match (random.below(5), change) {
                (0, _) => losses.lost += 1,
                (way @ 1..=3, Change::Write(offset, bytes)) => {
                    let sectors = way.checked_sub(2).map(|index| SECTOR_SIZES[index as usize]);
                    let kept = torn(offset, &bytes, sectors, random);
                    losses.torn += 1;
                    kept.into_iter().for_each(|piece| piece.apply(&mut self.durable));
                }
                (_, change) => change.apply(&mut self.durable),
            }
        }
        self.current.clone_from(&self.durable);
        (self.pending_size, self.reserved, self.diverged) = (0, 0, false);
        losses
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.push(change);
    }

    fn push(&mut self, change: Change) {
        self.changes += 1;
        self.pending_size += change.size();
        self.pending.push(change);
        if self.pending_size > PENDING_SIZE_MAX {
            self.write_back();
        }
    }

    /// Makes the older half of the changes durable.
    fn write_back(&mut self) {
        for change in self.pending.drain(..self.pending.len().div_ceil(2)) {
            self.pending_size -= change.size();
            change.apply(&mut self.durable);
        }
    }

    /// What the platter will hold after a sync.
    fn written(&self) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        self.pending.iter().for_each(|change| change.apply(&mut bytes));
        bytes
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write(offset, part) => {
                let start = usize::try_from(*offset).expect("a file of a simulation fits in memory");
                let end = start + part.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[start..end].copy_from_slice(part);
            }
            Change::SetLen(len) => bytes.resize(*len as usize, 0),
            Change::Grow(len) if bytes.len() < *len as usize => bytes.resize(*len as usize, 0),
            Change::Grow(_) => {}
        }
    }

    /// Bytes it holds in memory.
    fn size(&self) -> usize {
        let bytes = if let Change::Write(_, bytes) = self { bytes.len() } else { 0 };
        bytes + size_of::<Self>()
    }
}

/// What is left of a write: some of its sectors, or without their size its beginning.
fn torn(offset: u64, bytes: &[u8], sector_size: Option<u64>, random: &Random) -> Vec<Change> {
    let Some(sector_size) = sector_size else {
        let kept = random.below(bytes.len() as u64 + 1) as usize;
        return vec![Change::Write(offset, bytes[..kept].to_vec())];
    };
    let mut kept = Vec::new();
    let mut rest = bytes;
    let mut at = offset;
    while !rest.is_empty() {
        let size = rest.len().min((sector_size - at % sector_size) as usize);
        if random.below(2) == 0 {
            kept.push(Change::Write(at, rest[..size].to_vec()));
        }
        at += size as u64;
        rest = &rest[size..];
    }
    kept
}
