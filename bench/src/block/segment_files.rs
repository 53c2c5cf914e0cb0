//! The segment files of a disk's directory, seen from outside.

use std::path::{Path, PathBuf};

use env::{Disk, OpenMode};
use types::Result;

/// Directory of the segments below that of the disk.
const SEGMENTS: &str = "seg";

/// Paths of the segments, in order.
pub fn list(disk: &dyn Disk, root: &Path) -> Result<Vec<PathBuf>> {
    let dir = root.join(SEGMENTS);
    Ok(disk.read_dir(&dir)?.into_iter().map(|name| dir.join(name)).collect())
}

/// True for the path of a segment.
pub fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "seg")
}

/// Bytes in all of them.
pub fn size(disk: &dyn Disk, root: &Path) -> Result<u64> {
    let sizes = list(disk, root)?.into_iter().map(|path| Ok(disk.metadata(&path)?.size));
    sizes.sum()
}

/// Has the system forget what it keeps of them in memory: whoever reads them next, reads the disk.
pub fn uncache(disk: &dyn Disk, root: &Path) -> Result<()> {
    for path in list(disk, root)? {
        let file = disk.open(&path, OpenMode::Read)?;
        file.uncache(0..file.len()?);
    }
    Ok(())
}
