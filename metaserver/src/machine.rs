//! The machines of `tree` as `raft` hosts them.

use std::sync::Arc;

use bytes::Bytes;
use kv::{Overlay, Read};
use raft::StateMachine;
use tree::{Halt, Machine, Replica};
use types::{Error, Result};

/// A machine that a Raft group replicates.
#[derive(Debug)]
pub struct Replicated<M>(pub Arc<Replica<M>>);

impl<M: Machine> StateMachine for Replicated<M> {
    fn apply(&self, state: &mut Overlay<'_>, index: u64, command: &[u8]) -> Result<Bytes> {
        self.0.apply(state, index, command).map_err(Halt::into_error)
    }

    fn skipped(&self, index: u64, reason: &str) -> Bytes {
        tree::encode_refusal(Error::internal(format!(
            "command {index} was skipped by the operator: {reason}"
        )))
    }

    fn restored(&self, state: &dyn Read) -> Result<()> {
        self.0.restored(state).map_err(Halt::into_error)
    }
}
