//! What the parts of an open disk share: its index, its files, what is known about its health.
//!
//! Owns: the change from a disk that is written to one that never is again.
//! Knows nothing of: batches, queues.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use env::{Disk, Space};
use types::limits::{DISK_HANG_MAX, DISK_SPACE_PATIENCE};
use types::{Error, ErrorKind, Result};

use crate::files::SegmentFiles;
use crate::health::Health;
use crate::index::{Damage, IndexChange, Mode, ShardIndex, Tables, Totals, not_known};
use crate::record::Place;
use crate::space::{self, Purpose};
use crate::state::DiskState;
use crate::superblock::{self, Superblock};
use crate::unsealed::Unsealed;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) root: PathBuf,
    pub(crate) index: ShardIndex,
    pub(crate) superblock: Mutex<Superblock>,
    pub(crate) files: SegmentFiles,
    pub(crate) unsealed: Mutex<Unsealed>,
    pub(crate) status: Mutex<Status>,
    pub(crate) health: Arc<Health>,
    /// The segment that is written, and up to where it is durable.
    pub(crate) frontier: Mutex<(u32, u64)>,
    /// As the file system said last.
    pub(crate) space: Mutex<Space>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    /// Why nothing is ever written here again.
    pub(crate) read_only: Option<String>,
    /// The last write found no room, whatever the file system says.
    pub(crate) had_no_room: bool,
    /// Others of its kind are much faster.
    pub(crate) is_slow: bool,
    pub(crate) totals: Totals,
    pub(crate) damage: Damage,
}

impl Shared {
    pub(crate) fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().expect("never poisoned: no panic inside")
    }

    pub(crate) fn unsealed(&self) -> MutexGuard<'_, Unsealed> {
        self.unsealed.lock().expect("never poisoned: no panic inside")
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
        let disk = self.superblock().uuid.0[..8].try_into().expect("a uuid has 16 bytes");
        Place { disk, segment }
    }

    /// Starts a change of the index.
    pub(crate) fn change(&self) -> IndexChange {
        let (tables, mode) = self.index.view();
        let status = self.status();
        IndexChange::new(tables, mode != Mode::Ready, status.totals, status.damage)
    }

    /// Asks an index that knows everything. When it turns out to be damaged, it is lost.
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Tables) -> Result<T>) -> Result<T> {
        let (tables, Mode::Ready) = self.index.view() else { return Err(not_known()) };
        question(&tables).map_err(|error| self.index_error(&tables, error))
    }

    /// What an error of the index means to those who ask it.
    pub(crate) fn index_error(&self, tables: &Tables, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Corrupt => self.lose_index(tables, &error),
            _ => error,
        }
    }

    /// The index is worth nothing any more; what it knew is in the segments.
    pub(crate) fn lose_index(&self, tables: &Tables, error: &Error) -> Error {
        tracing::error!("disk {}: the index failed: {error}", self.root.display());
        self.index.lose(tables);
        not_known()
    }

    pub(crate) fn report_damage(&self, segment: u32, offset: u64, size: u64, flaw: &str) {
        let error = Error::corrupt(format!("segment {segment}: {size} bytes at {offset}: {flaw}"));
        tracing::error!("disk {}: {error}; quarantined, repair restores what was there", self.root.display());
    }

    /// Makes a change of the index, and how much there is then, known.
    pub(crate) fn commit(&self, change: IndexChange, complete: Option<(u32, u64)>) -> Result<()> {
        let (totals, damage) = change.commit(self.superblock().uuid, complete)?;
        let mut status = self.status();
        (status.totals, status.damage) = (totals, damage);
        Ok(())
    }

    pub(crate) fn frontier(&self) -> (u32, u64) {
        *self.frontier.lock().expect("never poisoned: no panic inside")
    }

    pub(crate) fn set_frontier(&self, segment: u32, end: u64) {
        *self.frontier.lock().expect("never poisoned: no panic inside") = (segment, end);
    }

    /// Asks the file system how much room there is.
    pub(crate) fn look_at_space(&self) -> Result<Space> {
        let space = self.disk.space(&self.root)?;
        *self.space.lock().expect("never poisoned: no panic inside") = space;
        Ok(space)
    }

    /// The same, of a disk that may hang: then as it was.
    pub(crate) fn space_in_time(&self) -> Result<Space> {
        match self.health.oldest() > DISK_SPACE_PATIENCE {
            true => Ok(*self.space.lock().expect("never poisoned: no panic inside")),
            false => self.look_at_space(),
        }
    }

    /// What the disk can do with so much space.
    pub(crate) fn state(&self, space: Space) -> DiskState {
        let hangs = self.health.oldest();
        if hangs > DISK_HANG_MAX {
            let (root, seconds) = (self.root.display(), hangs.as_secs());
            return DiskState::Failed(format!(
                "disk {root} has not answered for {seconds} s; check its cable"
            ));
        }
        let status = self.status();
        if let Some(reason) = &status.read_only {
            DiskState::ReadOnly(reason.clone())
        } else if status.had_no_room || !space::has_room(space, 0, Purpose::Store) {
            DiskState::Full
        } else if space::is_backfill_full(space) {
            DiskState::BackfillFull
        } else if status.is_slow {
            DiskState::Slow
        } else {
            DiskState::Healthy
        }
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.status().read_only.is_some()
    }

    /// After a write or sync that the medium failed nobody knows what is on the disk: the kernel may have dropped the
    /// pages and call the next sync a success. So this is final, also after a restart; reading goes on.
    pub(crate) fn fail(&self, what: &str, error: &Error) -> Error {
        let root = self.root.display();
        let reason = format!("disk {root}: {what}: {error}; it is read-only from now on, replace it");
        tracing::error!("{reason}");
        self.health.count(|count| count.media_write_errors += 1);
        self.status().read_only = Some(reason.clone());
        if let Err(error) = self.update_superblock(|superblock| superblock.failed = true) {
            tracing::error!("disk {root}: and its superblock cannot be written: {error}");
        }
        Error::unavailable(reason)
    }
}
