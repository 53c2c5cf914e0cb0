//! Serves the state machines of `tree` over Raft: turns requests into commands or reads, and does the cluster's upkeep.
//!
//! Owns: which replica answers what, the freshness of reads (I-LIN), the failure detector and its decisions, the voters
//! of every partition, and that inline content is plain in answers only.
//! Knows nothing of: sockets, openraft types, what a command changes, where shards lie on a disk.

mod keychain;
mod liveness;
mod machine;
mod polls;
mod readers;
mod server;

pub use keychain::Unlocking;
pub use liveness::Liveness;
pub use server::{Config, Metaserver, Signer};
