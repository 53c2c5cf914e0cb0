//! The journal: every change of a namespace in order, for whoever follows it.

use serde::{Deserialize, Serialize};
use types::{InodeId, Millis, NamespaceId, Seq, VersionId};

use crate::entry::{Entry, Place};

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
    /// Records up to here are gone. Who asks for one of them gets none: it lists the tree anew, and goes on from `head`.
    pub floor: Seq,
}

/// What changed. Each says enough for a follower that knows the tree at the record before; who meets a directory that
/// it does not know lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A directory, file or link is new.
    Created {
        /// In which directory.
        dir: InodeId,
        /// As it is from now on.
        entry: Entry,
    },
    /// A file or link has a new version.
    Versioned {
        /// In which directory.
        dir: InodeId,
        /// As it is from now on.
        entry: Entry,
        /// The version it replaced.
        base: VersionId,
    },
    /// An entry has other attributes.
    Attributed {
        /// In which directory.
        dir: InodeId,
        /// As it is from now on.
        entry: Entry,
    },
    /// An entry moved, with everything below it.
    Moved {
        /// Where it was.
        source: Place,
        /// The path that it had.
        source_path: String,
        /// To which directory.
        dir: InodeId,
        /// As it is from now on.
        entry: Entry,
        /// What it took the place of, which is in the trash now.
        replaced: Option<InodeId>,
    },
    /// An entry went to the trash, with everything below it.
    Removed {
        /// From which directory.
        dir: InodeId,
        /// As it was.
        entry: Entry,
    },
    /// An entry came back from the trash, with everything below it.
    Returned {
        /// To which directory.
        dir: InodeId,
        /// As it is from now on.
        entry: Entry,
        /// When it was removed.
        removed: Seq,
    },
    /// A directory is a namespace of its own from now on, with everything below it. It is not in this one any more.
    Split {
        /// From which directory.
        dir: InodeId,
        /// As it was.
        entry: Entry,
        /// Which namespace.
        namespace: NamespaceId,
    },
    /// First record of a namespace that was a directory: its tree begins as what was below that one then.
    Base {
        /// Of which namespace.
        namespace: NamespaceId,
        /// The position there, of the record that says `Split`.
        seq: Seq,
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
    /// The path that it has from now on; that it had, when it is not in the tree any more. `/` for `Base`.
    pub path: String,
    /// What happened to it.
    pub change: Change,
}
