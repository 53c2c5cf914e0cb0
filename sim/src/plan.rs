//! What happens in a run, decided from its seed before anything starts. Pure: a plan can be printed, cut down and run
//! again.
//!
//! Owns: which faults there are, when they strike and whom, and the budget within which every promise must hold.

use std::collections::BTreeMap;
use std::fmt;

use env::Random;
use types::limits::{CLOCK_SKEW_MAX, SIM_BEHIND};
use types::{NodeId, Profile};

use crate::world::Shape;

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
/// Of those, the first ones that vote unless one is away for long.
const VOTER_COUNT: u64 = 3;

/// The budget: what may be wrong at once, so that every promise must still hold. With 4+2 over eight nodes any two may
/// be away or damaged; when two of three voters are away there are no answers, and nothing is lost.
struct Budget {
    /// Nodes whose disk has lost something for good: never more than `m` in a run.
    damaged: Vec<NodeId>,
    /// By how many milliseconds clocks are wrong: any two by at most [`CLOCK_SKEW_MAX`].
    skews: BTreeMap<NodeId, i64>,
    /// A voter has lost what it acknowledged. What is acknowledged may be on two voters only, so that in a run one may
    /// lose it, or be gone for good, but not both.
    is_meta_spent: bool,
}

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
        let mut budget = Budget { damaged: Vec::new(), skews: BTreeMap::new(), is_meta_spent: false };
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

/// Shorter and longer than what a failure detector, a lease and an election take.
fn duration(kind: FaultKind, random: &Random) -> u64 {
    match kind {
        FaultKind::Crash => 300 + random.below(8_000),
        FaultKind::Pause => 200 + random.below(5_000),
        // What was set back has missed something.
        FaultKind::Metadata => 2_000 + random.below(6_000),
        FaultKind::Clock | FaultKind::DiskRot => 500,
        _ => 1_000 + random.below(6_000),
    }
}

impl Budget {
    fn draw(&mut self, kind: FaultKind, shape: Shape, random: &Random) -> Option<Fault> {
        let node = || NodeId(1 + random.below(shape.nodes));
        let pick = |count: u64| random.below(count);
        Some(match kind {
            FaultKind::Crash => match pick(6) {
                0 => Fault::CrashAll,
                1 => Fault::CrashLeader(pick(5) as usize),
                2 => Fault::Crash(two_with_one_voter(shape, random)),
                // No quorum for a while: no answers then, and no wrong ones.
                3 => Fault::Crash(vec![NodeId(1 + pick(2)), NodeId(3)]),
                _ => Fault::Crash(vec![node()]),
            },
            FaultKind::Pause => match pick(3) {
                0 => Fault::Pause(node()),
                1 => Fault::Suspend(node()),
                _ => Fault::SuspendLeader(pick(5) as usize),
            },
            FaultKind::Partition => match pick(4) {
                0 => Fault::Isolate(node()),
                1 => {
                    let from = node();
                    Fault::CutOneWay(from, NodeId(1 + from.0 % shape.nodes))
                }
                3 => Fault::SplitLeader(pick(5) as usize),
                _ => Fault::Split(two_with_one_voter(shape, random)),
            },
            FaultKind::Links => match pick(3) {
                0 => Fault::Loss(10_000 + pick(90_000) as u32),
                1 => Fault::Reorder(50_000 + pick(200_000) as u32),
                _ => Fault::Delay(5 + pick(60)),
            },
            FaultKind::Clock => self.set_clock(node(), random),
            FaultKind::DiskErrors => match pick(3) {
                0 => Fault::ReadErrors(node(), 20_000 + pick(300_000) as u32),
                1 => Fault::WriteError(self.damage(shape, random)?),
                _ => Fault::ShortWrite(self.damage(shape, random)?),
            },
            FaultKind::DiskRot => match pick(2) {
                0 => Fault::BitRot(self.damage(shape, random)?, 1 + pick(20)),
                _ => Fault::Misdirect(self.damage(shape, random)?, 20_000 + pick(100_000) as u32),
            },
            FaultKind::DiskSpace => Fault::Full(node()),
            FaultKind::DiskTime => match pick(2) {
                0 => Fault::Hang(node()),
                _ => Fault::Slow(node(), 5 + pick(200)),
            },
            FaultKind::Store => match pick(2) {
                0 => Fault::StoreErrors(self.damage(shape, random)?, 10_000 + pick(50_000) as u32),
                _ => Fault::LostIndex(node()),
            },
            FaultKind::Metadata => self.harm(shape, random)?,
            FaultKind::Voter => {
                let node = NodeId(1 + pick(shape.meta));
                let is_allowed = self.has_room(shape, 1) && !self.is_meta_spent;
                is_allowed.then_some(Fault::Gone(vec![node]))?
            }
            FaultKind::Loss => {
                if self.is_meta_spent {
                    return None;
                }
                let mut others: Vec<NodeId> = (shape.meta + 1..=shape.nodes).map(NodeId).collect();
                let slow = others.swap_remove(pick(others.len() as u64) as usize);
                others.truncate(shape.profile.m.into());
                self.has_room(shape, others.len()).then_some(Fault::GoneBehindSlow(slow, others))?
            }
        })
    }

    /// A clock that jumps from where it is to anywhere it may be.
    fn set_clock(&mut self, node: NodeId, random: &Random) -> Fault {
        let most = CLOCK_SKEW_MAX.as_millis() as u64 / 2;
        let skew = random.below(2 * most + 1) as i64 - most as i64;
        let before = self.skews.insert(node, skew).unwrap_or_default();
        Fault::ClockJump(node, skew - before)
    }

    /// The one voter that comes to harm, by itself or while another is behind.
    fn harm(&mut self, shape: Shape, random: &Random) -> Option<Fault> {
        if std::mem::replace(&mut self.is_meta_spent, true) {
            return None;
        }
        let count = 1 + random.below(4);
        let told = [Harm::Lost, Harm::LogLost, Harm::StatesLost, Harm::SetBack, Harm::StatesRot(count)];
        if random.below(3) == 0 {
            // Only what the node itself knows of: those who know more may be away.
            let harmed = 1 + random.below(VOTER_COUNT);
            let behind = 1 + (harmed + random.below(VOTER_COUNT - 1)) % VOTER_COUNT;
            let harm = told[random.below(told.len() as u64) as usize];
            return Some(Fault::MetadataBehind(NodeId(harmed), NodeId(behind), harm));
        }
        let node = NodeId(1 + random.below(shape.meta));
        let harm = match random.below(told.len() as u64 + 2) as usize {
            0 => Harm::LogRot(count),
            // What it was to repair is forgotten as well.
            1 if self.has_room(shape, 1) => {
                self.damaged.push(node);
                Harm::NodeSetBack
            }
            at => told[at.saturating_sub(2)],
        };
        Some(Fault::Metadata(node, harm))
    }

    /// True when so many more nodes may be gone for good.
    fn has_room(&self, shape: Shape, count: usize) -> bool {
        self.damaged.len() + count <= usize::from(shape.profile.m)
    }

    /// A node that may lose something for good: one of at most two, and none that votes, because what a voter's log
    /// has lost is another budget.
    fn damage(&mut self, shape: Shape, random: &Random) -> Option<NodeId> {
        let candidates = shape.nodes - shape.meta;
        let node = NodeId(shape.meta + 1 + random.below(candidates));
        if self.damaged.contains(&node) {
            return Some(node);
        }
        let is_allowed = self.has_room(shape, 1);
        if is_allowed {
            self.damaged.push(node);
        }
        is_allowed.then_some(node)
    }
}

fn two_with_one_voter(shape: Shape, random: &Random) -> Vec<NodeId> {
    let first = 1 + random.below(shape.nodes);
    let others: Vec<u64> =
        (1..=shape.nodes).filter(|id| *id != first && (*id > shape.meta || first > shape.meta)).collect();
    let second = others[random.below(others.len() as u64) as usize];
    vec![NodeId(first), NodeId(second)]
}

#[cfg(test)]
mod tests;
