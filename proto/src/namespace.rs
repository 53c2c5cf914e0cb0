//! Messages about files and directories.

use chunk::manifest::Manifest;
use serde::{Deserialize, Serialize};
use types::{ChunkId, Error, InodeId, Millis, Name, NamespaceId, Path, RequestId, Seq, VersionId};

use crate::seal::{Receipt, Ticket};

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Has entries and no versions.
    Dir,
    /// Has versions and no entries.
    File,
}

/// What the writer of a version had seen (I-CAS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Base {
    /// There is no file at that path; otherwise `Exists`.
    Absent,
    /// This is the newest version; otherwise `Conflict`.
    Version(VersionId),
    /// Whatever is there; the new version still names it as its base.
    Any,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Creates a directory.
    Mkdir {
        /// Where it will be.
        path: Path,
        /// Create missing parents too, and succeed if it exists.
        parents: bool,
    },
    /// Adds a version to a file, creating the file when there is none.
    CommitVersion {
        /// Where the file is or will be; the directory must exist.
        path: Path,
        /// What must be there now.
        base: Base,
        /// The file's content.
        manifest: Manifest,
        /// One receipt per chunk that the manifest lists (for a tree: one for its root).
        receipts: Vec<Receipt>,
        /// The writer's time of change.
        modified: Millis,
    },
    /// Moves an entry with everything below it.
    Rename {
        /// Where it is.
        source: Path,
        /// Where it will be; must not exist.
        target: Path,
    },
    /// Moves an entry to the trash.
    Remove {
        /// Where the entry is.
        path: Path,
        /// Also when it is a directory that is not empty.
        recursive: bool,
    },
    /// Commits the content of an old version again, as the newest.
    RestoreVersion {
        /// Where the file is.
        path: Path,
        /// Which version.
        version: VersionId,
    },
    /// Brings the entry that was last removed from this path back from the trash.
    Undelete {
        /// Where it was.
        path: Path,
    },
}

/// What happens to a batch when one of its changes is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Nothing is done.
    Atomic,
    /// The others are done.
    PerItem,
}

/// Changes a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteNamespace {
    /// The namespace to change.
    pub namespace: NamespaceId,
    /// A repeat with the same id is answered as before and not applied again.
    pub request: RequestId,
    /// What one refused change means for the others.
    pub mode: Mode,
    /// At most `BATCH_OP_COUNT_MAX`, applied in order.
    pub ops: Vec<Op>,
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The entry that was changed.
    pub inode: InodeId,
    /// Its newest version, for files.
    pub version: Option<VersionId>,
}

/// Answer to [`WriteNamespace`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Position that includes the changes: a read that names it sees at least them.
    pub seq: Seq,
    /// In the order of the request.
    pub results: Vec<Result<Done, Error>>,
}

/// How fresh a read must be (I-LIN).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Freshness {
    /// Everything acknowledged before the read began.
    Linearizable,
    /// At least the state at this position.
    AtLeast(Seq),
    /// Whatever the replica has, however old: for people who asked for it by name, never to act on.
    Stale,
}

/// What every read begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Which namespace.
    pub namespace: NamespaceId,
    /// How fresh.
    pub freshness: Freshness,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in its directory; the root's is empty.
    pub name: String,
    /// Stays the same wherever the entry moves.
    pub inode: InodeId,
    /// File or directory.
    pub kind: Kind,
    /// Bytes; 0 for a directory.
    pub size: u64,
    /// Time of its last change: the writer's for an upload, otherwise the leader's.
    pub modified: Millis,
    /// Newest version; 0 for a directory.
    pub version: VersionId,
    /// Identifies the content; zero for a directory.
    pub content_root: ChunkId,
}

/// Asks for one entry; `NotFound` when nothing is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// Which state.
    pub view: View,
    /// Where it is.
    pub path: Path,
}

/// Answer to [`Stat`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The state it was read from.
    pub seq: Seq,
    /// What is at the path.
    pub entry: Entry,
}

/// Asks for a page of a directory, in order of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListDir {
    /// Which state.
    pub view: View,
    /// Which directory.
    pub path: Path,
    /// Continue after this name; `None` to begin.
    pub after: Option<Name>,
    /// Entries of the page, 1 to `LIST_PAGE_COUNT_MAX`; clamped.
    pub limit: u32,
}

/// Answer to [`ListDir`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The state it was read from.
    pub seq: Seq,
    /// In byte order of their names.
    pub entries: Vec<Entry>,
    /// There is more after the last one.
    pub more: bool,
}

/// Asks for the content of a file; `NotFound` when there is no such file or version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenVersion {
    /// Which state.
    pub view: View,
    /// Which file.
    pub path: Path,
    /// Which version; `None` for the newest.
    pub version: Option<VersionId>,
}

/// One version of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Larger than the ids of all older versions of the file.
    pub id: VersionId,
    /// The version it replaced; `None` for a file's first.
    pub base: Option<VersionId>,
    /// Who made it.
    pub author: String,
    /// When it was committed.
    pub committed: Millis,
    /// The writer's time of change.
    pub modified: Millis,
    /// Length in bytes.
    pub size: u64,
    /// Identifies the content.
    pub content_root: ChunkId,
}

/// Answer to [`OpenVersion`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The state it was read from.
    pub seq: Seq,
    /// The version that was opened.
    pub version: Version,
    /// Its bytes, or the chunks that hold them.
    pub manifest: Manifest,
    /// One ticket per chunk that the manifest lists (for a tree: one for its root).
    pub tickets: Vec<Ticket>,
}

/// Asks for the versions of a file, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListVersions {
    /// Which state.
    pub view: View,
    /// Which file.
    pub path: Path,
    /// Continue with versions older than this one; `None` to begin.
    pub before: Option<VersionId>,
    /// Versions of the page, 1 to `HISTORY_PAGE_COUNT_MAX`; clamped.
    pub limit: u32,
}

/// Answer to [`ListVersions`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The state it was read from.
    pub seq: Seq,
    /// Newest first.
    pub versions: Vec<Version>,
    /// There are older ones.
    pub more: bool,
}

/// Asks for the changes after a position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullJournal {
    /// Which namespace.
    pub namespace: NamespaceId,
    /// The last position the caller has, 0 for none; `Invalid` beyond the end.
    pub after: Seq,
    /// Records of the page, 1 to `JOURNAL_PAGE_COUNT_MAX`; clamped.
    pub limit: u32,
    /// When there is nothing yet, wait this long for something; the server has a limit.
    pub wait_ms: u32,
}

/// Answer to [`PullJournal`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalPage {
    /// Dense: the first is `after + 1` (I-JRN).
    pub records: Vec<Record>,
    /// The newest position of the namespace.
    pub head: Seq,
}

/// A place in the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Inode of the directory.
    pub dir: InodeId,
    /// The name in it.
    pub name: Name,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A directory was created, or an entry came back from the trash. A new file is `Versioned`.
    Added {
        /// Where it is now.
        at: Place,
        /// File or directory.
        kind: Kind,
    },
    /// A file has a new version.
    Versioned {
        /// Where the file is.
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
    /// An entry moved.
    Moved {
        /// Where it was.
        source: Place,
        /// Where it is now.
        target: Place,
    },
    /// An entry went to the trash.
    Removed {
        /// From where.
        at: Place,
    },
}

/// One change of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its position in the journal.
    pub seq: Seq,
    /// When it was proposed, by the leader's clock.
    pub time: Millis,
    /// Identity of whoever changed it, as text.
    pub author: String,
    /// Which entry.
    pub inode: InodeId,
    /// What happened to it.
    pub change: Change,
}

/// Asks for the totals of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchNamespace {
    /// Which state.
    pub view: View,
}

/// Totals of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceStats {
    /// Newest position of its journal.
    pub seq: Seq,
    /// Set hash of all entries and versions: equal on all replicas at an equal `seq`.
    #[serde(with = "serde_bytes")]
    pub digest: [u8; 16],
}
