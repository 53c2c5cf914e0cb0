//! For tests only: scratch directories.

use std::path::{Path, PathBuf};

/// A directory that is removed when dropped.
#[derive(Debug)]
pub struct TempDir(tempfile::TempDir);

impl TempDir {
    /// Its path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A path below it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Makes a scratch directory.
pub fn temp_dir() -> TempDir {
    TempDir(tempfile::tempdir().expect("the system's temporary directory is writable"))
}
