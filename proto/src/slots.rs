//! Which partition has which slot of a kind.
//!
//! Owns: the shape of that division, and what must hold in it.
//! Knows nothing of: who holds a partition, how a slot moves.

use serde::{Deserialize, Serialize};
use types::limits::SLOT_RANGE_COUNT_MAX;
use types::{Error, PartitionId, Result, Slot};

/// All slots of a kind, divided among its partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotMap {
    /// In order. Each goes up to where the next one begins, the last one to the last slot; neighbours are of different
    /// partitions, so that equal divisions are written alike.
    pub ranges: Vec<SlotRange>,
}

/// Slots that follow each other, and are of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRange {
    /// The first of them.
    pub first: Slot,
    /// Who has them.
    pub partition: PartitionId,
}

impl SlotMap {
    /// Equal shares, as far as that goes, in the order of `partitions`: one at least, and no more than there are slots.
    pub fn shared_out(partitions: &[PartitionId]) -> Self {
        let count = partitions.len();
        assert!(
            (1..=usize::from(Slot::COUNT)).contains(&count),
            "{count} partitions cannot have a slot each"
        );
        let range = |(at, partition): (usize, &PartitionId)| {
            let first = at * usize::from(Slot::COUNT) / count;
            let first = u16::try_from(first).ok().and_then(Slot::new).expect("less than there are");
            SlotRange { first, partition: *partition }
        };
        Self { ranges: partitions.iter().enumerate().map(range).collect() }
    }

    /// What the functions below rely on; `Invalid` says what does not hold.
    pub fn check(&self) -> Result<()> {
        let invalid = |what: String| Err(Error::invalid(what));
        if self.ranges.len() > SLOT_RANGE_COUNT_MAX {
            return invalid(format!("{} ranges of slots", self.ranges.len()));
        }
        match self.ranges.first() {
            Some(range) if range.first == Slot::default() => {}
            Some(range) => return invalid(format!("no partition for the slots before {}", range.first)),
            None => return invalid("no partition for any slot".to_owned()),
        }
        for pair in self.ranges.windows(2) {
            if pair[0].first >= pair[1].first {
                return invalid(format!("slot {} twice or out of order", pair[1].first));
            }
            if pair[0].partition == pair[1].partition {
                return invalid(format!("slots of one partition apart at {}", pair[1].first));
            }
        }
        Ok(())
    }

    /// Who has a slot.
    pub fn partition(&self, slot: Slot) -> PartitionId {
        let next = self.ranges.partition_point(|range| range.first <= slot);
        assert!(next > 0, "check() refuses slots without a partition");
        self.ranges[next - 1].partition
    }

    /// Who has the slots from one on, range by range, each up to a last slot.
    pub fn from(&self, slot: Slot) -> impl Iterator<Item = (PartitionId, Slot)> + '_ {
        let ends = self.ranges.iter().skip(1).map(|next| next.first.number()).chain([Slot::COUNT]);
        let last = |end: u16| Slot::new(end - 1).expect("a range ends at a slot or after the last one");
        let ranges = self.ranges.iter().zip(ends).map(move |(range, end)| (range.partition, last(end)));
        ranges.skip_while(move |(_, last)| *last < slot)
    }

    /// The slots of a partition as ranges, each with its first and its last one.
    pub fn of(&self, partition: PartitionId) -> Vec<(Slot, Slot)> {
        let ends = self.ranges.iter().skip(1).map(|next| next.first.number()).chain([Slot::COUNT]);
        let ranges = self.ranges.iter().zip(ends).filter(|(range, _)| range.partition == partition);
        let last = |end: u16| Slot::new(end - 1).expect("a range ends at a slot or after the last one");
        ranges.map(|(range, end)| (range.first, last(end))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    fn map(ranges: &[(u16, u32)]) -> SlotMap {
        let range = |(first, partition): &(u16, u32)| SlotRange {
            first: slot(*first),
            partition: PartitionId(*partition),
        };
        SlotMap { ranges: ranges.iter().map(range).collect() }
    }

    #[test]
    fn shares_are_equal_and_in_order() {
        let ids = |count: u32| (1..=count).map(PartitionId).collect::<Vec<_>>();
        assert_eq!(SlotMap::shared_out(&ids(1)), map(&[(0, 1)]));
        assert_eq!(SlotMap::shared_out(&ids(4)), map(&[(0, 1), (4096, 2), (8192, 3), (12288, 4)]));
        for count in [1, 2, 3, 5, 100, 256] {
            let shares = SlotMap::shared_out(&ids(count));
            shares.check().unwrap();
            let sizes: Vec<u16> = ids(count)
                .iter()
                .map(|id| shares.of(*id).iter().map(|(first, last)| last.number() - first.number() + 1).sum())
                .collect();
            assert_eq!(sizes.iter().sum::<u16>(), Slot::COUNT);
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{count}: {sizes:?}");
        }
    }

    #[test]
    fn every_slot_has_one_partition() {
        let slots = map(&[(0, 1), (5, 2), (6, 1), (16383, 3)]);
        slots.check().unwrap();
        for (number, want) in [(0, 1), (4, 1), (5, 2), (6, 1), (16382, 1), (16383, 3)] {
            assert_eq!(slots.partition(slot(number)), PartitionId(want), "{number}");
        }
        let of =
            |id| slots.of(PartitionId(id)).iter().map(|(a, b)| (a.number(), b.number())).collect::<Vec<_>>();
        assert_eq!(
            [of(1), of(2), of(3), of(4)],
            [vec![(0, 4), (6, 16382)], vec![(5, 5)], vec![(16383, 16383)], vec![]]
        );
    }

    #[test]
    fn what_does_not_cover_all_slots_exactly_is_refused() {
        for (ranges, want) in [
            (&[][..], "no partition for any"),
            (&[(1, 1)], "no partition for the slots before 1"),
            (&[(0, 1), (7, 2), (7, 1)], "slot 7 twice"),
            (&[(0, 1), (7, 2), (5, 1)], "slot 5 twice or out of order"),
            (&[(0, 1), (7, 1)], "slots of one partition apart at 7"),
        ] {
            assert!(map(ranges).check().unwrap_err().message().contains(want), "{ranges:?}");
        }
        let too_many = SLOT_RANGE_COUNT_MAX as u16 + 1;
        let ranges: Vec<_> = (0..too_many).map(|at| (at, u32::from(at % 2))).collect();
        assert!(map(&ranges).check().unwrap_err().message().contains("ranges of slots"));
    }

    /// A range costs a few bytes, so that whoever follows the map need not care.
    #[test]
    fn a_division_is_small() {
        let ids: Vec<_> = (1..=256).map(PartitionId).collect();
        assert!(crate::encode(&SlotMap::shared_out(&ids)).len() < 256 * 5);
    }
}
