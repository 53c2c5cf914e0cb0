//! What happens in a run, decided from its seed before anything starts. Pure: a plan can be printed, cut down and run
//! again.
//!
//! Owns: which faults there are, when they strike and whom, and the budget within which every promise must hold.

mod budget;

use std::fmt;

use env::Random;
use types::limits::SIM_BEHIND;
use types::{NodeId, Profile};

use crate::world::Shape;
use budget::{Budget, duration};

/// A fault, and what it strikes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Power loss of these nodes at once: unsynced bytes and names are gone.
    Crash(Vec<NodeId>),
    /// Power loss of all nodes at once.
    CrashAll,
    /// Power loss of the node that leads this partition when it strikes, by its place in the map.
    CrashLeader(usize),
    /// The node stands still; time goes on without it.
    Pause(NodeId),
    /// The machine of the node is suspended: its monotonic clock stands still as well.
    Suspend(NodeId),
    /// The machine of the node that leads this partition, by its place in the map, is suspended.
    SuspendLeader(usize),
    /// Nothing goes between the node and the others, in either direction.
    Isolate(NodeId),
    /// Nothing that the first sends reaches the second.
    CutOneWay(NodeId, NodeId),
    /// These nodes cannot reach the others; clients reach all.
    Split(Vec<NodeId>),
    /// The node that leads this partition, by its place in the map, cannot reach the others; clients reach all.
    SplitLeader(usize),
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
    /// The metadata of the node is harmed while the node is down.
    Metadata(NodeId, Harm),
    /// The first two vote. The second is cut off for a while, as in [`SIM_BEHIND`]; then the first comes to harm, and
    /// those two are without the third: what was acknowledged meanwhile is safe there, and nowhere else.
    MetadataBehind(NodeId, NodeId, Harm),
    /// These nodes are gone for good.
    Gone(Vec<NodeId>),
    /// The disk of the first hangs; then it loses its power for a moment, and the others are gone for good. What was
    /// acknowledged meanwhile has lost no more disks than a profile allows.
    GoneBehindSlow(NodeId, Vec<NodeId>),
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
    /// Kinds that a cluster survives as it is: what a plan is drawn from unless others are named.
    pub const SURVIVED: [FaultKind; 12] = [
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
    ];

    /// Kinds that break promises as long as nobody has built what survives them; each names what it finds.
    pub const UNSOLVED: [FaultKind; 1] = [FaultKind::Loss];

    /// All kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::SURVIVED.into_iter().chain(Self::UNSOLVED)
    }

    /// True when it takes nodes away that do not come back.
    pub fn is_for_good(self) -> bool {
        matches!(self, FaultKind::Voter | FaultKind::Loss)
    }

    /// The kind of this name, as the command line writes it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::all().find(|kind| format!("{kind:?}").eq_ignore_ascii_case(name))
    }
}

/// A fault and its times, in milliseconds since the workload began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// When it begins.
    pub at_ms: u64,
    /// How long until it is undone.
    pub for_ms: u64,
    /// What it is.
    pub fault: Fault,
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.at_ms, self.at_ms + self.for_ms);
        write!(
            f,
            "{:>3}.{:03} to {:>3}.{:03}: {:?}",
            from / 1000,
            from % 1000,
            to / 1000,
            to % 1000,
            self.fault
        )
    }
}

/// A run: everything that decides what happens in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Decides everything that is not written here.
    pub seed: u64,
    /// How many nodes, of which kinds.
    pub shape: Shape,
    /// Clients that change things; one more only asks, two follow the journal.
    pub clients: u64,
    /// Simulated seconds of work.
    pub seconds: u64,
    /// What goes wrong, by time.
    pub strikes: Vec<Strike>,
    /// True when also that is held against the cluster which is known to be broken until its part is replaced: parts of
    /// chunks that repair forgets.
    pub is_strict: bool,
}

/// What a plan is drawn with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Nodes of the cluster.
    pub nodes: u64,
    /// Clients that change things.
    pub clients: u64,
    /// Simulated seconds of work.
    pub seconds: u64,
    /// Kinds of faults to draw from.
    pub kinds: Vec<FaultKind>,
    /// Positions in the plan that are left out: how a shrunk plan is named.
    pub without: Vec<usize>,
    /// As in [`Plan`].
    pub is_strict: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 8,
            clients: 4,
            seconds: 60,
            kinds: FaultKind::SURVIVED.to_vec(),
            without: Vec::new(),
            is_strict: false,
        }
    }
}

/// Nodes that hold metadata: the voters, and one more that can take the place of one.
const META_COUNT: u64 = 4;

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64, options: &Options) -> Self {
        let random = Random::seeded(seed ^ 0x5eed);
        let shape =
            Shape { nodes: options.nodes, meta: META_COUNT, profile: Profile { k: 4, m: 2 }, pg_count: 64 };
        let (last, others): (Vec<FaultKind>, Vec<FaultKind>) =
            options.kinds.iter().partition(|kind| kind.is_for_good());
        // A swarm: every seed leaves out about a third of the kinds.
        let kinds: Vec<FaultKind> = others.into_iter().filter(|_| random.below(3) > 0).collect();
        let mut strikes = Vec::new();
        let mut budget = Budget::default();
        let mut at_ms = 1_000 + random.below(2_000);
        while !kinds.is_empty() && at_ms < options.seconds * 1_000 {
            let kind = kinds[random.below(kinds.len() as u64) as usize];
            let for_ms = duration(kind, &random);
            if let Some(fault) = budget.draw(kind, shape, &random) {
                let lead_ms = fault.lead_ms();
                strikes.push(Strike { at_ms, for_ms, fault });
                at_ms += lead_ms;
            }
            // One after the other, with time to heal: what may be wrong at once stays within the budget.
            at_ms += for_ms + 2_000 + random.below(6_000);
        }
        // Nothing may come after what takes the whole budget.
        let is_lost = options.kinds.len() == 1 || random.below(3) == 0;
        if let Some(kind) = last.first().filter(|_| is_lost) {
            at_ms = at_ms.max(options.seconds * 1_000);
            let fault = budget.draw(*kind, shape, &random);
            strikes.extend(fault.map(|fault| Strike { at_ms, for_ms: duration(*kind, &random), fault }));
        }
        let keep = |(index, strike): (usize, Strike)| (!options.without.contains(&index)).then_some(strike);
        let strikes = strikes.into_iter().enumerate().filter_map(keep).collect();
        let (clients, seconds, is_strict) = (options.clients, options.seconds, options.is_strict);
        Self { seed, shape, clients, seconds, strikes, is_strict }
    }

    /// All nodes that do not come back.
    pub fn gone(&self) -> Vec<NodeId> {
        self.strikes.iter().flat_map(|strike| strike.fault.gone()).copied().collect()
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
    fn lead_ms(&self) -> u64 {
        match self {
            Fault::MetadataBehind(..) => SIM_BEHIND.as_millis() as u64,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests;
