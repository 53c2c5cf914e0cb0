//! Errors of this machine's files that name the file.

use std::path::{Path as LocalPath, PathBuf};

use types::Error;

/// An error of the local file system, with the path it is about.
pub fn local(error: std::io::Error, path: &LocalPath) -> Error {
    Error::from(error).context(PathBuf::from(path).display())
}
