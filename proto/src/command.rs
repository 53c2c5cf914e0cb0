//! Commands: what is written to the Raft logs of the partitions and applied by the metaserver's state machines.
//!
//! A persisted format: variants are only appended. The proposer stamps time and chance; `apply` has neither (I-DET).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use types::{ClusterId, DiskId, DiskUuid, Millis, NamespaceId, NamespaceName, NodeId, PgId, Profile};

use crate::index::Registration;
use crate::map::Role;
use crate::namespace::WriteNamespace;
use crate::seal::ClusterSecret;

/// A command with what its proposer knew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped<C> {
    /// The proposer's wall clock.
    pub time: Millis,
    /// What to do.
    pub command: C,
}

/// What a new node tells about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewNode {
    /// Its failure domain.
    pub zone: String,
    /// What it does.
    pub roles: Vec<Role>,
    /// Where it listens.
    pub native: SocketAddr,
    /// Where it listens for gRPC.
    pub control: SocketAddr,
}

/// The first command of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// Its redundancy.
    pub profile: Profile,
    /// Its number of placement groups.
    pub pg_count: u16,
    /// Number of namespace partitions.
    pub namespace_partitions: u32,
    /// Number of index partitions.
    pub index_partitions: u32,
    /// Certificate and key of its authority, PEM.
    pub authority: String,
    /// The secret of its nodes.
    pub secret: ClusterSecret,
    /// The first node, which becomes node 1.
    pub node: NewNode,
}

/// Commands of the root partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootCommand {
    /// Makes the cluster. Done twice it changes nothing.
    Bootstrap(Box<Bootstrap>),
    /// Gives a new node its id.
    AddNode {
        /// About it.
        node: NewNode,
        /// BLAKE3 of the token it showed.
        token_hash: [u8; 32],
    },
    /// Nodes came or went, or listen elsewhere.
    SetNodes {
        /// Those that changed.
        changes: Vec<NodeChange>,
    },
    /// Gives new disks their ids and remembers capacities.
    RegisterDisks {
        /// Where they are.
        node: NodeId,
        /// Disk and capacity in bytes.
        disks: Vec<(DiskUuid, u64)>,
    },
    /// A slot's new holder has everything.
    FinishSync {
        /// Placement group, slot, holder.
        slots: Vec<(PgId, u8, DiskId)>,
    },
    /// Allows nodes to join.
    AddToken {
        /// BLAKE3 of what a node must show.
        hash: [u8; 32],
        /// Not valid after this time.
        expires: Millis,
    },
    /// Gives a namespace its id.
    CreateNamespace {
        /// Its name.
        name: NamespaceName,
    },
    /// Sets who votes in every partition.
    SetVoters {
        /// The nodes.
        voters: Vec<NodeId>,
    },
}

/// What is new about a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeChange {
    /// Which.
    pub node: NodeId,
    /// It answers.
    pub up: bool,
    /// Where it listens.
    pub native: SocketAddr,
    /// Where it listens for gRPC.
    pub control: SocketAddr,
    /// Its disks that cannot be written.
    pub broken_disks: Vec<DiskId>,
}

/// Commands of a namespace partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceCommand {
    /// Makes an empty namespace. Done twice it changes nothing.
    Create {
        /// Its id, from the root partition.
        namespace: NamespaceId,
        /// Who owns it.
        owner: String,
    },
    /// Changes a namespace. Receipts were checked by the proposer; the fence is checked by `apply`.
    Write {
        /// Who.
        author: String,
        /// What.
        write: WriteNamespace,
    },
}

/// Commands of an index partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexCommand {
    /// Durable chunks.
    Register(Vec<Registration>),
    /// Chunks that are about to be referenced.
    Pin(Vec<types::ChunkId>),
}
