//! An open file of a simulated disk: the operations, each with the faults that can hit it.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use super::faults::{DiskFault, io_error};
use super::names::InodeNumber;
use super::state::State;
use crate::disk::File;

/// A handle that counts until the next crash or restart.
#[derive(Debug)]
pub struct SimFile {
    state: Arc<Mutex<State>>,
    inode: InodeNumber,
    epoch: u64,
    is_writable: bool,
    holds_lock: AtomicBool,
}

impl SimFile {
    /// Opens what is already found.
    pub fn open(
        shared: &Arc<Mutex<State>>,
        state: &mut State,
        inode: InodeNumber,
        is_writable: bool,
    ) -> Self {
        state.tree.open(inode);
        let (state, epoch) = (shared.clone(), state.epoch);
        Self { state, inode, epoch, is_writable, holds_lock: AtomicBool::new(false) }
    }

    fn lock(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state.lock().expect("never poisoned: no panic inside");
        if state.epoch == self.epoch { Ok(state) } else { Err(state.stale()) }
    }

    /// For operations that change the file.
    fn lock_to_write(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock()?;
        if !self.is_writable {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        let path = state.path(self.inode);
        state.dice.check(DiskFault::WriteError, &path)?;
        Ok(state)
    }

    fn misdirect(&self, state: &mut State, bytes: &[u8], offset: u64) {
        let end = offset + bytes.len() as u64;
        if let Some((other, at)) = state.elsewhere(self.inode, offset, |content| content.durable_len()) {
            state.tree.edit(other, |body| body.content.overwrite(at, bytes));
        }
        state.tree.edit(self.inode, |body| body.content.write_elsewhere(end));
    }
}

fn no_room() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}

impl File for SimFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.lock()?;
        let path = state.path(self.inode);
        state.dice.check(DiskFault::ReadError, &path)?;
        let mut count = bytes.len();
        if count > 1 && state.dice.strikes(DiskFault::ShortRead, &path) {
            count = 1 + state.dice.random.below(count as u64 - 1) as usize;
        }
        let body = state.tree.file(self.inode).expect("an open file exists");
        let count = body.content.read(&mut bytes[..count], offset);
        if count > 0
            && state.dice.strikes(DiskFault::MisdirectedRead, &path)
            && let Some((other, at)) = state.elsewhere(self.inode, offset, |content| content.len())
        {
            let body = state.tree.file(other).expect("was just found");
            body.content.read(&mut bytes[..count], at);
        }
        Ok(count)
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut state = self.lock_to_write()?;
        let path = state.path(self.inode);
        let mut bytes = parts.concat();
        if bytes.is_empty() {
            return Ok(());
        }
        let mut result = Ok(());
        if state.dice.strikes(DiskFault::ShortWrite, &path) {
            bytes.truncate(state.dice.random.below(bytes.len() as u64) as usize);
            result = Err(io_error());
        }
        if let Err(end) = state.room(self.inode, offset.saturating_add(bytes.len() as u64)) {
            bytes.truncate(usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX));
            result = Err(no_room());
        }
        if bytes.is_empty() {
            return result;
        }
        if state.dice.strikes(DiskFault::LostWrite, &path) {
            state.tree.edit(self.inode, |body| body.content.write_lost(offset, bytes));
        } else if state.dice.strikes(DiskFault::MisdirectedWrite, &path) {
            self.misdirect(&mut state, &bytes, offset);
        } else {
            state.tree.edit(self.inode, |body| body.content.write(offset, bytes));
        }
        result
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.lock()?;
        let path = state.path(self.inode);
        let random = state.dice.random.clone();
        let result = state.dice.check(DiskFault::SyncError, &path);
        state.tree.edit(self.inode, |body| match result {
            Ok(()) => body.content.sync(),
            Err(_) => body.content.sync_failed(&random),
        });
        result
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.lock()?;
        Ok(state.tree.file(self.inode).expect("an open file exists").content.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.lock_to_write()?;
        // Holes take space here, so that a wrong length does not take all of the memory.
        state.room(self.inode, len).map_err(|_| no_room())?;
        state.tree.edit(self.inode, |body| body.content.set_len(len));
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.lock_to_write()?;
        state.room(self.inode, len).map_err(|_| no_room())?;
        state.tree.edit(self.inode, |body| body.content.reserve(len));
        Ok(())
    }

    fn uncache(&self, range: Range<u64>) {
        if let Ok(mut state) = self.lock() {
            state.tree.edit(self.inode, |body| body.content.uncache(range));
        }
    }

    fn try_lock(&self) -> io::Result<bool> {
        let was_locked = self.lock()?.tree.edit(self.inode, |body| std::mem::replace(&mut body.locked, true));
        self.holds_lock.fetch_or(!was_locked, Relaxed);
        Ok(!was_locked)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        // Not through `lock`: that counts, and a handle that is dropped is no use of it.
        let Ok(mut state) = self.state.lock() else { return };
        if state.epoch == self.epoch {
            if self.holds_lock.load(Relaxed) {
                state.tree.edit(self.inode, |body| body.locked = false);
            }
            state.tree.close(self.inode);
        }
    }
}
