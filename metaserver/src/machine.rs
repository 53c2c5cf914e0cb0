//! The machines of `tree` as `raft` hosts them.

use std::sync::Arc;

use bytes::Bytes;
use kv::{Overlay, Read};
use raft::StateMachine;
use tree::Machine;
use tree::namespace::{self, NamespaceMachine};

use crate::polls::Polls;

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

/// The machine of a namespace partition, whose changes are waited for.
#[derive(Debug)]
pub struct Followed {
    machine: NamespaceMachine,
    polls: Polls,
}

impl Followed {
    /// Tells `polls` what the commands of `machine` change.
    pub fn new(machine: NamespaceMachine, polls: Polls) -> Self {
        Self { machine, polls }
    }
}

impl StateMachine for Followed {
    fn apply(&self, state: &mut Overlay<'_>, index: u64, command: &[u8]) -> Bytes {
        self.machine.apply(state, index, command)
    }

    fn applied(&self, _index: u64, changes: &Overlay<'_>) {
        self.polls.wake(&namespace::changed(changes));
    }

    fn restored(&self, state: &dyn Read) -> types::Result<()> {
        self.machine.restored(state)?;
        self.polls.wake_all();
        Ok(())
    }
}
