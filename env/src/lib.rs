//! What a process gets from its machine: clocks, randomness, disk, tasks, child processes. Real and simulated.
//!
//! Owns: the only calls to the operating system's clock, random source, file system and scheduler; clippy refuses
//! them everywhere else (decision 0002). A simulation passes [`Env::simulated`] and runs under a paused tokio clock.
//! Knows nothing of: the product.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod disk;
pub mod mutant;
pub mod process;
pub mod task;
pub mod testing;
pub mod time;

mod clock;
mod memory;
mod random;

use std::sync::Arc;

pub use clock::Clock;
pub use disk::{Disk, File, Metadata, OpenMode, Space};
pub use random::{Choices, Random};

/// Everything a room may ask of the machine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Env {
    /// Wall-clock time. For durations use [`time::now`].
    pub clock: Clock,
    /// Random bytes: from the operating system, or from a seed.
    pub random: Random,
    /// Files; all calls block.
    pub disk: Arc<dyn Disk>,
}

impl Env {
    /// The machine this process runs on; with faults on purpose when [`disk::FAULTS_VARIABLE`] says so.
    pub fn real() -> Self {
        Self { clock: Clock::real(), random: Random::real(), disk: disk::real_or_faulty() }
    }

    /// A machine whose randomness comes from `seed`, with a disk in memory that loses what was not synced in a crash.
    pub fn simulated(seed: u64) -> Self {
        Self {
            clock: Clock::simulated(),
            random: Random::seeded(seed),
            disk: Arc::new(disk::SimDisk::new(seed)),
        }
    }
}
