//! Files, as a trait with two implementations that pass the same conformance suite.
//!
//! All calls block: rooms call them from their own threads or through [`crate::task::spawn_blocking`].

mod cause;
mod conformance;
mod faulty;
mod real;
mod sim;

use std::ffi::OsString;
use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use types::Nanos;

pub use cause::Cause;
pub(crate) use faulty::real_or_faulty;
pub use faulty::{FAULTS_VARIABLE, FaultyDisk};
pub use real::RealDisk;
pub use sim::{DiskCounts, DiskFault, DiskFaults, DiskImage, FaultRule, SimDisk, When};

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// For reading and writing; created when missing.
    Create,
    /// For reading and writing; an existing file is an error.
    CreateNew,
}

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// A regular file.
    pub is_file: bool,
    /// A directory; false for a symbolic link to one.
    pub is_dir: bool,
    /// Length in bytes; for files only.
    pub size: u64,
    /// Last change of the content.
    pub modified: Nanos,
    /// Permission bits, where the file system has them.
    pub mode: Option<u16>,
    /// Last change with the full resolution of the file system, and the inode: equal values mean "not replaced or
    /// rewritten in between".
    pub stamp: (u64, u64),
}

/// Space on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that can still be written.
    pub free: u64,
    /// Bytes in all, used or free; not those that are kept for the system.
    pub total: u64,
}

/// A file system.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// What is at `path`; of a symbolic link, the link itself, not its target.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;
    /// Names in a directory, sorted.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>>;
    /// Creates a directory and those above it that are missing. A crash may take them away again.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Renames a file or directory, replacing a file at `target`. Durable after [`Disk::sync_dir`] of the parent.
    fn rename(&self, source: &Path, target: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and everything in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in this directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Space on the file system that holds `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// How long the next operation takes in a simulation, on top of what every operation takes, and `None` while the
    /// disk hangs; a real disk takes its own time.
    fn delay(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    /// True when something is at `path`.
    fn exists(&self, path: &Path) -> bool {
        self.metadata(path).is_ok()
    }

    /// As [`Disk::create_dir_all`], for directories that must still be there after a crash.
    fn create_dir_durably(&self, path: &Path) -> io::Result<()> {
        let above: Vec<&Path> = path.ancestors().filter(|dir| dir.file_name().is_some()).collect();
        let missing = above.iter().take_while(|dir| !self.exists(dir)).count();
        // The lowest one that exists may be what a process created last before it was killed. In a directory that we
        // may not read we have created nothing.
        if let Some(parent) = above.get(missing).and_then(|dir| dir.parent())
            && let Err(error) = self.sync_dir(parent)
            && error.kind() != io::ErrorKind::PermissionDenied
        {
            return Err(error);
        }
        for dir in above[..missing].iter().rev() {
            self.create_dir_all(dir)?;
            self.sync_dir(dir.parent().unwrap_or(Path::new("")))?;
        }
        Ok(())
    }

    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let mut bytes = vec![0; file.len()? as usize];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Replaces a file so that after a crash it holds either the old or the new content, durable on return.
    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        let temporary = Path::new(&temporary);
        if self.exists(temporary) {
            self.remove_file(temporary)?;
        }
        let file = self.open(temporary, OpenMode::CreateNew)?;
        file.write_at(&[bytes], 0)?;
        file.sync_data()?;
        self.rename(temporary, path)?;
        self.sync_dir(path.parent().unwrap_or(Path::new(".")))
    }
}

/// An open file. All methods take `&self`; positions are explicit.
pub trait File: Send + Sync + Debug {
    /// Reads up to `bytes.len()` bytes; 0 at the end of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all parts one after the other, starting at `offset`.
    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()>;
    /// Makes all written bytes and the length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts or extends (with zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves space for `len` bytes without changing the length. Does nothing where that is not supported.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Advises the system that these bytes, which are durable, need not stay in its memory. Whole pages only.
    fn uncache(&self, range: Range<u64>);
    /// Locks the file for this handle until it is closed. False when another process (or handle) holds it.
    fn try_lock(&self) -> io::Result<bool>;

    /// Fills `bytes`; an error of kind `UnexpectedEof` when the file ends first.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match self.read_at(&mut bytes[done..], offset + done as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => done += n,
            }
        }
        Ok(())
    }

    /// Appends up to `count` bytes to `bytes` and returns how many; 0 at the end of the file. Implementations may skip
    /// zeroing memory that they fill at once.
    fn read_append(&self, bytes: &mut BytesMut, count: usize, offset: u64) -> io::Result<usize> {
        let start = bytes.len();
        bytes.resize(start + count, 0);
        let read = self.read_at(&mut bytes[start..], offset);
        bytes.truncate(start + read.as_ref().map_or(0, |count| *count));
        read
    }

    /// Appends `count` bytes to `bytes`; an error of kind `UnexpectedEof` when the file ends first.
    fn read_append_exact(&self, bytes: &mut BytesMut, count: usize, offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < count {
            match self.read_append(bytes, count - done, offset + done as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => done += n,
            }
        }
        Ok(())
    }

    /// True for a file without bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}
