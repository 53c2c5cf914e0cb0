//! Where the parts of a chunk may be. Pure.

use placement::PgSlot;
use proto::index::{Holder, KnownChunk};
use proto::map::ClusterMap;
use types::DiskId;

/// The disks that may have each part of a chunk, the likeliest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sources(Vec<Vec<DiskId>>);

impl Sources {
    /// By the table, and by what the index knows of the chunk if it was asked. A disk that is not in the cluster any more
    /// has nothing, and nobody waits for its answer.
    pub(crate) fn of(map: &ClusterMap, slots: &[PgSlot], known: Option<&KnownChunk>) -> Self {
        let of_slot = |(index, slot): (usize, &PgSlot)| {
            let exception = match known.map(|known| known.holder(index as u8)) {
                Some(Holder::Disk(disk)) => Some(disk),
                _ => None,
            };
            let mut disks = Vec::new();
            for disk in exception.into_iter().chain([slot.disk]).chain(slot.previous) {
                if !disks.contains(&disk) && map.disks.contains_key(&disk) {
                    disks.push(disk);
                }
            }
            disks
        };
        Self(slots.iter().enumerate().map(of_slot).collect())
    }

    /// The same, and disks that nobody expects to have anything, for every slot.
    pub(crate) fn and_anywhere(mut self, disks: impl IntoIterator<Item = DiskId>) -> Self {
        for disk in disks {
            self.0.iter_mut().filter(|known| !known.contains(&disk)).for_each(|known| known.push(disk));
        }
        self
    }

    /// Who may have the part of a slot.
    pub(crate) fn of_slot(&self, slot: u8) -> &[DiskId] {
        self.0.get(usize::from(slot)).map_or(&[], Vec::as_slice)
    }

    /// Who may have any part, each once, in the order of slots.
    pub(crate) fn all(&self) -> Vec<DiskId> {
        let mut disks = Vec::new();
        for disk in self.0.iter().flatten() {
            if !disks.contains(disk) {
                disks.push(*disk);
            }
        }
        disks
    }
}

#[cfg(test)]
mod tests {
    use placement::SlotState;
    use proto::block::{ChunkKind, Layout};
    use proto::index::{ChunkState, Exception, Locator, Sizes, StoredChunk};
    use types::{ChunkId, Epoch, Generation, Possession, Scope};

    use super::*;

    /// Slots by holder and previous holder, exceptions by slot.
    #[track_caller]
    fn check(slots: &[(u32, Option<u32>)], exceptions: &[(u8, Option<u32>)], want: &[&[u32]], all: &[u32]) {
        let slot = |(disk, previous): &(u32, Option<u32>)| PgSlot {
            disk: DiskId(*disk),
            state: SlotState::Syncing,
            previous: previous.map(DiskId),
            returns: false,
            since: Epoch(1),
        };
        let slots: Vec<PgSlot> = slots.iter().map(slot).collect();
        let stored = StoredChunk {
            chunk: ChunkId([1; 32]).within(Scope::FIRST),
            generation: Generation(1),
            kind: ChunkKind::Data,
            locator: Locator::Slots(Layout::Replica),
            possession: Possession([1; 16]),
            sizes: Sizes::default(),
        };
        let exception = |(slot, disk): &(u8, Option<u32>)| Exception { slot: *slot, disk: disk.map(DiskId) };
        let exceptions = exceptions.iter().map(exception).collect();
        let known = KnownChunk { stored, state: ChunkState::Live, exceptions };
        let mut map = crate::tests::first_map();
        map.disks.remove(&DiskId(6));
        let sources = Sources::of(&map, &slots, Some(&known));
        let disks = |ids: &[u32]| ids.iter().copied().map(DiskId).collect::<Vec<_>>();
        let found: Vec<&[DiskId]> = (0..slots.len() as u8).map(|slot| sources.of_slot(slot)).collect();
        assert_eq!(found, want.iter().map(|ids| disks(ids)).collect::<Vec<_>>());
        assert_eq!(sources.all(), disks(all));
        assert_eq!(sources.of_slot(99), []);
    }

    #[test]
    fn the_likeliest_come_first_and_each_once() {
        check(&[], &[], &[], &[]);
        check(&[(3, None), (1, None)], &[], &[&[3], &[1]], &[3, 1]);
        check(&[(3, Some(2)), (1, None)], &[], &[&[3, 2], &[1]], &[3, 2, 1]);
        check(&[(3, Some(1)), (1, Some(3))], &[], &[&[3, 1], &[1, 3]], &[3, 1]);
        check(&[(3, Some(2)), (1, None)], &[(0, Some(7)), (1, None)], &[&[7, 3, 2], &[1]], &[7, 3, 2, 1]);
        check(&[(3, Some(2))], &[(0, Some(2))], &[&[2, 3]], &[2, 3]);
        // Disk 6 was taken out of the cluster.
        check(&[(6, Some(2)), (1, Some(6))], &[(1, Some(6))], &[&[2], &[1]], &[2, 1]);
        check(&[(6, None)], &[], &[&[]], &[]);
    }
}
