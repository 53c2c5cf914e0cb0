//! What goes wrong in a store in memory: the plan, the dice, and the count of what happened.

use env::Random;
use env::disk::When;
use types::{Error, Result};

/// What goes wrong in a [`super::MemKv`] from now on. The default is a healthy store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvFaults {
    /// Gets that answer `Unavailable`.
    pub reads: When,
    /// Scans that answer `Unavailable`, after a few rows or none.
    pub scans: When,
    /// Writes that answer `Unavailable`; nothing has changed.
    pub writes: When,
    /// Flushes that answer `Unavailable`; nothing has become durable.
    pub flushes: When,
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// How often each thing went wrong in a store since it was made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct KvCounts { $($(#[$doc])* pub $name: u64),* }

        impl KvCounts {
            /// All counts with their names, in a fixed order.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counts! {
    /// [`KvFaults::reads`].
    failed_reads,
    /// [`KvFaults::scans`].
    failed_scans,
    /// [`KvFaults::writes`].
    failed_writes,
    /// [`KvFaults::flushes`].
    failed_flushes,
    /// Rows that rotted.
    rotten_rows,
    /// Reads and scans that met one of them.
    rot_reported,
    /// How often everything was lost.
    losses,
    /// How often an earlier state was put back.
    rollbacks,
    /// Calls through handles from before a restart.
    stale,
    /// Power cuts.
    crashes,
    /// Batches that a crash took back.
    crash_lost_batches,
}

/// The plan at work.
#[derive(Debug)]
pub(super) struct Dice {
    pub(super) plan: KvFaults,
    pub(super) counts: KvCounts,
    pub(super) random: Random,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self { plan: KvFaults::default(), counts: KvCounts::default(), random: Random::seeded(seed) }
    }

    pub(super) fn read(&mut self) -> Result<()> {
        let hit = self.plan.reads.strikes(&self.random);
        answer(hit, &mut self.counts.failed_reads, "read")
    }

    pub(super) fn write(&mut self) -> Result<()> {
        let hit = self.plan.writes.strikes(&self.random);
        answer(hit, &mut self.counts.failed_writes, "write")
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        let hit = self.plan.flushes.strikes(&self.random);
        answer(hit, &mut self.counts.failed_flushes, "flush")
    }

    /// After how many rows this scan fails; `None`: it does not.
    pub(super) fn scan(&mut self) -> Option<u64> {
        /// Enough for the first row, the last one and those between in a short scan.
        const FAILED_SCAN_COUNT_MAX: u64 = 8;
        let hit = self.plan.scans.strikes(&self.random);
        self.counts.failed_scans += u64::from(hit);
        hit.then(|| self.random.below(FAILED_SCAN_COUNT_MAX + 1))
    }
}

fn answer(hit: bool, count: &mut u64, what: &str) -> Result<()> {
    *count += u64::from(hit);
    if hit { Err(failed(what)) } else { Ok(()) }
}

/// What a store answers whose disk fails.
pub(super) fn failed(what: &str) -> Error {
    Error::unavailable(format!("the simulated store fails to {what}: input/output error"))
}
