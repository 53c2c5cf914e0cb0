//! For tests of code that judges a cluster: the status of a healthy one, to be changed by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use placement::{PgSlot, Table};
use proto::cluster::{ClusterStatus, DiskReport, Heartbeat, NodeStatus, PartitionReport};
use proto::map::{
    ClusterMap, DiskInfo, DiskState, NodeInfo, Partition, PartitionKind, ROOT, Role, StoreInfo,
};
use proto::slots::SlotMap;
use types::{
    ClusterId, DiskId, DiskUuid, Epoch, FeatureLevel, GcEpoch, Millis, NodeId, PartitionId, Profile,
    ReplicaId, StoreUuid,
};

fn heartbeat(id: u8, native: SocketAddr) -> Heartbeat {
    let disk = DiskReport {
        state: DiskState::Healthy,
        problem: String::new(),
        path: format!("/mnt/{id}"),
        used_bytes: 2_000,
        free_bytes: 8_000,
        records: 5,
        ..DiskReport::default()
    };
    Heartbeat {
        node: NodeId(id.into()),
        native,
        control: native,
        level: FeatureLevel::FIRST,
        epoch: Epoch(9),
        disks: BTreeMap::from([(DiskId(id.into()), disk)]),
        disk_problems: Vec::new(),
        stamp: None,
        store_problem: String::new(),
        partitions: (0..=2).map(|partition| report(PartitionId(partition), id == 1)).collect(),
        revoked_version: 0,
        syncing_slots: 0,
        wall: Millis(5),
        bytes_received: 1_000_000,
        bytes_sent: 500,
    }
}

/// What a node says of its copy of a partition. Node 1 is the only voter.
pub fn report(id: PartitionId, leading: bool) -> PartitionReport {
    PartitionReport {
        id,
        leading,
        term: 3,
        applied: 77,
        problem: String::new(),
        restarts: 0,
        level: FeatureLevel::FIRST,
        voters: BTreeSet::from([ReplicaId::new(NodeId(1), 1)]),
        learners: BTreeSet::new(),
    }
}

/// `count` nodes in as many zones with a disk each, 1+1, all healthy.
pub fn status(count: u8) -> ClusterStatus {
    let mut map = ClusterMap {
        cluster: ClusterId([1; 16]),
        epoch: Epoch(9),
        gc_epoch: GcEpoch(0),
        profile: Profile { k: 1, m: 1 },
        pg_count: 2,
        nodes: BTreeMap::new(),
        disks: BTreeMap::new(),
        table: None,
        relaxed_count: 0,
        partitions: vec![
            Partition { id: ROOT, kind: PartitionKind::Root, voters: vec![NodeId(1)] },
            Partition { id: PartitionId(1), kind: PartitionKind::Tree, voters: vec![NodeId(1)] },
            Partition { id: PartitionId(2), kind: PartitionKind::Index, voters: vec![NodeId(1)] },
        ],
        tree: SlotMap::shared_out(&[PartitionId(1)]),
        index: SlotMap::shared_out(&[PartitionId(2)]),
    };
    let mut nodes = BTreeMap::new();
    for id in 1..=count {
        let native = format!("127.0.0.1:{}", 7400 + 2 * u16::from(id)).parse().expect("an address");
        let roles = vec![Role::Meta, Role::Block];
        let node = NodeInfo {
            zone: format!("zone{id}"),
            native,
            control: native,
            roles,
            up: true,
            confirmed: true,
            store: Some(StoreInfo { uuid: StoreUuid([id; 16]), number: 1 }),
        };
        map.nodes.insert(NodeId(id.into()), node);
        let uuid = DiskUuid([id; 16]);
        map.disks.insert(
            DiskId(id.into()),
            DiskInfo { node: NodeId(id.into()), uuid, capacity: 10_000, ..DiskInfo::default() },
        );
        nodes.insert(
            NodeId(id.into()),
            NodeStatus {
                silent_ms: Some(120),
                ahead_ms: 0,
                last: Some(heartbeat(id, native)),
                behind_ms: BTreeMap::new(),
            },
        );
    }
    let pg = vec![PgSlot::serving(DiskId(1)), PgSlot::serving(DiskId(2))];
    map.table = Some(Table { pgs: vec![pg.clone(), pg] });
    ClusterStatus { map, nodes, waits_ms: BTreeMap::new() }
}
