//! Nodes that are too far behind for the log, on a simulated clock.
#![allow(clippy::unwrap_used)] // All of this file is a test; helpers of tests fail loudly, too.

mod harness;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use harness::{A, Cluster, commands, replica};

/// A new node joins when the earlier log is gone: it gets a snapshot, then the log, and replaces a dead voter.
#[tokio::test(start_paused = true)]
async fn a_new_node_gets_a_snapshot() {
    let mut cluster = Cluster::with_short_logs(4).await;
    let leader = cluster.leader(A).await;
    let dead = if leader.leader() == Some(replica(3)) { replica(2) } else { replica(3) };
    cluster.crash(dead).await;
    cluster.add(replica(4)).await;
    leader.add_learner(replica(4)).await.unwrap();
    let want = commands(&leader);
    assert_eq!(cluster.caught_up(replica(4), A).await, want);
    assert_eq!(want.len(), 200);
    let machine = &cluster.nodes[&replica(4)].machines[&A];
    assert!(machine.restored.lock().unwrap().unwrap() >= 150, "it came as a snapshot, not through the log");
    assert_eq!(leader.status().learners, BTreeSet::from([replica(4)]));

    let other =
        [1, 2, 3].map(replica).into_iter().find(|id| Some(*id) != leader.leader() && *id != dead).unwrap();
    let voters = BTreeSet::from([leader.leader().unwrap(), other, replica(4)]);
    leader.set_voters(voters.clone()).await.unwrap();
    assert_eq!(leader.voters(), voters);
    // The new voter counts: with the other one gone, it makes the majority.
    cluster.crash(other).await;
    cluster.propose(A, "with two").await;
    // And it keeps its state through a crash of its own.
    cluster.crash(replica(4)).await;
    cluster.open(replica(4)).await;
    assert_eq!(cluster.caught_up(replica(4), A).await.len(), 201);
}

/// A snapshot whose receiver or sender fails on the way is sent again, and nothing of the half one is ever seen.
#[tokio::test(start_paused = true)]
async fn an_interrupted_snapshot_is_sent_again() {
    for seed in 0..5 {
        let mut cluster = Cluster::with_short_logs(300 + seed).await;
        cluster.add(replica(4)).await;
        let leader = cluster.leader(A).await;
        let adding = env::task::spawn(async move { leader.add_learner(replica(4)).await });
        for round in 0..6 {
            env::time::sleep(Duration::from_millis(7 + seed * 3 + round)).await;
            let victim = if round == 4 { cluster.leader(A).await.leader().unwrap() } else { replica(4) };
            cluster.crash(victim).await;
            cluster.open(victim).await;
            let found = commands(&cluster.group(replica(4), A));
            assert!(found.is_empty() || found.len() == 200, "half a state: {} rows", found.len());
        }
        // The leader that was asked may be another now; asking again is harmless.
        let _ = adding.await.unwrap();
        cluster.leader(A).await.add_learner(replica(4)).await.unwrap();
        assert_eq!(cluster.caught_up(replica(4), A).await, commands(&cluster.leader(A).await), "seed {seed}");
        // Nothing is left of the attempts.
        let rows = |id| {
            let mut count = 0;
            let kv = &cluster.nodes[&replica(id)].kv;
            let mut visit = |_: &[u8], _: &[u8]| {
                count += 1;
                std::ops::ControlFlow::Continue(())
            };
            kv::Read::scan(kv, b"m", b"", kv::Order::Forward, &mut visit).unwrap();
            count
        };
        assert_eq!(rows(4), 202, "200 commands, their count, and what the state is");
    }
}

/// The log moves on while a state of five pieces is sent, every third piece or its answer is lost, and the receiver
/// loses power half-way: it takes few pieces more than there are, and then the log.
#[tokio::test(start_paused = true)]
async fn a_node_catches_up_while_commands_go_on() {
    for seed in 0..3 {
        let mut cluster = Cluster::with_short_logs(400 + seed).await;
        let leader = cluster.leader(A).await;
        let writing = env::task::spawn({
            let leader = leader.clone();
            async move {
                for count in 0.. {
                    leader.propose(Bytes::from(format!("meanwhile {count}"))).await.unwrap();
                    env::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
        cluster.add(replica(4)).await;
        cluster.net.lose_large(Some(3));
        let adding = env::task::spawn({
            let leader = leader.clone();
            async move { leader.add_learner(replica(4)).await }
        });
        env::time::sleep(Duration::from_millis(2500)).await;
        cluster.crash(replica(4)).await;
        cluster.open(replica(4)).await;
        adding.await.unwrap().unwrap();
        let pieces = cluster.net.large_count();
        assert!(pieces < 25, "seed {seed}: {pieces} messages for five pieces");
        writing.abort();
        let _ = writing.await;
        cluster.net.lose_large(None);
        assert_eq!(cluster.caught_up(replica(4), A).await, commands(&leader), "seed {seed}");
        let restored = cluster.nodes[&replica(4)].machines[&A].restored.lock().unwrap().unwrap();
        assert!(restored >= 200, "it came as a snapshot: {restored}");
    }
}
