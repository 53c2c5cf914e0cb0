//! Namespaces by name, disks, heartbeats.

use placement::SlotState;
use proto::catalog::{CreateNamespace, FindNamespace, NamespaceFound};
use proto::cluster::{FetchStatus, FilledSlot, FinishSync, RegisterDisks};
use proto::map::{ClusterMap, Role};
use proto::namespace::{FetchNamespace, Freshness, View};
use types::{DiskId, DiskUuid, Epoch, ErrorKind, Identity, NamespaceId, NamespaceName, NodeId, PgId, Result};

use super::words::{HOME, admin, ann, bob, heartbeat, later, node, of_roles, refused};
use super::world::World;

async fn create(world: &World, who: &Identity, name: &str) -> NamespaceId {
    let name = NamespaceName::parse(name).unwrap();
    world.ask(1, who, &CreateNamespace { name, owner: None }).await.unwrap().namespace
}

async fn find(world: &World, name: &str) -> Result<NamespaceFound> {
    let name = NamespaceName::parse(name).unwrap();
    world.ask(1, &bob(), &FindNamespace { name }).await
}

#[tokio::test(start_paused = true)]
async fn a_name_is_one_namespace() {
    let world = World::one().await;
    assert_eq!(find(&world, "home").await, Ok(NamespaceFound { namespace: HOME }));
    refused(find(&world, "team").await, ErrorKind::NotFound, "create it first");
    let team = create(&world, &admin(), "team").await;
    assert_eq!(create(&world, &admin(), "team").await, team, "however often");
    assert_eq!(find(&world, "team").await, Ok(NamespaceFound { namespace: team }));
    assert_ne!(create(&world, &admin(), "other").await, team);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_its_makers_and_every_administrators() {
    let world = World::one().await;
    let namespace = create(&world, &Identity::Admin("maker".into()), "team").await;
    let name = NamespaceName::parse("team").unwrap();
    let again = world.ask(1, &admin(), &CreateNamespace { name, owner: None }).await;
    refused(again, ErrorKind::Exists, "admin/maker has a namespace team");
    let partition = world.group(1, world.map(1).namespace_partition(namespace));
    let owner = partition.read(|state| tree::namespace::head(state, namespace)).unwrap().owner;
    assert_eq!(owner, "admin/maker");
    let view = View { namespace, freshness: Freshness::Linearizable };
    // A user who is named like the maker is somebody else.
    let namesake = Identity::User("maker".into());
    for (who, allowed) in [(admin(), true), (node(1), true), (namesake, false), (ann(), false)] {
        let answer = world.ask(1, &who, &FetchNamespace { view }).await;
        assert_eq!(answer.map_err(|e| e.kind()).err(), (!allowed).then_some(ErrorKind::Denied), "{who}");
    }
}

async fn register(world: &World, id: u64, disks: &[(u8, u64)]) -> Result<Vec<u32>> {
    let disks = disks.iter().map(|(uuid, capacity)| (DiskUuid([*uuid; 16]), *capacity)).collect();
    let answer = world.ask(1, &node(id), &RegisterDisks { node: NodeId(id), disks }).await;
    Ok(answer?.ids.iter().map(|id| id.0).collect())
}

#[tokio::test(start_paused = true)]
async fn a_node_registers_its_own_disks() {
    let world = World::one().await;
    world.join(2, &[Role::Block]).await;
    assert_eq!(register(&world, 1, &[(1, 100), (2, 100)]).await, Ok(vec![1, 2]));
    let epoch = world.decided().epoch;
    assert_eq!(
        register(&world, 1, &[(2, 100), (1, 100)]).await,
        Ok(vec![2, 1]),
        "in the order of the request"
    );
    assert_eq!(world.decided().epoch, epoch, "nothing is new");
    assert_eq!(register(&world, 2, &[(3, 100)]).await, Ok(vec![3]));
    refused(register(&world, 2, &[(4, 100), (1, 100)]).await, ErrorKind::Invalid, "belongs to node 1");
    let disks = vec![(DiskUuid([9; 16]), 100)];
    for who in [node(2), admin(), ann()] {
        let request = RegisterDisks { node: NodeId(1), disks: disks.clone() };
        refused(world.ask(1, &who, &request).await, ErrorKind::Denied, "act for node 1");
    }
    assert_eq!(world.decided().disks.len(), 3);
}

/// Each is computed from the map that the one before has left.
#[tokio::test(start_paused = true)]
async fn changes_at_the_same_time_wait_for_each_other() {
    let world = World::one().await;
    let before = world.decided().epoch;
    let disks: Vec<[(u8, u64); 1]> = (1..=8).map(|uuid| [(uuid, 100)]).collect();
    let registered = futures::future::join_all(disks.iter().map(|disks| register(&world, 1, disks))).await;
    let ids: std::collections::BTreeSet<u32> = registered.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(ids, (1..=8).collect());
    assert_eq!(world.decided().epoch.0, before.0 + 8);
}

/// Slots that are being filled, with the disks that shall hold them.
fn syncing(map: &ClusterMap) -> Vec<FilledSlot> {
    let groups = map.table.iter().flat_map(|table| table.pgs.iter().enumerate());
    let slots = groups.flat_map(|(pg, slots)| slots.iter().enumerate().map(move |(i, slot)| (pg, i, slot)));
    slots
        .filter(|(_, _, slot)| slot.state == SlotState::Syncing)
        .map(|(pg, i, slot)| {
            let (pg, disk, since) = (PgId(pg as u16), slot.disk, slot.since);
            FilledSlot { pg, slot: i as u8, disk, since }
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn slots_serve_when_their_holder_says_they_are_filled() {
    let world = World::one().await;
    let finish = async |slots| world.ask(1, &node(1), &FinishSync { slots }).await;
    refused(finish(vec![]).await, ErrorKind::Invalid, "no placement table yet");
    for id in 2..=4 {
        world.join(id, &[Role::Block]).await;
        world.until("it is up", || world.decided().nodes[&NodeId(id)].up).await;
        register(&world, id, &[(id as u8, 100)]).await.unwrap();
    }
    assert!(syncing(&world.decided()).is_empty(), "a new table has nothing to fill");
    register(&world, 1, &[(1, 100)]).await.unwrap();
    let moved = syncing(&world.decided());
    assert!(!moved.is_empty(), "the new disk gets its share");
    // Only the node that has the disk may say so, and only of slots that it holds.
    let by_another = world.ask(1, &node(2), &FinishSync { slots: moved.clone() }).await;
    refused(by_another, ErrorKind::Denied, "only its own node may");
    let unknown = |filled: &FilledSlot| FilledSlot { disk: DiskId(99), ..*filled };
    finish(moved.iter().map(unknown).collect()).await.unwrap();
    let earlier = |filled: &FilledSlot| FilledSlot { since: Epoch(filled.since.0 - 1), ..*filled };
    finish(moved.iter().map(earlier).collect()).await.unwrap();
    assert_eq!(syncing(&world.decided()), moved);
    finish(moved[1..].to_vec()).await.unwrap();
    assert_eq!(syncing(&world.decided()), moved[..1]);
    finish(moved).await.unwrap();
    assert!(syncing(&world.decided()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_who_was_heard_and_how_long_ago() {
    let world = World::one().await;
    for id in [2, 3] {
        world.join(id, &[Role::Block]).await;
    }
    world.net.silence(3);
    later(1000).await;
    world.net.silence(2);
    later(1000).await;
    let status = world.ask(1, &ann(), &FetchStatus {}).await.unwrap();
    assert_eq!(status.map, world.decided());
    assert_eq!(status.nodes.keys().copied().collect::<Vec<_>>(), [1, 2, 3].map(NodeId));
    let silent = |id: u64| status.nodes[&NodeId(id)].silent_ms;
    assert!(silent(1).unwrap() <= 300, "{:?}", silent(1));
    assert!((1000..1400).contains(&silent(2).unwrap()), "{:?}", silent(2));
    assert_eq!(silent(3), None);
    let last = |id: u64| status.nodes[&NodeId(id)].last.clone();
    assert_eq!((last(2), last(3)), (Some(of_roles(heartbeat(2), &[Role::Block])), None));
    // What it has not said yet of its own groups, it knows.
    let own = last(1).unwrap();
    assert!(own.partitions.iter().all(|report| report.leading), "{own:?}");
    assert_eq!(own.partitions.len(), world.decided().partitions.len());
    assert_eq!(proto::cluster::Heartbeat { partitions: Vec::new(), ..own }, heartbeat(1));
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_brings_the_map_to_whoever_has_an_older_one() {
    let world = World::one().await;
    let epoch = world.decided().epoch;
    for (have, newer) in [(Epoch(0), true), (epoch, false), (epoch.next(), false)] {
        let heartbeat = proto::cluster::Heartbeat { epoch: have, ..heartbeat(1) };
        let seen = world.ask(1, &node(1), &heartbeat).await.unwrap();
        assert_eq!(seen.map, newer.then(|| world.decided()), "{have}");
    }
}
