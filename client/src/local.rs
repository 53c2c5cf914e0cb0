//! Blocking work on this machine's files, off the runtime's threads, and errors that name the file.

use std::path::{Path as LocalPath, PathBuf};

use types::{Error, Result};

/// Runs blocking work and returns its result.
pub async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    env::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal(format!("a worker thread failed: {e}")))?
}

/// An error of the local file system, with the path it is about.
pub fn local(error: std::io::Error, path: &LocalPath) -> Error {
    Error::from(error).context(PathBuf::from(path).display())
}
