//! What happens in a run, decided from its seed before anything starts. Pure: a plan can be printed, cut down and run
//! again.
//!
//! Owns: which faults there are, when they strike and whom, and the budget within which every promise must hold.

use std::fmt;

use env::Random;
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
    /// Nothing goes between the node and the others, in either direction.
    Isolate(NodeId),
    /// Nothing that the first sends reaches the second.
    CutOneWay(NodeId, NodeId),
    /// These nodes cannot reach the others.
    Split(Vec<NodeId>),
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
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [FaultKind; 10] = [
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
    ];

    /// The kind of this name, as the command line writes it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| format!("{kind:?}").eq_ignore_ascii_case(name))
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
    /// Clients that change things; two more follow the journal.
    pub clients: u64,
    /// Simulated seconds of work.
    pub seconds: u64,
    /// What goes wrong, by time.
    pub strikes: Vec<Strike>,
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
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 8, clients: 4, seconds: 60, kinds: FaultKind::ALL.to_vec(), without: Vec::new() }
    }
}

/// The budget: what may be wrong at once, so that every promise must still hold. With 4+2 over eight nodes any two may
/// be away or damaged, and of three voters one.
struct Budget {
    /// Nodes whose disk has lost something for good: never more than `m` in a run.
    damaged: Vec<NodeId>,
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64, options: &Options) -> Self {
        let random = Random::seeded(seed ^ 0x5eed);
        let shape = Shape { nodes: options.nodes, meta: 3, profile: Profile { k: 4, m: 2 }, pg_count: 64 };
        // A swarm: every seed leaves out about a third of the kinds.
        let kinds: Vec<FaultKind> = options.kinds.iter().copied().filter(|_| random.below(3) > 0).collect();
        let mut strikes = Vec::new();
        let mut budget = Budget { damaged: Vec::new() };
        let mut at_ms = 1_000 + random.below(2_000);
        while !kinds.is_empty() && at_ms < options.seconds * 1_000 {
            let kind = kinds[random.below(kinds.len() as u64) as usize];
            let for_ms = duration(kind, &random);
            if let Some(fault) = budget.draw(kind, shape, &random) {
                strikes.push(Strike { at_ms, for_ms, fault });
            }
            // One after the other, with time to heal: what may be wrong at once stays within the budget.
            at_ms += for_ms + 2_000 + random.below(6_000);
        }
        let keep = |(index, strike): (usize, Strike)| (!options.without.contains(&index)).then_some(strike);
        let strikes = strikes.into_iter().enumerate().filter_map(keep).collect();
        Self { seed, shape, clients: options.clients, seconds: options.seconds, strikes }
    }
}

/// Shorter and longer than what a failure detector, a lease and an election take.
fn duration(kind: FaultKind, random: &Random) -> u64 {
    match kind {
        FaultKind::Crash => 300 + random.below(8_000),
        FaultKind::Pause => 200 + random.below(5_000),
        FaultKind::Clock | FaultKind::DiskRot => 500,
        _ => 1_000 + random.below(6_000),
    }
}

impl Budget {
    fn draw(&mut self, kind: FaultKind, shape: Shape, random: &Random) -> Option<Fault> {
        let node = || NodeId(1 + random.below(shape.nodes));
        let pick = |count: u64| random.below(count);
        Some(match kind {
            FaultKind::Crash => match pick(5) {
                0 => Fault::CrashAll,
                1 => Fault::CrashLeader(pick(5) as usize),
                2 => Fault::Crash(two_with_one_voter(shape, random)),
                _ => Fault::Crash(vec![node()]),
            },
            FaultKind::Pause => Fault::Pause(node()),
            FaultKind::Partition => match pick(3) {
                0 => Fault::Isolate(node()),
                1 => {
                    let from = node();
                    Fault::CutOneWay(from, NodeId(1 + from.0 % shape.nodes))
                }
                _ => Fault::Split(two_with_one_voter(shape, random)),
            },
            FaultKind::Links => match pick(3) {
                0 => Fault::Loss(10_000 + pick(90_000) as u32),
                1 => Fault::Reorder(50_000 + pick(200_000) as u32),
                _ => Fault::Delay(5 + pick(60)),
            },
            FaultKind::Clock => Fault::ClockJump(node(), pick(7_200_000) as i64 - 3_600_000),
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
        })
    }

    /// A node that may lose something for good: one of at most two, and none that votes, because what a voter's log
    /// has lost is another budget.
    fn damage(&mut self, shape: Shape, random: &Random) -> Option<NodeId> {
        let candidates = shape.nodes - shape.meta;
        let node = NodeId(shape.meta + 1 + random.below(candidates));
        if self.damaged.contains(&node) {
            return Some(node);
        }
        let is_allowed = self.damaged.len() < usize::from(shape.profile.m);
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
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_has_one_plan_and_seeds_differ() {
        let options = Options::default();
        assert_eq!(Plan::draw(7, &options), Plan::draw(7, &options));
        assert_ne!(Plan::draw(7, &options).strikes, Plan::draw(8, &options).strikes);
    }

    #[test]
    fn plans_stay_within_the_budget() {
        for seed in 0..300 {
            let plan = Plan::draw(seed, &Options::default());
            let is_voter = |node: &NodeId| node.0 <= plan.shape.meta;
            let mut damaged = BTreeSet::new();
            for strike in &plan.strikes {
                match &strike.fault {
                    Fault::Crash(nodes) | Fault::Split(nodes) => {
                        assert!(
                            nodes.len() <= 2 && nodes.iter().filter(|n| is_voter(n)).count() <= 1,
                            "{strike}"
                        );
                        assert!(nodes.len() < 2 || nodes[0] != nodes[1], "{strike}");
                    }
                    Fault::CutOneWay(from, to) => assert_ne!(from, to),
                    Fault::WriteError(node)
                    | Fault::ShortWrite(node)
                    | Fault::BitRot(node, _)
                    | Fault::Misdirect(node, _)
                    | Fault::StoreErrors(node, _) => {
                        assert!(!is_voter(node), "{strike}");
                        damaged.insert(*node);
                    }
                    _ => {}
                }
            }
            assert!(damaged.len() <= 2, "seed {seed}");
            let ends = plan.strikes.windows(2).all(|two| two[0].at_ms + two[0].for_ms < two[1].at_ms);
            assert!(ends, "seed {seed}: two faults at once");
        }
    }

    #[test]
    fn every_kind_is_drawn_and_can_be_left_out() {
        let kinds: BTreeSet<String> = (0..100)
            .flat_map(|seed| Plan::draw(seed, &Options::default()).strikes)
            .map(|strike| {
                format!("{:?}", strike.fault).chars().take_while(char::is_ascii_alphabetic).collect()
            })
            .collect();
        assert_eq!(kinds.len(), 21, "{kinds:?}");
        let only = Options { kinds: vec![FaultKind::Pause], ..Options::default() };
        for strike in (0..20).flat_map(|seed| Plan::draw(seed, &only).strikes) {
            assert!(matches!(strike.fault, Fault::Pause(_)), "{strike}");
        }
        let all = Plan::draw(3, &Options::default());
        let fewer = Plan::draw(3, &Options { without: vec![0], ..Options::default() });
        assert_eq!(fewer.strikes, all.strikes[1..]);
        assert_eq!(FaultKind::parse("diskrot"), Some(FaultKind::DiskRot));
        assert_eq!(FaultKind::parse("x"), None);
    }
}
