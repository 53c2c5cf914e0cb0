//! Messages about files and directories.

use chunk::manifest::Manifest;
use serde::{Deserialize, Serialize};
use types::{ChunkId, Error, InodeId, Millis, Name, NamespaceId, Path, RequestId, Seq, VersionId};

use crate::seal::{Receipt, Ticket};

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A file.
    File,
}

/// What the writer of a version has seen before (I-CAS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Base {
    /// There is no file at that path.
    Absent,
    /// This is the newest version.
    Version(VersionId),
    /// Whatever is there; the new version names it as its base all the same.
    Any,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Makes a directory.
    Mkdir {
        /// Where.
        path: Path,
        /// Make missing parents too, and be content if it exists.
        parents: bool,
    },
    /// Adds a version to a file, making the file when there is none.
    CommitVersion {
        /// The file.
        path: Path,
        /// What it must look like now.
        base: Base,
        /// The content.
        manifest: Manifest,
        /// One receipt per chunk that the manifest lists (for a tree: one for its root).
        receipts: Vec<Receipt>,
        /// The writer's time of change.
        modified: Millis,
    },
    /// Moves an entry with all below it.
    Rename {
        /// From.
        source: Path,
        /// To; must not exist.
        target: Path,
    },
    /// Moves an entry to the trash.
    Remove {
        /// What.
        path: Path,
        /// Also when it is a directory that is not empty.
        recursive: bool,
    },
    /// Makes an old version the newest again, as a new version.
    RestoreVersion {
        /// The file.
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
    /// Which.
    pub namespace: NamespaceId,
    /// Sent again with the same id, it is answered from memory and not done twice.
    pub request: RequestId,
    /// All or each.
    pub mode: Mode,
    /// At most `BATCH_OP_COUNT_MAX`, applied in order.
    pub ops: Vec<Op>,
}

/// What a change made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The entry.
    pub inode: InodeId,
    /// Its newest version, for files.
    pub version: Option<VersionId>,
}

/// Answer to [`WriteNamespace`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// State that holds the changes: show it in a read to see at least this.
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
    /// Its identity.
    pub inode: InodeId,
    /// File or directory.
    pub kind: Kind,
    /// Bytes; 0 for a directory.
    pub size: u64,
    /// The writer's time of change.
    pub modified: Millis,
    /// Newest version; 0 for a directory.
    pub version: VersionId,
    /// Identifies the content; zero for a directory.
    pub content_root: ChunkId,
}

/// Asks for one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// Which state.
    pub view: View,
    /// Where.
    pub path: Path,
}

/// Answer to [`Stat`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The state it was read from.
    pub seq: Seq,
    /// The entry.
    pub entry: Entry,
}

/// Asks for a page of a directory, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListDir {
    /// Which state.
    pub view: View,
    /// Which directory.
    pub path: Path,
    /// Continue behind this name.
    pub after: Option<Name>,
    /// At most `LIST_PAGE_COUNT_MAX`.
    pub limit: u32,
}

/// Answer to [`ListDir`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The state it was read from.
    pub seq: Seq,
    /// In byte order of their names.
    pub entries: Vec<Entry>,
    /// There is more behind the last one.
    pub more: bool,
}

/// Asks for the content of a file.
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
    /// Its id.
    pub id: VersionId,
    /// The version it was made from.
    pub base: Option<VersionId>,
    /// Who made it.
    pub author: String,
    /// When it was committed.
    pub committed: Millis,
    /// The writer's time of change.
    pub modified: Millis,
    /// Bytes.
    pub size: u64,
    /// Identifies the content.
    pub content_root: ChunkId,
}

/// Answer to [`OpenVersion`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The state it was read from.
    pub seq: Seq,
    /// About it.
    pub version: Version,
    /// Its content.
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
    /// Continue behind (that is, before) this version.
    pub before: Option<VersionId>,
    /// At most `HISTORY_PAGE_COUNT_MAX`.
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

/// Asks for the changes behind a position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullJournal {
    /// Which namespace.
    pub namespace: NamespaceId,
    /// The last position the caller has.
    pub after: Seq,
    /// At most `JOURNAL_PAGE_COUNT_MAX`.
    pub limit: u32,
    /// When there is nothing yet, wait so long for something.
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
    /// The directory.
    pub dir: InodeId,
    /// The name in it.
    pub name: Name,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// An entry appeared: made, or back from the trash.
    Added {
        /// Where.
        at: Place,
        /// What.
        kind: Kind,
    },
    /// A file has a new version.
    Versioned {
        /// Where the file is.
        at: Place,
        /// The new version.
        version: VersionId,
        /// The one it replaced.
        base: Option<VersionId>,
        /// Bytes.
        size: u64,
        /// Identifies the content.
        content_root: ChunkId,
    },
    /// An entry moved.
    Moved {
        /// From.
        source: Place,
        /// To.
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
    /// Its position.
    pub seq: Seq,
    /// When.
    pub time: Millis,
    /// Who.
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
