//! What administrators see, for a cluster that is well and one that is not.

use expect_test::expect;
use proto::map::ROOT;
use types::{NodeId, PartitionId};

use super::*;
use crate::exit::Exit;
use crate::health::tests::status;

fn with_node_2_down() -> ClusterStatus {
    let mut status = status(2);
    status.map.nodes.get_mut(&NodeId(2)).unwrap().up = false;
    status.nodes.get_mut(&NodeId(2)).unwrap().silent_ms = Some(4_000);
    status
}

#[test]
fn a_cluster_that_is_well() {
    let outcome = cluster(&status(2));
    expect![[r#"
        cluster  01010101010101010101010101010101
        state    healthy
        epoch    9
        profile  1+1
        nodes    2 of 2 up
        disks    2 of 2 writable
        voters   1
        slots    4 serving, 0 being filled, 0 offline
    "#]]
    .assert_eq(&outcome.text);
    assert_eq!(outcome.exit, Exit::Ok);
    assert_eq!(outcome.json["state"], "healthy");
    assert_eq!(outcome.json["partitions"][0], json!({ "id": 0, "kind": "root", "leader": 1 }));
    assert_eq!(outcome.json["partitions"][1]["leader"], json!(null));
}

#[test]
fn a_cluster_that_is_not_well() {
    let outcome = cluster(&with_node_2_down());
    assert_eq!(outcome.exit, Exit::Degraded);
    assert!(outcome.text.contains("state    degraded\n"), "{}", outcome.text);
    assert!(
        outcome.text.ends_with("\n! node 2 (zone2, 127.0.0.1:7404) is down: silent for 4 s\n"),
        "{}",
        outcome.text
    );
    assert_eq!(outcome.json["problems"].as_array().unwrap().len(), 1);
}

#[test]
fn node_lists() {
    let outcome = nodes(&with_node_2_down());
    expect![[r#"
        node  state  zone   roles       native          epoch  leads  syncing  received   sent
        1     up     zone1  meta,block  127.0.0.1:7402      9      1        0    1.0 MB  500 B
        2     down   zone2  meta,block  127.0.0.1:7404      9      0        0    1.0 MB  500 B
    "#]]
    .assert_eq(&outcome.text);
    assert_eq!(outcome.exit, Exit::Degraded);
    assert_eq!(nodes(&status(2)).exit, Exit::Ok);
    assert_eq!(outcome.json[0]["bytes_received"], 1_000_000);
    assert_eq!(outcome.json[1]["silent_ms"], 4_000);
}

#[test]
fn disk_lists() {
    let outcome = disks(&with_node_2_down());
    expect![[r#"
        disk  node  zone   state    used    free   size  shards  slots  problem
        1     1     zone1  up     2.0 kB  8.0 kB  10 kB       5      2
        2     2     zone2  down   2.0 kB  8.0 kB  10 kB       5      2  node 2 is down
    "#]]
    .assert_eq(&outcome.text);
    assert_eq!(outcome.exit, Exit::Degraded);
    assert_eq!(disks(&status(2)).exit, Exit::Ok);
    assert_eq!(outcome.json[1]["up"], false);
}

#[test]
fn a_node_that_was_never_heard_of_has_empty_cells() {
    let mut status = with_node_2_down();
    status.nodes.remove(&NodeId(2));
    assert!(nodes(&status).json[1]["bytes_received"].is_null());
    assert!(disks(&status).json[1]["used_bytes"].is_null());
}

#[test]
fn the_newest_leader_that_is_up_counts() {
    let mut status = status(3);
    assert_eq!(leader(&status, ROOT), Some(NodeId(1)));
    let report = &mut status.nodes.get_mut(&NodeId(3)).unwrap().last.as_mut().unwrap().partitions[0];
    (report.leading, report.term) = (true, 4);
    assert_eq!(leader(&status, ROOT), Some(NodeId(3)));
    status.map.nodes.get_mut(&NodeId(3)).unwrap().up = false;
    assert_eq!(leader(&status, ROOT), Some(NodeId(1)));
    assert_eq!(leader(&status, PartitionId(1)), None);
}

#[test]
fn tokens_name_the_nodes_that_can_admit() {
    let mut map = status(3).map;
    map.voters = vec![NodeId(2)];
    map.nodes.get_mut(&NodeId(1)).unwrap().roles = vec![Role::Block];
    let ports: Vec<u16> = admitting(&map).iter().map(SocketAddr::port).collect();
    assert_eq!(ports, [7404, 7406]);
}
