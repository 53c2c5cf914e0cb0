//! One disk: shards go in durably and come out verified.
//!
//! Owns: superblocks, segments, the index of a disk directory, group commit, recovery after a crash.
//! Knows nothing of: chunks as a whole, other disks, the network.
//!
//! A put is acknowledged after: append to the segment, fdatasync, index batch, in this order (I-ACK). The index is a
//! cache: it is completed from the segments at open, and rebuilt when it is lost. A read checks every block it
//! touches and returns right bytes or an error (I-READ).

mod active;
mod background;
mod change;
mod committer;
mod engine;
mod fault;
mod files;
mod health;
mod holes;
mod identity;
mod index;
mod open;
mod progress;
mod read;
mod rebuild;
mod record;
mod records;
mod recovery;
mod scrub;
mod seal;
mod segment;
mod shared;
mod space;
mod state;
mod store;
mod superblock;
mod unsealed;

pub use health::{DiskFailures, is_slow};
pub use identity::{DiskIdentity, hand_over, identify};
pub use open::DiskConfig;
pub use progress::ScrubProgress;
pub use space::Purpose;
pub use state::DiskState;
pub use store::{DiskStats, DiskStore, Doubt, ShardFound};

#[cfg(test)]
mod tests;
