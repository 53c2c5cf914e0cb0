//! Disks of logs that run full, on a simulated clock.
#![allow(clippy::unwrap_used)] // All of this file is a test; helpers of tests fail loudly, too.

mod harness;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use env::Disk;
use harness::{A, Cluster, eventually, replica};
use raft::Role;
use types::{Advice, ErrorKind, ReplicaId};

/// Room for what frees space only, beside a segment of 64 MiB.
const LITTLE: u64 = 2 << 20;
/// Room for votes only.
const NOTHING: u64 = 400 << 10;

/// Leaves `free` bytes on a node's disk, and waits until it has seen that.
async fn leave(cluster: &Cluster, id: ReplicaId, free: u64) {
    let node = &cluster.nodes[&id];
    let space = node.disk.space(Path::new("/")).unwrap();
    node.disk.set_capacity(space.total - space.free + free);
    let short = free < 1 << 30;
    let host = node.host.clone().unwrap();
    eventually("a look at the disk", async || (host.is_short_of_space() == short).then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_takes_only_what_makes_room() {
    let mut cluster = Cluster::with_leaders(1, 3).await;
    cluster.propose(A, "before").await;
    for id in 1..=3 {
        leave(&cluster, replica(id), LITTLE).await;
    }
    let leader = cluster.leader(A).await;
    let id = leader.leader().unwrap();
    let refused = leader.propose(Bytes::from_static(b"more")).await.unwrap_err();
    assert_eq!((refused.kind(), refused.advice()), (ErrorKind::Busy, Advice::Retry(1000)), "{refused}");
    let want = format!("the metadata disk of node {} is full", id.node());
    assert!(refused.message().contains(&want), "{refused}");
    assert!(leader.status().is_short_of_space);
    // Elections, members and what makes room go on.
    assert_eq!(leader.propose_freeing(Bytes::from_static(b"delete")).await.unwrap().index, 2);
    cluster.add(replica(4)).await;
    leader.add_learner(replica(4)).await.unwrap();
    cluster.isolate(id, true);
    let next = cluster.leader_except(A, id).await;
    cluster.isolate(id, false);
    assert_eq!(next.propose_freeing(Bytes::from_static(b"delete")).await.unwrap().index, 3);
    // In the last quarter nothing is written but votes.
    for id in 1..=3 {
        leave(&cluster, replica(id), NOTHING).await;
    }
    env::time::sleep(Duration::from_secs(2)).await;
    let refused = cluster.leader(A).await.propose_freeing(Bytes::from_static(b"delete")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy, "{refused}");
    // With room again, all goes on by itself.
    for id in 1..=3 {
        leave(&cluster, replica(id), 2 << 30).await;
    }
    assert_eq!(cluster.propose(A, "after").await.index, 4);
    for id in 1..=4 {
        assert_eq!(cluster.caught_up(replica(id), A).await, ["before", "delete", "delete", "after"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_with_a_full_disk_hands_over() {
    let cluster = Cluster::with_leaders(2, 3).await;
    let full = cluster.leader(A).await.leader().unwrap();
    leave(&cluster, full, LITTLE).await;
    let next = eventually("another leader", async || {
        let group = cluster.leader(A).await;
        (group.leader() != Some(full)).then_some(group)
    })
    .await;
    next.propose(Bytes::from_static(b"goes on")).await.unwrap();
}

/// A follower without room takes no entries, does not break, and catches up when it has room.
#[tokio::test(start_paused = true)]
async fn a_follower_with_a_full_disk_waits() {
    let cluster = Cluster::with_leaders(3, 3).await;
    cluster.propose(A, "before").await;
    let leader = cluster.leader(A).await.leader().unwrap();
    let full = (1..=3).map(replica).find(|id| *id != leader).unwrap();
    leave(&cluster, full, NOTHING).await;
    env::time::sleep(Duration::from_secs(2)).await;
    for count in 0..100 {
        cluster.propose(A, &format!("{count}{}", "x".repeat(20_000))).await;
    }
    let copy = cluster.group(full, A);
    assert_eq!((copy.status().role, copy.applied()), (Role::Follower, 1));
    assert_eq!(cluster.leader(A).await.leader(), Some(leader), "it disturbs nobody");
    assert_eq!(copy.voters(), BTreeSet::from([1, 2, 3].map(replica)));
    leave(&cluster, full, 2 << 30).await;
    assert_eq!(cluster.caught_up(full, A).await.len(), 101);
    assert!(cluster.nodes[&full].host.as_ref().unwrap().trouble().borrow().is_none());
}
