//! Keeps shards on disks and keeps them correct; coordinates a chunk over the disks of its placement group.
//!
//! Owns: scatter and acknowledgement (I-ACK), degraded reads and who is lying (I-READ), the comparison of the index with
//! the disks and what follows from it (I-HEAL), and that nothing is on a disk but sealed.
//! Knows nothing of: the namespace; which chunks belong to which file; how a disk stores shards (`segments`); how other
//! nodes are reached and who keeps the keys ([`Links`]).

mod detours;
mod disks;
mod excerpt;
mod fetch;
mod gather;
mod heal;
mod keys;
mod liars;
mod links;
mod patience;
mod progress;
mod put;
mod reconcile;
mod sample;
mod scatter;
mod scrub;
mod scrubs;
mod server;
mod sources;
mod task;
mod writing;
mod yielding;

pub use disks::{Disks, report_of};
pub use heal::keep_redundancy;
pub use links::Links;
pub use scrub::keep_verifying;
pub use server::{Blockserver, Config};

#[cfg(test)]
mod tests;
