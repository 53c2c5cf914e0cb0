//! The operating system's files.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use types::Nanos;

use super::{Disk, File, Metadata, OpenMode, Space};

/// The file system of this machine.
#[derive(Debug)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile(fs::File);

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).mode(0o600);
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::Create => {
                options.write(true).create(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
        }
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let found = fs::symlink_metadata(path)?;
        // Beyond 2262 is as good as 2262.
        let modified = found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec());
        Ok(Metadata {
            is_file: found.is_file(),
            is_dir: found.is_dir(),
            size: found.len(),
            modified: Nanos(modified),
            mode: Some((found.mode() & 0o7777) as u16),
            stamp: (modified as u64, found.ino()),
        })
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let mut names: Vec<OsString> =
            fs::read_dir(path)?.map(|entry| entry.map(|e| e.file_name())).collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        fs::rename(source, target)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        fs::File::open(path)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: statvfs fills the struct it is given; the path is a valid C string.
        let found = unsafe {
            let mut found: libc::statvfs = std::mem::zeroed();
            if libc::statvfs(path.as_ptr(), &mut found) != 0 {
                return Err(io::Error::last_os_error());
            }
            found
        };
        // Without what the file system keeps for root: a disk would seem full long before it is.
        let used = found.f_blocks - found.f_bfree;
        let (free, total) = (found.f_bavail, used + found.f_bavail);
        Ok(Space { free: free * found.f_frsize, total: total * found.f_frsize })
    }
}

impl File for RealFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(bytes, offset)
    }

    fn read_append(&self, bytes: &mut BytesMut, count: usize, offset: u64) -> io::Result<usize> {
        bytes.reserve(count);
        let room = &mut bytes.spare_capacity_mut()[..count];
        // SAFETY: pread writes at most `count` bytes into `room`.
        let read = unsafe {
            libc::pread(self.0.as_raw_fd(), room.as_mut_ptr().cast(), count, offset as libc::off_t)
        };
        let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: pread has filled this many bytes after the old length.
        unsafe { bytes.set_len(bytes.len() + read) };
        Ok(read)
    }

    fn write_at(&self, parts: &[&[u8]], mut offset: u64) -> io::Result<()> {
        /// Parts in one system call; Linux accepts 1024.
        const PART_COUNT_MAX: usize = 512;
        let mut slices: Vec<libc::iovec> = parts
            .iter()
            .filter(|p| !p.is_empty())
            .map(|p| libc::iovec { iov_base: p.as_ptr().cast_mut().cast(), iov_len: p.len() })
            .collect();
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            let count = rest.len().min(PART_COUNT_MAX) as libc::c_int;
            // SAFETY: every iovec points into `parts`, which outlives the call; pwritev only reads them.
            let written =
                unsafe { libc::pwritev(self.0.as_raw_fd(), rest.as_ptr(), count, offset as libc::off_t) };
            if written < 0 {
                match io::Error::last_os_error() {
                    e if e.kind() == io::ErrorKind::Interrupted => continue,
                    e => return Err(e),
                }
            }
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            offset += written as u64;
            rest = skip_written(rest, written as usize);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        // SAFETY: fallocate has no memory effects.
        let done =
            unsafe { libc::fallocate(self.0.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, 0, len as libc::off_t) };
        match io::Error::last_os_error() {
            _ if done == 0 => Ok(()),
            e if e.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
            e => Err(e),
        }
    }

    fn uncache(&self, range: Range<u64>) {
        // A file's last page is an exception: the system drops it even when it is not full, and the next append must
        // read it from the disk first.
        let end = range.end / page_size() * page_size();
        if end <= range.start {
            return; // A length of 0 would mean all of the file.
        }
        let (offset, len) = (range.start as libc::off_t, (end - range.start) as libc::off_t);
        // SAFETY: posix_fadvise has no memory effects. Its failure only means that the advice was not taken.
        unsafe { libc::posix_fadvise(self.0.as_raw_fd(), offset, len, libc::POSIX_FADV_DONTNEED) };
    }

    fn try_lock(&self) -> io::Result<bool> {
        // SAFETY: flock has no memory effects.
        if unsafe { libc::flock(self.0.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(true);
        }
        match io::Error::last_os_error() {
            e if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            e => Err(e),
        }
    }
}

/// Size of a page of memory in bytes.
fn page_size() -> u64 {
    // SAFETY: sysconf has no memory effects.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("every system has pages")
}

/// The parts that remain after `written` bytes.
fn skip_written(mut parts: &mut [libc::iovec], mut written: usize) -> &mut [libc::iovec] {
    while let Some(first) = parts.first_mut() {
        if written < first.iov_len {
            // SAFETY: the new base stays inside the same part.
            first.iov_base = unsafe { first.iov_base.cast::<u8>().add(written).cast() };
            first.iov_len -= written;
            break;
        }
        written -= first.iov_len;
        parts = &mut parts[1..];
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::temp_dir;

    /// Whether the byte at `offset` can be read without the disk; `None` where the file system cannot tell.
    fn is_cached(file: &fs::File, offset: u64) -> Option<bool> {
        let mut byte = 0_u8;
        let part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        // SAFETY: the one part is the byte above.
        let read =
            unsafe { libc::preadv2(file.as_raw_fd(), &part, 1, offset as libc::off_t, libc::RWF_NOWAIT) };
        match io::Error::last_os_error() {
            _ if read == 1 => Some(true),
            e if e.kind() == io::ErrorKind::WouldBlock => Some(false),
            _ => None,
        }
    }

    #[test]
    fn a_last_page_that_is_not_full_stays_cached() {
        let dir = temp_dir();
        let path = dir.path().join("f");
        let file = RealDisk.open(&path, OpenMode::Create).unwrap();
        let (pages, looker) = (4 * page_size(), fs::File::open(&path).unwrap());
        // That full pages are dropped cannot be tested: it is advice, and a file system in memory ignores it.
        file.write_at(&[&vec![1; pages as usize + 100]], 0).unwrap();
        file.sync_data().unwrap();
        file.uncache(0..pages + 100);
        assert_ne!(is_cached(&looker, pages), Some(false), "the page that the next append goes to");
        file.uncache(pages..pages + 100);
        assert_ne!(is_cached(&looker, pages), Some(false), "nothing but a part of a page");
    }
}
