//! A node as a whole: the composition root that puts metaserver, blockserver and doors together.
//!
//! A node is prepared once, by [`init`] (the first of a cluster) or [`join`] (the others), and then started with
//! [`run`] as often as needed. [`up`] does both for a cluster of one.

mod disks;
mod home;
mod links;
mod run;
mod service;
mod setup;
mod up;

pub use run::run;
pub use setup::{init, join};
pub use up::up;
