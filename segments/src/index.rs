//! Where each record is: a cache over the segments, in a key-value store.
//!
//! Owns: keys and values of the index, and the checkpoint: the position up to which it is complete. Entries, totals and
//! checkpoint change in one batch, so whatever part of the index survives a crash is a true state of the past.
//! Knows nothing of: files. Everything here can be rebuilt from the segments.
//!
//! The rows are in `docs/formats/disk-index.md`.

pub(crate) mod change;
pub(crate) mod row;
pub(crate) mod tables;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use env::Disk;
use kv::Kv;
use types::{Error, ErrorKind, Result};

pub(crate) use change::IndexChange;
pub(crate) use row::{Entry, Known, Totals};
pub(crate) use tables::{Damage, Tables};

/// Opens the store of an index in a directory.
pub(crate) type OpenKv = Arc<dyn Fn(&Path) -> Result<Arc<dyn Kv>> + Send + Sync>;

/// What the index is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It knows every record.
    Ready,
    /// It is to be thrown away.
    Lost,
    /// What it knows of segments before this one is not complete; what was written since is in a table of its own.
    Rebuilding { before: u32 },
}

/// The index of a disk, which may be replaced while the disk is used.
pub(crate) struct ShardIndex {
    open: OpenKv,
    current: RwLock<Current>,
}

struct Current {
    tables: Tables,
    mode: Mode,
    path: PathBuf,
}

impl fmt::Debug for ShardIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardIndex({:?})", self.mode())
    }
}

impl ShardIndex {
    /// Opens the newest index of the disk at `root`, or makes one. A damaged one is thrown away.
    pub(crate) fn open(disk: &dyn Disk, root: &Path, open: OpenKv) -> Result<Self> {
        let old = paths(disk, root)?;
        let path = old.last().cloned().unwrap_or_else(|| root.join(NAME));
        for path in old.iter().rev().skip(1) {
            disk.remove_dir_all(path)?;
        }
        let kv = match open(&path) {
            Err(error) if error.kind() == ErrorKind::Corrupt && disk.exists(&path) => {
                tracing::warn!("disk {}: {error}; rebuilding the index", root.display());
                disk.remove_dir_all(&path)?;
                open(&path)?
            }
            opened => opened?,
        };
        let current = Current { tables: Tables::new(kv), mode: Mode::Lost, path };
        Ok(Self { open, current: RwLock::new(current) })
    }

    /// The tables as they are, complete or not.
    pub(crate) fn tables(&self) -> Tables {
        self.read().tables.clone()
    }

    pub(crate) fn mode(&self) -> Mode {
        self.read().mode
    }

    /// The tables and what they are worth, at one moment.
    pub(crate) fn view(&self) -> (Tables, Mode) {
        let current = self.read();
        (current.tables.clone(), current.mode)
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.write().mode = mode;
    }

    /// These tables are worth nothing any more. They may have been replaced since they were asked.
    pub(crate) fn lose(&self, tables: &Tables) {
        let mut current = self.write();
        if current.tables.is_same(tables) {
            current.mode = Mode::Lost;
        }
    }

    /// Puts an empty index in the place of this one, which may be damaged in any way.
    pub(crate) fn replace(&self, disk: &dyn Disk, root: &Path, before: u32) -> Result<()> {
        let number = paths(disk, root)?.last().and_then(|path| number(path)).unwrap_or(0);
        let path = root.join(format!("{NAME}-{}", number + 1));
        disk.create_dir_durably(&path)?;
        let tables = Tables::new((self.open)(&path)?);
        tables.clear()?;
        let new = Current { tables, mode: Mode::Rebuilding { before }, path };
        let old = std::mem::replace(&mut *self.write(), new);
        if disk.exists(&old.path) {
            // Whoever still reads it has its files open. What is not removed now is removed at the next start.
            let _ = disk.remove_dir_all(&old.path);
        }
        Ok(())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Current> {
        self.current.read().expect("never poisoned: no panic inside")
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Current> {
        self.current.write().expect("never poisoned: no panic inside")
    }
}

/// What to say while it does not know.
pub(crate) fn not_known() -> Error {
    Error::unavailable("the index of this disk is being rebuilt; ask another disk, or again later")
}

/// The first index of a disk has this name, its successors a number behind it.
const NAME: &str = "index";

/// Directories that hold an index, oldest first.
fn paths(disk: &dyn Disk, root: &Path) -> Result<Vec<PathBuf>> {
    let names = disk.read_dir(root)?;
    let mut found: Vec<PathBuf> =
        names.into_iter().map(|name| root.join(name)).filter(|path| number(path).is_some()).collect();
    found.sort_by_key(|path| number(path));
    Ok(found)
}

fn number(path: &Path) -> Option<u32> {
    let rest = path.file_name()?.to_str()?.strip_prefix(NAME)?;
    if rest.is_empty() { Some(0) } else { rest.strip_prefix('-')?.parse().ok() }
}
