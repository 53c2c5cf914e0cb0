//! Goal: a machine that was suspended, and does not know it, answers nothing that is no longer true (I-LIN).
//! Method: nodes whose monotonic clock stands still while all of their tasks do; they are asked as soon as they go on.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod harness;

use std::time::Duration;

use harness::{A, Cluster, commands, eventually, kind};
use raft::Group;
use std::sync::Arc;
use types::{ErrorKind, ReplicaId, Result};

/// Longer than the election of another leader takes.
const LONG: Duration = Duration::from_secs(10);

fn node_of(cluster: &Cluster, group: &Arc<Group>) -> ReplicaId {
    let is_it = |id: &&ReplicaId| Arc::ptr_eq(&cluster.group(**id, A), group);
    *cluster.nodes.keys().find(is_it).unwrap()
}

/// Reads as a task of the node does, after its clock has stood still for `time`.
async fn read_after(cluster: &Cluster, node: ReplicaId, time: Duration) -> Result<Vec<String>> {
    let owner = cluster.nodes[&node].owner.as_ref().unwrap();
    let group = cluster.group(node, A);
    if !time.is_zero() {
        owner.suspend();
        env::time::sleep(time).await;
    }
    let read = owner.spawn(async move {
        group.linearize().await?;
        Ok(commands(&group))
    });
    owner.resume();
    read.await.unwrap()
}

async fn still_leads(cluster: &Cluster, node: ReplicaId) -> bool {
    let group = cluster.group(node, A);
    cluster.nodes[&node].owner.as_ref().unwrap().spawn(async move { group.still_leader() }).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_was_replaced_in_its_sleep_does_not_answer_from_memory() {
    let cluster = Cluster::of_machines(1, 3).await;
    let first = node_of(&cluster, &cluster.leader(A).await);
    cluster.propose(A, "old").await;
    assert_eq!(read_after(&cluster, first, Duration::ZERO).await.unwrap(), ["old"]);

    // It hears nothing when it wakes up, either.
    cluster.isolate(first, true);
    let read = async {
        let owner = cluster.nodes[&first].owner.as_ref().unwrap();
        owner.suspend();
        let second = eventually("another leader", async || {
            for id in cluster.nodes.keys().filter(|id| **id != first) {
                let group = cluster.group(*id, A);
                if group.is_leader() && group.propose("new".into()).await.is_ok() {
                    return Some(*id);
                }
            }
            None
        });
        assert_ne!(second.await, first);
        read_after(&cluster, first, Duration::ZERO).await
    };
    assert_eq!(kind(read.await), ErrorKind::Unavailable);
    assert!(!still_leads(&cluster, first).await);

    cluster.isolate(first, false);
    assert!(cluster.caught_up(first, A).await.contains(&"new".to_owned()));
}

/// Nobody took over: the majority says so, and then the lease is good again.
#[tokio::test(start_paused = true)]
async fn a_leader_that_slept_a_little_asks_before_it_answers() {
    let cluster = Cluster::of_machines(2, 3).await;
    let first = node_of(&cluster, &cluster.leader(A).await);
    cluster.propose(A, "old").await;
    assert!(still_leads(&cluster, first).await);
    let owner = cluster.nodes[&first].owner.as_ref().unwrap();
    owner.suspend();
    env::time::sleep(Duration::from_millis(100)).await;
    let group = cluster.group(first, A);
    let asked = owner.spawn(async move {
        let before = group.still_leader();
        group.linearize().await.unwrap();
        (before, commands(&group))
    });
    owner.resume();
    assert_eq!(asked.await.unwrap(), (false, vec!["old".to_owned()]));
    eventually("a lease", async || still_leads(&cluster, first).await.then_some(())).await;
}

/// A lease that is valid needs no message.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_awake_answers_under_its_lease() {
    let cluster = Cluster::of_machines(3, 3).await;
    let first = node_of(&cluster, &cluster.leader(A).await);
    cluster.propose(A, "old").await;
    cluster.isolate(first, true);
    let before = env::time::now();
    assert_eq!(read_after(&cluster, first, Duration::ZERO).await.unwrap(), ["old"]);
    assert_eq!(env::time::now(), before);
    env::time::sleep(LONG).await;
    assert_eq!(kind(read_after(&cluster, first, Duration::ZERO).await), ErrorKind::Unavailable);
}
