//! A node as a whole: puts metaserver, blockserver and doors together from a configuration.
//!
//! Owns: the configuration file, the data directory, the unlock key, joining, orderly start and stop, heartbeats; and [`dev`],
//! clusters of real nodes on one machine.
//! Knows nothing of: the command line; how anything is stored or agreed upon.
//!
//! A node is prepared once, by [`init`] (the first of a cluster) or [`join`] (the others), and then started with
//! [`Node::start`] as often as needed. [`prepare_embedded`] does the first for a cluster of one.

pub mod config;
pub mod dev;
mod disks;
#[cfg(test)]
mod golden;
mod health;
mod home;
mod links;
mod meta;
mod platform;
pub mod repair;
mod run;
mod service;
mod setup;
mod standing;
mod store;
mod token;
mod unlock;
mod up;

pub use platform::{Listener, Platform, Presence, RealPlatform, Standing};
pub use run::Node;
pub use setup::{init, join, renew};
pub use token::JoinToken;
pub use up::{Embedded, prepare_embedded};
