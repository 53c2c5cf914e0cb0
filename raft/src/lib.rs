//! A replicated log for any state machine: many groups per process, one log on disk for all of them.
//!
//! Owns: consensus (openraft, named only here), the shared log, applying committed commands to a [`kv`] store,
//! snapshots for nodes that are too far behind, linearizable reads, changes of voters.
//! Knows nothing of: namespaces, chunks, sockets. Commands and replies are opaque bytes, and so are the messages
//! between the nodes of a group.
//!
//! A [`Host`] is one process; it has one [`Group`] per partition it keeps a copy of. A command is a success only when
//! a majority of voters has it on disk (I-ACK). State is written without a sync of its own: after a crash the store
//! holds a prefix, and the log has the rest.
//!
//! An *index* in this crate's interface counts the commands of a group from 1, without gaps and equal on every node
//! (elections and membership changes are not counted), so it can serve as version or sequence number.

mod archive;
mod blocking;
mod close;
mod codec;
mod config;
#[cfg(test)]
mod conformance;
mod damage;
mod engine;
mod error;
mod gap;
mod gather;
#[cfg(test)]
mod golden;
mod group;
mod headroom;
mod heartbeat;
mod host;
mod label;
mod lease;
mod link;
mod log;
mod log_store;
mod machine;
mod message;
mod outgoing;
mod peer;
mod proposer;
mod reconcile;
pub mod recover;
mod reinstall;
mod roster;
mod runtime;
mod shared;
mod skip;
mod snapshot;
mod state;
mod supervise;
mod trim;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use types::{Error, NodeId, ReplicaId, Result};

pub use config::{HostConfig, LogTail};
pub use error::OpenError;
pub use group::Group;
pub use host::Host;
pub use label::Last;
pub use link::Trouble;
pub use skip::skip;
pub use state::State;

/// What a group replicates. Supplied by the user of the crate.
///
/// `apply` is pure: same state, same index and same command give the same changes and the same reply on every node
/// (I-DET). What an implementation keeps in memory beside the state must be rebuilt in `restored`.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies one command and returns the reply to its proposer, refusals included. Keys are the group's own: no other
    /// group's can be seen or touched. An error, like a panic, is this node's own and no result: the group stops here
    /// before the command, and what was applied together with it is applied again after a restart. `Corrupt` says that
    /// the state is damaged: then the whole store stops, and whoever opened it has the state replaced.
    fn apply(&self, state: &mut kv::Overlay<'_>, index: u64, command: &[u8]) -> Result<Bytes>;

    /// The reply to whoever proposed a command that the operator has had skipped (see [`skip`]); empty by default.
    fn skipped(&self, _index: u64, _reason: &str) -> Bytes {
        Bytes::new()
    }

    /// Called when the commands up to `index` are visible to reads, with what the last of them have changed.
    fn applied(&self, _index: u64, _changes: &kv::Overlay<'_>) {}

    /// Called with the state when the group is opened and whenever the whole state was replaced by a snapshot. After an
    /// error, which is one of this node's disk, the group does not take part.
    fn restored(&self, _state: &dyn kv::Read) -> Result<()> {
        Ok(())
    }
}

/// Carries messages to the hosts of other nodes.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// Sends `message` to [`Host::handle`] of `target` and returns the answer. Several may be under way at once, and
    /// may overtake each other. Gives up after `timeout`.
    async fn send(&self, target: NodeId, message: Bytes, timeout: Duration) -> Result<Bytes>;
}

/// Keeps the log of a node for longer than the node does. Its methods may block.
///
/// Segments are numbered without gaps, and come in their order: the format is in `docs/formats/raft-log.md`. After an
/// error, or a restart of the node, one may come again. A number that never comes was lost: the node could not wait
/// any longer for an archive that failed, and says so, or was ended before it could.
pub trait Archive: Send + Sync + Debug + 'static {
    /// Takes the segment `number`, the file at `path`. It must be durable on return; the file may then go.
    fn take_segment(&self, number: u64, path: &Path) -> Result<()>;

    /// These segments were deleted before they were taken.
    fn lose_segments(&self, numbers: Range<u64>) -> Result<()>;
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its place among the commands of the group.
    pub index: u64,
    /// What `apply` returned.
    pub reply: Bytes,
}

/// The part a node plays in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes commands.
    Leader,
    /// Has a vote.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Gets the log but has no vote.
    Learner,
    /// Does nothing any more: it was shut down, or its disk failed.
    Stopped,
}

/// A group as its node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// The part this node plays.
    pub role: Role,
    /// The leader this node knows.
    pub leader: Option<ReplicaId>,
    /// Raft's term.
    pub term: u64,
    /// Position of the newest entry of the log; an entry carries many commands.
    pub log_last: u64,
    /// Position of the last entry that is applied here.
    pub log_applied: u64,
    /// Commands applied here.
    pub applied: u64,
    /// The disk of the log is nearly full: only commands that make room are taken.
    pub is_short_of_space: bool,
    /// Replicas with a vote.
    pub voters: BTreeSet<ReplicaId>,
    /// Replicas without a vote.
    pub learners: BTreeSet<ReplicaId>,
    /// Why it has stopped, or waits for a state, as far as is known.
    pub problem: Option<Error>,
    /// How often it was started again since its process began.
    pub restarts: u64,
}
