//! Files, as a trait with two implementations that pass the same conformance suite.
//!
//! All calls block: rooms call them from their own threads or through [`crate::task::spawn_blocking`].

mod conformance;
mod real;
mod sim;

use std::ffi::OsString;
use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use types::Millis;

pub use real::RealDisk;
pub use sim::SimDisk;

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Existing, for reading.
    Read,
    /// Existing, for reading and writing.
    ReadWrite,
    /// For reading and writing; made when missing.
    Create,
    /// For reading and writing; an existing file is an error.
    CreateNew,
}

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Regular file.
    pub is_file: bool,
    /// Directory.
    pub is_dir: bool,
    /// Bytes.
    pub size: u64,
    /// Last change of the content.
    pub modified: Millis,
    /// Last change with the full resolution of the file system, and the inode: equal values mean "not replaced or
    /// rewritten in between".
    pub stamp: (u64, u64),
}

/// Room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that can still be written.
    pub free: u64,
    /// All bytes.
    pub total: u64,
}

/// A file system.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// What is at `path`; a symbolic link is described itself, not its target.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;
    /// Names in a directory, sorted.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>>;
    /// Makes a directory and those above it.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Renames a file or directory, replacing a file at `target`. Durable after [`Disk::sync_dir`] of the parent.
    fn rename(&self, source: &Path, target: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all that is in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in this directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Room on the file system that holds `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// True when something is at `path`.
    fn exists(&self, path: &Path) -> bool {
        self.metadata(path).is_ok()
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
    /// Writes all parts one after the other, beginning at `offset`.
    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()>;
    /// Makes all written bytes and the length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts or extends (with zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves room for `len` bytes without changing the length. Where that is not supported, does nothing.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Advises the system that these bytes, which are durable, need not stay in its memory. Whole pages only.
    fn uncache(&self, range: Range<u64>);
    /// Locks the file for this handle until it is closed. False when another process (or handle) holds it.
    fn try_lock(&self) -> io::Result<bool>;

    /// Fills `bytes`; an error of kind `UnexpectedEof` when the file ends before.
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

    /// Reads up to `count` bytes behind those in `bytes`; 0 at the end of the file. Memory that is to be filled at once need
    /// not be zeroed before.
    fn read_append(&self, bytes: &mut BytesMut, count: usize, offset: u64) -> io::Result<usize> {
        let start = bytes.len();
        bytes.resize(start + count, 0);
        let read = self.read_at(&mut bytes[start..], offset);
        bytes.truncate(start + read.as_ref().map_or(0, |count| *count));
        read
    }

    /// Appends `count` bytes to `bytes`; an error of kind `UnexpectedEof` when the file ends before.
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
