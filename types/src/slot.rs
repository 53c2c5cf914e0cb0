//! Slots: the parts that the metadata of a kind is cut into once and for all. A partition holds some of them, and they
//! are what moves between partitions.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{ChunkId, InodeId, NamespaceId};

/// One of [`Slot::COUNT`] parts of the metadata of a kind. Every row begins with its slot, and every id that is given
/// out carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Slot(u16);

/// Bits of an id below its slot.
const COUNT_BITS: u32 = 48;

impl Slot {
    /// How many there are.
    pub const COUNT: u16 = 1 << 14;

    /// The slot with this number; `None` when there is none.
    pub const fn new(number: u16) -> Option<Self> {
        if number < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// Counted from 0.
    pub fn number(self) -> u16 {
        self.0
    }

    /// The slot of a uniformly distributed hash: its first 14 bits, so that a slot is one range of hashes.
    pub fn of_hash(hash: &[u8; 32]) -> Self {
        Self(u16::from_be_bytes([hash[0], hash[1]]) >> 2)
    }

    /// As the first bytes of a key.
    pub fn to_bytes(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }

    const fn id(self, count: u64) -> u64 {
        assert!(count < 1 << COUNT_BITS, "2^48 ids per slot outlive the hardware");
        (self.0 as u64) << COUNT_BITS | count
    }

    /// Ids come from outside: one beyond the last slot is of the last, where it is not found.
    fn of_id(id: u64) -> Self {
        Self(((id >> COUNT_BITS) as u16).min(Self::COUNT - 1))
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Slot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u16::deserialize(deserializer)?;
        Self::new(number).ok_or_else(|| D::Error::custom(format!("there is no slot {number}")))
    }
}

impl NamespaceId {
    /// The `count`-th namespace created in `slot`.
    pub const fn new(slot: Slot, count: u64) -> Self {
        Self(slot.id(count))
    }

    /// Where its rows are.
    pub fn slot(self) -> Slot {
        Slot::of_id(self.0)
    }
}

impl InodeId {
    /// The `count`-th file or directory created in `slot`.
    pub const fn new(slot: Slot, count: u64) -> Self {
        Self(slot.id(count))
    }

    /// Where its rows are.
    pub fn slot(self) -> Slot {
        Slot::of_id(self.0)
    }
}

impl ChunkId {
    /// Where its row is.
    pub fn slot(&self) -> Slot {
        Slot::of_hash(&self.0)
    }

    /// The last id whose row is in `slot`.
    pub fn last_of(slot: Slot) -> Self {
        let [high, low] = (slot.number() << 2 | 3).to_be_bytes();
        let mut bytes = [0xff; 32];
        bytes[..2].copy_from_slice(&[high, low]);
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_knows_its_slot() {
        let last = Slot::new(Slot::COUNT - 1).unwrap();
        for (slot, count, want) in [
            (Slot::default(), 1, 1),
            (Slot::new(1).unwrap(), 0, 1 << 48),
            (Slot::new(0x1234).unwrap(), 5, 0x1234_0000_0000_0005),
            (last, (1 << 48) - 1, 0x3fff_ffff_ffff_ffff),
        ] {
            let id = NamespaceId::new(slot, count);
            assert_eq!((id, id.slot()), (NamespaceId(want), slot));
            assert_eq!(InodeId::new(slot, count).slot(), slot);
        }
        assert_eq!(NamespaceId(u64::MAX).slot(), last);
        assert_eq!(Slot::new(Slot::COUNT), None);
    }

    #[test]
    fn hashes_are_cut_in_order() {
        for (first, want) in
            [([0, 0], 0), ([0, 3], 0), ([0, 4], 1), ([0x80, 0], 0x2000), ([0xff, 0xff], 0x3fff)]
        {
            let mut hash = [0; 32];
            hash[..2].copy_from_slice(&first);
            assert_eq!(ChunkId(hash).slot().number(), want);
        }
    }
}
