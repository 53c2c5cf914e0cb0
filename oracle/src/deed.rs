//! What a record of the journal says was done, without what only its writer and the clock know.

use proto::namespace::{Change, Entry, Kind, Place, Record};
use types::{ChunkId, InodeId, Name, VersionId};

/// A version of a file, by which everybody knows it.
pub type FileVersion = (InodeId, VersionId);

/// What was done to an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A directory was created, or an entry came back from the trash.
    Added {
        /// Where it is now.
        at: Place,
        /// What it is.
        kind: Kind,
    },
    /// A file or link has a new version.
    Versioned {
        /// Where it is.
        at: Place,
        /// The new version.
        version: VersionId,
        /// The one it replaced; `None` for a new file.
        base: Option<VersionId>,
        /// Length in bytes.
        size: u64,
        /// Identifies the content.
        content_root: ChunkId,
    },
    /// It has other attributes.
    Attributed {
        /// Where it is.
        at: Place,
    },
    /// It is in another place, with everything below it.
    Moved {
        /// Where it was.
        source: Place,
        /// Where it is now.
        target: Place,
        /// What it took the place of.
        replaced: Option<InodeId>,
    },
    /// It went to the trash.
    Removed {
        /// From where.
        at: Place,
    },
    /// It became a namespace of its own.
    Split {
        /// From where.
        at: Place,
    },
    /// It is the root of a namespace that begins.
    Begun,
}

impl Deed {
    /// What a record says. Panics on a name that no server may write.
    pub fn of(record: &Record) -> Self {
        let at = |dir: &InodeId, entry: &Entry| Place {
            dir: *dir,
            name: Name::parse(&entry.name).expect("a name was checked when it was written"),
        };
        let version = |dir, entry: &Entry, base| Self::Versioned {
            at: at(dir, entry),
            version: entry.version,
            base,
            size: entry.size,
            content_root: entry.content_root,
        };
        match &record.change {
            Change::Created { dir, entry } if entry.kind == Kind::Dir => {
                Self::Added { at: at(dir, entry), kind: entry.kind }
            }
            Change::Created { dir, entry } => version(dir, entry, None),
            Change::Versioned { dir, entry, base } => version(dir, entry, Some(*base)),
            Change::Attributed { dir, entry } => Self::Attributed { at: at(dir, entry) },
            Change::Moved { source, dir, entry, replaced, .. } => {
                Self::Moved { source: source.clone(), target: at(dir, entry), replaced: *replaced }
            }
            Change::Removed { dir, entry } => Self::Removed { at: at(dir, entry) },
            Change::Returned { dir, entry, .. } => Self::Added { at: at(dir, entry), kind: entry.kind },
            Change::Split { dir, entry, .. } => Self::Split { at: at(dir, entry) },
            Change::Base { .. } => Self::Begun,
        }
    }

    /// The version that a record made, if it made one.
    pub fn version(record: &Record) -> Option<FileVersion> {
        match Self::of(record) {
            Self::Versioned { version, .. } => Some((record.inode, version)),
            _ => None,
        }
    }
}
