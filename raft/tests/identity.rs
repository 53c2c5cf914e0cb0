//! Stores that are not what they were: removed, exchanged, copied, set back. Each is recognised before it can vote.
#![allow(clippy::unwrap_used)]

mod harness;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use env::disk::SimDisk;
use env::{Disk, Env, OpenMode};
use harness::{A, Cluster, GROUPS, config, eventually, kind, replica};
use kv::{Batch, Durability, Kv, MemKv, Order, Read};
use raft::{Host, OpenError, Trouble};
use types::{ErrorKind, ReplicaId};

/// All of a store: files of its log, and rows.
type Copy = (Vec<(String, Vec<u8>)>, Vec<(Vec<u8>, Vec<u8>)>);

fn copy(cluster: &Cluster, id: ReplicaId) -> Copy {
    let node = &cluster.nodes[&id];
    let disk = &node.env.disk;
    let names = disk.read_dir(Path::new("/log")).unwrap();
    let names = names.into_iter().map(|name| name.to_str().unwrap().to_owned());
    let files = names.map(|name| (name.clone(), disk.read(&Path::new("/log").join(name)).unwrap()));
    let mut rows = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        rows.push((key.to_vec(), value.to_vec()));
        std::ops::ControlFlow::Continue(())
    };
    node.kv.scan(b"", b"", Order::Forward, &mut visit).unwrap();
    (files.collect(), rows)
}

fn write_log(disk: &dyn Disk, files: &[(String, Vec<u8>)]) {
    disk.create_dir_durably(Path::new("/log")).unwrap();
    for name in disk.read_dir(Path::new("/log")).unwrap() {
        disk.remove_file(&Path::new("/log").join(name)).unwrap();
    }
    for (name, bytes) in files {
        let file = disk.open(&Path::new("/log").join(name), OpenMode::CreateNew).unwrap();
        file.write_at(&[bytes], 0).unwrap();
        file.sync_data().unwrap();
    }
    disk.sync_dir(Path::new("/log")).unwrap();
}

fn write_rows(kv: &MemKv, rows: &[(Vec<u8>, Vec<u8>)]) {
    kv.lose();
    let mut batch = Batch::new();
    rows.iter().for_each(|(key, value)| batch.put(key, value));
    kv.write(batch, Durability::Synced).unwrap();
}

/// Gives node 3 some more commands, all of them in its files.
async fn write(cluster: &Cluster, count: u64) {
    for count in 0..count {
        Box::pin(cluster.propose(A, &count.to_string())).await;
    }
    Box::pin(cluster.caught_up(replica(3), A)).await;
    Kv::flush(&cluster.nodes[&replica(3)].kv).unwrap();
}

/// Three nodes with 30 commands and then 30 more; what is done to a store of node 3 between, and what opening it gives.
async fn check(damage: impl FnOnce(&Cluster, Copy), want: &str) {
    let mut cluster = Cluster::with_leaders(41, 3).await;
    write(&cluster, 30).await;
    let old = copy(&cluster, replica(3));
    write(&cluster, 30).await;
    cluster.crash(replica(3)).await;
    damage(&cluster, old);
    let found = match cluster.try_open(replica(3)).await {
        Ok(()) => "taken".to_owned(),
        Err(OpenError::Log(e)) => format!("log: {e}"),
        Err(OpenError::State(e)) => format!("state: {e}"),
        Err(OpenError::Other(e)) => format!("other: {e}"),
    };
    assert!(found.contains(want), "{found:?}, want {want:?}");
    cluster.propose(A, "the others go on").await;
}

fn disk(cluster: &Cluster) -> &dyn Disk {
    &*cluster.nodes[&replica(3)].env.disk
}

fn rows(cluster: &Cluster) -> &MemKv {
    &cluster.nodes[&replica(3)].kv
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_not_what_its_node_left_is_not_opened() {
    check(|_, _| {}, "taken").await;
    check(
        |cluster, _| write_log(disk(cluster), &[]),
        "log: corrupt: the log of this node's metadata store is gone",
    )
    .await;
    check(|cluster, old| write_log(disk(cluster), &old.0), "ends at commit").await;
    check(
        |cluster, old| {
            write_log(disk(cluster), &old.0);
            write_rows(rows(cluster), &old.1);
        },
        "it is an old copy",
    )
    .await;
    check(
        |cluster, _| write_log(disk(cluster), &copy(cluster, replica(2)).0),
        "log: corrupt: the log of this node's metadata store belongs to store 0202",
    )
    .await;
    check(
        |cluster, _| rows(cluster).lose(),
        "state: corrupt: the state of this node's metadata store is gone",
    )
    .await;
    check(
        |cluster, _| write_rows(rows(cluster), &copy(cluster, replica(1)).1),
        "state: corrupt: the state of this node's metadata store belongs to store 0101",
    )
    .await;
    // A state that is merely behind gets the rest from the log.
    check(|cluster, old| write_rows(rows(cluster), &old.1), "taken").await;
}

/// A node whose whole disk is yesterday's does not know better: the others do.
#[tokio::test(start_paused = true)]
async fn a_node_that_was_set_back_as_a_whole_is_refused_by_the_others() {
    let mut cluster = Cluster::with_leaders(42, 3).await;
    cluster.propose(A, "yesterday").await;
    cluster.caught_up(replica(3), A).await;
    let (old, last) = (copy(&cluster, replica(3)), cluster.nodes[&replica(3)].last);
    for count in 0..30 {
        cluster.propose(A, &count.to_string()).await;
    }
    cluster.caught_up(replica(3), A).await;
    cluster.crash(replica(3)).await;
    write_log(disk(&cluster), &old.0);
    write_rows(rows(&cluster), &old.1);
    cluster.nodes.get_mut(&replica(3)).unwrap().last = last;
    cluster.open(replica(3)).await;
    let host = cluster.nodes[&replica(3)].host.clone().unwrap();
    let mut trouble = host.trouble();
    let found = env::time::timeout(Duration::from_secs(60), trouble.wait_for(Option::is_some)).await;
    let trouble = found.expect("it is told").unwrap().clone();
    assert!(matches!(&trouble, Some(Trouble::Refused(e)) if e.message().contains("set back")), "{trouble:?}");
    // It answers nobody any more, and the others do without it.
    cluster.crash(replica(2)).await;
    let leader = cluster.group(replica(1), A);
    assert_eq!(kind(leader.propose(Bytes::from_static(b"no majority")).await), ErrorKind::Unavailable);
    cluster.open(replica(2)).await;
    cluster.propose(A, "with two").await;
}

/// Two processes that run from copies of one store: the one that came later is heard, and only that one.
#[tokio::test(start_paused = true)]
async fn of_two_copies_one_is_heard() {
    let cluster = Cluster::with_leaders(43, 3).await;
    cluster.propose(A, "once").await;
    cluster.caught_up(replica(3), A).await;
    let (files, rows) = copy(&cluster, replica(3));
    let (disk, kv) = (SimDisk::new(1), MemKv::new(1));
    let env = Env { disk: Arc::new(disk), ..Env::simulated(1) };
    write_log(&*env.disk, &files);
    write_rows(&kv, &rows);
    let original = cluster.nodes[&replica(3)].host.clone().unwrap();
    let clone = config(replica(3), cluster.nodes[&replica(3)].last, "/log".into());
    let clone = Host::open(env, clone, Arc::new(kv), cluster.line(replica(3))).await.unwrap();
    assert_eq!(cluster.nodes[&replica(1)].host.as_ref().unwrap().meet(&clone.stamp()).unwrap(), None);
    cluster.propose(A, "twice").await;
    let leader = cluster.leader_except(A, replica(3)).await;
    assert!(leader.linearize().await.is_ok());
    // The original is found out as soon as it asks for anything, or its answers are looked at.
    let refused = cluster.nodes[&replica(1)].host.as_ref().unwrap().meet(&original.stamp()).unwrap();
    assert!(refused.unwrap().contains("is a copy"));
    clone.kill().await;
}

/// An address that has changed hands, and a certificate that says something else.
#[tokio::test(start_paused = true)]
async fn a_message_names_who_speaks_and_who_is_meant() {
    let mut cluster = Cluster::with_leaders(44, 3).await;
    cluster.propose(A, "before").await;
    cluster.swap(replica(2), replica(3));
    // Every answer of nodes 2 and 3 comes from the wrong one now; nobody believes any.
    let leader = eventually("no leader", async || {
        let stuck = futures::future::join_all(
            [1, 2, 3]
                .map(|id| cluster.group(replica(id), A))
                .map(async |group| group.linearize().await.is_err()),
        );
        stuck.await.into_iter().all(|stuck| stuck).then_some(())
    });
    leader.await;
    cluster.swap(replica(2), replica(3));
    assert_eq!(cluster.propose(A, "after").await.index, 2);
    cluster.crash(replica(1)).await;
}

/// Two of three voters are gone for good: the third goes on alone when told to, and the others are not heard again
/// before they are filled anew.
#[tokio::test(start_paused = true)]
async fn one_replica_takes_over() {
    let mut cluster = Cluster::with_leaders(45, 3).await;
    for count in 0..20 {
        cluster.propose(A, &count.to_string()).await;
    }
    cluster.caught_up(replica(3), A).await;
    for id in 1..=3 {
        cluster.crash(replica(id)).await;
    }
    let node = &cluster.nodes[&replica(3)];
    let (config, kv) =
        (config(replica(3), node.last, "/log".into()), Arc::new(node.kv.clone()) as Arc<dyn Kv>);
    let found = raft::recover::survey(&node.env, &config, &kv, &GROUPS).unwrap();
    assert_eq!(found.len(), 3);
    assert_eq!(found[0].voters, [1, 2, 3].map(replica));
    assert!(
        found[0].applied <= 20 && found[0].last >= found[0].committed && found[0].committed > 0,
        "{found:?}"
    );
    raft::recover::take_over(&node.env, &config, &kv, &GROUPS, &found[0].voters).unwrap();
    cluster.open(replica(3)).await;
    assert_eq!(cluster.propose(A, "alone").await.index, 21);
    // One that comes back as it was is refused, and its votes with it.
    cluster.open(replica(1)).await;
    let mut trouble = cluster.nodes[&replica(1)].host.as_ref().unwrap().trouble();
    let told = env::time::timeout(Duration::from_secs(60), trouble.wait_for(Option::is_some)).await;
    assert!(matches!(told.expect("it is told").unwrap().clone(), Some(Trouble::Refused(_))));
    assert_eq!(cluster.propose(A, "still alone").await.index, 22);
}
