//! What administrators see, for a healthy cluster and a degraded one.

use client::testing::status;
use expect_test::expect;
use types::NodeId;

use super::*;
use crate::exit::Exit;

fn with_node_2_down() -> ClusterStatus {
    let mut status = status(2);
    status.map.nodes.get_mut(&NodeId(2)).unwrap().up = false;
    status.nodes.get_mut(&NodeId(2)).unwrap().silent_ms = Some(4_000);
    status
}

#[test]
fn a_cluster_that_is_well() {
    let outcome = cluster(&status(2), None);
    expect![[r#"
        cluster  01010101010101010101010101010101
        state    healthy
        epoch    9
        profile  1+1
        nodes    2 of 2 up
        disks    2 of 2 writable
        slots    4 serving, 0 being filled, 0 offline

        partition  kind   slots    leader  term  behind
        0          root            1          3  1:0
        1          tree   0-16383  1          3  1:0
        2          index  0-16383  1          3  1:0
    "#]]
    .assert_eq(&outcome.text);
    assert_eq!(outcome.exit, Exit::Ok);
    assert_eq!(outcome.json["state"], "healthy");
    let root = &outcome.json["partitions"][0];
    assert_eq!((&root["slots"], &root["voters"]), (&json!([]), &json!([1])));
    let tree = &outcome.json["partitions"][1];
    assert_eq!((&tree["kind"], &tree["slots"]), (&json!("tree"), &json!([[0, 16383]])));
    assert_eq!((&root["kind"], &root["leader"]), (&json!("root"), &json!(1)));
    assert_eq!((&root["replicas"][0]["node"], &root["replicas"][0]["lag"]), (&json!(1), &json!(0)));
    assert_eq!((&root["level"], &root["replicas"][0]["level"]), (&json!(1), &json!(1)));
}

#[test]
fn a_partition_without_a_leader() {
    let mut status = status(1);
    let last = status.nodes.get_mut(&NodeId(1)).unwrap().last.as_mut().unwrap();
    last.partitions[1].leading = false;
    let outcome = cluster(&status, None);
    assert_eq!(outcome.exit, Exit::Degraded);
    assert!(outcome.text.contains("\n1          tree   0-16383  none       3  1:0\n"), "{}", outcome.text);
    let partition = &outcome.json["partitions"][1];
    assert_eq!((&partition["leader"], &partition["level"]), (&json!(null), &json!(null)));
}

#[test]
fn a_cluster_that_is_not_well() {
    let outcome = cluster(&with_node_2_down(), None);
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
        1     up     zone1  meta,block  127.0.0.1:7402      9      3        0    1.0 MB  500 B
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
    let mut status = with_node_2_down();
    let last = status.nodes.get_mut(&NodeId(1)).unwrap().last.as_mut().unwrap();
    last.disks.get_mut(&types::DiskId(1)).unwrap().read_micros = 1_590;
    let outcome = disks(&status);
    expect![[r#"
        disk  node  zone   state      used    free   size  fill  shards  slots    read  path    problem
        1     1     zone1  healthy  2.0 kB  8.0 kB  10 kB   20%       5      2  1.5 ms  /mnt/1
        2     2     zone2  down     2.0 kB  8.0 kB  10 kB   20%       5      2          /mnt/2  node 2 is down
    "#]]
    .assert_eq(&outcome.text);
    assert_eq!(outcome.exit, Exit::Degraded);
    assert_eq!(disks(&client::testing::status(2)).exit, Exit::Ok);
    assert_eq!(outcome.json[1]["up"], false);
    let words = (&outcome.json[0]["state"], &outcome.json[0]["out"], &outcome.json[0]["path"]);
    assert_eq!(words, (&json!("healthy"), &json!(false), &json!("/mnt/1")));
}

#[test]
fn a_node_that_was_never_heard_of_has_empty_cells() {
    let mut status = with_node_2_down();
    status.nodes.remove(&NodeId(2));
    assert!(nodes(&status).json[1]["bytes_received"].is_null());
    assert!(disks(&status).json[1]["used_bytes"].is_null());
}
