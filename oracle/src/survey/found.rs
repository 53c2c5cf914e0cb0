//! What a survey found, as plain values.

use proto::namespace::{Entry, NamespaceStats, Record};
use types::{ChunkId, InodeId, NodeId, Path, Result, VersionId};

use crate::content::Hash;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The root directory.
    pub root: InodeId,
    /// The journal when the clients had stopped.
    pub early: Vec<Record>,
    /// Every entry of a recursive listing at that time, as often as it was listed.
    pub early_tree: Vec<(Path, Entry)>,
    /// The journal after what was in the trash had been brought back.
    pub journal: Vec<Record>,
    /// Every entry of a recursive listing then.
    pub tree: Vec<(Path, Entry)>,
    /// Every version of every file of that tree.
    pub kept: Vec<Kept>,
    /// Chunks of these versions, as single nodes served them.
    pub served: Vec<Served>,
    /// One round of digests for each time they were asked for.
    pub digests: Vec<Vec<Digest>>,
    /// What did not come back from the trash as it went there.
    pub strangers: Vec<String>,
}

/// A version as it was found.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Of which file.
    pub inode: InodeId,
    /// Its id: the position of its commit in the journal.
    pub version: VersionId,
    /// The version it replaced; `None` for the first.
    pub base: Option<VersionId>,
    /// Hash of its bytes, or why they cannot be read.
    pub hash: Result<Hash>,
}

/// A chunk that one node was asked for.
#[derive(Clone, Debug)]
pub struct Served {
    /// Which chunk.
    pub chunk: ChunkId,
    /// Which node.
    pub node: NodeId,
    /// Right bytes, or what came instead.
    pub outcome: Result<()>,
}

/// The state of a namespace on one voter.
#[derive(Clone, Debug)]
pub struct Digest {
    /// Which voter.
    pub node: NodeId,
    /// Its newest position, and the set hash of all its rows.
    pub state: Result<NamespaceStats>,
}
