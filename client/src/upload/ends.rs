//! Where an upload begins and ends: the state of its target, and what became of it.

use proto::namespace::{Entry, Kind};
use types::{Error, Path, Result, Seq, VersionId};

/// What is known of the target of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    /// There is no entry.
    Absent,
    /// There is this file.
    Present(Entry),
}

impl FileState {
    /// The state that an entry (or its absence) means for a file. `Exists` when it is anything else, which no
    /// file replaces.
    pub fn of(path: &Path, entry: Option<Entry>) -> Result<Self> {
        match entry {
            None => Ok(FileState::Absent),
            Some(entry) if entry.kind == Kind::File => Ok(FileState::Present(entry)),
            Some(entry) if entry.kind == Kind::Symlink => Err(Error::exists(format!(
                "{path} is a symbolic link, which does not become a file: remove it first"
            ))),
            Some(_) => Err(Error::exists(format!("{path} is a directory; a file cannot replace it"))),
        }
    }
}

/// What an upload did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// The version that now holds the content.
    pub version: VersionId,
    /// Bytes of the file.
    pub size: u64,
    /// Position of its commit; `None` when that version was there before.
    pub seq: Option<Seq>,
}
