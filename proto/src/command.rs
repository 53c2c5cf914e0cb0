//! Commands: what is written to the Raft logs of the partitions and applied by the metaserver's state machines.
//!
//! A persisted format: variants are only appended. The proposer stamps time and chance; `apply` has neither (I-DET).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use types::{
    ClusterId, DiskId, DiskUuid, Millis, NamespaceId, NamespaceName, NodeId, PgId, Profile, StoreUuid,
};

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

/// What a new node says about itself.
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
    /// Its metadata store, on a meta node.
    pub store: Option<StoreUuid>,
}

/// The first command of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// Redundancy of every chunk.
    pub profile: Profile,
    /// Number of placement groups, a power of two.
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
    /// Creates the cluster. Repeated, it changes nothing.
    Bootstrap(Box<Bootstrap>),
    /// Gives a new node its id.
    AddNode {
        /// What it says about itself.
        node: NewNode,
        /// BLAKE3 of the token it showed.
        token_hash: [u8; 32],
    },
    /// Nodes went down or came back, listen elsewhere, or have other broken disks than before.
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
        /// The name; one that exists keeps its id.
        name: NamespaceName,
    },
    /// Sets who votes in every partition.
    SetVoters {
        /// All of them, not only new ones.
        voters: Vec<NodeId>,
    },
    /// A node knows that it has joined.
    ConfirmNode {
        /// The node.
        node: NodeId,
    },
    /// A node has a new metadata store in place of one that was lost. Repeated, it changes nothing.
    RegisterStore {
        /// The node.
        node: NodeId,
        /// Its new store.
        store: StoreUuid,
    },
    /// Forgets a node and its disks.
    RemoveNode {
        /// The node, which must be down.
        node: NodeId,
        /// Also when its disks still count for the redundancy of what is stored.
        force: bool,
    },
}

/// What is new about a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeChange {
    /// The node that changed.
    pub node: NodeId,
    /// It sends heartbeats.
    pub up: bool,
    /// Where it listens.
    pub native: SocketAddr,
    /// Where it listens for gRPC.
    pub control: SocketAddr,
    /// All its disks that cannot be written; the others are healthy.
    pub broken_disks: Vec<DiskId>,
}

/// Commands of a namespace partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceCommand {
    /// Creates an empty namespace. Repeated, it changes nothing.
    Create {
        /// Its id, from the root partition.
        namespace: NamespaceId,
        /// Who owns it.
        owner: String,
    },
    /// Changes a namespace. The proposer checked the receipts; the fence comes with garbage collection (decision 0008).
    Write {
        /// Identity of the caller, as text.
        author: String,
        /// The changes, as the caller sent them.
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
