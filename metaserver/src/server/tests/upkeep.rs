//! What metaservers do unasked: they follow the map, give partitions their voters, and notice who is silent.

use std::collections::BTreeSet;

use proto::catalog::CreateNamespace;
use proto::cluster::{DiskReport, FetchStatus, Heartbeat, RegisterDisks};
use proto::command::MapChange;
use proto::map::{DiskState, ROOT, Role};
use proto::namespace::{FetchNamespace, Mode};
use types::{DiskId, DiskUuid, FeatureLevel, NamespaceName, NodeId, Stamp, Start};

use super::words::{admin, ann, eventually, heartbeat, later, mkdir, newest, node, of_roles, replica};
use super::world::World;

async fn seconds(count: u64) {
    later(1000 * count).await;
}

/// The nodes that the newest map takes to be up.
fn up(world: &World) -> Vec<u64> {
    world.decided().nodes.iter().filter(|(_, node)| node.up).map(|(id, _)| id.0).collect()
}

#[tokio::test(start_paused = true)]
async fn with_the_third_meta_node_all_three_vote() {
    let mut world = World::one().await;
    world.join(2, &[Role::Block]).await;
    let joined = world.join(3, &[Role::Meta]).await;
    world.add(3, joined.map).await;
    seconds(10).await;
    assert!(world.vote(&[1], &[1]), "two tolerate no more than one does");
    let joined = world.join(4, &[Role::Meta, Role::Block]).await;
    world.add(4, joined.map).await;
    world.until("three voters", || world.vote(&[1, 3, 4], &[1, 3, 4])).await;
}

#[tokio::test(start_paused = true)]
async fn every_node_follows_the_map() {
    let world = World::three().await;
    let disks = vec![(DiskUuid([1; 16]), 100)];
    world.ask(1, &node(1), &RegisterDisks { node: NodeId(1), disks }).await.unwrap();
    let decided = world.decided();
    world.until("the map everywhere", || (1..=3).all(|id| *world.map(id) == decided)).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_down_until_it_is_heard_again() {
    let world = World::one().await;
    world.join(2, &[Role::Block]).await;
    seconds(10).await;
    assert_eq!(up(&world), [1, 2]);
    world.net.silence(2);
    world.until("node 2 is down", || up(&world) == [1]).await;
    let epoch = world.decided().epoch;
    seconds(10).await;
    assert_eq!((up(&world), world.decided().epoch), (vec![1], epoch), "decided once");
    world.net.say(of_roles(heartbeat(2), &[Role::Block]));
    world.until("node 2 is up", || up(&world) == [1, 2]).await;
    assert_eq!(world.decided().epoch, epoch.next());
}

#[tokio::test(start_paused = true)]
async fn a_voter_that_is_down_keeps_its_vote() {
    let world = World::three().await;
    world.net.silence(3);
    world.until("node 3 is down", || up(&world) == [1, 2]).await;
    seconds(10).await;
    assert!(world.vote(&[1, 2, 3], &[1, 2]));
    world.net.say(heartbeat(3));
    world.until("node 3 is up", || up(&world) == [1, 2, 3]).await;
}

/// Not even for a minute.
#[tokio::test(start_paused = true)]
async fn no_change_waits_for_a_node_that_is_not_wanted_any_more() {
    let mut world = World::three().await;
    for id in [4, 5] {
        let joined = world.join(id, &[Role::Meta]).await;
        world.net.silence(id);
        world.add(id, joined.map).await;
        world.net.silence(id);
    }
    let decide = async |third| {
        let voters: Vec<NodeId> = [1, 2, third].map(NodeId).into();
        let partitions = world.decided().partitions.iter().map(|p| (p.id, voters.clone())).collect();
        world.server(1).change_map(MapChange::SetVoters { partitions }).await.unwrap();
        world.net.tell(third, world.decided());
    };
    world.net.cut(4);
    decide(4).await;
    seconds(2).await;
    assert!(!world.vote(&[1, 2, 4], &[1]), "it does not answer");
    decide(5).await;
    world.until("node 5 votes", || world.vote(&[1, 2, 5], &[1, 2, 5])).await;
}

#[tokio::test(start_paused = true)]
async fn the_map_follows_what_a_node_says_of_itself() {
    let world = World::one().await;
    let disks = vec![(DiskUuid([1; 16]), 100), (DiskUuid([2; 16]), 100)];
    world.ask(1, &node(1), &RegisterDisks { node: NodeId(1), disks }).await.unwrap();
    let report = |state| DiskReport { state, ..DiskReport::default() };
    let say = |states: [DiskState; 2]| {
        let disks = [1, 2].map(DiskId).into_iter().zip(states.map(report)).collect();
        world.net.say(Heartbeat { disks, native: "127.0.0.1:9000".parse().unwrap(), ..heartbeat(1) });
    };
    let states = || world.decided().disks.values().map(|disk| disk.state).collect::<Vec<_>>();
    use DiskState::{Healthy, Missing, ReadOnly, Slow};
    for disks in [[Healthy, ReadOnly], [Missing, Healthy], [Slow, Healthy]] {
        say(disks);
        world.until("the disks as they are", || states() == disks).await;
        assert_eq!(world.decided().nodes[&NodeId(1)].native.port(), 9000, "it listens elsewhere");
    }
}

/// A node that stops is not the one to say that others do.
#[tokio::test(start_paused = true)]
async fn a_retired_leader_judges_nobody() {
    let world = World::one().await;
    world.join(2, &[Role::Block]).await;
    world.server(1).retire();
    let before = world.decided();
    world.net.silence(2);
    seconds(10).await;
    assert_eq!(world.decided(), before);
}

/// A new leader gives everybody time to be heard, and finds that the old one is gone.
#[tokio::test(start_paused = true)]
async fn the_next_leader_takes_over_the_watch() {
    let world = World::three().await;
    seconds(3).await;
    let before = world.map(2).epoch;
    world.net.cut(1);
    let down = || !world.map(2).nodes[&NodeId(1)].up;
    world.until("node 1 is down", down).await;
    let map = world.map(2);
    assert!(map.nodes[&NodeId(2)].up && map.nodes[&NodeId(3)].up);
    assert_eq!(map.epoch, before.next(), "nobody else was taken to be down meanwhile");
    let leader = world.leader(ROOT).await;
    let status = world.ask(leader, &ann(), &FetchStatus {}).await.unwrap();
    let heard: Vec<u64> = status.nodes.iter().filter(|(_, n)| n.last.is_some()).map(|(id, _)| id.0).collect();
    assert_eq!(heard, [2, 3], "the old leader is cut off");
    world.net.mend(1);
    let is_up = |id| world.map(id).nodes.values().all(|node| node.up);
    let same = || is_up(2) && (1..=3).all(|id| world.map(id) == world.map(2));
    world.until("node 1 is up, and knows it", same).await;
    assert_eq!(world.map(1).epoch, before.next().next(), "what it decided alone is void");
}

/// What it heard when it last led is not what it has heard since.
#[tokio::test(start_paused = true)]
async fn a_leader_that_leads_again_listens_before_it_judges() {
    let world = World::three().await;
    seconds(3).await;
    let before = world.map(1);
    world.transfer(ROOT, 2).await;
    seconds(10).await;
    // Nobody says anything for a while, but not for too long.
    (1..=3).for_each(|id| world.net.silence(id));
    world.transfer(ROOT, 1).await;
    seconds(1).await;
    (1..=3).for_each(|id| world.net.say(heartbeat(id)));
    seconds(1).await;
    assert_eq!(world.map(1), before);
}

/// What a start makes is made once, however often the first node is started.
#[tokio::test(start_paused = true)]
async fn a_restarted_cluster_of_one_goes_on() {
    let world = World::one().await;
    world.write(vec![mkdir("/a")]).await;
    let name = NamespaceName::parse("team").unwrap();
    let create = CreateNamespace { name, owner: None };
    let namespace = world.ask(1, &admin(), &create).await.unwrap();
    let (map, totals) = (world.decided(), FetchNamespace { view: newest() });
    let before = world.ask(1, &ann(), &totals).await.unwrap();
    for _ in 0..2 {
        world.stop(1).await;
        world.start(1).await;
        assert_eq!(world.decided(), map);
        assert_eq!(world.ask(1, &ann(), &totals).await, Ok(before));
        assert_eq!(world.ask(1, &admin(), &create).await, Ok(namespace));
    }
    assert_eq!(world.write(vec![mkdir("/b")]).await.seq, before.seq.next());
}

#[tokio::test(start_paused = true)]
async fn a_restarted_first_node_is_one_of_three() {
    let world = World::three().await;
    let old = world.write(vec![mkdir("/a")]).await.seq;
    world.stop(1).await;
    let partition = world.map(2).namespace_partition(newest().namespace);
    let leader = world.leader(partition).await;
    let batch = world.batch(Mode::Atomic, vec![mkdir("/b")]);
    assert_eq!(world.ask(leader, &ann(), &batch).await.unwrap().seq, old.next());
    world.start(1).await;
    eventually("all of them again", async || {
        let leader = world.leader(partition).await;
        let totals = world.ask(leader, &ann(), &FetchNamespace { view: newest() }).await.ok()?;
        let caught_up = world.group(1, partition).applied() == world.group(leader, partition).applied();
        (totals.seq == old.next() && caught_up).then_some(())
    })
    .await;
    assert!(world.vote(&[1, 2, 3], &[1, 2, 3]));
}

#[tokio::test(start_paused = true)]
async fn leaders_report_who_votes_and_at_which_level() {
    let mut world = World::three().await;
    let voters = BTreeSet::from([1, 2, 3].map(replica));
    let reports = world.server(1).partition_reports();
    assert_eq!(reports.len(), world.map(1).partitions.len());
    for report in reports {
        assert!(report.leading && report.voters == voters && report.learners.is_empty(), "{report:?}");
        assert_eq!(report.level, FeatureLevel::FIRST);
    }
    // The fourth is no member of anything.
    let joined = world.join(4, &[Role::Meta]).await;
    world.add(4, joined.map).await;
    assert!(world.server(4).partition_reports().iter().all(|report| report.voters.is_empty()));
}

/// A process that runs from a copy of a node's data, before its store is open and after it was refused.
#[tokio::test(start_paused = true)]
async fn a_copy_beside_a_node_changes_no_map() {
    let world = World::three().await;
    seconds(3).await;
    let before = world.decided();
    let older = heartbeat(2).stamp.map(|stamp| Stamp { start: Start { count: 0, ..stamp.start }, ..stamp });
    for stamp in [None, older] {
        let copy = Heartbeat { native: heartbeat(9).native, stamp, ..heartbeat(2) };
        for _ in 0..30 {
            let seen = world.ask(1, &node(2), &copy).await.unwrap();
            assert_eq!(seen.refused.is_some(), stamp.is_some());
            later(100).await;
        }
        assert_eq!(world.decided(), before);
    }
}
