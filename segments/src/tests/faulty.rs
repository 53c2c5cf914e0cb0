//! A simulated disk whose power can be cut at any operation, whose syncs can be held up, and whose operations can fail.

use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};

use env::disk::SimDisk;
use env::{Disk, File, Metadata, OpenMode, Space};

const SECTOR_SIZE: usize = 4096;

/// Error codes of Linux.
pub(super) const EIO: i32 = 5;
pub(super) const ENOMEM: i32 = 12;
pub(super) const EMFILE: i32 = 24;
pub(super) const ENOSPC: i32 = 28;

#[derive(Clone, Debug)]
pub(super) struct FaultyDisk {
    pub(super) sim: SimDisk,
    faults: Arc<Faults>,
}

#[derive(Debug)]
struct Faults {
    /// Changing operations until the power is cut.
    left: AtomicI64,
    /// The last operation before the cut takes effect, although nobody hears of it.
    last_happens: AtomicBool,
    syncs: AtomicU64,
    uncached: Mutex<Vec<Range<u64>>>,
    /// The write, counted from 1, that finds no room; 0 for none.
    no_room_at: AtomicI64,
    gate: Mutex<bool>,
    opened: Condvar,
    /// Bytes that the medium does not give.
    unreadable: Mutex<Vec<(PathBuf, Range<u64>)>>,
    /// Files of which the medium does not give the inode.
    unopenable: Mutex<Vec<PathBuf>>,
    /// What the next operations of a kind answer.
    errors: Mutex<Vec<(Op, i32)>>,
}

/// Kinds of operations that can be told to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Open,
    Read,
    Write,
    Sync,
    SyncDir,
    SetLen,
}

#[derive(Debug)]
struct FaultyFile {
    file: Arc<dyn File>,
    path: PathBuf,
    faults: Arc<Faults>,
}

impl FaultyDisk {
    pub(super) fn new(seed: u64) -> Self {
        Self::of(SimDisk::new(seed))
    }

    /// A disk that has been used before.
    pub(super) fn of(sim: SimDisk) -> Self {
        let faults = Faults {
            left: AtomicI64::new(i64::MAX),
            last_happens: AtomicBool::new(false),
            syncs: AtomicU64::new(0),
            uncached: Mutex::default(),
            no_room_at: AtomicI64::new(0),
            gate: Mutex::new(false),
            opened: Condvar::new(),
            unreadable: Mutex::default(),
            unopenable: Mutex::default(),
            errors: Mutex::default(),
        };
        Self { sim, faults: Arc::new(faults) }
    }

    /// Cuts the power at the `count`-th changing operation from now.
    pub(super) fn cut_after(&self, count: u64, last_happens: bool) {
        self.faults.left.store(i64::try_from(count).unwrap(), SeqCst);
        self.faults.last_happens.store(last_happens, SeqCst);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.faults.left.load(SeqCst) < 0
    }

    /// Loses what was not synced, and turns the power on.
    pub(super) fn restart(&self) {
        self.sim.crash();
        self.power_on();
    }

    pub(super) fn power_on(&self) {
        self.faults.left.store(i64::MAX, SeqCst);
    }

    pub(super) fn syncs(&self) -> u64 {
        self.faults.syncs.load(SeqCst)
    }

    /// Ranges that were given up by the page cache since the last call.
    pub(super) fn take_uncached(&self) -> Vec<Range<u64>> {
        std::mem::take(&mut *self.faults.uncached.lock().unwrap())
    }

    /// The `count`-th write from now (the next is 1) finds no room, whatever `space` says.
    pub(super) fn no_room_at(&self, count: i64) {
        self.faults.no_room_at.store(count, SeqCst);
    }

    /// From now on these bytes cannot be read; with an empty range all can.
    pub(super) fn make_unreadable(&self, path: &Path, range: Range<u64>) {
        let mut unreadable = self.faults.unreadable.lock().unwrap();
        match range.is_empty() {
            true => unreadable.clear(),
            false => unreadable.push((path.to_owned(), range)),
        }
    }

    /// From now on this file cannot be opened.
    pub(super) fn make_unopenable(&self, path: &Path) {
        self.faults.unopenable.lock().unwrap().push(path.to_owned());
    }

    /// The next operations of this kind fail with these error codes, one each.
    pub(super) fn fail_next(&self, op: Op, codes: &[i32]) {
        self.faults.errors.lock().unwrap().extend(codes.iter().map(|code| (op, *code)));
    }

    /// Holds up syncs, or lets them go on.
    pub(super) fn hold_syncs(&self, hold: bool) {
        *self.faults.gate.lock().unwrap() = hold;
        self.faults.opened.notify_all();
    }
}

impl Faults {
    fn check(&self, op: Op) -> io::Result<()> {
        let mut errors = self.errors.lock().unwrap();
        match errors.iter().position(|(other, _)| *other == op) {
            Some(index) => Err(io::Error::from_raw_os_error(errors.remove(index).1)),
            None => Ok(()),
        }
    }

    fn change<T>(&self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let cut = || io::Error::other("the power is cut");
        match self.left.fetch_sub(1, SeqCst) {
            1.. => operation(),
            0 if self.last_happens.load(SeqCst) => operation().and(Err(cut())),
            _ => Err(cut()),
        }
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.faults.check(Op::Open)?;
        if self.faults.unopenable.lock().unwrap().iter().any(|bad| bad == path) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let open = || self.sim.open(path, mode);
        let makes = matches!(mode, OpenMode::Create | OpenMode::CreateNew) && !self.sim.exists(path);
        let file = if makes { self.faults.change(open)? } else { open()? };
        Ok(Arc::new(FaultyFile { file, path: path.to_owned(), faults: self.faults.clone() }))
    }
    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.sim.metadata(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.sim.read_dir(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.faults.change(|| self.sim.create_dir_all(path))
    }
    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        self.faults.change(|| self.sim.rename(source, target))
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.faults.change(|| self.sim.remove_file(path))
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.faults.change(|| self.sim.remove_dir_all(path))
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.faults.check(Op::SyncDir)?;
        self.faults.change(|| self.sim.sync_dir(path))
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.sim.space(path)
    }
}

impl File for FaultyFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.faults.check(Op::Read)?;
        let end = offset + bytes.len() as u64;
        let unreadable = self.faults.unreadable.lock().unwrap();
        let is_bad = |(path, range): &(PathBuf, Range<u64>)| {
            *path == self.path && range.start < end && offset < range.end
        };
        if unreadable.iter().any(is_bad) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.file.read_at(bytes, offset)
    }
    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        self.faults.check(Op::Write)?;
        if self.faults.no_room_at.fetch_sub(1, SeqCst) == 1 {
            // As on a real disk, a part of it is written.
            self.file.write_at(&parts[..parts.len() - 1], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.faults.change(|| {
            // In pieces of a sector or less: each survives or is lost on its own, so a torn batch has holes.
            let mut at = offset;
            for piece in parts.iter().flat_map(|part| part.chunks(SECTOR_SIZE)) {
                self.file.write_at(&[piece], at)?;
                at += piece.len() as u64;
            }
            Ok(())
        })
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut held = self.faults.gate.lock().unwrap();
        while *held {
            held = self.faults.opened.wait(held).unwrap();
        }
        self.faults.syncs.fetch_add(1, SeqCst);
        self.faults.check(Op::Sync)?;
        self.faults.change(|| self.file.sync_data())
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.check(Op::SetLen)?;
        self.faults.change(|| self.file.set_len(len))
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }
    fn uncache(&self, range: Range<u64>) {
        self.faults.uncached.lock().unwrap().push(range);
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}
