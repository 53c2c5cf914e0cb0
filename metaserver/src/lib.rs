//! The metadata of the cluster: namespaces, the chunk index and the cluster map, each a deterministic state machine
//! under Raft, and the service that proposes to them and reads from them.
//!
//! Owns: the tree and its journal (I-TREE, I-JRN, I-CAS), the chunk index, the map and the failure detector's decisions,
//! the one permission function (I-AUTH). `apply` is pure: state and command in, changes and reply out (I-DET).
//! Knows nothing of: sockets, openraft types, where shards lie on a disk.

mod access;
mod index;
mod liveness;
mod namespace;
mod reply;
mod root;
mod server;

pub use access::authorize;
pub use index::IndexMachine;
pub use liveness::{Liveness, NODE_SILENCE_MS_MAX};
pub use namespace::NamespaceMachine;
pub use root::{RootMachine, bootstrap_map};
pub use server::{Config, Metaserver};
