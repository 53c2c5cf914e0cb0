//! The cluster map: everything a client or node needs to find anything, under one epoch.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use placement::Table;
use serde::{Deserialize, Serialize};
use types::{
    ChunkId, ClusterId, DiskId, DiskUuid, Epoch, Error, GcEpoch, NamespaceId, NodeId, PartitionId, PgId,
    Profile, Result,
};

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Holds metadata partitions.
    Meta,
    /// Holds disks.
    Block,
}

/// A process of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Failure domain the profile must survive.
    pub zone: String,
    /// Where it listens: QUIC and TLS/TCP on the same port.
    pub native: SocketAddr,
    /// Where it listens for gRPC.
    pub control: SocketAddr,
    /// What it does.
    pub roles: Vec<Role>,
    /// It answered lately.
    pub up: bool,
}

/// A disk of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskInfo {
    /// The node it is in.
    pub node: NodeId,
    /// Which physical disk.
    pub uuid: DiskUuid,
    /// Bytes of its file system.
    pub capacity: u64,
    /// False when its node reports that it will never take writes again.
    pub healthy: bool,
}

/// What a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PartitionKind {
    /// The map, join tokens, namespaces by name, the cluster's secrets. There is one.
    Root,
    /// Trees, versions and journals of its namespaces.
    Namespace,
    /// The chunk index.
    Index,
}

/// A Raft group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Counts from 0, the root.
    pub id: PartitionId,
    /// What it holds.
    pub kind: PartitionKind,
}

/// The cluster at one epoch. Equal epochs mean equal maps (I-PLACE).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterMap {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Grows by one with every change.
    pub epoch: Epoch,
    /// Current garbage collection cycle.
    pub gc_epoch: GcEpoch,
    /// Redundancy of every chunk.
    pub profile: Profile,
    /// Number of placement groups, a power of two.
    pub pg_count: u16,
    /// All nodes.
    pub nodes: BTreeMap<NodeId, NodeInfo>,
    /// All disks.
    pub disks: BTreeMap<DiskId, DiskInfo>,
    /// Which disk holds which slot; `None` until there are enough disks for the profile.
    pub table: Option<Table>,
    /// Placement groups that break a placement rule for want of nodes or zones.
    pub relaxed_count: u32,
    /// All partitions; the first is the root.
    pub partitions: Vec<Partition>,
    /// The nodes that vote in every partition.
    pub voters: Vec<NodeId>,
}

/// The root partition of every cluster.
pub const ROOT: PartitionId = PartitionId(0);

impl ClusterMap {
    /// The partition that holds a namespace.
    pub fn namespace_partition(&self, namespace: NamespaceId) -> PartitionId {
        let ids: Vec<PartitionId> = self.of_kind(PartitionKind::Namespace).collect();
        ids[(namespace.0 % ids.len() as u64) as usize]
    }

    /// The partition that holds the index row of a chunk.
    pub fn index_partition(&self, chunk: &ChunkId) -> PartitionId {
        let count = self.of_kind(PartitionKind::Index).count();
        let position = usize::from(chunk.0[0]) * count / 256;
        self.of_kind(PartitionKind::Index).nth(position).expect("a map has index partitions")
    }

    /// All partitions of a kind, in order.
    pub fn of_kind(&self, kind: PartitionKind) -> impl Iterator<Item = PartitionId> + '_ {
        self.partitions.iter().filter(move |p| p.kind == kind).map(|p| p.id)
    }

    /// The placement group of a chunk.
    pub fn pg(&self, chunk: &ChunkId) -> PgId {
        chunk.pg(self.pg_count)
    }

    /// The slots of a placement group, in order; `Unavailable` while there are too few disks for the profile.
    pub fn slots(&self, pg: PgId) -> Result<&[placement::Slot]> {
        let table = self.table.as_ref().ok_or_else(|| {
            Error::unavailable(format!(
                "the cluster has {} disks, its profile {} needs {}: add disks or nodes",
                self.disks.len(),
                self.profile,
                self.profile.n()
            ))
        })?;
        Ok(&table.pgs[usize::from(pg.0)])
    }

    /// The node that has a disk; `None` when the map does not name both.
    pub fn node_of(&self, disk: DiskId) -> Option<(NodeId, &NodeInfo)> {
        let id = self.disks.get(&disk)?.node;
        Some((id, self.nodes.get(&id)?))
    }

    /// True when the disk can be written: it is healthy and its node is up.
    pub fn is_live(&self, disk: DiskId) -> bool {
        self.disks.get(&disk).is_some_and(|d| d.healthy && self.nodes.get(&d.node).is_some_and(|n| n.up))
    }
}
