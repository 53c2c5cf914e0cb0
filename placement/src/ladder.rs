//! Who takes a part whose own disk cannot.

use std::collections::{BTreeMap, BTreeSet};

use types::{DiskId, PgId, Profile};

use crate::Candidate;
use crate::solver::spread;
use crate::topology::{Limits, Topology};

/// The disks that take new parts, for one map.
#[derive(Clone, Debug)]
pub struct Ladder {
    limits: Limits,
    disks: BTreeMap<DiskId, Domains>,
}

/// Where a disk is.
#[derive(Clone, Copy, Debug)]
struct Domains {
    node: usize,
    zone: usize,
    /// It takes parts that are not its own.
    takes: bool,
}

/// A disk for a part that is not its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spare {
    /// Whose it will be.
    pub disk: DiskId,
    /// It breaks no rule of placement; otherwise the chunk survives less than promised until the part is at home.
    pub is_clean: bool,
}

impl Ladder {
    /// The ladder of a cluster: its disks, `down` those that cannot be written at the moment, `usable` those that take
    /// what is not their own.
    pub fn new(profile: Profile, disks: &[Candidate]) -> Self {
        let map = Topology::new(profile, disks);
        let domains = |(at, disk): (usize, &&Candidate)| {
            let takes = disk.usable && !disk.down;
            (disk.id, Domains { node: map.node_of[at], zone: map.zone_of[at], takes })
        };
        Self { limits: map.limits, disks: map.disks.iter().enumerate().map(domains).collect() }
    }

    /// The next disk for the part of a slot: one that breaks no rule, or any other; `None` when there is no more. `held`
    /// has the disks that have or get other parts of the chunk, `tried` those that did not take it. Every coordinator
    /// finds the same.
    pub fn next(
        &self,
        pg: PgId,
        slot: u8,
        held: &BTreeSet<DiskId>,
        tried: &BTreeSet<DiskId>,
    ) -> Option<Spare> {
        let held_domains: Vec<Domains> =
            held.iter().filter_map(|disk| self.disks.get(disk)).copied().collect();
        let is_clean = |domains: &Domains| {
            let on_node = held_domains.iter().filter(|held| held.node == domains.node).count();
            let in_zone = held_domains.iter().filter(|held| held.zone == domains.zone).count();
            on_node < self.limits.node && in_zone < self.limits.zone
        };
        let order = |disk: DiskId| spread((pg.0.into(), slot.into()), disk.0 as usize);
        let free = self
            .disks
            .iter()
            .filter(|(disk, domains)| domains.takes && !held.contains(disk) && !tried.contains(disk));
        let spares = free.map(|(disk, domains)| Spare { disk: *disk, is_clean: is_clean(domains) });
        spares.min_by_key(|spare| (!spare.is_clean, order(spare.disk)))
    }
}

#[cfg(test)]
mod tests {
    use types::NodeId;

    use super::*;

    /// Two nodes in each of the zones a to d, with one disk each: 1 and 2 in a, and so on.
    fn ladder(down: &[u32]) -> Ladder {
        let disk = |id: u32| Candidate {
            id: DiskId(id),
            node: NodeId(id.into()),
            zone: char::from(b'a' + (id as u8 - 1) / 2).to_string(),
            weight: 1,
            usable: true,
            down: down.contains(&id),
        };
        Ladder::new(Profile { k: 4, m: 2 }, &(1..=8).map(disk).collect::<Vec<_>>())
    }

    fn set(disks: &[u32]) -> BTreeSet<DiskId> {
        disks.iter().copied().map(DiskId).collect()
    }

    /// All spares in their order, as `+` and the disk, or `-` where a rule is broken.
    #[track_caller]
    fn check(down: &[u32], held: &[u32], want: &str) {
        let (ladder, mut tried) = (ladder(down), BTreeSet::new());
        let mut found = Vec::new();
        while let Some(spare) = ladder.next(PgId(3), 1, &set(held), &tried) {
            found.push(format!("{}{}", if spare.is_clean { '+' } else { '-' }, spare.disk));
            tried.insert(spare.disk);
        }
        let mut sorted = found.clone();
        sorted.sort_by_key(|spare| spare.starts_with('-'));
        assert_eq!(found, sorted, "what breaks no rule comes first");
        found.sort();
        assert_eq!(found.join(" "), want);
    }

    #[test]
    fn spares_break_no_rule_as_long_as_there_are_such() {
        check(&[6], &[1, 2, 3, 4, 5], "+7 +8");
        check(&[5, 6], &[1, 2, 3, 4], "+7 +8");
        // Two in a zone are all that may be.
        check(&[6], &[1, 3, 4, 5, 7], "+2 +8");
        check(&[6, 7], &[1, 2, 3, 4, 5], "+8");
        check(&[6, 7, 8], &[1, 2, 3, 4, 5], "");
        check(&[], &[1, 2, 3, 4, 5, 6, 7, 8], "");
    }

    #[test]
    fn groups_and_slots_have_spares_of_their_own() {
        let ladder = ladder(&[]);
        let first = |pg: u16, slot| ladder.next(PgId(pg), slot, &set(&[1]), &set(&[])).unwrap().disk;
        let found: BTreeSet<DiskId> = (0..50)
            .flat_map(|pg| (0..6).map(move |slot| (pg, slot)))
            .map(|(pg, slot)| first(pg, slot))
            .collect();
        assert_eq!(found, set(&[2, 3, 4, 5, 6, 7, 8]), "all of them help");
    }
}
