//! What goes wrong on a simulated disk: the plan, the dice, and the count of what happened.
//!
//! Knows nothing of: what a fault does to bytes and names.

use std::io;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::Random;

/// Capacity of a disk for which nobody set another: 1 TiB.
const CAPACITY_DEFAULT: u64 = 1 << 40;

/// What goes wrong on a [`super::SimDisk`] from now on. The default is a healthy disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFaults {
    /// For each operation and each fault that can hit it, the first rule that says so.
    pub rules: Vec<FaultRule>,
    /// Bytes that fit; writes that find no room end early.
    pub capacity: u64,
    /// How long an operation takes, evenly spread; see [`super::SimDisk::delay`].
    pub delay: Range<Duration>,
    /// No operation ends as long as this is set; see [`super::SimDisk::delay`].
    pub hung: bool,
}

/// One fault, where and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRule {
    /// The file or directory, and all below it; `/` for everything.
    pub prefix: PathBuf,
    /// What happens there.
    pub fault: DiskFault,
    /// In which of the operations that it can hit.
    pub when: When,
}

/// What can go wrong in one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// EIO from reading a file.
    ReadError,
    /// EIO from writing, cutting or reserving; nothing has changed.
    WriteError,
    /// EIO from `sync_data` or `sync_dir`. A part of a file's writes is lost then, although reads still see them and
    /// the next sync succeeds.
    SyncError,
    /// EIO from opening, listing, looking at, creating, renaming or removing; nothing has changed.
    NameError,
    /// Fewer bytes than were asked for, at least one.
    ShortRead,
    /// EIO from a write of which a part is done.
    ShortWrite,
    /// A write that succeeds and never reaches the platter: it is gone when the cache is dropped.
    LostWrite,
    /// A write that succeeds and goes to another sector of the same file, or of another one in its directory.
    MisdirectedWrite,
    /// A read that succeeds with bytes of another sector of the same file, or of another one in its directory.
    MisdirectedRead,
}

/// In which of the operations it can hit a fault happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// In none.
    #[default]
    Never,
    /// In each with this probability, in millionths.
    PerMillion(u32),
    /// In so many from now on; counts down.
    Next(u64),
    /// In all.
    Always,
}

impl When {
    /// True when it happens in this operation. Draws from `random` only for a probability.
    pub fn strikes(&mut self, random: &Random) -> bool {
        match self {
            When::Never | When::Next(0) => false,
            When::PerMillion(chance) => random.below(1_000_000) < u64::from(*chance),
            When::Next(left) => {
                *left -= 1;
                true
            }
            When::Always => true,
        }
    }
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// How often each thing went wrong on a disk since it was made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct DiskCounts { $($(#[$doc])* pub $name: u64),* }

        impl DiskCounts {
            /// All counts with their names, in a fixed order.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counts! {
    /// [`DiskFault::ReadError`].
    read_errors,
    /// [`DiskFault::WriteError`].
    write_errors,
    /// [`DiskFault::SyncError`].
    sync_errors,
    /// [`DiskFault::NameError`].
    name_errors,
    /// [`DiskFault::ShortRead`].
    short_reads,
    /// [`DiskFault::ShortWrite`].
    short_writes,
    /// [`DiskFault::LostWrite`].
    lost_writes,
    /// [`DiskFault::MisdirectedWrite`].
    misdirected_writes,
    /// [`DiskFault::MisdirectedRead`].
    misdirected_reads,
    /// Writes and reservations that found no room.
    full,
    /// Bits that were flipped.
    rotten_bits,
    /// Operations that were told to take longer than no time.
    slow,
    /// Operations that were told to wait without end.
    hung,
    /// Operations through handles from before a crash or a restart.
    stale,
    /// Directories that were set back to an earlier state.
    rollbacks,
    /// Power cuts.
    crashes,
    /// Creations, renames and removals that a crash took back.
    crash_lost_names,
    /// Changes of files that a crash took back.
    crash_lost_changes,
    /// Writes of which a crash left a part.
    crash_torn_writes,
}

impl Default for DiskFaults {
    fn default() -> Self {
        let delay = Duration::ZERO..Duration::ZERO;
        Self { rules: Vec::new(), capacity: CAPACITY_DEFAULT, delay, hung: false }
    }
}

impl DiskCounts {
    fn of(&mut self, fault: DiskFault) -> &mut u64 {
        match fault {
            DiskFault::ReadError => &mut self.read_errors,
            DiskFault::WriteError => &mut self.write_errors,
            DiskFault::SyncError => &mut self.sync_errors,
            DiskFault::NameError => &mut self.name_errors,
            DiskFault::ShortRead => &mut self.short_reads,
            DiskFault::ShortWrite => &mut self.short_writes,
            DiskFault::LostWrite => &mut self.lost_writes,
            DiskFault::MisdirectedWrite => &mut self.misdirected_writes,
            DiskFault::MisdirectedRead => &mut self.misdirected_reads,
        }
    }
}

/// The plan at work.
#[derive(Debug)]
pub struct Dice {
    pub plan: DiskFaults,
    pub counts: DiskCounts,
    pub random: Random,
}

impl Dice {
    pub fn new(seed: u64) -> Self {
        let (plan, counts) = (DiskFaults::default(), DiskCounts::default());
        Self { plan, counts, random: Random::seeded(seed) }
    }

    /// True when `fault` hits this operation on `path`; counts it.
    pub fn strikes(&mut self, fault: DiskFault, path: &Path) -> bool {
        let Self { plan, counts, random } = self;
        let mut rules =
            plan.rules.iter_mut().filter(|rule| rule.fault == fault && is_below(path, &rule.prefix));
        let hit = rules.any(|rule| rule.when.strikes(random));
        *counts.of(fault) += u64::from(hit);
        hit
    }

    /// EIO when `fault` hits this operation on `path`.
    pub fn check(&mut self, fault: DiskFault, path: &Path) -> io::Result<()> {
        if self.strikes(fault, path) { Err(io_error()) } else { Ok(()) }
    }

    /// How long an operation takes; `None` while the disk hangs.
    pub fn delay(&mut self) -> Option<Duration> {
        if self.plan.hung {
            self.counts.hung += 1;
            return None;
        }
        let Range { start, end } = self.plan.delay;
        let spread = u64::try_from(end.saturating_sub(start).as_nanos()).unwrap_or(u64::MAX);
        let more = if spread == 0 { 0 } else { self.random.below(spread) };
        let delay = start + Duration::from_nanos(more);
        self.counts.slow += u64::from(!delay.is_zero());
        Some(delay)
    }
}

/// True when `path` is `prefix` or below it.
pub fn is_below(path: &Path, prefix: &Path) -> bool {
    let mut parts = names(path);
    names(prefix).all(|name| parts.next() == Some(name))
}

fn names(path: &Path) -> impl Iterator<Item = Component<'_>> {
    path.components().filter(|part| matches!(part, Component::Normal(_)))
}

/// What a broken disk answers.
pub fn io_error() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}
