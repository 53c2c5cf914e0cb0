//! The types openraft is used with.

use std::fmt;

use bytes::Bytes;
use openraft::EmptyNode;
use openraft::impls::leader_id_std::LeaderId;
use openraft_rt::deterministic_rng::DeterministicRng;
use serde::{Deserialize, Serialize};
use types::ReplicaId;

use crate::log::EntryId;
use crate::runtime::EnvRuntime;

openraft::declare_raft_types!(
    /// openraft as this crate uses it: one leader per term, chance from a seed (see [`Runtime`]).
    pub TypeConfig:
        D = Commands,
        R = Replies,
        NodeId = u64,
        Node = EmptyNode,
        LeaderId = LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = Runtime,
);

/// [`EnvRuntime`], with randomness from a seed that the starter of a group takes from `env`.
pub type Runtime = DeterministicRng<EnvRuntime>;
pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;

/// The content of one entry: commands that were proposed at about the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commands(pub Vec<Bytes>);

/// What became of the commands of one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replies {
    /// Index of the first command.
    pub first: u64,
    /// One per command.
    pub replies: Vec<Bytes>,
}

impl fmt::Display for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands", self.0.len())
    }
}

impl From<EntryId> for LogId {
    fn from(id: EntryId) -> Self {
        LogId::new_term_index(id.term, id.index)
    }
}

impl From<&LogId> for EntryId {
    fn from(id: &LogId) -> Self {
        EntryId { term: id.committed_leader_id().term, index: id.index() }
    }
}

/// A set of replicas as openraft wants it.
pub fn plain_ids(nodes: &std::collections::BTreeSet<ReplicaId>) -> std::collections::BTreeSet<u64> {
    nodes.iter().map(|node| node.0).collect()
}
