//! The segment files that are open: a few of many.
//!
//! Owns: which of them stay open. Knows nothing of: what is in them.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use env::{Disk, File, OpenMode};
use types::limits::SEGMENT_OPEN_COUNT_MAX;

use crate::segment;

/// Open files by segment number. Those that were used last stay open, and the one that is written always does.
#[derive(Debug)]
pub(crate) struct SegmentFiles {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    files: BTreeMap<u32, Used>,
    /// Grows with every use.
    clock: u64,
    active: Option<u32>,
}

#[derive(Debug)]
struct Used {
    file: Arc<dyn File>,
    at: u64,
}

impl SegmentFiles {
    pub(crate) fn new(disk: Arc<dyn Disk>, root: PathBuf) -> Self {
        Self { disk, root, open: Mutex::default() }
    }

    /// The file of a segment, for reading. It stays usable for whoever has it, whatever is closed here.
    pub(crate) fn get(&self, number: u32) -> io::Result<Arc<dyn File>> {
        if let Some(file) = self.lock().used(number) {
            return Ok(file);
        }
        // Not under the lock: a disk that hangs must not hold up who reads what is open.
        let file = self.disk.open(&segment::path(&self.root, number), OpenMode::Read)?;
        self.lock().insert(number, file.clone());
        Ok(file)
    }

    /// From now on this one is written.
    pub(crate) fn set_active(&self, number: u32, file: Arc<dyn File>) {
        let mut open = self.lock();
        open.active = Some(number);
        open.insert(number, file);
    }

    /// Closes the file of a segment that was replaced or removed.
    pub(crate) fn close(&self, number: u32) {
        self.lock().files.remove(&number);
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.lock().files.len()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("never poisoned: no panic inside")
    }
}

impl Open {
    fn used(&mut self, number: u32) -> Option<Arc<dyn File>> {
        self.clock += 1;
        let used = self.files.get_mut(&number)?;
        used.at = self.clock;
        Some(used.file.clone())
    }

    fn insert(&mut self, number: u32, file: Arc<dyn File>) {
        self.clock += 1;
        self.files.insert(number, Used { file, at: self.clock });
        while self.files.len() > SEGMENT_OPEN_COUNT_MAX {
            let idle = self.files.iter().filter(|(number, _)| Some(**number) != self.active);
            let oldest = idle.min_by_key(|(_, used)| used.at).map(|(number, _)| *number);
            self.files.remove(&oldest.expect("there are several, and one of them is written"));
        }
    }
}
