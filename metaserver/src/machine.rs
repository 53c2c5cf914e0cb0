//! The machines of `tree` as `raft` hosts them.

use std::sync::Arc;

use bytes::Bytes;
use kv::{Overlay, Read};
use raft::StateMachine;
use tree::namespace::{self, NamespaceMachine};
use tree::{Halt, Machine, Replica};
use types::{Error, Result};

use crate::polls::Polls;

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

    fn applied(&self, _index: u64, _changes: &Overlay<'_>) {
        self.0.machine().applied();
    }

    fn restored(&self, state: &dyn Read) -> Result<()> {
        self.0.restored(state).map_err(Halt::into_error)
    }
}

/// The machine of a tree partition, whose changes are waited for.
#[derive(Debug)]
pub struct Followed {
    machine: Replicated<NamespaceMachine>,
    polls: Polls,
}

impl Followed {
    /// Tells `polls` what the commands of `machine` change.
    pub fn new(machine: Arc<Replica<NamespaceMachine>>, polls: Polls) -> Self {
        Self { machine: Replicated(machine), polls }
    }
}

impl StateMachine for Followed {
    fn apply(&self, state: &mut Overlay<'_>, index: u64, command: &[u8]) -> Result<Bytes> {
        self.machine.apply(state, index, command)
    }

    fn skipped(&self, index: u64, reason: &str) -> Bytes {
        self.machine.skipped(index, reason)
    }

    fn applied(&self, _index: u64, changes: &Overlay<'_>) {
        self.polls.wake(&namespace::changed(changes));
    }

    fn restored(&self, state: &dyn Read) -> Result<()> {
        self.machine.restored(state)?;
        self.polls.wake_all();
        Ok(())
    }
}
