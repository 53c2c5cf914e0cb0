//! How much room the log's file system has: a reserve is left for what makes room again.

use types::limits::{LOG_RESERVE_SHARE, LOG_RESERVE_SIZE_MAX};

use super::{Log, LogShared};

/// What there is room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Votes, and what else is small and must go on.
    Votes,
    /// Changes that make room, of the data or of the members: the reserve is being used.
    Freeing,
    /// Everything.
    #[default]
    Everything,
}

impl Room {
    /// Of a file system with so many bytes free.
    fn of(free: u64, total: u64) -> Self {
        let reserve = (total / LOG_RESERVE_SHARE).min(LOG_RESERVE_SIZE_MAX);
        match free {
            free if free < reserve / 4 => Self::Votes,
            free if free < reserve => Self::Freeing,
            _ => Self::Everything,
        }
    }
}

impl Log {
    /// What there was room for when it was last looked at.
    pub fn room(&self) -> Room {
        *self.shared.room.lock().expect("never poisoned: nothing happens inside")
    }

    /// Looks how much room there is.
    pub fn look_at_room(&self) {
        self.shared.look_at_room();
    }
}

impl LogShared {
    pub(super) fn look_at_room(&self) {
        let found = match self.disk.space(&self.dir) {
            Ok(space) => Room::of(space.free, space.total),
            Err(e) => {
                tracing::warn!(dir = %self.dir.display(), error = %e, "cannot see how much room the raft log has");
                return;
            }
        };
        let mut room = self.room.lock().expect("never poisoned: nothing happens inside");
        if *room == found {
            return;
        }
        match found {
            Room::Everything => tracing::info!(dir = %self.dir.display(), "the metadata disk has room again"),
            _ => {
                tracing::error!(dir = %self.dir.display(), room = ?found, "the metadata disk is full: free space or add a node");
            }
        }
        *room = found;
    }
}

#[cfg(test)]
mod tests {
    use types::limits::GIB;

    use super::*;

    #[test]
    fn the_reserve_is_a_share_with_a_bound() {
        const MIB: u64 = 1 << 20;
        for (free, total, want) in [
            (100 * GIB, 1000 * GIB, Room::Everything),
            (256 * MIB, 1000 * GIB, Room::Everything),
            (256 * MIB - 1, 1000 * GIB, Room::Freeing),
            (64 * MIB, 1000 * GIB, Room::Freeing),
            (64 * MIB - 1, 1000 * GIB, Room::Votes),
            (5 * MIB, 100 * MIB, Room::Everything),
            (4 * MIB, 100 * MIB, Room::Freeing),
            (MIB, 100 * MIB, Room::Votes),
            (0, 0, Room::Everything),
        ] {
            assert_eq!(Room::of(free, total), want, "{free} of {total}");
        }
    }
}
