//! Looks for what the solver promises never to leave behind.

use std::fmt;

use types::{DiskId, NodeId, PgId, Profile};

use crate::topology::Topology;
use crate::{Candidate, SlotState, Table};

/// A rule that a table breaks although the disks that are up allow keeping it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A group does not have `n` slots.
    SlotCount {
        /// The group that breaks the rule.
        pg: PgId,
        /// Slots it has.
        count: usize,
    },
    /// Two slots of a group are on one disk.
    DiskShared {
        /// The group that breaks the rule.
        pg: PgId,
        /// The disk that holds both.
        disk: DiskId,
    },
    /// More slots of a group are on one node than necessary.
    NodeOver {
        /// The group that breaks the rule.
        pg: PgId,
        /// The crowded node.
        node: NodeId,
        /// Slots on it.
        count: usize,
    },
    /// More slots of a group are in one zone than necessary.
    ZoneOver {
        /// The group that breaks the rule.
        pg: PgId,
        /// The crowded zone.
        zone: String,
        /// Slots in it.
        count: usize,
    },
    /// The holder of a slot is down, drained or removed.
    HolderLost {
        /// The group that breaks the rule.
        pg: PgId,
        /// Position in the group, from 0.
        index: usize,
        /// The lost holder.
        disk: DiskId,
    },
    /// A slot is `Offline` although its disk is up.
    OfflineInVain {
        /// The group that breaks the rule.
        pg: PgId,
        /// Position in the group, from 0.
        index: usize,
    },
}

/// All rules that a table breaks although the disks that are up allow keeping them.
pub fn check(table: &Table, profile: Profile, disks: &[Candidate]) -> Vec<Violation> {
    let map = Topology::new(profile, disks);
    (0..table.pgs.len()).flat_map(|pg| check_group(table, pg, &map)).collect()
}

fn check_group(table: &Table, group: usize, map: &Topology<'_>) -> Vec<Violation> {
    let pg = PgId(u16::try_from(group).expect("PG_COUNT_MAX fits"));
    let slots = &table.pgs[group];
    let mut found = Vec::new();
    if slots.len() != map.profile.n() {
        found.push(Violation::SlotCount { pg, count: slots.len() });
    }
    let mut holders = Vec::new();
    for (index, slot) in slots.iter().enumerate() {
        if slots[..index].iter().any(|other| other.disk == slot.disk) {
            found.push(Violation::DiskShared { pg, disk: slot.disk });
        }
        match map.index(slot.disk).filter(|&disk| map.is_live(disk)) {
            Some(_) if slot.state == SlotState::Offline => found.push(Violation::OfflineInVain { pg, index }),
            Some(disk) => holders.push(disk),
            None => found.push(Violation::HolderLost { pg, index, disk: slot.disk }),
        }
    }
    for (at, &disk) in holders.iter().enumerate() {
        let count = |domain: &[usize]| holders.iter().filter(|&&other| domain[other] == domain[disk]).count();
        let is_first = |domain: &[usize]| holders[..at].iter().all(|&other| domain[other] != domain[disk]);
        let (on_node, in_zone) = (count(&map.node_of), count(&map.zone_of));
        if on_node > map.limits.node && is_first(&map.node_of) {
            found.push(Violation::NodeOver { pg, node: map.disks[disk].node, count: on_node });
        }
        if in_zone > map.limits.zone && is_first(&map.zone_of) {
            found.push(Violation::ZoneOver { pg, zone: map.disks[disk].zone.clone(), count: in_zone });
        }
    }
    found
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::SlotCount { pg, count } => write!(f, "group {pg} has {count} slots"),
            Violation::DiskShared { pg, disk } => write!(f, "group {pg} has two slots on disk {disk}"),
            Violation::NodeOver { pg, node, count } => {
                write!(f, "group {pg} has {count} slots on node {node}")
            }
            Violation::ZoneOver { pg, zone, count } => {
                write!(f, "group {pg} has {count} slots in zone {zone}")
            }
            Violation::HolderLost { pg, index, disk } => {
                write!(f, "slot {index} of group {pg} is on lost disk {disk}")
            }
            Violation::OfflineInVain { pg, index } => {
                write!(f, "slot {index} of group {pg} is offline, its disk is up")
            }
        }
    }
}
