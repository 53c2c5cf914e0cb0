//! Workloads, the history of what was asked and answered, and the checkers that judge it: one proof for simulated and
//! for real clusters.
//!
//! Owns: what clients do and how it is recorded, the reference of what a namespace is, what is looked at afterwards,
//! and what counts as a broken promise.
//! Knows nothing of: faults, how a cluster is started, how it is reached; real or simulated time, disks and networks.
//!
//! A proof is three calls: [`run`] works until it is told to stop, while the caller does to the cluster what it likes;
//! [`survey`] looks at everything once the cluster is whole and quiet; [`check`] judges both. What one caller alone can
//! see (processes, permits, healing) it judges itself, with the same [`Verdict`].
//!
//! Time comes from `env::time` and chance from the [`env::Random`] that is handed in: on a paused clock and one thread a
//! seed replays its history, as far as the cluster and the client library do.

mod check;
mod content;
mod deed;
mod follower;
mod ground;
mod history;
mod mirrors;
mod mix;
mod model;
mod replay;
mod run;
mod session;
mod survey;
mod verdict;
mod worker;

#[cfg(test)]
mod tests;

pub use check::{Inventory, check, leaks};
pub use content::{Content, Hash, Recipe};
pub use history::{Asked, Followed, History, Mirrored, Operation, Outcome, Shown, Step, Via};
pub use mix::{Mix, Sizes};
pub use replay::{Inode, Revision, Tree};
pub use run::{Workload, run};
pub use session::Session;
pub use survey::{Digest, Kept, Served, Survey, survey};
pub use verdict::{Color, Invariant, Verdict};
