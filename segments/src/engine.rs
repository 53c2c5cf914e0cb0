//! The writing side of a disk: one batch of changes at a time, with one fdatasync for all of them.
//!
//! Owns: the active segment and the order append, sync, index. Called by one thread only.
//! Knows nothing of: who waits for the batch.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use bytes::Bytes;
use env::mutant::Mutant;
use env::{Disk, File};
use proto::block::{ShardKey, ShardMeta};
use types::limits::{DISK_FREE_BYTES_MIN, DISK_FULL_RETRY_MS, KIB, MIB, SEALED_SIZE_MAX};
use types::{Error, Result};

use super::change::Change;
use super::index::{Damage, Entry, IndexChange, ShardIndex, Totals};
use super::record::{self, ALIGNMENT, Header, Place, Tail};
use super::segment;
use super::superblock::{self, Superblock};

/// Space is reserved in steps of this size, so that many small appends do not scatter a segment over the disk.
const ALLOCATION_STEP: u64 = 16 * MIB as u64;
/// A batch of at least this size does not stay in the system's page cache (decision 0010).
const BULK_SIZE_MIN: u64 = 64 * KIB as u64;
/// The system caches files in pages of this size, or of a multiple.
const PAGE_SIZE: u64 = 4 * KIB as u64;

/// What reading and writing share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) root: PathBuf,
    pub(crate) index: ShardIndex,
    pub(crate) superblock: Mutex<Superblock>,
    /// Open files by segment number.
    pub(crate) segments: RwLock<BTreeMap<u32, Arc<dyn File>>>,
    pub(crate) status: Mutex<Status>,
}

/// What a disk can do at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskState {
    /// Reads and writes.
    Healthy,
    /// Takes no new shards; reads and deletes go on.
    Full,
    /// Never takes anything again; says why. Reads go on.
    ReadOnly(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) state: DiskState,
    pub(crate) totals: Totals,
    pub(crate) damage: Damage,
}

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) active: Active,
    /// Size at which a segment is sealed.
    pub(crate) segment_size: u64,
    /// Held until the engine is gone.
    pub(crate) _lock: Arc<dyn File>,
}

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) number: u32,
    pub(crate) file: Arc<dyn File>,
    /// Everything before it is durable.
    pub(crate) end: u64,
    pub(crate) allocated: u64,
}

/// A batch in the making: bytes to append, in parts, and what they change.
struct Group<'a> {
    change: IndexChange<'a>,
    parts: Vec<Bytes>,
    size: u64,
    is_full: bool,
}

impl Shared {
    pub(crate) fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().expect("never poisoned: no panic inside")
    }

    pub(crate) fn superblock(&self) -> Superblock {
        *self.superblock.lock().expect("poisoned by a broken promise only")
    }

    /// Writes the next generation of the superblock.
    pub(crate) fn update_superblock(&self, update: impl FnOnce(&mut Superblock)) -> Result<()> {
        let mut held = self.superblock.lock().expect("poisoned by a broken promise only");
        let mut next = Superblock { generation: held.generation + 1, ..*held };
        update(&mut next);
        next.check_after(&held);
        superblock::write(&*self.disk, &self.root, next)?;
        *held = next;
        Ok(())
    }

    pub(crate) fn place(&self, segment: u32) -> Place {
        place(&self.superblock(), segment)
    }

    /// Starts a change of the index.
    pub(crate) fn change(&self) -> IndexChange<'_> {
        let status = self.status();
        self.index.change(status.totals, status.damage)
    }

    /// Says what the disk can do from now on.
    fn set_state(&self, state: DiskState) {
        let before = std::mem::replace(&mut self.status().state, state.clone());
        assert!(
            !matches!(before, DiskState::ReadOnly(_)) || matches!(state, DiskState::ReadOnly(_)),
            "a disk that failed is never written again (I-DISK)"
        );
    }

    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self.status().state, DiskState::ReadOnly(_))
    }

    /// After a failed write or sync nobody knows what is on the disk: the kernel may have dropped the pages and call
    /// the next sync a success. So this is final, also after a restart; reading goes on.
    pub(crate) fn fail(&self, what: &str, error: &Error) -> Error {
        let root = self.root.display();
        let reason = format!("disk {root}: {what}: {error}; it is read-only from now on, replace it");
        tracing::error!("{reason}");
        self.set_state(DiskState::ReadOnly(reason.clone()));
        if let Err(error) = self.update_superblock(|superblock| superblock.failed = true) {
            tracing::error!("disk {root}: and its superblock cannot be written: {error}");
        }
        Error::unavailable(reason)
    }
}

pub(crate) fn place(superblock: &Superblock, segment: u32) -> Place {
    Place { disk: superblock.uuid.0[..8].try_into().expect("a uuid has 16 bytes"), segment }
}

impl Engine {
    /// Applies the changes in their order; on return those that succeeded are durable and visible.
    pub(crate) fn commit(&mut self, changes: &[Change]) -> Vec<Result<()>> {
        let outcome = self.prepare(changes).and_then(|is_full| {
            let shared = self.shared.clone();
            let change = shared.change();
            let mut group = Group { change, parts: Vec::new(), size: 0, is_full };
            let results: Vec<Result<()>> =
                changes.iter().map(|change| self.plan(&mut group, change)).collect();
            self.write(group).map(|()| results)
        });
        outcome.unwrap_or_else(|error| vec![Err(error); changes.len()])
    }

    /// Makes sure that the disk may be written and that the batch fits in the active segment. True: full, no more puts.
    fn prepare(&mut self, changes: &[Change]) -> Result<bool> {
        if let DiskState::ReadOnly(reason) = &self.shared.status().state {
            return Err(Error::unavailable(reason.clone()));
        }
        let size: u64 = changes.iter().map(Change::size_max).sum();
        let space = self.shared.disk.space(&self.shared.root)?;
        let is_full = space.free < DISK_FREE_BYTES_MIN + size;
        self.shared.set_state(if is_full { DiskState::Full } else { DiskState::Healthy });
        let is_long =
            self.active.end > segment::SEGMENT_HEADER_SIZE && self.active.end + size > self.segment_size;
        if is_long {
            self.roll().map_err(|error| self.write_failed(error))?;
        }
        assert!(
            self.active.end == segment::SEGMENT_HEADER_SIZE || self.active.end + size <= self.segment_size,
            "only a batch that is larger than a segment passes its size"
        );
        Ok(is_full)
    }

    /// Seals the active segment and starts the next one.
    fn roll(&mut self) -> io::Result<()> {
        let place = self.shared.place(self.active.number);
        segment::write_footer(&*self.active.file, place, self.active.end)?;
        let next = Active::create(&self.shared, self.active.number + 1)?;
        assert!(next.number > self.active.number, "a sealed segment is never written again");
        self.active = next;
        Ok(())
    }

    /// Adds one change to the batch.
    fn plan(&self, group: &mut Group<'_>, change: &Change) -> Result<()> {
        match change {
            Change::Put { key, meta, payload, crc } => self.plan_put(group, *key, *meta, payload, *crc),
            Change::Delete { key } => {
                if group.change.entry(key)?.is_some() {
                    self.append(group, *key, None, &Bytes::new(), record::tail(&[]));
                } else if !group.change.is_lost(key)? {
                    return Ok(());
                }
                group.change.delete(*key)
            }
            Change::Quarantine { key, entry } if group.change.entry(key)? == Some(*entry) => {
                let size = record::record_size(entry.payload_size as usize);
                group.change.quarantine(entry.segment, entry.offset.into(), size);
                group.change.lose(*key, *entry)
            }
            Change::Quarantine { .. } => Ok(()),
        }
    }

    fn plan_put(
        &self,
        group: &mut Group<'_>,
        key: ShardKey,
        meta: ShardMeta,
        payload: &Bytes,
        crc: Option<u32>,
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
        if let Some(old) = group.change.entry(&key)? {
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
        if group.is_full {
            return Err(Error::busy(
                format!(
                    "disk {} has less than {DISK_FREE_BYTES_MIN} bytes free; add a disk",
                    self.shared.root.display()
                ),
                DISK_FULL_RETRY_MS,
            ));
        }
        let header = self.append(group, key, Some(meta), payload, tail);
        let entry = entry(&header, self.active.number).expect("a record with meta is no tombstone");
        group.change.put(key, entry)
    }

    /// Appends a record to the batch.
    fn append(
        &self,
        group: &mut Group<'_>,
        key: ShardKey,
        meta: Option<ShardMeta>,
        payload: &Bytes,
        tail: Tail,
    ) -> Header {
        let offset = |offset: u64| {
            u32::try_from(offset).expect("a batch passes SEGMENT_SIZE_MAX by far less than 3 GiB")
        };
        let header = Header {
            key,
            meta,
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
        group.size += size;
        header
    }

    /// Append, sync, index. Any failure other than a full disk ends writing here for good.
    fn write(&mut self, group: Group<'_>) -> Result<()> {
        if group.change.len() == 0 {
            return Ok(());
        }
        if group.size > 0 {
            self.append_parts(&group.parts, group.size)?;
            if !Mutant::SkippedSync.is_planted()
                && let Err(error) = self.active.file.sync_data()
            {
                return Err(self.shared.fail("a sync failed", &error.into()));
            }
        }
        let (uuid, end) = (self.shared.superblock().uuid, self.active.end + group.size);
        if group.size >= BULK_SIZE_MIN {
            // From the start of the page that the previous batch ended in: it stayed, because it was not full.
            self.active.file.uncache(self.active.end / PAGE_SIZE * PAGE_SIZE..end);
        }
        match group.change.commit(uuid, Some((self.active.number, end))) {
            Ok((totals, damage)) => {
                assert!(end >= self.active.end, "the end of what is durable only grows (I-ACK)");
                self.active.end = end;
                let mut status = self.shared.status();
                (status.totals, status.damage) = (totals, damage);
                Ok(())
            }
            // A later batch must not put its checkpoint after a record that is in no index.
            Err(error) => Err(self.shared.fail("the index could not be written", &error)),
        }
    }

    fn append_parts(&mut self, parts: &[Bytes], size: u64) -> Result<()> {
        let end = self.active.end + size;
        let parts: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
        debug_assert_eq!(parts.iter().map(|part| part.len() as u64).sum::<u64>(), size);
        let written =
            self.active.allocate(end).and_then(|()| self.active.file.write_at(&parts, self.active.end));
        assert!(written.is_err() || self.active.allocated >= end, "space is reserved before it is written");
        written.map_err(|error| self.write_failed(error))
    }

    /// What a failed write means. Only "no room" does not end writing: it is undone, so that nothing of it is left
    /// where the next batch goes.
    fn write_failed(&self, error: io::Error) -> Error {
        if error.kind() != io::ErrorKind::StorageFull {
            return self.shared.fail("a write failed", &error.into());
        }
        let root = self.shared.root.display();
        match self.active.file.set_len(self.active.end) {
            Err(error) => self.shared.fail("a failed write could not be undone", &error.into()),
            Ok(()) => {
                self.shared.set_state(DiskState::Full);
                Error::busy(format!("disk {root} is full; add a disk or delete files"), DISK_FULL_RETRY_MS)
            }
        }
    }
}

impl Active {
    /// Creates segment `number`, to be written from its start.
    pub(crate) fn create(shared: &Shared, number: u32) -> io::Result<Self> {
        let file = segment::create(&*shared.disk, &shared.root, shared.superblock().uuid, number)?;
        Ok(Self::resume(shared, number, file, segment::SEGMENT_HEADER_SIZE))
    }

    /// Continues a segment at `end`.
    pub(crate) fn resume(shared: &Shared, number: u32, file: Arc<dyn File>, end: u64) -> Self {
        shared.segments.write().expect("never poisoned: no panic inside").insert(number, file.clone());
        Self { number, file, end, allocated: end }
    }

    fn allocate(&mut self, end: u64) -> io::Result<()> {
        if end > self.allocated {
            let allocated = end.next_multiple_of(ALLOCATION_STEP);
            self.file.allocate(allocated)?;
            self.allocated = allocated;
        }
        Ok(())
    }
}

/// What the index says about a record in a segment; `None` for a tombstone.
pub(crate) fn entry(header: &Header, segment: u32) -> Option<Entry> {
    let Header { offset, payload_size, payload_crc, .. } = *header;
    Some(Entry { segment, offset, payload_size, payload_crc, meta: header.meta? })
}
