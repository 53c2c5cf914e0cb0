//! Keeps shards on disks and keeps them correct; coordinates a chunk over the disks of its placement group.
//!
//! Owns: scatter and quorum acknowledgement (I-ACK), degraded reads (I-READ), the promises to repair and the filling of
//! new slots (I-HEAL), and that nothing is on a disk but sealed.
//! Knows nothing of: the namespace; which chunks belong to which file; how a disk stores shards (`segments`); how other
//! nodes are reached and who keeps the keys ([`Links`]).

mod fetch;
mod heal;
mod intents;
mod keys;
mod links;
mod put;
mod server;

pub use links::Links;
pub use server::{Blockserver, Config};

#[cfg(test)]
mod tests;
