//! Messages of administrators about disks, and about what was lost with them.

use serde::{Deserialize, Serialize};
use types::{ChunkKey, DiskId, DiskUuid, NodeId, PartitionId};

/// Gives a node a directory to use as a disk, while it runs and after every start: an empty one, a disk that it knows, or
/// one of another node of this cluster that is down or gone. Answered by that node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptDisk {
    /// The directory, on that node's machine; an absolute path.
    pub path: String,
}

/// Answer to [`AdoptDisk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskAdopted {
    /// Which physical disk; `None` when it is still being formatted.
    pub uuid: Option<DiskUuid>,
    /// Its id; `None` when it has none yet.
    pub disk: Option<DiskId>,
    /// It serves. Otherwise it is still being opened.
    pub is_open: bool,
    /// Whose it was before, when that was another node.
    pub from: Option<NodeId>,
}

/// Takes a disk that does not come back out of the cluster for ever. `Conflict` when that would cost data its redundancy,
/// or when it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveDisk {
    /// The one to take out.
    pub disk: DiskId,
    /// Also when it still counts for the redundancy of what is stored.
    pub force: bool,
    /// Only says what would happen.
    pub dry_run: bool,
}

/// Answer to [`RemoveDisk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRemoved {
    /// The node that it was in.
    pub node: NodeId,
    /// Placement groups that have a slot on it.
    pub group_count: u32,
}

/// Asks a partition of the index which of its chunks are lost, a page at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListLost {
    /// Which partition.
    pub partition: PartitionId,
    /// Where the page before ended.
    pub after: Option<ChunkKey>,
}

/// Answer to [`ListLost`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostPage {
    /// Lost chunks, in order; perhaps none of this page.
    pub chunks: Vec<ChunkKey>,
    /// Where to go on; `None` after the last page.
    pub next: Option<ChunkKey>,
}
