//! The state machines of the metadata: namespaces, the chunk index and the cluster's root.
//!
//! Owns: the tree, its versions and its journal (I-TREE, I-JRN, I-CAS), which chunks exist, the cluster map and what
//! follows from its changes. Pure: state and command in, changes and answer out (I-DET); reads are plain functions over
//! any state.
//! Knows nothing of: Raft, sockets, clocks, who is asking.

use bytes::Bytes;

pub mod index;
pub mod namespace;
pub mod root;

mod answer;

/// What a partition replicates: the one way to change its state.
pub trait Machine: Send + Sync + 'static {
    /// Applies the `index`-th command of the partition and returns its encoded answer. The same state, index and
    /// command give the same changes and the same answer on every replica.
    fn apply(&self, state: &mut kv::Overlay<'_>, index: u64, command: &[u8]) -> Bytes;

    /// Rebuilds what the machine keeps in memory after its whole state was opened or replaced. An error is one of this
    /// machine's disk: without its rows a partition answers nothing.
    fn restored(&self, _state: &dyn kv::Read) -> types::Result<()> {
        Ok(())
    }
}

pub use answer::decode as decode_answer;
