//! A table being changed: who holds what, what fits, and the one way a slot moves.

use std::collections::BTreeSet;

use types::{Epoch, Profile};

use crate::topology::{CandidateIndex, Limits, Topology};
use crate::{Candidate, Change, PgSlot, SlotState, Table};

/// Position of a slot: group and index in it.
pub(crate) type Position = (usize, usize);

/// What putting a slot on a disk would break, worst first; smaller is better. `None` (elsewhere): the disk is taken.
pub(crate) type Breach = (bool, bool);

/// Nothing is broken.
pub(crate) const NO_BREACH: Breach = (false, false);

pub(crate) struct Solver<'a> {
    pub(crate) map: Topology<'a>,
    /// Of the map that will have the change.
    epoch: Epoch,
    /// The table before and after the change.
    before: &'a Table,
    pub(crate) table: Table,
    /// Holder of each slot; `None` for a disk that is not in the map any more.
    pub(crate) holders: Vec<Vec<Option<CandidateIndex>>>,
    /// Slots each disk holds and should hold: all, and those with index 0, whose holder coordinates the group.
    slots_of: Vec<BTreeSet<Position>>,
    pub(crate) target: Vec<usize>,
    pub(crate) held_first: Vec<usize>,
    pub(crate) target_first: Vec<usize>,
}

impl<'a> Solver<'a> {
    pub(crate) fn new(table: &'a Table, profile: Profile, disks: &'a [Candidate], epoch: Epoch) -> Self {
        let map = Topology::new(profile, disks);
        let holders: Vec<Vec<Option<CandidateIndex>>> =
            table.pgs.iter().map(|slots| slots.iter().map(|slot| map.index(slot.disk)).collect()).collect();
        let mut slots_of = vec![BTreeSet::new(); map.disks.len()];
        for (pg, slots) in holders.iter().enumerate() {
            for (index, holder) in slots.iter().enumerate() {
                if let Some(disk) = holder {
                    slots_of[*disk].insert((pg, index));
                }
            }
        }
        let held: Vec<usize> = slots_of.iter().map(BTreeSet::len).collect();
        let held_first =
            slots_of.iter().map(|slots| slots.iter().filter(|slot| slot.1 == 0).count()).collect();
        let target = map.targets(table.pgs.len(), &held);
        let n = profile.n();
        let target_first = target.iter().map(|target| target.div_ceil(n)).collect();
        Self {
            map,
            epoch,
            before: table,
            table: table.clone(),
            holders,
            slots_of,
            target,
            held_first,
            target_first,
        }
    }

    pub(crate) fn positions(&self) -> Vec<Position> {
        let counts = self.holders.iter().map(Vec::len).enumerate();
        counts.flat_map(|(pg, count)| (0..count).map(move |index| (pg, index))).collect()
    }

    /// Slots a disk holds.
    pub(crate) fn held(&self, disk: CandidateIndex) -> usize {
        self.slots_of[disk].len()
    }

    pub(crate) fn slots_of(&self, disk: CandidateIndex) -> impl Iterator<Item = Position> + '_ {
        self.slots_of[disk].iter().copied()
    }

    pub(crate) fn slot(&self, (pg, index): Position) -> PgSlot {
        self.table.pgs[pg][index]
    }

    pub(crate) fn holder(&self, (pg, index): Position) -> Option<CandidateIndex> {
        self.holders[pg][index]
    }

    /// What moving the slot to `disk` would break, counted over the group's other slots on live disks: those on other
    /// disks are on their way out. `None` when another slot of the group is on the disk.
    pub(crate) fn breach(&self, (pg, index): Position, disk: CandidateIndex) -> Option<Breach> {
        let (node, zone) = (self.map.node_of[disk], self.map.zone_of[disk]);
        let (mut on_node, mut in_zone) = (0, 0);
        for (other, holder) in self.holders[pg].iter().enumerate() {
            let Some(holder) = holder.filter(|_| other != index) else { continue };
            if holder == disk {
                return None;
            }
            if self.map.is_live(holder) {
                on_node += usize::from(self.map.node_of[holder] == node);
                in_zone += usize::from(self.map.zone_of[holder] == zone);
            }
        }
        Some((on_node >= self.map.limits.node, in_zone >= self.map.limits.zone))
    }

    pub(crate) fn fits(&self, position: Position, disk: CandidateIndex) -> bool {
        self.breach(position, disk) == Some(NO_BREACH)
    }

    /// The best live disk for a slot other than its holder: breaks least, then is emptiest for its weight.
    pub(crate) fn best_disk(&self, position: Position) -> Option<(Breach, CandidateIndex)> {
        let live = self.map.live().filter(|&disk| self.holder(position) != Some(disk));
        let choices = live.filter_map(|disk| Some((self.breach(position, disk)?, disk)));
        choices.min_by_key(|&(breach, disk)| (breach, self.fill(position, disk), spread(position, disk)))
    }

    /// How full a disk would be, in millionths of its target; a slot 0 also counts what the disk coordinates.
    fn fill(&self, position: Position, disk: CandidateIndex) -> usize {
        let part = |held: usize, target: usize| (held + 1) * 1_000_000 / target.max(1);
        let all = part(self.held(disk), self.target[disk]);
        if position.1 > 0 { all } else { all + part(self.held_first[disk], self.target_first[disk]) }
    }

    /// Gives a slot to another disk, which must then be filled. Passing it on again within one change is free: only
    /// where it was before the change and where it ends count.
    pub(crate) fn move_slot(&mut self, position: Position, target: CandidateIndex) {
        assert!(self.map.is_live(target), "a slot moves to a disk that may take it");
        debug_assert!(
            self.breach(position, target).is_some(),
            "no two slots of a group share a disk (I-PLACE)"
        );
        let old = self.before.pgs[position.0][position.1];
        let source = self.holder(position);
        let target_id = self.map.disks[target].id;
        // A holder that was still being filled is no source: the one before it is, unless the slot returns there.
        let previous = match old.previous {
            Some(previous) if old.state == SlotState::Syncing && previous != target_id => previous,
            _ => old.disk,
        };
        let returns = self.map.index(previous).is_none_or(|disk| self.map.disks[disk].down);
        let new = PgSlot {
            disk: target_id,
            state: SlotState::Syncing,
            previous: Some(previous),
            returns,
            since: self.epoch,
        };
        self.set(position, if target_id == old.disk { old } else { new });
        self.holders[position.0][position.1] = Some(target);
        if let Some(source) = source {
            let held = self.slots_of[source].remove(&position);
            assert!(held, "holders and slots_of say the same");
            self.held_first[source] -= usize::from(position.1 == 0);
        }
        let new = self.slots_of[target].insert(position);
        assert!(new, "a slot has one holder");
        self.held_first[target] += usize::from(position.1 == 0);
    }

    /// The slot has another holder than before the change.
    pub(crate) fn is_moved(&self, position: Position) -> bool {
        self.before.pgs[position.0][position.1].disk != self.slot(position).disk
    }

    pub(crate) fn set(&mut self, (pg, index): Position, slot: PgSlot) {
        self.table.pgs[pg][index] = slot;
    }

    /// The holder has not all of the slot any more, and stays.
    pub(crate) fn refill(&mut self, position: Position) {
        let slot = self.slot(position);
        self.set(position, PgSlot { state: SlotState::Syncing, since: self.epoch, ..slot });
    }

    /// Gives a slot whose holder is lost to the best disk; without one, the slot stays where it is and is `Offline`.
    pub(crate) fn replace(&mut self, position: Position) {
        match self.best_disk(position) {
            Some((_, disk)) => self.move_slot(position, disk),
            None => {
                let slot = self.slot(position);
                let down = self.holder(position).is_none_or(|disk| self.map.disks[disk].down);
                // A drained disk that still answers keeps serving.
                if down {
                    self.set(position, PgSlot { state: SlotState::Offline, ..slot });
                }
            }
        }
    }

    pub(crate) fn finish(self) -> Change {
        let promised = self.map.promised_limits();
        let relaxed = (0..self.holders.len()).filter(|&pg| self.is_over(pg, promised)).count();
        let moved = self.positions().into_iter().filter(|&position| self.is_moved(position)).count();
        assert_eq!(self.table.pgs.len(), self.before.pgs.len(), "a change moves slots and makes no groups");
        Change { table: self.table, moved, relaxed }
    }

    /// True when a group has more slots on a node or in a zone than `limits` say.
    fn is_over(&self, pg: usize, limits: Limits) -> bool {
        let count = |domain: &[usize], of: CandidateIndex| {
            self.holders[pg].iter().flatten().filter(|&&disk| domain[disk] == domain[of]).count()
        };
        self.holders[pg].iter().flatten().any(|&disk| {
            count(&self.map.node_of, disk) > limits.node || count(&self.map.zone_of, disk) > limits.zone
        })
    }
}

/// A fixed shuffle: breaks ties differently for each slot, so that a lost disk is rebuilt by many others.
pub(crate) fn spread((pg, index): Position, disk: CandidateIndex) -> u64 {
    shuffle((pg as u64) << 40 ^ (index as u64) << 32 ^ disk as u64)
}

/// splitmix64's output function: a permutation of the 64-bit numbers without visible order.
pub(crate) fn shuffle(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use types::{DiskId, Epoch, NodeId};

    use super::*;

    fn disks(down: u32) -> Vec<Candidate> {
        let disk = |id: u32| Candidate {
            id: DiskId(id),
            node: NodeId(id.into()),
            zone: "z".into(),
            weight: 1,
            usable: true,
            down: id == down,
        };
        (1..=4).map(disk).collect()
    }

    /// One group on disks 1 to 3; moves its first slot to the disk with this index.
    fn move_first(disks: &[Candidate], target: CandidateIndex) -> Change {
        let table = Table { pgs: vec![(1..=3).map(|id| PgSlot::serving(DiskId(id))).collect()] };
        let mut solver = Solver::new(&table, Profile { k: 2, m: 1 }, disks, Epoch(7));
        solver.move_slot((0, 0), target);
        solver.finish()
    }

    #[test]
    fn a_slot_that_moves_remembers_where_its_shards_are() {
        let change = move_first(&disks(1), 3);
        let want = PgSlot {
            disk: DiskId(4),
            state: SlotState::Syncing,
            previous: Some(DiskId(1)),
            returns: true,
            since: Epoch(7),
        };
        assert_eq!((change.table.pgs[0][0], change.moved), (want, 1));
        assert!(!move_first(&disks(2), 3).table.pgs[0][0].returns, "its disk is up: this was a plan");
        let home = move_first(&disks(2), 0);
        assert_eq!((home.table.pgs[0][0], home.moved), (PgSlot::serving(DiskId(1)), 0));
    }

    #[test]
    #[should_panic(expected = "a slot moves to a disk that may take it")]
    fn no_slot_moves_to_a_disk_that_is_down() {
        move_first(&disks(4), 3);
    }

    /// Frozen: other numbers would be another table on another node (I-PLACE).
    #[test]
    fn the_shuffle_is_splitmix64() {
        assert_eq!(shuffle(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(shuffle(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
        assert_eq!(spread((3, 2), 1), shuffle(3 << 40 ^ 2 << 32 ^ 1));
    }
}
