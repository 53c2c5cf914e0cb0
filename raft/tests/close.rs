//! Goal: a copy is closed and deleted only where it is not needed, and nothing is left of it but its vote. Method: four
//! nodes, of which three vote; members are changed, links cut, nodes crash.
#![allow(clippy::unwrap_used)] // All of this file is a test; helpers of tests fail loudly, too.

mod harness;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use env::Env;
use harness::{A, Cluster, GROUPS, Recorder, commands, config, eventually, kind, replica};
use kv::MemKv;
use raft::{Host, Last, Role};
use types::{ErrorKind, PartitionId, ReplicaId};

fn replicas<const N: usize>(nodes: [u64; N]) -> BTreeSet<ReplicaId> {
    nodes.map(replica).into()
}

/// Nodes 1 to 4, of which the first three vote in every group; two of the groups have ten commands.
async fn four() -> Cluster {
    let cluster = Cluster::start(1, 4).await;
    for group in GROUPS {
        cluster.group(replica(1), group).initialize(replicas([1, 2, 3])).await.unwrap();
    }
    for count in 0..10 {
        cluster.propose(A, &count.to_string()).await;
        cluster.propose(GROUPS[1], &count.to_string()).await;
    }
    cluster
}

fn host(cluster: &Cluster, node: u64) -> &Arc<Host> {
    cluster.nodes[&replica(node)].host.as_ref().unwrap()
}

fn copies(cluster: &Cluster, node: u64) -> Vec<PartitionId> {
    host(cluster, node).copies().unwrap().into_iter().collect()
}

/// Has node 4 take the place of node 3 in a group.
async fn replace(cluster: &Cluster, voters: BTreeSet<ReplicaId>) {
    cluster.leader(A).await.set_voters(voters).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_member_is_not_closed_whatever_it_is_told() {
    let cluster = four().await;
    for (node, want) in [(1, ErrorKind::Conflict), (2, ErrorKind::Conflict), (3, ErrorKind::Conflict)] {
        // Also who leads asks only others, of whom nobody leads.
        let leads = cluster.leader(A).await.status().leader == Some(replica(node));
        let want = if leads { ErrorKind::Unavailable } else { want };
        let closed = host(&cluster, node).close_group(A, &replicas([1, 2, 3])).await;
        assert_eq!(kind(closed), want, "{node}");
    }
    // Nobody says anything.
    cluster.isolate(replica(3), true);
    assert_eq!(kind(host(&cluster, 3).close_group(A, &replicas([1, 2])).await), ErrorKind::Unavailable);
    assert_eq!(kind(host(&cluster, 3).close_group(A, &replicas([])).await), ErrorKind::Unavailable);
    cluster.isolate(replica(3), false);
    cluster.propose(A, "more").await;
    assert_eq!(cluster.caught_up(replica(3), A).await.len(), 11);
    assert_eq!(cluster.group(replica(3), A).status().restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_closed_leaves_nothing_and_others_stay() {
    let mut cluster = four().await;
    assert_eq!(copies(&cluster, 4), []);
    replace(&cluster, replicas([1, 2, 4])).await;
    assert_eq!(copies(&cluster, 3), GROUPS);
    host(&cluster, 3).close_group(A, &replicas([1, 2, 4])).await.unwrap();
    host(&cluster, 3).close_group(A, &replicas([1, 2, 4])).await.unwrap();
    assert_eq!(copies(&cluster, 3), GROUPS[1..]);
    assert!(host(&cluster, 3).group(A).is_none() && host(&cluster, 3).status(A).is_none());
    // And so it is after a crash.
    cluster.crash(replica(3)).await;
    cluster.open(replica(3)).await;
    assert_eq!(copies(&cluster, 3), GROUPS[1..]);
    assert_eq!(commands(&cluster.group(replica(3), A)), [""; 0]);
    assert_eq!(cluster.caught_up(replica(3), GROUPS[1]).await.len(), 10);
    cluster.propose(A, "more").await;
    assert_eq!(cluster.caught_up(replica(4), A).await.len(), 11);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_opened_again_is_a_new_one() {
    let cluster = four().await;
    for round in 0..3 {
        replace(&cluster, replicas([1, 2, 4])).await;
        host(&cluster, 3).close_group(A, &replicas([1, 2, 4])).await.unwrap();
        cluster.propose(A, &format!("without {round}")).await;
        host(&cluster, 3).open_group(A, Arc::new(Recorder::default())).await.unwrap();
        assert_eq!(host(&cluster, 3).status(A).unwrap().role, Role::Learner);
        replace(&cluster, replicas([1, 2, 3])).await;
        host(&cluster, 4).close_group(A, &replicas([1, 2, 3])).await.unwrap();
        host(&cluster, 4).open_group(A, Arc::new(Recorder::default())).await.unwrap();
        cluster.propose(A, &format!("with {round}")).await;
        assert_eq!(cluster.caught_up(replica(3), A).await.len(), 12 + 2 * round);
    }
    // Its vote counts as any other's.
    let leader = cluster.leader(A).await.status().leader.unwrap();
    let other = if leader == replica(3) { replica(1) } else { leader };
    cluster.isolate(other, true);
    cluster.leader_except(A, other).await;
}

/// The log of a store with trimmed logs: what the others have of the group comes as a snapshot, and after a crash the new
/// copy is what it was.
#[tokio::test(start_paused = true)]
async fn a_new_copy_is_filled_by_a_snapshot_and_survives_a_crash() {
    let mut cluster = Cluster::with_short_logs(3).await;
    cluster.add(replica(4)).await;
    replace(&cluster, replicas([1, 2, 4])).await;
    host(&cluster, 3).close_group(A, &replicas([1, 2, 4])).await.unwrap();
    host(&cluster, 3).open_group(A, Arc::new(Recorder::default())).await.unwrap();
    replace(&cluster, replicas([2, 3, 4])).await;
    assert_eq!(cluster.caught_up(replica(3), A).await.len(), 200);
    cluster.crash(replica(3)).await;
    cluster.open(replica(3)).await;
    assert_eq!(cluster.caught_up(replica(3), A).await.len(), 200);
}

/// A replica that has voted in a term does not vote in it again, however it was closed and opened in between: two leaders
/// of one term could be the end of it.
#[tokio::test(start_paused = true)]
async fn a_closed_copy_keeps_its_vote() {
    let cluster = four().await;
    replace(&cluster, replicas([1, 2, 4])).await;
    let term = cluster.group(replica(3), A).status().term;
    assert!(term > 0);
    host(&cluster, 3).close_group(A, &replicas([1, 2, 4])).await.unwrap();
    let opened = host(&cluster, 3).open_group(A, Arc::new(Recorder::default())).await.unwrap();
    assert_eq!((opened.status().term, opened.status().log_last), (term, 0));
}

/// What runs on one node when a cluster has many partitions.
#[tokio::test(start_paused = true)]
async fn a_host_serves_64_groups() {
    const COUNT: u32 = 64;
    let (kv, cluster) = (Arc::new(MemKv::new(1)), Cluster::start(1, 0).await);
    let config = config(replica(1), Last::default(), "/log".into());
    let host = Host::open(Env::simulated(1), config, kv, cluster.line(replica(1))).await.unwrap();
    for id in (0..COUNT).map(PartitionId) {
        let group = host.open_group(id, Arc::new(Recorder::default())).await.unwrap();
        group.initialize(replicas([1])).await.unwrap();
    }
    for id in (0..COUNT).map(PartitionId) {
        let group = host.group(id).unwrap();
        let command = Bytes::from(id.to_string());
        let applied = eventually("a leader", async || group.propose(command.clone()).await.ok()).await;
        assert_eq!((applied.index, commands(&group)), (1, vec![id.to_string()]));
    }
    assert_eq!(host.copies().unwrap().len(), COUNT as usize);
    env::time::timeout(Duration::from_secs(5), host.shutdown()).await.unwrap();
}
