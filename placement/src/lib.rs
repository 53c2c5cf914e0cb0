//! Chooses the disks of placement groups, and the voters of partitions.
//!
//! Owns: the table "placement group -> ordered sticky slots" and its three changes: build, substitute, rebalance. No two
//! slots of a group share a disk, ever; nor a node, nor more than `m` a zone, as far as the disks allow (I-PLACE).
//! Knows nothing of: connections, which bytes are on a disk, why a disk is down.
//! Pure integer arithmetic over ordered collections: runs inside the replicated state machine, equal on every node.

mod build;
mod check;
mod ladder;
mod rebalance;
mod solver;
mod substitute;
mod topology;
mod voters;

use serde::{Deserialize, Serialize};
use types::{DiskId, Epoch, NodeId, PgId};

pub use build::build;
pub use check::{Violation, check};
pub use ladder::{Ladder, Spare};
pub use rebalance::rebalance;
pub use substitute::substitute;
pub use voters::{Elector, Electorate, Presence, change_voters};

/// A disk as placement sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its id in the cluster map.
    pub id: DiskId,
    /// The node it is in.
    pub node: NodeId,
    /// The zone its node is in.
    pub zone: String,
    /// Its share of the slots is proportional to this, normally its capacity in bytes.
    pub weight: u64,
    /// May hold slots: it is in the map, and neither drained nor removed.
    pub usable: bool,
    /// Does not answer, and has not for so long that its slots are to go to others.
    pub down: bool,
}

/// How much of a slot its holder has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SlotState {
    /// It has every shard of the slot.
    Serving,
    /// It takes new shards and is being filled with the older ones.
    Syncing,
    /// It is down, and there is no disk to take its place.
    Offline,
}

/// One place in a group: shard `i` of every stripe of the group is on the disk of slot `i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PgSlot {
    /// The disk that holds it.
    pub disk: DiskId,
    /// How much of the slot that disk has.
    pub state: SlotState,
    /// While `Syncing`: the holder before, which still has the older shards.
    pub previous: Option<DiskId>,
    /// The slot left `previous` only because that was down: it goes back when that disk returns before the syncing is
    /// done, which copies far less.
    pub returns: bool,
    /// While `Syncing`: the epoch of the map in which that began. Its completion must name it.
    pub since: Epoch,
}

/// Where everything is. The order of slots means something and stays: a slot moves only to another disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The slots of each group, by [`PgId`].
    pub pgs: Vec<Vec<PgSlot>>,
}

/// A new table, and what it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The table after the change.
    pub table: Table,
    /// Slots that have another holder than before.
    pub moved: usize,
    /// Groups that survive less than the profile promises, for want of nodes or zones that are up: two slots on one
    /// node, or more than `m` in a zone. In a cluster of one zone, zones do not count.
    pub relaxed: usize,
}

impl PgSlot {
    /// A slot whose holder has everything.
    pub fn serving(disk: DiskId) -> Self {
        Self { disk, state: SlotState::Serving, previous: None, returns: false, since: Epoch(0) }
    }
}

impl Table {
    /// The slots of a group; empty for a group that is not in the table.
    pub fn slots(&self, pg: PgId) -> &[PgSlot] {
        self.pgs.get(usize::from(pg.0)).map_or(&[], Vec::as_slice)
    }

    /// Marks a slot as complete. False, and no change, unless `disk` has been filled without a break since then.
    pub fn finish_sync(&mut self, pg: PgId, index: usize, disk: DiskId, since: Epoch) -> bool {
        match self.pgs.get_mut(usize::from(pg.0)).and_then(|slots| slots.get_mut(index)) {
            Some(slot) if slot.disk == disk && slot.state == SlotState::Syncing && slot.since == since => {
                *slot = PgSlot::serving(disk);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
