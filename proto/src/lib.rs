//! Every message on every wire and every persisted envelope.
//!
//! Owns: the shapes, their versions, their encoding, and the receipts and tickets that messages carry.
//! Knows nothing of: sockets, disks, behaviour.

pub mod block;
mod call;
pub mod catalog;
pub mod certificates;
pub mod cluster;
pub mod command;
pub mod disks;
mod entry;
mod envelope;
mod golden;
pub mod index;
mod journal;
pub mod keys;
pub mod map;
pub mod namespace;
pub mod seal;
pub mod slots;
mod trash;

pub use call::{Call, Method};
pub use envelope::{decode, decode_plain, encode, encode_plain, open, seal_plain};
