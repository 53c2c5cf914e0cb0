//! Messages of administrators about disks, and about what was lost with them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::{ChunkKey, DiskId, DiskUuid, Millis, NodeId, PartitionId};

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

/// Asks a node how the repair of its disks goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchHealing {}

/// Answer to [`FetchHealing`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healing {
    /// By disk of the node; only those that ever had something to repair.
    pub disks: BTreeMap<DiskId, DiskHealing>,
}

/// How the repair of a disk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskHealing {
    /// Slots that are to be filled.
    pub slots: u32,
    /// How much of that is done since it began, in thousandths.
    pub per_mille: u16,
    /// Parts that cannot be made at the moment: they wait aside and are tried again.
    pub aside: u64,
    /// Parts made since the node started, and their bytes.
    pub made: u64,
    /// See `made`.
    pub bytes: u64,
    /// Bytes a second, lately.
    pub bytes_per_second: u64,
    /// Seconds until all slots are filled, if it goes on like this; `None` while nobody knows.
    pub seconds_left: Option<u64>,
    /// What holds it up most.
    pub limit: HealLimit,
}

/// What repair waits for most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealLimit {
    /// There is nothing to repair.
    Nothing,
    /// The index says slowly what should be there.
    Index,
    /// Users are served first.
    Users,
    /// Other disks are read, and the network brings it.
    Sources,
    /// The disk itself is written.
    Write,
    /// Too few parts can be read of what is left to repair: disks must come back.
    Missing,
}

/// Says how a node verifies its disks, or only asks. For administrators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlScrub {
    /// Which disk; `None` for all of the node.
    pub disk: Option<DiskId>,
    /// What it is to do from now on; `None` for what it does.
    pub mode: Option<ScrubMode>,
}

/// How a disk is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScrubMode {
    /// A little at a time, all of it within a month.
    Scheduled,
    /// As fast as users allow, until all of it was read.
    Now,
    /// Not at all, until the node starts again.
    Paused,
}

/// Answer to [`ControlScrub`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrubbed {
    /// The disks that were asked about.
    pub disks: BTreeMap<DiskId, ScrubStatus>,
}

/// How far a disk is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// How it goes on.
    pub mode: ScrubMode,
    /// Bytes that this pass has read.
    pub checked: u64,
    /// Damaged or unreadable places that it has found.
    pub found: u64,
    /// Complete passes.
    pub passes: u64,
    /// When the last of them was.
    pub last_pass: Option<Millis>,
}
