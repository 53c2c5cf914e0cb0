//! What can go wrong in a run.

use types::NodeId;
use types::limits::SIM_BEHIND;

/// A fault, and what it strikes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Power loss of these nodes at once: unsynced bytes and names are gone.
    Crash(Vec<NodeId>),
    /// Power loss of all nodes at once.
    CrashAll,
    /// Power loss of the node that leads this partition when it strikes.
    CrashLeader(Led),
    /// The node stands still; time goes on without it.
    Pause(NodeId),
    /// The machine of the node is suspended: its monotonic clock stands still as well.
    Suspend(NodeId),
    /// The machine of the node that leads this partition is suspended. When it wakes up it hears its clients first, and
    /// the other nodes a moment later.
    SuspendLeader(Led),
    /// Nothing goes between the node and the others, in either direction.
    Isolate(NodeId),
    /// Nothing that the first sends reaches the second.
    CutOneWay(NodeId, NodeId),
    /// These nodes cannot reach the others; clients reach all.
    Split(Vec<NodeId>),
    /// The node that leads this partition cannot reach the others; clients reach all.
    SplitLeader(Led),
    /// Every message may be lost, in millionths.
    Loss(u32),
    /// Messages overtake each other: some, in millionths, are held back.
    Reorder(u32),
    /// Every message takes longer, in milliseconds.
    Delay(u64),
    /// The wall clock of the node jumps, in milliseconds.
    ClockJump(NodeId, i64),
    /// The disk of the node answers some reads with EIO, in millionths.
    ReadErrors(NodeId, u32),
    /// The next write of a shard on the node fails with EIO: its disk is read-only from then on.
    WriteError(NodeId),
    /// The next write of a shard on the node ends early.
    ShortWrite(NodeId),
    /// Bits of the node's segments flip.
    BitRot(NodeId, u64),
    /// Writes of shards on the node go to another place, in millionths.
    Misdirect(NodeId, u32),
    /// The segments of the node's disk are gone, and its index with them or not.
    LostSegments(NodeId, bool),
    /// The node loses its power, and when it starts again its disk answers some reads with EIO, in millionths.
    UnreadableStart(NodeId, u32),
    /// The disk of the node is full.
    Full(NodeId),
    /// Nothing that the node asks of its disk ends.
    Hang(NodeId),
    /// Everything the node asks of its disk takes longer, in milliseconds.
    Slow(NodeId, u64),
    /// The stores of the node fail some reads, in millionths.
    StoreErrors(NodeId, u32),
    /// The index of the node's disk is lost while the node is down.
    LostIndex(NodeId),
    /// The metadata of these nodes is harmed while they are down: of more than one only the states.
    Metadata(Vec<NodeId>, Harm),
    /// The first two vote. The second is cut off for a while, as in [`SIM_BEHIND`]; then the first comes to harm, and
    /// those two are without the third: what was acknowledged meanwhile is safe there, and nowhere else.
    MetadataBehind(NodeId, NodeId, Harm),
    /// These nodes are gone for good.
    Gone(Vec<NodeId>),
    /// The disk of the first hangs; then it loses its power for a moment, and the others are gone for good. What was
    /// acknowledged meanwhile has lost no more disks than a profile allows.
    GoneBehindSlow(NodeId, Vec<NodeId>),
}

/// The partition whose leader is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Led {
    /// That of the namespace in which clients work.
    Home,
    /// Any, by its place in the map.
    Place(usize),
}

/// What becomes of the metadata of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// The log and the states are gone.
    Lost,
    /// The log is gone.
    LogLost,
    /// The states are gone.
    StatesLost,
    /// The log and the states are what they were when the fault began.
    SetBack,
    /// The whole data directory is.
    NodeSetBack,
    /// So many rows of the states rot.
    StatesRot(u64),
    /// So many bits of the log flip.
    LogRot(u64),
}

impl Harm {
    /// True when the log is what it was, and the votes in it.
    pub fn is_of_states(self) -> bool {
        matches!(self, Harm::StatesLost | Harm::StatesRot(_))
    }

    /// True when the node runs on for the time of the fault, and comes to harm at its end.
    pub fn is_late(self) -> bool {
        matches!(self, Harm::SetBack | Harm::NodeSetBack)
    }
}

/// The kinds that a run draws from. Each seed leaves out a few: faults hide each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is a fault or a group of them")]
pub enum FaultKind {
    Crash,
    Pause,
    Partition,
    Links,
    Clock,
    DiskErrors,
    DiskRot,
    DiskSpace,
    DiskTime,
    Store,
    Voter,
    Metadata,
    Loss,
}

impl FaultKind {
    /// All kinds: what a plan is drawn from unless others are named.
    pub const ALL: [FaultKind; 13] = [
        FaultKind::Crash,
        FaultKind::Pause,
        FaultKind::Partition,
        FaultKind::Links,
        FaultKind::Clock,
        FaultKind::DiskErrors,
        FaultKind::DiskRot,
        FaultKind::DiskSpace,
        FaultKind::DiskTime,
        FaultKind::Store,
        FaultKind::Voter,
        FaultKind::Metadata,
        FaultKind::Loss,
    ];

    /// True when it takes nodes away that do not come back.
    pub fn is_for_good(self) -> bool {
        matches!(self, FaultKind::Voter | FaultKind::Loss)
    }

    /// The kind of this name, as the command line writes it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| format!("{kind:?}").eq_ignore_ascii_case(name))
    }
}

impl Fault {
    /// The nodes that do not come back.
    pub fn gone(&self) -> &[NodeId] {
        match self {
            Fault::Gone(nodes) | Fault::GoneBehindSlow(_, nodes) => nodes,
            _ => &[],
        }
    }

    /// How long it takes to begin, in milliseconds.
    pub fn lead_ms(&self) -> u64 {
        match self {
            Fault::MetadataBehind(..) => SIM_BEHIND.as_millis() as u64,
            _ => 0,
        }
    }
}
