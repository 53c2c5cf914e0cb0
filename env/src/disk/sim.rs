//! A disk in memory that behaves as badly as the contract allows, and worse on demand.
//!
//! Owns: the simulated file system and its faults. All chance comes from one seed: the same calls give the same result.
//! Knows nothing of: time. It says how long an operation should take; whoever calls it waits.

mod content;
mod faults;
mod file;
mod names;
mod state;
mod tree;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use types::{Millis, Nanos};

use super::{Disk, File, Metadata, OpenMode, Space};
use crate::Random;
use file::SimFile;
use state::State;

pub use faults::{DiskCounts, DiskFault, DiskFaults, FaultRule, When};

/// A simulated disk. Clones share the same content. Bytes are durable after [`File::sync_data`] of their file, names
/// after [`Disk::sync_dir`] of their directory, and both only as far as the directories above are durable as well.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    life: u64,
}

/// What was durable on a disk at one moment, to be put back. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DiskImage(Arc<[(PathBuf, Option<Vec<u8>>)]>);

impl SimDisk {
    /// An empty, healthy disk of 1 TiB; `seed` decides on crashes and faults.
    pub fn new(seed: u64) -> Self {
        let state = State::new(seed);
        Self { life: state.life, state: Arc::new(Mutex::new(state)) }
    }

    /// Power loss. Of what was not synced a random part survives: of each file any changes, any write perhaps only in
    /// some of its sectors; of all creations, renames and removals any that do not need one that is lost. Locks are
    /// released, and files that are open fail with ESTALE from now on.
    pub fn crash(&self) {
        self.lock().crash();
    }

    /// Another, healthy disk, as this one would be after a power loss in which chance decided so.
    pub fn after_crash(&self, chance: &Random) -> Self {
        let state = self.lock().after_crash(chance);
        Self { life: state.life, state: Arc::new(Mutex::new(state)) }
    }

    /// Gives the disk to a new process: what was written stays, locks are released, and all handles from before, this
    /// one as a [`Disk`] included, fail with ESTALE, so that what is left of the old process changes nothing.
    pub fn reopen(&self) -> Self {
        let life = self.lock().start_life();
        Self { state: self.state.clone(), life }
    }

    /// Replaces the plan of what goes wrong.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.lock().dice.plan = faults;
    }

    /// The plan as it stands, with what is left of [`When::Next`].
    pub fn faults(&self) -> DiskFaults {
        self.lock().dice.plan.clone()
    }

    /// What has gone wrong so far.
    pub fn counts(&self) -> DiskCounts {
        self.lock().dice.counts
    }

    /// Bit rot: flips `count` random bits in the durable bytes of all files at or below `prefix`. Returns how many, 0
    /// when there are no bytes.
    pub fn rot(&self, prefix: &Path, count: u64) -> u64 {
        self.lock().rot(prefix, count)
    }

    /// What would be left if the power failed now and took all it can.
    pub fn image(&self) -> DiskImage {
        DiskImage(self.lock().tree.image().into())
    }

    /// Replaces the directory `prefix` by an earlier state of it, as a restored backup does. Its process must not run.
    pub fn put_back(&self, image: &DiskImage, prefix: &Path) {
        let mut state = self.lock();
        let below: Vec<_> =
            image.0.iter().filter(|(path, _)| faults::is_below(path, prefix)).cloned().collect();
        state
            .tree
            .put_back(prefix, &below)
            .expect("a directory whose parent was there then and is there now");
        state.dice.counts.rollbacks += 1;
    }

    /// Empties the page cache: from now on reads see what a lost write or a failed sync left on the platter.
    pub fn drop_caches(&self) {
        self.lock().tree.drop_caches();
    }

    /// Flips one bit of a file, durably.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) {
        let mut state = self.lock();
        let found = state.tree.find(path).expect("there is such a file");
        state.tree.edit(found, |body| body.content.flip_bit(offset, bit));
        state.dice.counts.rotten_bits += 1;
    }

    /// From now on syncs of this file fail: the short form of a rule.
    pub fn fail_syncs(&self, path: &Path) {
        self.lock().always(path, DiskFault::SyncError);
    }

    /// From now on reads of this file fail: the short form of a rule.
    pub fn fail_reads(&self, path: &Path) {
        self.lock().always(path, DiskFault::ReadError);
    }

    /// Limits the disk to `bytes`.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock().dice.plan.capacity = bytes;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("never poisoned: no panic inside")
    }

    /// For the operations of a process. Those of the harness work through any handle.
    fn lock_as_disk(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if state.life == self.life { Ok(state) } else { Err(state.stale()) }
    }

    /// For operations on names.
    fn lock_names(&self, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock_as_disk()?;
        state.dice.check(DiskFault::NameError, path)?;
        Ok(state)
    }
}

impl Disk for SimDisk {
    fn delay(&self) -> Option<Duration> {
        self.lock().dice.delay()
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.lock_names(path)?;
        let creates = matches!(mode, OpenMode::Create | OpenMode::CreateNew);
        let inode = match state.tree.find(path) {
            Ok(_) if mode == OpenMode::CreateNew => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && creates => {
                state.tree.create_file(path)?
            }
            found => found?,
        };
        if state.tree.file(inode).is_none() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Arc::new(SimFile::open(&self.state, &mut state, inode, mode != OpenMode::Read)))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let state = self.lock_names(path)?;
        let inode = state.tree.find(path)?;
        let content = state.tree.file(inode).map(|body| &body.content);
        let changes = content.map_or(0, |content| content.changes());
        Ok(Metadata {
            is_file: content.is_some(),
            is_dir: content.is_none(),
            size: content.map_or(0, |content| content.len()),
            modified: Nanos::from(Millis(changes)),
            mode: None,
            stamp: (changes, inode.0),
        })
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.lock_names(path)?.tree.list(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.lock_names(path)?.tree.create_dirs(path)
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        self.lock_names(source)?.tree.rename(source, target)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.lock_names(path)?.tree.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.lock_names(path)?.tree.remove_dirs(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock_as_disk()?;
        state.dice.check(DiskFault::SyncError, path)?;
        state.tree.sync_dir(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let state = self.lock_as_disk()?;
        state.tree.find(path)?;
        let total = state.dice.plan.capacity;
        Ok(Space { free: total.saturating_sub(state.tree.used()), total })
    }
}
