//! Notes how a disk is written: how many bytes each sync of a segment makes durable. So another writer can do the same.

use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use env::{Disk, File, Metadata, OpenMode, Space};

use super::segment_files::is_segment;

/// A disk that notes what is written to segments.
#[derive(Debug)]
pub struct Recorder {
    disk: Arc<dyn Disk>,
    syncs: Arc<Mutex<Vec<u64>>>,
}

#[derive(Debug)]
struct RecordedFile {
    file: Arc<dyn File>,
    /// Written since the last sync.
    pending: AtomicU64,
    syncs: Arc<Mutex<Vec<u64>>>,
}

impl Recorder {
    /// In front of a disk.
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, syncs: Arc::default() }
    }

    /// Bytes of each sync since this was last asked, in order.
    pub fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.syncs.lock().expect("no panic while it is held"))
    }
}

impl Disk for Recorder {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.disk.open(path, mode)?;
        if !is_segment(path) {
            return Ok(file);
        }
        Ok(Arc::new(RecordedFile { file, pending: AtomicU64::new(0), syncs: self.syncs.clone() }))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.disk.metadata(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.disk.read_dir(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        self.disk.rename(source, target)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }
}

impl File for RecordedFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn read_append(&self, bytes: &mut BytesMut, count: usize, offset: u64) -> io::Result<usize> {
        self.file.read_append(bytes, count, offset)
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        self.file.write_at(parts, offset)?;
        let size: usize = parts.iter().map(|part| part.len()).sum();
        self.pending.fetch_add(size as u64, Ordering::Relaxed);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()?;
        let size = self.pending.swap(0, Ordering::Relaxed);
        if size > 0 {
            self.syncs.lock().expect("no panic while it is held").push(size);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn uncache(&self, range: Range<u64>) {
        self.file.uncache(range);
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}

#[cfg(test)]
mod tests {
    use env::disk::SimDisk;

    use super::*;

    #[test]
    fn only_what_segments_get_is_noted() {
        let recorder = Recorder::new(Arc::new(SimDisk::new(0)));
        let open = |name| recorder.open(Path::new(name), OpenMode::Create).unwrap();
        let (segment, other) = (open("/1.seg"), open("/other"));
        segment.write_at(&[b"abc", b"de"], 0).unwrap();
        segment.write_at(&[b"f"], 5).unwrap();
        other.write_at(&[b"not this"], 0).unwrap();
        [&segment, &other, &segment].iter().for_each(|file| file.sync_data().unwrap());
        segment.write_at(&[b"gh"], 6).unwrap();
        segment.sync_data().unwrap();
        assert_eq!(recorder.take(), [6, 2]);
        assert!(recorder.take().is_empty());
    }
}
