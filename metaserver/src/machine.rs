//! The machines of `tree` as `raft` hosts them.

use std::sync::Arc;

use bytes::Bytes;
use kv::{Overlay, Read};
use raft::StateMachine;
use tree::Machine;

/// A machine that a Raft group replicates.
#[derive(Debug)]
pub struct Replicated<M>(pub Arc<M>);

impl<M: Machine> StateMachine for Replicated<M> {
    fn apply(&self, state: &mut Overlay<'_>, index: u64, command: &[u8]) -> Bytes {
        self.0.apply(state, index, command)
    }

    fn restored(&self, state: &dyn Read) -> types::Result<()> {
        self.0.restored(state)
    }
}
