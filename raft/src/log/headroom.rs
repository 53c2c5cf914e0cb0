//! What there is room for on the log's file system: a reserve is left for what makes room again.

use types::limits::{LOG_RESERVE_SHARE, LOG_RESERVE_SIZE_MAX};

/// What there is room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Headroom {
    /// Votes, and what else is small and must go on.
    Votes,
    /// Changes that make room, of the data or of the members: the reserve is being used.
    Freeing,
    /// All commands: the reserve is untouched.
    #[default]
    Everything,
}

impl Headroom {
    /// Of a file system with so many bytes free.
    pub fn of(free: u64, total: u64) -> Self {
        let reserve = (total / LOG_RESERVE_SHARE).min(LOG_RESERVE_SIZE_MAX);
        match free {
            free if free < reserve / 4 => Self::Votes,
            free if free < reserve => Self::Freeing,
            _ => Self::Everything,
        }
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
            (100 * GIB, 1000 * GIB, Headroom::Everything),
            (256 * MIB, 1000 * GIB, Headroom::Everything),
            (256 * MIB - 1, 1000 * GIB, Headroom::Freeing),
            (64 * MIB, 1000 * GIB, Headroom::Freeing),
            (64 * MIB - 1, 1000 * GIB, Headroom::Votes),
            (5 * MIB, 100 * MIB, Headroom::Everything),
            (4 * MIB, 100 * MIB, Headroom::Freeing),
            (MIB, 100 * MIB, Headroom::Votes),
            (0, 0, Headroom::Everything),
        ] {
            assert_eq!(Headroom::of(free, total), want, "{free} of {total}");
        }
    }
}
