//! What may go wrong in one run, so that every promise must still hold.

use std::collections::BTreeMap;

use env::Random;
use types::NodeId;
use types::limits::{CLOCK_SKEW_MAX, PARTITION_COUNT_MAX};

use super::fault::{Fault, FaultKind, Harm, Led};
use crate::world::Shape;

/// Of the nodes with metadata, the first ones: those that vote unless one is away for long.
const VOTER_COUNT: u64 = 3;

/// The budget: what may be wrong at once, so that every promise must still hold. With 4+2 over eight nodes any two may
/// be away or damaged; when two of three voters are away there are no answers, and nothing is lost.
#[derive(Default)]
pub struct Budget {
    /// Nodes whose disk has lost something for good: never more than `m` in a run.
    damaged: Vec<NodeId>,
    /// By how many milliseconds clocks are wrong: any two by at most [`CLOCK_SKEW_MAX`].
    skews: BTreeMap<NodeId, i64>,
    /// A voter has lost what it acknowledged. What is acknowledged may be on two voters only, so that in a run one may
    /// lose it, or be gone for good, but not both.
    is_meta_spent: bool,
}

/// Shorter and longer than what a failure detector, a lease and an election take.
pub fn duration(kind: FaultKind, random: &Random) -> u64 {
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
    /// A fault of this kind; `None` when the budget has none left.
    pub fn draw(&mut self, kind: FaultKind, shape: Shape, random: &Random) -> Option<Fault> {
        let node = || NodeId(1 + random.below(shape.nodes));
        let pick = |count: u64| random.below(count);
        Some(match kind {
            FaultKind::Crash => match pick(6) {
                0 => Fault::CrashAll,
                1 => Fault::CrashLeader(led(random)),
                2 => Fault::Crash(two_with_one_voter(shape, random)),
                // No quorum for a while: no answers then, and no wrong ones.
                3 => Fault::Crash(vec![NodeId(1 + pick(2)), NodeId(3)]),
                _ => Fault::Crash(vec![node()]),
            },
            FaultKind::Pause => match pick(3) {
                0 => Fault::Pause(node()),
                1 => Fault::Suspend(node()),
                _ => Fault::SuspendLeader(led(random)),
            },
            FaultKind::Partition => match pick(4) {
                0 => Fault::Isolate(node()),
                1 => {
                    let from = node();
                    Fault::CutOneWay(from, NodeId(1 + from.0 % shape.nodes))
                }
                3 => Fault::SplitLeader(led(random)),
                _ => Fault::Split(two_with_one_voter(shape, random)),
            },
            FaultKind::Links => match pick(3) {
                0 => Fault::Loss(10_000 + pick(90_000) as u32),
                1 => Fault::Reorder(50_000 + pick(200_000) as u32),
                _ => Fault::Delay(5 + pick(60)),
            },
            FaultKind::Clock => self.set_clock(node(), random),
            FaultKind::DiskErrors => match pick(4) {
                0 => Fault::ReadErrors(node(), 20_000 + pick(300_000) as u32),
                3 => Fault::UnreadableStart(node(), 20_000 + pick(300_000) as u32),
                1 => Fault::WriteError(self.damage(shape, random)?),
                _ => Fault::ShortWrite(self.damage(shape, random)?),
            },
            FaultKind::DiskRot => match pick(3) {
                0 => Fault::BitRot(self.damage(shape, random)?, 1 + pick(20)),
                1 => Fault::LostSegments(self.damage(shape, random)?, pick(2) == 0),
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

    /// The one voter that comes to harm, by itself or while another is behind; or two that lose their states only.
    fn harm(&mut self, shape: Shape, random: &Random) -> Option<Fault> {
        if std::mem::replace(&mut self.is_meta_spent, true) {
            return None;
        }
        if random.below(2) == 0 {
            // Only what the node itself knows of: those who know more may be away.
            let told = [Harm::Lost, Harm::LogLost, Harm::SetBack];
            let harmed = 1 + random.below(VOTER_COUNT);
            let behind = 1 + (harmed + random.below(VOTER_COUNT - 1)) % VOTER_COUNT;
            let harm = told[random.below(told.len() as u64) as usize];
            return Some(Fault::MetadataBehind(NodeId(harmed), NodeId(behind), harm));
        }
        let (node, count) = (NodeId(1 + random.below(shape.meta)), 1 + random.below(4));
        let harm = match random.below(7) {
            0 => Harm::Lost,
            1 => Harm::LogLost,
            2 => Harm::StatesLost,
            3 => Harm::StatesRot(count),
            4 => Harm::LogRot(count),
            // What it was to repair is forgotten as well.
            5 if self.has_room(shape, 1) => {
                self.damaged.push(node);
                Harm::NodeSetBack
            }
            _ => Harm::SetBack,
        };
        let mut nodes = vec![node];
        // What two have promised stands in their logs, and the third has the state.
        if harm.is_of_states() && random.below(2) == 0 {
            nodes.push(NodeId(1 + node.0 % shape.meta));
        }
        Some(Fault::Metadata(nodes, harm))
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

/// Mostly where clients would notice.
fn led(random: &Random) -> Led {
    if random.below(3) > 0 {
        Led::Home
    } else {
        Led::Place(random.below(PARTITION_COUNT_MAX.into()) as usize)
    }
}

fn two_with_one_voter(shape: Shape, random: &Random) -> Vec<NodeId> {
    let first = 1 + random.below(shape.nodes);
    let others: Vec<u64> =
        (1..=shape.nodes).filter(|id| *id != first && (*id > shape.meta || first > shape.meta)).collect();
    let second = others[random.below(others.len() as u64) as usize];
    vec![NodeId(first), NodeId(second)]
}
