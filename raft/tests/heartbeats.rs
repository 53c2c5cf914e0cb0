//! An idle cluster is quiet, however many groups it has.
#![allow(clippy::unwrap_used)] // All of this file is a test; helpers of tests fail loudly, too.

mod harness;

use std::time::Duration;

use harness::{Cluster, GROUPS, eventually, replica};
use types::NodeId;

#[tokio::test(start_paused = true)]
async fn heartbeats_of_all_groups_travel_as_one() {
    let cluster = Cluster::with_leaders(1, 3).await;
    let first = replica(1);
    for group in GROUPS {
        eventually("node 1 leads", async || {
            let leader = cluster.leader(group).await;
            if leader.leader() == Some(first) {
                return Some(());
            }
            let _ = leader.transfer_leader(first).await;
            None
        })
        .await;
    }
    env::time::sleep(Duration::from_secs(2)).await;
    let before = cluster.net.sent();
    env::time::sleep(Duration::from_secs(10)).await;
    for (link, count) in cluster.net.sent() {
        let count = count - before[&link];
        let want = if link.0 == NodeId(1) { 95..=105 } else { 0..=0 };
        assert!(want.contains(&count), "{count} messages on {link:?} in 10 s with a heartbeat every 100 ms");
    }
    for group in GROUPS {
        assert_eq!(cluster.leader(group).await.leader(), Some(first));
    }
}
