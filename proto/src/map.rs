//! The cluster map: everything a client or node needs to find anything, under one epoch.
//!
//! Owns: the map's shape and what must hold in it. It is checked where a map is read, from a peer, a file or a row, so
//! that whoever holds one may rely on it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use placement::Table;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use types::limits::{PARTITION_COUNT_MAX, PG_COUNT_MAX, VOTER_COUNT_MAX};
use types::{
    ChunkId, ClusterId, DiskId, DiskUuid, Epoch, Error, GcEpoch, NamespaceId, NodeId, PartitionId, PgId,
    Profile, ReplicaId, Result, Slot, StoreUuid,
};

use crate::slots::SlotMap;

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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskInfo {
    /// The node it is in.
    pub node: NodeId,
    /// Which physical disk.
    pub uuid: DiskUuid,
    /// Bytes of its file system.
    pub capacity: u64,
    /// What it can do, as its node says.
    pub state: DiskState,
    /// It was away for longer than `down_out`, or will never be written again: its slots go to other disks.
    pub is_out: bool,
}

/// What a disk can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DiskState {
    /// It reads and writes as it should.
    #[default]
    Healthy,
    /// Everything, but much more slowly than its neighbours: it is asked last.
    Slow,
    /// It takes what is written to the slots it has, but no more slots.
    BackfillFull,
    /// It takes no new shards for want of room. Reads, deletes, and repairs of what it had go on.
    Full,
    /// It takes nothing any more. What it has can be read.
    ReadOnly,
    /// It answers nothing any more.
    Failed,
    /// Its node does not find it.
    Missing,
}

impl DiskState {
    /// All states, the best first.
    pub const ALL: [DiskState; 7] = [
        Self::Healthy,
        Self::Slow,
        Self::BackfillFull,
        Self::Full,
        Self::ReadOnly,
        Self::Failed,
        Self::Missing,
    ];

    /// It takes new shards.
    pub fn is_writable(self) -> bool {
        self <= Self::BackfillFull
    }

    /// What it has can be read.
    pub fn is_readable(self) -> bool {
        self <= Self::ReadOnly
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Slow => "slow",
            Self::BackfillFull => "backfill-full",
            Self::Full => "full",
            Self::ReadOnly => "read-only",
            Self::Failed => "failed",
            Self::Missing => "missing",
        }
    }
}

/// What a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PartitionKind {
    /// The map, join tokens, namespaces by name, the cluster's secrets. There is one.
    Root,
    /// Trees, versions and journals of the namespaces in its slots.
    Tree,
    /// The chunks in its slots.
    Index,
}

/// A Raft group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Counts from 0, the root.
    pub id: PartitionId,
    /// What it holds.
    pub kind: PartitionKind,
    /// The nodes that vote in it. The first one leads it while it can.
    pub voters: Vec<NodeId>,
}

impl Partition {
    /// The node that leads it while it can.
    pub fn preferred_leader(&self) -> NodeId {
        *self.voters.first().expect("check() refuses a partition without voters")
    }

    fn check(&self) -> std::result::Result<(), String> {
        let distinct = BTreeSet::from_iter(&self.voters).len();
        let are_nodes = self.voters.iter().all(|node| *node <= ReplicaId::NODE_MAX);
        if !(1..=VOTER_COUNT_MAX).contains(&distinct) || distinct < self.voters.len() || !are_nodes {
            return Err(format!("{:?} as voters of partition {}", self.voters, self.id));
        }
        Ok(())
    }
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
    /// Which partition has which slot of the trees.
    pub tree: SlotMap,
    /// Which partition has which slot of the chunk index.
    pub index: SlotMap,
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
        for (kind, slots) in [(PartitionKind::Tree, &self.tree), (PartitionKind::Index, &self.index)] {
            let ids = BTreeSet::from_iter(self.of_kind(kind));
            if !(1..=PARTITION_COUNT_MAX as usize).contains(&ids.len()) {
                return invalid(format!("{} partitions of the kind {kind:?}", ids.len()));
            }
            if let Err(e) = slots.check() {
                return invalid(format!("{} of the kind {kind:?}", e.message()));
            }
            if let Some(range) = slots.ranges.iter().find(|range| !ids.contains(&range.partition)) {
                return invalid(format!(
                    "slot {} of the kind {kind:?} in partition {}",
                    range.first, range.partition
                ));
            }
        }
        if let Some(what) = self.partitions.iter().find_map(|partition| partition.check().err()) {
            return invalid(what);
        }
        if let Some((id, _)) = self.nodes.range(ReplicaId::NODE_MAX.next()..).next() {
            return invalid(format!("node {id}, which none can be"));
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

    /// The partition that has a slot of the trees.
    pub fn tree_partition(&self, slot: Slot) -> PartitionId {
        self.tree.partition(slot)
    }

    /// The partition that holds a namespace.
    pub fn namespace_partition(&self, namespace: NamespaceId) -> PartitionId {
        self.tree_partition(namespace.slot())
    }

    /// The partition that has a slot of the chunk index.
    pub fn index_partition(&self, slot: Slot) -> PartitionId {
        self.index.partition(slot)
    }

    /// The partition that holds the index row of a chunk.
    pub fn chunk_partition(&self, chunk: &ChunkId) -> PartitionId {
        self.index_partition(chunk.slot())
    }

    /// A partition; `StaleEpoch` when the map has none of that id.
    pub fn partition(&self, id: PartitionId) -> Result<&Partition> {
        let found = self.partitions.get(id.0 as usize);
        found.ok_or_else(|| Error::stale_epoch(format!("partition {id} is not in the map: refresh it")))
    }

    /// The nodes that vote in a partition, the one that should lead it first; none when the map has no such partition.
    pub fn voters(&self, id: PartitionId) -> &[NodeId] {
        self.partitions.get(id.0 as usize).map_or(&[], |partition| &partition.voters)
    }

    /// The slots of a partition as ranges, each with its first and its last one; none of the root.
    pub fn slots_of(&self, id: PartitionId) -> Vec<(Slot, Slot)> {
        [self.tree.of(id), self.index.of(id)].concat()
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
    pub fn slots(&self, pg: PgId) -> Result<&[placement::PgSlot]> {
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

    /// True when the disk takes new shards, and its node is up.
    pub fn is_live(&self, disk: DiskId) -> bool {
        self.state(disk).is_some_and(DiskState::is_writable)
    }

    /// True when what the disk has can be read, and its node is up.
    pub fn is_readable(&self, disk: DiskId) -> bool {
        self.state(disk).is_some_and(DiskState::is_readable)
    }

    /// True when the disk cannot be read, or will never be written again: its slots will have to go elsewhere, unless it
    /// comes back.
    pub fn will_not_write(&self, disk: DiskId) -> bool {
        !self.is_readable(disk) || self.state(disk) == Some(DiskState::ReadOnly)
    }

    /// True when more disks go at the same time than failures explain: more than a tenth of all, in more nodes than the
    /// profile survives. That is rather a mistake, such as a cable, and moving all their data would be another. Of a single
    /// node as many disks may go as the profile survives.
    pub fn is_storm(&self) -> bool {
        let going: Vec<DiskId> = self.going_disks().collect();
        let nodes: BTreeSet<NodeId> = going.iter().filter_map(|id| Some(self.disks.get(id)?.node)).collect();
        let is_many = going.len() * 10 > self.disks.len();
        match self.disks.values().map(|disk| disk.node).collect::<BTreeSet<_>>().len() {
            1 => going.len() > self.profile.m.into(),
            _ => nodes.len() > self.profile.m.into() && is_many,
        }
    }

    /// The disks that go, or have gone and are still needed for what they had.
    fn going_disks(&self) -> impl Iterator<Item = DiskId> + '_ {
        let slots = self.table.iter().flat_map(|table| table.pgs.iter().flatten());
        let needed: BTreeSet<DiskId> =
            slots.flat_map(|slot| [Some(slot.disk), slot.previous]).flatten().collect();
        let goes = move |id: &DiskId, disk: &DiskInfo| {
            self.will_not_write(*id) && (!disk.is_out || needed.contains(id))
        };
        self.disks.iter().filter(move |(id, disk)| goes(id, disk)).map(|(id, _)| *id)
    }

    /// What a disk can do; `None` while its node is down, and for a disk that is not in the map.
    pub fn state(&self, disk: DiskId) -> Option<DiskState> {
        let info = self.disks.get(&disk)?;
        self.nodes.get(&info.node)?.up.then_some(info.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::SlotRange;
    use crate::{decode, encode};

    /// Two groups of a profile 1+1, and a partition of each kind.
    fn map() -> ClusterMap {
        let group = vec![placement::PgSlot::serving(DiskId(1)), placement::PgSlot::serving(DiskId(2))];
        let kinds = [PartitionKind::Root, PartitionKind::Tree, PartitionKind::Index];
        let partition =
            |(id, kind)| Partition { id: PartitionId(id), kind, voters: vec![NodeId(1), NodeId(2)] };
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
            partitions: (0..).zip(kinds).map(partition).collect(),
            tree: SlotMap::shared_out(&[PartitionId(1)]),
            index: SlotMap::shared_out(&[PartitionId(2)]),
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
        let group = |slots: usize| vec![placement::PgSlot::serving(DiskId(1)); slots];
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
        check(|map| map.partitions[2].kind = PartitionKind::Tree, Err("0 partitions of the kind Index"));
        check(|map| map.partitions[1].kind = PartitionKind::Index, Err("0 partitions of the kind Tree"));
        check(|map| map.tree.ranges.clear(), Err("no partition for any slot of the kind Tree"));
        check(|map| map.index.ranges.clear(), Err("no partition for any slot of the kind Index"));
        check(|map| map.tree = map.index.clone(), Err("slot 0 of the kind Tree in partition 2"));
        check(
            |map| map.index.ranges[0].partition = PartitionId(9),
            Err("slot 0 of the kind Index in partition 9"),
        );
        check(|map| map.partitions[1].voters.clear(), Err("[] as voters of partition 1"));
        check(|map| map.partitions[2].voters.push(NodeId(1)), Err("as voters of partition 2"));
        check(
            |map| map.partitions[0].voters = (1..=6).map(NodeId).collect(),
            Err("as voters of partition 0"),
        );
        check(|map| map.partitions[0].voters = (1..=5).map(NodeId).collect(), Ok(()));
        check(|map| map.partitions[0].voters = vec![NodeId(1 << 48)], Err("as voters of partition 0"));
        let node = |map: &mut ClusterMap, id| {
            let address = SocketAddr::from(([0; 4], 1));
            let (native, control, roles) = (address, address, Vec::new());
            let node = NodeInfo {
                zone: String::new(),
                native,
                control,
                roles,
                up: false,
                confirmed: false,
                store: None,
            };
            map.nodes.insert(NodeId(id), node);
        };
        check(|map| node(map, (1 << 48) - 1), Ok(()));
        check(|map| node(map, 1 << 48), Err("node 281474976710656, which none can be"));
    }

    #[test]
    fn what_has_a_slot_is_found_by_it() {
        let slot = |number| Slot::new(number).unwrap();
        let mut map = map();
        let another = Partition { id: PartitionId(3), kind: PartitionKind::Tree, voters: vec![NodeId(7)] };
        map.partitions.push(another);
        map.tree.ranges.push(SlotRange { first: slot(100), partition: PartitionId(3) });
        map.check().unwrap();
        for (number, want) in [(0, 1), (99, 1), (100, 3), (16383, 3)] {
            let namespace = NamespaceId::new(slot(number), 7);
            assert_eq!(map.tree_partition(slot(number)), PartitionId(want));
            assert_eq!(map.namespace_partition(namespace), PartitionId(want));
            assert_eq!(map.index_partition(slot(number)), PartitionId(2));
        }
        assert_eq!(map.chunk_partition(&ChunkId([0xff; 32])), PartitionId(2));
        assert_eq!(
            (map.slots_of(ROOT), map.slots_of(PartitionId(3))),
            (vec![], vec![(slot(100), slot(16383))])
        );
        assert_eq!((map.voters(PartitionId(3)), map.voters(PartitionId(4))), (&[NodeId(7)][..], &[][..]));
        assert!(map.partition(PartitionId(4)).is_err());
    }
}
