//! The cluster map: everything a client or node needs to find anything, under one epoch.
//!
//! Owns: the map's shape and what must hold in it. It is checked where a map is read, from a peer, a file or a row, so
//! that whoever holds one may rely on it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use placement::Table;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use types::limits::{PARTITION_COUNT_MAX, PG_COUNT_MAX};
use types::{
    ChunkId, ClusterId, DiskId, DiskUuid, Epoch, Error, GcEpoch, NamespaceId, NodeId, PartitionId, PgId,
    Profile, ReplicaId, Result, StoreUuid,
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
    /// It has told the cluster that it knows its id. Who never does is forgotten.
    pub confirmed: bool,
    /// Its metadata store, on a meta node.
    pub store: Option<StoreInfo>,
}

/// The metadata store of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreInfo {
    /// Which store.
    pub uuid: StoreUuid,
    /// How many stores the node has had, this one included: the lower part of its [`ReplicaId`].
    pub number: u16,
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
#[serde(remote = "Self")] // Makes what is derived two functions, for the traits to call below.
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

impl Serialize for ClusterMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for ClusterMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let map = Self::deserialize(deserializer)?;
        map.check().map_err(D::Error::custom)?;
        Ok(map)
    }
}

impl ClusterMap {
    /// What the functions below rely on; `Invalid` says what does not hold. Reading a map asks it.
    pub fn check(&self) -> Result<()> {
        let invalid = |what: String| Err(Error::invalid(format!("the cluster map has {what}")));
        Profile::new(self.profile.k, self.profile.m)?;
        if !self.pg_count.is_power_of_two() || self.pg_count > PG_COUNT_MAX {
            return invalid(format!("{} placement groups: a power of two is needed", self.pg_count));
        }
        if !self.partitions.iter().map(|partition| partition.id.0).eq(0..self.partitions.len() as u32) {
            return invalid("partitions that do not count from 0".to_owned());
        }
        if self.partitions.first().is_none_or(|first| first.kind != PartitionKind::Root) {
            return invalid("no root partition at its beginning".to_owned());
        }
        for kind in [PartitionKind::Namespace, PartitionKind::Index] {
            let count = self.of_kind(kind).count();
            if !(1..=PARTITION_COUNT_MAX as usize).contains(&count) {
                return invalid(format!("{count} partitions of the kind {kind:?}"));
            }
        }
        let Some(table) = &self.table else { return Ok(()) };
        if table.pgs.len() != usize::from(self.pg_count) {
            let (want, found) = (self.pg_count, table.pgs.len());
            return invalid(format!("{want} placement groups, its table has {found}"));
        }
        for (pg, slots) in table.pgs.iter().enumerate() {
            if slots.len() != self.profile.n() {
                return invalid(format!(
                    "{} slots in group {pg}, its profile is {}",
                    slots.len(),
                    self.profile
                ));
            }
        }
        Ok(())
    }

    /// The partition that holds a namespace.
    pub fn namespace_partition(&self, namespace: NamespaceId) -> PartitionId {
        let ids: Vec<PartitionId> = self.of_kind(PartitionKind::Namespace).collect();
        assert!(!ids.is_empty(), "check() refuses a map without a partition for namespaces");
        ids[usize::from(namespace.slot().number()) * ids.len() / usize::from(types::Slot::COUNT)]
    }

    /// The partition that holds the index row of a chunk.
    pub fn index_partition(&self, chunk: &ChunkId) -> PartitionId {
        let count = self.of_kind(PartitionKind::Index).count();
        let position = usize::from(chunk.0[0]) * count / 256;
        self.of_kind(PartitionKind::Index).nth(position).expect("check() refuses a map without one")
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
        assert!(pg.0 < self.pg_count, "group {pg} of {}: pg() makes no such group", self.pg_count);
        Ok(&table.pgs[usize::from(pg.0)])
    }

    /// The node that has a disk; `None` when the map does not name both.
    pub fn node_of(&self, disk: DiskId) -> Option<(NodeId, &NodeInfo)> {
        let id = self.disks.get(&disk)?.node;
        Some((id, self.nodes.get(&id)?))
    }

    /// The replica of a node's metadata store; `None` when it has none.
    pub fn replica(&self, node: NodeId) -> Option<ReplicaId> {
        Some(ReplicaId::new(node, self.nodes.get(&node)?.store?.number))
    }

    /// True when the disk can be written: it is healthy and its node is up.
    pub fn is_live(&self, disk: DiskId) -> bool {
        self.disks.get(&disk).is_some_and(|d| d.healthy && self.nodes.get(&d.node).is_some_and(|n| n.up))
    }
}

#[cfg(test)]
mod tests {
    use placement::Slot;

    use super::*;
    use crate::{decode, encode};

    /// Two groups of a profile 1+1, and a partition of each kind.
    fn map() -> ClusterMap {
        let group = vec![Slot::serving(DiskId(1)), Slot::serving(DiskId(2))];
        let kinds = [PartitionKind::Root, PartitionKind::Namespace, PartitionKind::Index];
        ClusterMap {
            cluster: ClusterId([1; 16]),
            epoch: Epoch(3),
            gc_epoch: GcEpoch(1),
            profile: Profile { k: 1, m: 1 },
            pg_count: 2,
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            table: Some(Table { pgs: vec![group.clone(), group] }),
            relaxed_count: 0,
            partitions: (0..).zip(kinds).map(|(id, kind)| Partition { id: PartitionId(id), kind }).collect(),
            voters: Vec::new(),
        }
    }

    /// A map that another node or a damaged file may hold: it is refused where it is read, not where it is used.
    #[track_caller]
    fn check(change: impl Fn(&mut ClusterMap), want: Result<(), &str>) {
        let mut map = map();
        change(&mut map);
        match (map.check(), want) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(part)) => assert!(error.message().contains(part), "{error}"),
            (got, want) => panic!("got {got:?}, want {want:?}"),
        }
        match decode::<ClusterMap>(&encode(&map)) {
            Ok(found) => assert_eq!((Ok(()), &found), (want, &map)),
            Err(error) => assert!(want.is_err(), "{error}"),
        }
    }

    #[test]
    fn maps_that_contradict_themselves_are_refused() {
        let group = |slots: usize| vec![Slot::serving(DiskId(1)); slots];
        check(|_| {}, Ok(()));
        check(|map| map.table = None, Ok(()));
        check(|map| map.profile.m = 0, Err("profile 1+0"));
        check(|map| map.profile = Profile { k: 255, m: 255 }, Err("profile 255+255"));
        check(|map| map.pg_count = 0, Err("0 placement groups"));
        check(|map| map.pg_count = 3, Err("3 placement groups"));
        check(|map| map.pg_count = 1 << 15, Err("32768 placement groups"));
        check(|map| map.pg_count = 4, Err("4 placement groups, its table has 2"));
        check(|map| map.table = Some(Table::default()), Err("its table has 0"));
        check(|map| map.table = Some(Table { pgs: vec![group(2), group(1)] }), Err("1 slots in group 1"));
        check(|map| map.table = Some(Table { pgs: vec![group(3), group(2)] }), Err("3 slots in group 0"));
        check(|map| map.partitions.clear(), Err("no root"));
        check(|map| map.partitions[0].kind = PartitionKind::Index, Err("no root"));
        check(|map| map.partitions.reverse(), Err("do not count from 0"));
        check(|map| map.partitions[2].id = PartitionId(1), Err("do not count from 0"));
        check(|map| map.partitions[2].kind = PartitionKind::Namespace, Err("0 partitions of the kind Index"));
        check(|map| map.partitions[1].kind = PartitionKind::Index, Err("0 partitions of the kind Namespace"));
    }
}
