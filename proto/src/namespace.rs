//! Messages about files and directories.

use chunk::manifest::Manifest;
use serde::{Deserialize, Serialize};
use types::{ChunkId, Error, InodeId, Millis, Name, NamespaceId, Path, RequestId, Scope, Seq, VersionId};

pub use crate::entry::{Attributes, Contents, Entry, Kind, Place, Totals, check_link};
pub use crate::journal::{Change, JournalPage, PullJournal, Record};
use crate::seal::{Receipt, Ticket};
pub use crate::trash::{ListTrash, Removed, TrashPage};

/// What must be at a place for a change of it to be made (I-CAS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// Whatever is there, or nothing.
    Any,
    /// Nothing; otherwise `Exists`.
    Absent,
    /// This entry, in any version; otherwise `Conflict`.
    Inode(InodeId),
    /// This entry, and this is its newest version; otherwise `Conflict`.
    Version(InodeId, VersionId),
}

/// What a new version is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewContent {
    /// Bytes of a file.
    File {
        /// Where they are.
        manifest: Manifest,
        /// One receipt per chunk that the manifest lists (for a tree: one for its root).
        receipts: Vec<Receipt>,
    },
    /// Of a symbolic link.
    Symlink {
        /// What it points to.
        target: String,
    },
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
        /// Of the new directory; those above it are changed now.
        attributes: Attributes,
    },
    /// Adds a version to a file or link, creating it when there is none. A file does not become a link, nor a link a file.
    CommitVersion {
        /// Where it is or will be; the directory must exist.
        path: Path,
        /// What must be there now.
        expect: Expect,
        /// What it is from now on.
        content: NewContent,
        /// What its writer says about it.
        attributes: Attributes,
    },
    /// Replaces the attributes of an entry; no new version.
    SetAttributes {
        /// Which entry.
        path: Path,
        /// What must be there now.
        expect: Expect,
        /// All of them.
        attributes: Attributes,
    },
    /// Moves an entry with everything below it.
    Rename {
        /// Where it is.
        source: Path,
        /// What must be there now.
        expect: Expect,
        /// Where it will be.
        target: Path,
        /// What must be there now; it goes to the trash in the same moment. A directory takes the place of an empty
        /// directory only, anything else of anything but a directory.
        replace: Expect,
    },
    /// A new file or link with the content of another: no bytes move.
    Copy {
        /// Where the other is.
        source: Path,
        /// Which of its versions; `None` for the newest.
        version: Option<VersionId>,
        /// Where the new one will be, or what gets a new version.
        target: Path,
        /// What must be there now.
        expect: Expect,
    },
    /// Moves an entry to the trash.
    Remove {
        /// Where the entry is.
        path: Path,
        /// What must be there now.
        expect: Expect,
        /// Also when it is a directory that is not empty.
        recursive: bool,
    },
    /// Commits the content of an old version again, as the newest.
    RestoreVersion {
        /// Where the file or link is.
        path: Path,
        /// What must be there now.
        expect: Expect,
        /// Which version.
        version: VersionId,
    },
    /// Brings the entry that was last removed from this path back from the trash, to this path.
    Undelete {
        /// Where it was.
        path: Path,
    },
    /// Brings an entry back from the trash.
    RestoreRemoved {
        /// Which: the position at which it was removed.
        removed: Seq,
        /// Where it will be. `None`: in the directory it was removed from, wherever that is now; if that is not in the
        /// tree any more, at the path that it had, with directories created as needed.
        target: Option<Path>,
    },
    /// Makes a directory, with everything in it, a namespace of its own. It leaves this one.
    Split {
        /// Which directory.
        path: Path,
        /// What must be there now.
        expect: Expect,
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
    /// Its newest version; `None` for a directory.
    pub version: Option<VersionId>,
    /// Position of the record that tells of it; 0 when there was nothing to change.
    pub seq: Seq,
    /// The namespace that a directory has become.
    pub namespace: Option<NamespaceId>,
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
    /// What a directory has.
    pub contents: Option<Contents>,
}

/// By what a listing is ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderBy {
    /// Bytes of the name.
    #[default]
    Name,
    /// Time of the last change, as its writer says; then the name.
    Modified,
    /// Bytes of the newest version; then the name.
    Size,
}

/// Where a page has ended. The next one goes on after it, whatever was added or removed meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageToken {
    /// By what the last entry stood where it did; 0 when ordered by name.
    pub value: i64,
    /// The last entry's.
    pub name: Name,
}

/// A directory, as a question names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DirRef {
    /// Whatever is at this path.
    Path(Path),
    /// This one, wherever it is; `NotFound` when it is not in the namespace.
    Inode(InodeId),
}

/// Asks for a page of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListDir {
    /// Which state.
    pub view: View,
    /// Which directory.
    pub dir: DirRef,
    /// In which order. By another than that of names a directory of more than `SORT_ENTRY_COUNT_MAX` entries is refused.
    pub order: OrderBy,
    /// The other way round.
    pub descending: bool,
    /// Continue after this; `None` to begin.
    pub after: Option<PageToken>,
    /// Entries of the page, 1 to `LIST_PAGE_COUNT_MAX`; clamped.
    pub limit: u32,
}

/// Answer to [`ListDir`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The state it was read from.
    pub seq: Seq,
    /// In the order that was asked for.
    pub entries: Vec<Entry>,
    /// Entries of the directory.
    pub count: u64,
    /// Where to go on; `None` after the last entry.
    pub next: Option<PageToken>,
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
    /// Of which file or link.
    pub inode: InodeId,
    /// Counted from 1.
    pub id: VersionId,
    /// The version it replaced; `None` for a file's first.
    pub base: Option<VersionId>,
    /// Who made it.
    pub author: String,
    /// When it was committed.
    pub committed: Millis,
    /// What its writer says about it.
    pub attributes: Attributes,
    /// Length in bytes.
    pub size: u64,
    /// Identifies the content.
    pub content_root: ChunkId,
    /// What a link points to; empty for a file.
    pub target: String,
}

/// Answer to [`OpenVersion`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The state it was read from.
    pub seq: Seq,
    /// The version that was opened.
    pub version: Version,
    /// Its bytes, or the chunks that hold them; no bytes for a link.
    pub manifest: Manifest,
    /// One ticket per chunk that the manifest lists (for a tree: one for its root).
    pub tickets: Vec<Ticket>,
}

/// Asks for tickets that last longer, of who may still read the namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewTickets {
    /// The namespace that the tickets are for.
    pub view: View,
    /// At most `TICKET_RENEW_COUNT_MAX`, each with its chunk.
    pub tickets: Vec<(ChunkId, Ticket)>,
}

/// Answer to [`RenewTickets`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketsRenewed {
    /// In the order of the request.
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
    /// Records up to here are gone.
    pub floor: Seq,
    /// Its root directory.
    pub root: InodeId,
    /// Where its chunks are stored.
    pub scope: Scope,
    /// Everything in it: equal on all replicas at an equal `seq`.
    pub totals: Totals,
}
