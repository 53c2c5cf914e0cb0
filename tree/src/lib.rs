//! The state machines of the metadata: namespaces, the chunk index and the cluster's root.
//!
//! Owns: the tree, its versions and its journal (I-TREE, I-JRN, I-CAS), which chunks exist, the cluster map and the rules
//! of its changes, the feature level of a partition. Pure: state and command in, changes and answer out (I-DET), or a
//! halt when this machine cannot tell (decision 0015); reads are plain functions over any state.
//! Knows nothing of: Raft, sockets, clocks, who is asking.

mod answer;
mod digest;
mod draft;
mod failure;
mod golden;
pub mod index;
mod level;
pub mod namespace;
mod replica;
pub mod root;
mod row;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use types::{Error, FeatureLevel, Result};

pub use answer::decode as decode_answer;
pub use digest::Digest;
pub use draft::{At, Draft};
pub use failure::Halt;
pub use replica::{Machine, Replica, digest_of};

/// The answer to a command of any kind that was not carried out.
pub fn encode_refusal(error: Error) -> Bytes {
    answer::encode::<()>(&Err(error))
}

/// The feature level that a partition has reached.
pub fn level(state: &dyn kv::Read) -> Result<FeatureLevel> {
    level::level(state).map_err(Halt::into_error)
}
