//! For tests only: scratch directories.

use std::path::{Path, PathBuf};

/// A directory that is removed when dropped.
#[derive(Debug)]
pub struct TempDir(tempfile::TempDir);

impl TempDir {
    /// Its absolute path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A path below it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Creates a scratch directory.
pub fn temp_dir() -> TempDir {
    TempDir(tempfile::tempdir().expect("the system's temporary directory is writable"))
}

/// Stands in for a process: runs `work` on its own thread and runtime. When `work` is done, all its tasks and sockets
/// vanish at once, as they do when a process is killed; what blocks a thread is waited for.
pub fn process<F>(name: &str, work: F) -> std::thread::JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    crate::task::thread(name, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("the system can start a runtime").block_on(work);
    })
}
