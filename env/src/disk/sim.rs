//! A disk in memory that behaves as badly as the contract allows: a crash loses any part of what was not synced.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use types::Millis;

use super::{Disk, File, Metadata, OpenMode, Space};
use crate::Random;

/// A simulated disk. Clones share the same content. Namespace operations (create, rename, remove) are durable at once;
/// file content is durable after [`File::sync_data`].
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    random: Random,
}

#[derive(Debug)]
struct State {
    files: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    dirs: BTreeMap<PathBuf, ()>,
    capacity: u64,
    inode_next: u64,
}

#[derive(Debug, Default)]
struct Content {
    /// What a crash cannot take away.
    durable: Vec<u8>,
    /// What reads see.
    current: Vec<u8>,
    /// Changes since the last sync, in order: a crash keeps any subset of them, any write perhaps torn.
    unsynced: Vec<Change>,
    inode: u64,
    changes: u64,
    locked: bool,
    fail_sync: bool,
    fail_read: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    content: Arc<Mutex<Content>>,
    holds_lock: Mutex<bool>,
}

impl SimDisk {
    /// An empty disk of 1 TiB whose crashes are drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        let state = State {
            files: BTreeMap::new(),
            dirs: BTreeMap::from([(PathBuf::from("/"), ())]),
            capacity: 1 << 40,
            inode_next: 1,
        };
        Self { state: Arc::new(Mutex::new(state)), random: Random::seeded(seed) }
    }

    /// Power loss: of every file's unsynced changes a random subset survives, any write perhaps in part; locks are
    /// released. Handles still open see what survived: drop them, as the process that held them is gone.
    pub fn crash(&self) {
        for content in self.lock().files.values() {
            let mut content = content.lock().expect("not poisoned");
            let mut survived = std::mem::take(&mut content.durable);
            for change in std::mem::take(&mut content.unsynced) {
                match (self.random.below(3), change) {
                    (0, _) => {}
                    (1, Change::Write(offset, bytes)) => {
                        let kept = self.random.below(bytes.len() as u64 + 1) as usize;
                        Change::Write(offset, bytes[..kept].to_vec()).apply(&mut survived);
                    }
                    (_, change) => change.apply(&mut survived),
                }
            }
            content.current.clone_from(&survived);
            content.durable = survived;
            content.locked = false;
        }
    }

    /// Flips one bit of a file, durably: bit rot.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) {
        let content = self.lock().files[path].clone();
        let mut content = content.lock().expect("not poisoned");
        for bytes in [0, 1] {
            let bytes = if bytes == 0 { &mut content.durable } else { &mut content.current };
            if let Some(byte) = bytes.get_mut(offset as usize) {
                *byte ^= 1 << bit;
            }
        }
    }

    /// From now on syncs of this file fail.
    pub fn fail_syncs(&self, path: &Path) {
        self.lock().files[path].lock().expect("not poisoned").fail_sync = true;
    }

    /// From now on reads of this file fail.
    pub fn fail_reads(&self, path: &Path) {
        self.lock().files[path].lock().expect("not poisoned").fail_read = true;
    }

    /// Limits the disk to `bytes`.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock().capacity = bytes;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }
}

impl State {
    fn used(&self) -> u64 {
        self.files.values().map(|f| f.lock().expect("not poisoned").current.len() as u64).sum()
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write(offset, part) => {
                let end = *offset as usize + part.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset as usize..end].copy_from_slice(part);
            }
            Change::SetLen(len) => bytes.resize(*len as usize, 0),
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.lock();
        let content = match (state.files.get(path).cloned(), mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(content), _) => content,
            (None, OpenMode::Read | OpenMode::ReadWrite) => return Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::Create | OpenMode::CreateNew) => {
                let parent = path.parent().unwrap_or(Path::new("/"));
                if !parent.as_os_str().is_empty() && !state.dirs.contains_key(parent) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let inode = state.inode_next;
                state.inode_next += 1;
                let content = Arc::new(Mutex::new(Content { inode, ..Content::default() }));
                state.files.insert(path.to_owned(), content.clone());
                content
            }
        };
        Ok(Arc::new(SimFile { disk: self.clone(), content, holds_lock: Mutex::new(false) }))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let state = self.lock();
        if let Some(content) = state.files.get(path) {
            let content = content.lock().expect("not poisoned");
            return Ok(Metadata {
                is_file: true,
                is_dir: false,
                size: content.current.len() as u64,
                modified: Millis(content.changes),
                stamp: (content.changes, content.inode),
            });
        }
        if state.dirs.contains_key(path) {
            return Ok(Metadata {
                is_file: false,
                is_dir: true,
                size: 0,
                modified: Millis(0),
                stamp: (0, 0),
            });
        }
        Err(io::ErrorKind::NotFound.into())
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let state = self.lock();
        if !state.dirs.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let children = state.files.keys().chain(state.dirs.keys()).filter(|p| p.parent() == Some(path));
        let mut names: Vec<OsString> = children.filter_map(|p| Some(p.file_name()?.to_owned())).collect();
        names.sort();
        Ok(names)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        for dir in path.ancestors().filter(|p| !p.as_os_str().is_empty()) {
            state.dirs.insert(dir.to_owned(), ());
        }
        Ok(())
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if let Some(content) = state.files.remove(source) {
            state.files.insert(target.to_owned(), content);
            return Ok(());
        }
        if state.dirs.remove(source).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let moved = |path: &PathBuf| Some(target.join(path.strip_prefix(source).ok()?));
        state.files = std::mem::take(&mut state.files)
            .into_iter()
            .map(|(path, content)| (moved(&path).unwrap_or(path), content))
            .collect();
        state.dirs = std::mem::take(&mut state.dirs)
            .into_keys()
            .map(|path| (moved(&path).unwrap_or(path), ()))
            .collect();
        state.dirs.insert(target.to_owned(), ());
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.lock().files.remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if !state.dirs.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.files.retain(|p, _| !p.starts_with(path));
        state.dirs.retain(|p, _| !p.starts_with(path));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self.lock().dirs.contains_key(path) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let state = self.lock();
        Ok(Space { free: state.capacity.saturating_sub(state.used()), total: state.capacity })
    }
}

impl SimFile {
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().expect("not poisoned")
    }

    fn change(&self, change: Change) {
        let mut content = self.lock();
        change.apply(&mut content.current);
        content.unsynced.push(change);
        content.changes += 1;
    }
}

impl File for SimFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.lock();
        if content.fail_read {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let rest = content.current.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let bytes = parts.concat();
        let end = offset + bytes.len() as u64;
        let grows = end.saturating_sub(self.lock().current.len() as u64);
        let state = self.disk.lock();
        if state.used() + grows > state.capacity {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        drop(state);
        self.change(Change::Write(offset, bytes));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut content = self.lock();
        if content.fail_sync {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        content.unsynced.clear();
        content.durable = content.current.clone();
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().current.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::SetLen(len));
        Ok(())
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn uncache(&self, _range: Range<u64>) {}

    fn try_lock(&self) -> io::Result<bool> {
        let mut content = self.lock();
        let free = !content.locked;
        content.locked = true;
        *self.holds_lock.lock().expect("not poisoned") |= free;
        Ok(free)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if *self.holds_lock.lock().expect("not poisoned") {
            self.lock().locked = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_keeps_what_was_synced_and_only_a_part_of_the_rest() {
        let mut outcomes = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let disk = SimDisk::new(seed);
            let file = disk.open(Path::new("/a"), OpenMode::CreateNew).unwrap();
            file.write_at(&[b"safe"], 0).unwrap();
            file.sync_data().unwrap();
            file.write_at(&[b"lost"], 4).unwrap();
            disk.crash();
            let after = disk.read(Path::new("/a")).unwrap();
            assert!(after.starts_with(b"safe") && b"safelost".starts_with(&after[..]));
            outcomes.insert(after);
        }
        assert!(outcomes.len() > 3, "crashes differ: {outcomes:?}");
    }

    #[test]
    fn faults_are_told() {
        let disk = SimDisk::new(1);
        let path = Path::new("/a");
        let file = disk.open(path, OpenMode::CreateNew).unwrap();
        disk.set_capacity(8);
        file.write_at(&[b"12345678"], 0).unwrap();
        assert_eq!(file.write_at(&[b"9"], 8).unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        disk.flip_bit(path, 0, 0);
        assert_eq!(disk.read(path).unwrap(), b"02345678");
        disk.fail_syncs(path);
        assert!(file.sync_data().is_err());
        disk.fail_reads(path);
        assert!(disk.read(path).is_err());
    }
}
