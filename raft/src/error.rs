//! openraft's errors in the system's ten kinds.

use std::io;

use openraft::errors::{
    ChangeMembershipError, ClientWriteError, Fatal, ForwardToLeader, InitializeError, LinearizableReadError,
    RaftError,
};
use types::{Error, PartitionId, ReplicaId};

use crate::engine::TypeConfig;

/// Why a store cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The log is not what it was when the store was last open, or is damaged: votes and entries that this replica has
    /// promised to keep may be gone, so it must not take part under its id.
    Log(Error),
    /// The states are not what they were, or are damaged; what they had can come from the log and from others.
    State(Error),
    /// Anything else: another attempt may succeed.
    Other(Error),
}

impl OpenError {
    /// What is wrong.
    pub fn into_error(self) -> Error {
        match self {
            OpenError::Log(e) | OpenError::State(e) | OpenError::Other(e) => e,
        }
    }
}

impl From<Error> for OpenError {
    fn from(e: Error) -> Self {
        OpenError::Other(e)
    }
}

/// The node is not the leader; the message names the leader if there is one.
pub fn not_leader(group: PartitionId, forward: &ForwardToLeader<TypeConfig>) -> Error {
    Error::stale_epoch(match forward.leader_id {
        Some(leader) => {
            format!("this node does not lead partition {group}: ask node {}", ReplicaId(leader).node())
        }
        None => {
            format!("this node knows no leader of partition {group}: ask another node, or try again soon")
        }
    })
}

/// The group does not run any more on this node.
pub fn fatal(group: PartitionId, e: &Fatal<TypeConfig>) -> Error {
    Error::unavailable(format!("partition {group} does not run on this node ({e}): ask another node"))
}

/// A command or a membership change was not done, or nobody knows.
pub fn write(group: PartitionId, e: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> Error {
    match e {
        RaftError::Fatal(e) => fatal(group, &e),
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => not_leader(group, &forward),
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => Error::unavailable(format!(
            "the leader of partition {group} changed; the command may or may not have been applied: try again"
        )),
        RaftError::APIError(ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(
            e,
        ))) => Error::busy(format!("the voters of partition {group} are already being changed: {e}"), 500),
        RaftError::APIError(e) => {
            Error::invalid(format!("the voters of partition {group} cannot be changed: {e}"))
        }
    }
}

/// A linearizable read is not possible here and now.
pub fn read(group: PartitionId, e: RaftError<TypeConfig, LinearizableReadError<TypeConfig>>) -> Error {
    match e {
        RaftError::Fatal(e) => fatal(group, &e),
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => not_leader(group, &forward),
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => Error::unavailable(format!(
            "the leader of partition {group} cannot reach a majority of its voters: try again soon"
        )),
    }
}

/// A group cannot be initialized.
pub fn initialize(group: PartitionId, e: RaftError<TypeConfig, InitializeError<TypeConfig>>) -> Error {
    match e {
        RaftError::Fatal(e) => fatal(group, &e),
        RaftError::APIError(InitializeError::NotAllowed(_)) => {
            Error::exists(format!("partition {group} is already initialized"))
        }
        RaftError::APIError(e) => Error::invalid(format!("partition {group} cannot be initialized: {e}")),
    }
}

/// Our errors on the way through openraft's storage interface.
pub fn to_io(e: Error) -> io::Error {
    io::Error::other(e)
}
