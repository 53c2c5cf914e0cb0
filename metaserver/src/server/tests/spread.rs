//! Goal: each partition has voters and a leader of its own, and nodes have the copies that they vote with and no others.
//! Method: five nodes in as many zones, five partitions; nodes are lost and come back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::map::{ROOT, Role};
use proto::namespace::Mode;
use types::limits::VOTERS_CHECK_PERIOD;
use types::{Epoch, FeatureLevel, NodeId, PartitionId};

use super::words::{ANNS, ann, eventually, heartbeat, later, mkdir, replica};
use super::world::World;

const DOWN_OUT: Duration = Duration::from_secs(60);

/// A cluster of five that is settled.
async fn five(leader_stay: Duration) -> World {
    let mut world = World::of_one(DOWN_OUT, leader_stay).await;
    for id in 2..=5 {
        let joined = world.join(id, &[Role::Meta]).await;
        world.add(id, joined.map).await;
    }
    world.until("a share for each of five", || is_settled(&world, &[1, 2, 3, 4, 5])).await;
    world
}

/// Which copies each of these nodes has something of.
fn copies(world: &World, ids: &[u64]) -> BTreeMap<u64, BTreeSet<PartitionId>> {
    ids.iter().map(|id| (*id, world.server(*id).host.copies().unwrap())).collect()
}

/// Which partitions each of these nodes should vote in.
fn named(world: &World, ids: &[u64]) -> BTreeMap<u64, BTreeSet<PartitionId>> {
    let map = world.map(ids[0]);
    let of = |id: u64| {
        let named = map.partitions.iter().filter(|partition| partition.voters.contains(&NodeId(id)));
        (id, named.map(|partition| partition.id).collect())
    };
    ids.iter().copied().map(of).collect()
}

/// True when each of these nodes has as much as the others, which is what it should have, and the voters of every partition
/// are those that the map names.
fn is_settled(world: &World, ids: &[u64]) -> bool {
    let map = world.map(ids[0]);
    let agreed = map.partitions.iter().all(|partition| {
        let wanted: BTreeSet<_> = partition.voters.iter().map(|id| replica(id.0)).collect();
        partition.voters.iter().all(|id| {
            let group = world.server(id.0).group(partition.id);
            wanted.len() == 3 && group.is_ok_and(|group| group.voters() == wanted)
        })
    });
    let counts: BTreeSet<usize> = named(world, ids).values().map(BTreeSet::len).collect();
    agreed && counts.last().unwrap() - counts.first().unwrap() <= 1 && copies(world, ids) == named(world, ids)
}

#[tokio::test(start_paused = true)]
async fn who_comes_takes_a_share_and_who_gave_it_keeps_nothing() {
    let world = five(Duration::MAX).await;
    let shares: Vec<usize> = copies(&world, &[1, 2, 3, 4, 5]).values().map(BTreeSet::len).collect();
    assert_eq!(shares, [3; 5]);
    let before = world.decided();
    later(10_000).await;
    assert_eq!(world.decided(), before, "nothing moves any more");
    for id in 1..=5 {
        let server = world.server(id);
        let has = server.host.copies().unwrap();
        for partition in before.partitions.iter().filter(|partition| !has.contains(&partition.id)) {
            assert_eq!(world.row_count(id, partition.id), 0, "partition {} on node {id}", partition.id);
        }
        assert_eq!(*world.map(id), before, "also who does not have the root follows the map");
    }
    assert_eq!(before.voters(ROOT), [1, 2, 3].map(NodeId));
    let partition = before.namespace_partition(ANNS);
    let leader = world.leader(partition).await;
    let batch = world.batch(Mode::Atomic, vec![mkdir("/a")]);
    world.ask(leader, &ann(), &batch).await.unwrap();
    let other = (1..=5).find(|id| !before.voters(partition).contains(&NodeId(*id))).unwrap();
    let refusal = world.ask(other, &ann(), &batch).await.unwrap_err();
    assert!(refusal.is_transient() && refusal.message().contains("is not on node"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_lost_is_replaced_in_each_of_its_partitions() {
    let world = five(Duration::MAX).await;
    let lost = 5;
    let had = copies(&world, &[lost])[&lost].clone();
    assert!(!had.is_empty());
    world.net.cut(lost);
    world.net.silence(lost);
    later(DOWN_OUT.as_millis() as u64 / 2).await;
    let named_lost = || named(&world, &[1, lost])[&lost].clone();
    assert_eq!(named_lost(), had, "it may come back");
    world
        .until("four that have it all", || named_lost().is_empty() && is_settled(&world, &[1, 2, 3, 4]))
        .await;
    assert_eq!(copies(&world, &[lost])[&lost], had, "nobody can tell it");
    // It comes back, and finds that others have its place, and then gets another.
    world.net.mend(lost);
    world.net.say(heartbeat(lost));
    world.until("a share for each of five", || is_settled(&world, &[1, 2, 3, 4, 5])).await;
    let batch = world.batch(Mode::Atomic, vec![mkdir("/a")]);
    let leader = world.leader(world.decided().namespace_partition(ANNS)).await;
    world.ask(leader, &ann(), &batch).await.unwrap();
}

/// A map that does not name a node yet, or no more, is no reason to give up what others count on.
#[tokio::test(start_paused = true)]
async fn an_old_map_closes_nothing() {
    let world = World::three().await;
    let mut old = world.decided();
    old.epoch = Epoch(old.epoch.0 + 100);
    old.partitions.iter_mut().for_each(|partition| partition.voters = vec![NodeId(1)]);
    // Nobody has decided this, and only node 3 believes it.
    world.net.tell(3, old);
    later(10 * VOTERS_CHECK_PERIOD.as_millis() as u64).await;
    assert_eq!(copies(&world, &[3])[&3].len(), 5, "it is a member, whatever its map says");
    assert!(world.vote(&[1, 2, 3], &[1, 2]));
}

/// Where the root is not, too: each partition goes up to where the root is.
#[tokio::test(start_paused = true)]
async fn all_partitions_reach_the_level_of_the_root() {
    let mut world = five(Duration::MAX).await;
    for id in 1..=5 {
        world.update(id, FeatureLevel(2)).await;
    }
    let has_reached = |(id, partitions): (u64, BTreeSet<PartitionId>)| {
        let level = |id, partition| world.group(id, partition).read(|state| tree::level(state));
        partitions.into_iter().all(|partition| level(id, partition) == Ok(FeatureLevel(2)))
    };
    world.until("level 2 everywhere", || named(&world, &[1, 2, 3, 4, 5]).into_iter().all(has_reached)).await;
}

#[tokio::test(start_paused = true)]
async fn leaders_are_those_that_the_map_prefers() {
    let stay = Duration::from_secs(10);
    let world = five(stay).await;
    let preferred = |partition| world.decided().partition(partition).unwrap().preferred_leader().0;
    let ids: Vec<PartitionId> = world.decided().partitions.iter().map(|partition| partition.id).collect();
    let leads = async || {
        let mut leads = BTreeMap::new();
        for id in &ids {
            leads.insert(*id, world.leader(*id).await);
        }
        leads
    };
    eventually("the preferred leaders", async || {
        leads().await.iter().all(|(id, leader)| *leader == preferred(*id)).then_some(())
    })
    .await;
    let leaders: BTreeSet<u64> = leads().await.into_values().collect();
    assert!(leaders.len() >= 4, "five partitions, five nodes: {leaders:?}");
    // One that does not lead any more, for whatever reason, is given time.
    let (id, home) = (ids[1], preferred(ids[1]));
    let other = world.decided().voters(id).iter().find(|voter| voter.0 != home).unwrap().0;
    world.transfer(id, other).await;
    later(stay.as_millis() as u64 - 2_000).await;
    assert_eq!(world.leader(id).await, other);
    eventually("the preferred leader again", async || (world.leader(id).await == home).then_some(())).await;
    // Not to one that is down.
    world.transfer(id, other).await;
    world.net.silence(home);
    later(3 * stay.as_millis() as u64).await;
    assert_eq!(world.leader(id).await, other);
}
