//! Voters whose states are gone while their log, their votes and their identity are good.
#![allow(clippy::unwrap_used)] // All of this file is a test; helpers of tests fail loudly, too.

mod harness;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use harness::{A, Cluster, Recorder, commands, config, eventually, replica};
use raft::{GroupStatus, Host, HostConfig};
use types::{ErrorKind, ReplicaId};

fn status(cluster: &Cluster, id: ReplicaId) -> GroupStatus {
    cluster.nodes[&id].host.as_ref().unwrap().status(A).unwrap()
}

/// True while the node waits for a state of this group.
fn is_waiting(cluster: &Cluster, id: ReplicaId) -> bool {
    status(cluster, id).problem.is_some_and(|e| e.message().contains("has lost its state"))
}

/// Waits until the copy on `id` has its state again and everything that was acknowledged; returns its commands.
async fn reinstalled(cluster: &Cluster, id: ReplicaId) -> Vec<String> {
    eventually("a whole state", async || (!is_waiting(cluster, id)).then_some(())).await;
    let found = cluster.caught_up(id, A).await;
    let machine = &cluster.nodes[&id].machines[&A];
    assert!(machine.restored.lock().unwrap().unwrap() >= 150, "it came as a snapshot, not through the log");
    found
}

async fn all(cluster: &Cluster) -> Vec<String> {
    let leader = cluster.leader(A).await;
    commands(&leader)
}

/// As many of three voters lose their states at once as `lost` says, after the log was trimmed.
async fn check(seed: u64, lost: &[u64]) {
    let mut cluster = Cluster::with_short_logs(seed).await;
    let before = all(&cluster).await;
    for id in lost {
        cluster.lose_states(replica(*id)).await;
    }
    for id in lost {
        cluster.open(replica(*id)).await;
        assert!(is_waiting(&cluster, replica(*id)), "{:?}", status(&cluster, replica(*id)));
    }
    for id in lost {
        assert_eq!(reinstalled(&cluster, replica(*id)).await, before, "seed {seed}");
    }
    assert_eq!(status(&cluster, replica(1)).voters, BTreeSet::from([1, 2, 3].map(replica)));
    cluster.propose(A, "after").await;
    // Each counts as a voter again, with one other, and keeps its state through a crash of its own.
    for id in 1..=3 {
        cluster.crash(replica(id)).await;
        cluster.propose(A, &format!("without {id}")).await;
        cluster.open(replica(id)).await;
    }
    let want = all(&cluster).await;
    assert!(want.len() >= 204 && want.starts_with(&before), "seed {seed}: {}", want.len());
    for id in 1..=3 {
        assert_eq!(cluster.caught_up(replica(id), A).await, want, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_voter_gets_its_state_back_under_its_id() {
    for id in 1..=3 {
        check(60 + id, &[id]).await;
    }
}

/// Whoever leads: nobody is elected without the votes of those who wait.
#[tokio::test(start_paused = true)]
async fn two_of_three_voters_get_their_states_back() {
    check(70, &[1, 2]).await;
    check(71, &[2, 3]).await;
    check(72, &[3, 1]).await;
}

/// What is acknowledged needs logs only: those who wait vote for the third and take its entries.
#[tokio::test(start_paused = true)]
async fn voters_without_a_state_make_a_majority() {
    let mut cluster = Cluster::with_short_logs(73).await;
    cluster.lose_states(replica(1)).await;
    cluster.lose_states(replica(2)).await;
    cluster.net.lose_large(Some(1));
    cluster.open(replica(1)).await;
    cluster.open(replica(2)).await;
    for count in 0..30 {
        cluster.propose(A, &format!("meanwhile {count}")).await;
    }
    assert!(is_waiting(&cluster, replica(1)) && is_waiting(&cluster, replica(2)));
    let before = all(&cluster).await;
    cluster.crash(replica(3)).await;
    for _ in 0..200 {
        env::time::sleep(Duration::from_millis(50)).await;
        let lead = [1, 2].map(|id| cluster.group(replica(id), A).is_leader());
        assert_eq!(lead, [false, false], "who has no state does not lead");
    }
    cluster.open(replica(3)).await;
    cluster.net.lose_large(None);
    for id in [1, 2] {
        assert_eq!(reinstalled(&cluster, replica(id)).await, before);
    }
}

/// Node 3 was away while the others went on and trimmed their logs: its state does not reach where that of node 1
/// begins.
#[tokio::test(start_paused = true)]
async fn a_state_older_than_the_log_is_not_taken() {
    let mut cluster = Cluster::with_short_logs(74).await;
    cluster.crash(replica(3)).await;
    for count in 0..100 {
        cluster.propose(A, &format!("without 3: {count}")).await;
    }
    env::time::sleep(Duration::from_secs(30)).await;
    let before = all(&cluster).await;
    cluster.lose_states(replica(1)).await;
    cluster.isolate(replica(2), true);
    cluster.open(replica(3)).await;
    cluster.open(replica(1)).await;
    env::time::sleep(Duration::from_secs(60)).await;
    let found = status(&cluster, replica(1));
    let why = found.problem.unwrap();
    assert!(why.message().contains("has only come to"), "{why}");
    assert_eq!((found.applied, commands(&cluster.group(replica(1), A)).len()), (0, 0));
    cluster.isolate(replica(2), false);
    assert_eq!(reinstalled(&cluster, replica(1)).await, before);
    assert_eq!(cluster.caught_up(replica(3), A).await, before);
}

/// Every second piece is lost on its way, and one of both ends loses power: it goes on where it was, or begins again,
/// and nothing of a half state is ever seen.
#[tokio::test(start_paused = true)]
async fn an_interrupted_transfer_goes_on() {
    for seed in 80..84 {
        let mut cluster = Cluster::with_short_logs(seed).await;
        let before = all(&cluster).await;
        cluster.lose_states(replica(1)).await;
        cluster.lose_states(replica(2)).await;
        cluster.net.lose_large(Some(2));
        let sent = cluster.net.large_count();
        cluster.open(replica(1)).await;
        cluster.open(replica(2)).await;
        for round in 0..4 {
            env::time::sleep(Duration::from_millis(900 + seed * 7 + round)).await;
            for id in [1, 2] {
                let found = commands(&cluster.group(replica(id), A)).len();
                assert!(found == 0 || found == 200, "half a state: {found} rows");
            }
            if round == 1 {
                let victim = replica(1 + seed % 3);
                cluster.crash(victim).await;
                cluster.open(victim).await;
            }
        }
        for id in [1, 2] {
            assert_eq!(reinstalled(&cluster, replica(id)).await, before, "seed {seed}");
        }
        let pieces = cluster.net.large_count() - sent;
        assert!(pieces < 60, "seed {seed}: {pieces} pieces for two times five");
    }
}

/// A voter without others is not opened without its state.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_nobody() {
    let mut cluster = Cluster::with_short_logs(90).await;
    cluster.lose_states(replica(1)).await;
    let node = &cluster.nodes[&replica(1)];
    let config = config(replica(1), node.last, "/log".into());
    let config = HostConfig { fresh_state: true, has_others: false, ..config };
    let network = cluster.line(replica(1));
    let host = Host::open(node.env.clone(), config, Arc::new(node.kv.clone()), network).await.unwrap();
    let error = host.open_group(A, Arc::new(Recorder::default())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}
