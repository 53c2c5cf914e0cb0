//! Which faults, in which order, and to whom. Pure: everything follows from the seed and the answers of the cluster.
//!
//! Owns: the rule that a fault takes away no more than the profile (m = 2) and a quorum of three can lose, or all.

use std::fmt;

use client::health::leader;
use env::Random;
use proto::cluster::ClusterStatus;
use types::NodeId;

/// Something bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `kill -9` of one node.
    KillOne,
    /// `kill -9` of two nodes at once.
    KillTwo,
    /// `kill -9` of the node that leads a partition.
    KillLeader,
    /// One node stands still for a while (SIGSTOP).
    Pause,
    /// `kill -9` of all nodes at once.
    KillAll,
}

impl Fault {
    /// All faults.
    pub const ALL: [Fault; 5] =
        [Fault::KillOne, Fault::KillTwo, Fault::KillLeader, Fault::Pause, Fault::KillAll];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::KillOne => "kill one node",
            Fault::KillTwo => "kill two nodes",
            Fault::KillLeader => "kill a leader",
            Fault::Pause => "pause a node",
            Fault::KillAll => "kill all nodes",
        })
    }
}

/// A fault and its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Quiet before it.
    pub calm_ms: u64,
    /// What happens.
    pub fault: Fault,
    /// How long until it is undone.
    pub away_ms: u64,
}

/// The next fault of a random schedule. Some absences are shorter and some longer than the failure detector takes.
pub fn draw(random: &Random) -> Planned {
    let fault = match random.below(100) {
        0..20 => Fault::KillOne,
        20..40 => Fault::KillTwo,
        40..65 => Fault::KillLeader,
        65..85 => Fault::Pause,
        _ => Fault::KillAll,
    };
    let away_ms = match fault {
        Fault::Pause => 1_000 + random.below(4_000),
        Fault::KillAll => random.below(2_000),
        _ => 300 + random.below(8_000),
    };
    Planned { calm_ms: 500 + random.below(4_000), fault, away_ms }
}

/// The schedule of the smoke test: one fault of each kind, except the killing of a single node.
pub const SMOKE: [Planned; 4] = [
    Planned { calm_ms: 4_000, fault: Fault::KillTwo, away_ms: 4_000 },
    Planned { calm_ms: 3_000, fault: Fault::KillLeader, away_ms: 3_000 },
    Planned { calm_ms: 2_000, fault: Fault::Pause, away_ms: 2_000 },
    Planned { calm_ms: 2_000, fault: Fault::KillAll, away_ms: 500 },
];

/// The nodes that a fault takes away. At most one of them votes anywhere, unless it takes all.
pub fn victims(fault: Fault, status: &ClusterStatus, random: &Random) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = status.map.nodes.keys().copied().collect();
    let count = match fault {
        Fault::KillAll => return nodes,
        Fault::KillLeader => {
            let partitions = &status.map.partitions;
            let partition = partitions[random.below(partitions.len() as u64) as usize].id;
            return leader(status, partition).into_iter().collect();
        }
        Fault::KillTwo => 2,
        Fault::KillOne | Fault::Pause => 1,
    };
    let mut chosen: Vec<NodeId> = Vec::new();
    while chosen.len() < count && !nodes.is_empty() {
        let node = nodes.remove(random.below(nodes.len() as u64) as usize);
        let is_voter =
            |node: &NodeId| status.map.partitions.iter().any(|partition| partition.voters.contains(node));
        if !(is_voter(&node) && chosen.iter().any(is_voter)) {
            chosen.push(node);
        }
    }
    chosen
}

#[cfg(test)]
mod tests;
