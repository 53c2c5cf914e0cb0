//! What clients do how often: weights, as plain values.

use std::ops::Range;

use env::Random;
use types::limits::{INLINE_SIZE_MAX, KIB, MIB, STRIPE_SIZE_MIN};

/// Weights of what a client does next, and the knobs of how. All weights zero is `stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Creates a directory.
    pub mkdir: u32,
    /// Stores new content as a new file.
    pub put: u32,
    /// Stores the content of another file once more: all its chunks are there.
    pub copy: u32,
    /// Replaces what it has just looked at.
    pub overwrite: u32,
    /// Replaces a file through two sessions at once (I-CAS).
    pub race: u32,
    /// Moves a file.
    pub rename: u32,
    /// Moves a directory with everything in it.
    pub rename_dir: u32,
    /// Exchanges two directories in one change.
    pub swap: u32,
    /// Removes a file.
    pub remove: u32,
    /// Removes a directory, or is refused when it is not empty.
    pub remove_dir: u32,
    /// Brings back what was removed.
    pub undelete: u32,
    /// Makes an old version the newest.
    pub restore: u32,
    /// Reads a file to its end.
    pub read: u32,
    /// Reads an old version.
    pub read_old: u32,
    /// Reads a few bytes.
    pub read_range: u32,
    /// Looks at one entry.
    pub stat: u32,
    /// Lists a directory.
    pub list: u32,
    /// Lists the versions of a file.
    pub versions: u32,
    /// Shows a node a position that somebody has seen, and asks it something.
    pub show: u32,
    /// Asks the leader for the newest state.
    pub ask_leader: u32,
    /// Of 100 changes and reads, so many are in directories that all clients work in.
    pub shared_percent: u64,
    /// Sizes of new contents.
    pub sizes: Sizes,
    /// Clients that have written this much together write only small files from then on.
    pub written_bytes_max: u64,
    /// A client with this many files removes one before it creates another.
    pub file_count_max: usize,
    /// Pause after each operation, in milliseconds.
    pub pause_ms: Range<u64>,
}

/// Weights of the sizes of new contents. All zero is inline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Part of the version row.
    pub inline: u32,
    /// One chunk, kept as copies.
    pub replica: u32,
    /// A chunk or two, each a stripe.
    pub stripe: u32,
    /// Several chunks, in the manifest itself.
    pub chunks: u32,
    /// So many chunks that the manifest is a tree.
    pub tree: u32,
}

/// One kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    Mkdir,
    Put,
    Copy,
    Overwrite,
    Race,
    Rename,
    RenameDir,
    Swap,
    Remove,
    RemoveDir,
    Undelete,
    Restore,
    Read,
    ReadOld,
    ReadRange,
    Stat,
    List,
    Versions,
    Show,
    AskLeader,
}

/// How large a content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SizeClass {
    Inline,
    Replica,
    Stripe,
    Chunks,
    Tree,
}

impl SizeClass {
    /// Of a content of so many bytes.
    pub fn of(size: u64) -> Self {
        match size as usize {
            size if size <= INLINE_SIZE_MAX => SizeClass::Inline,
            size if size < STRIPE_SIZE_MIN => SizeClass::Replica,
            size if size < 512 * KIB => SizeClass::Stripe,
            size if size < 4 * MIB => SizeClass::Chunks,
            _ => SizeClass::Tree,
        }
    }
}

impl Default for Mix {
    /// Everything, with more writes than a person makes, so that much can go wrong in little time.
    fn default() -> Self {
        Self {
            mkdir: 4,
            put: 16,
            copy: 4,
            overwrite: 10,
            race: 6,
            rename: 6,
            rename_dir: 3,
            swap: 4,
            remove: 5,
            remove_dir: 1,
            undelete: 4,
            restore: 3,
            read: 12,
            read_old: 5,
            read_range: 5,
            stat: 4,
            list: 5,
            versions: 3,
            show: 6,
            ask_leader: 4,
            shared_percent: 30,
            sizes: Sizes { inline: 80, replica: 70, stripe: 20, chunks: 29, tree: 1 },
            written_bytes_max: 1 << 30,
            file_count_max: 60,
            pause_ms: 20..120,
        }
    }
}

impl Mix {
    /// Asks the leader and nobody else, more often than anyone works: for a client that nothing tells of a new leader.
    pub fn asking(&self) -> Self {
        let pause_ms = self.pause_ms.start..self.pause_ms.start + 1;
        Self { ask_leader: 1, pause_ms, ..self.idle() }
    }

    /// No weights at all.
    fn idle(&self) -> Self {
        Self {
            mkdir: 0,
            put: 0,
            copy: 0,
            overwrite: 0,
            race: 0,
            rename: 0,
            rename_dir: 0,
            swap: 0,
            remove: 0,
            remove_dir: 0,
            undelete: 0,
            restore: 0,
            read: 0,
            read_old: 0,
            read_range: 0,
            stat: 0,
            list: 0,
            versions: 0,
            show: 0,
            ask_leader: 0,
            ..self.clone()
        }
    }

    /// What to do next.
    pub(crate) fn draw(&self, random: &Random) -> Act {
        let weights = [
            (Act::Mkdir, self.mkdir),
            (Act::Put, self.put),
            (Act::Copy, self.copy),
            (Act::Overwrite, self.overwrite),
            (Act::Race, self.race),
            (Act::Rename, self.rename),
            (Act::RenameDir, self.rename_dir),
            (Act::Swap, self.swap),
            (Act::Remove, self.remove),
            (Act::RemoveDir, self.remove_dir),
            (Act::Undelete, self.undelete),
            (Act::Restore, self.restore),
            (Act::Read, self.read),
            (Act::ReadOld, self.read_old),
            (Act::ReadRange, self.read_range),
            (Act::Stat, self.stat),
            (Act::List, self.list),
            (Act::Versions, self.versions),
            (Act::Show, self.show),
            (Act::AskLeader, self.ask_leader),
        ];
        draw(&weights, random).unwrap_or(Act::Stat)
    }
}

impl Sizes {
    /// How large the next content is.
    pub(crate) fn draw(&self, random: &Random) -> SizeClass {
        let weights = [
            (SizeClass::Inline, self.inline),
            (SizeClass::Replica, self.replica),
            (SizeClass::Stripe, self.stripe),
            (SizeClass::Chunks, self.chunks),
            (SizeClass::Tree, self.tree),
        ];
        draw(&weights, random).unwrap_or(SizeClass::Inline)
    }
}

fn draw<T: Copy>(weights: &[(T, u32)], random: &Random) -> Option<T> {
    let sum: u64 = weights.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut left = random.below(sum.max(1));
    weights.iter().find_map(|(choice, weight)| {
        let is_it = left < u64::from(*weight);
        left = left.saturating_sub((*weight).into());
        is_it.then_some(*choice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_its_share_and_a_seed_repeats_it() {
        let acts = |seed, count| {
            let random = Random::seeded(seed);
            (0..count).map(|_| Mix::default().draw(&random)).collect::<Vec<_>>()
        };
        assert_eq!(acts(1, 50), acts(1, 50));
        assert_ne!(acts(1, 50), acts(2, 50));
        let kinds: std::collections::BTreeSet<Act> = acts(3, 5_000).into_iter().collect();
        assert_eq!(kinds.len(), 20);
    }

    #[test]
    fn weights_are_shares() {
        let random = Random::seeded(1);
        let sizes = Sizes { inline: 0, replica: 1, stripe: 3, chunks: 0, tree: 0 };
        let drawn: Vec<SizeClass> = (0..4_000).map(|_| sizes.draw(&random)).collect();
        let stripes = drawn.iter().filter(|class| **class == SizeClass::Stripe).count();
        assert!((2_800..3_200).contains(&stripes), "{stripes}");
        assert!(drawn.iter().all(|class| [SizeClass::Replica, SizeClass::Stripe].contains(class)));
        let none = Sizes { inline: 0, replica: 0, stripe: 0, chunks: 0, tree: 0 };
        assert_eq!(none.draw(&random), SizeClass::Inline);
    }
}
