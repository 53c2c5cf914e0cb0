//! The entries of a group, and what the log knows of the group beside them.

use bytes::Bytes;
use types::limits::COUNTER_MAX;

/// Name of an entry. Ordered by term, then index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    pub term: u64,
    pub index: u64,
}

impl EntryId {
    /// False of what is too large to be counted on from.
    pub fn is_possible(self) -> bool {
        self.term <= COUNTER_MAX && self.index <= COUNTER_MAX
    }
}

/// An entry of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub id: EntryId,
    pub body: Bytes,
}

/// Whom a group on this node has voted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedVote {
    pub term: u64,
    pub node: u64,
    pub committed: bool,
}

/// What is known of a group beside its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    pub vote: Option<SavedVote>,
    /// The newest entry that is gone from the front.
    pub purged: Option<EntryId>,
    /// The newest entry; `purged` when there is none.
    pub last: Option<EntryId>,
    /// The newest entry known to be committed; may be older than the truth.
    pub committed: Option<EntryId>,
}
