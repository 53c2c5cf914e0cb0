//! How full a disk is, and who may still write to it.
//!
//! Owns: the shares of a disk that are kept for what must not fail. Pure.

use env::Space;
use types::limits::{DISK_BACKFILL_FULL_PERCENT, DISK_FULL_PERCENT, DISK_REPAIR_FULL_PERCENT};

/// What a shard is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Something new: refused by a disk that is full.
    Store,
    /// In the place of a shard that this disk had, or should have: goes on into the reserve.
    Repair,
}

/// True when `size` more bytes leave as much as they must.
pub(crate) fn has_room(space: Space, size: u64, purpose: Purpose) -> bool {
    let percent = match purpose {
        Purpose::Store => DISK_FULL_PERCENT,
        Purpose::Repair => DISK_REPAIR_FULL_PERCENT,
    };
    is_below(space, size, percent)
}

/// True when the disk should no longer be filled by others than its clients.
pub(crate) fn is_backfill_full(space: Space) -> bool {
    !is_below(space, 0, DISK_BACKFILL_FULL_PERCENT)
}

fn is_below(space: Space, size: u64, percent: u64) -> bool {
    let used = space.total.saturating_sub(space.free).saturating_add(size);
    u128::from(used) * 100 < u128::from(space.total) * u128::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept_on_disks_of_every_size() {
        for total in [100, 4 << 20, 1 << 40, u64::MAX] {
            let at = |percent: u64| Space { total, free: total - total / 100 * percent };
            let one = total / 100;
            for (percent, size, store, repair, backfill_full) in [
                (0, 0, true, true, false),
                (89, 0, true, true, false),
                (91, 0, true, true, true),
                (91, 5 * one, false, true, true),
                (96, 0, false, true, true),
                (96, 3 * one, false, false, true),
                (99, 0, false, false, true),
            ] {
                let space = at(percent);
                assert_eq!(has_room(space, size, Purpose::Store), store, "{total} {percent} {size}");
                assert_eq!(has_room(space, size, Purpose::Repair), repair, "{total} {percent} {size}");
                assert_eq!(is_backfill_full(space), backfill_full, "{total} {percent}");
            }
        }
    }
}
