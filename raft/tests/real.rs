//! The same on real files, threads and RocksDB: three nodes in one process, all stopped and started again.
#![allow(clippy::unwrap_used)]

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use env::Env;
use env::testing::temp_dir;
use harness::{A, GROUPS, Recorder, commands, config, eventually, list, replica};
use raft::{Group, Host, Last, Network};
use types::{Error, NodeId, PartitionId, ReplicaId, Result};

type Hosts = Arc<Mutex<BTreeMap<NodeId, Arc<Host>>>>;

struct Direct(Hosts, NodeId);

#[async_trait]
impl Network for Direct {
    async fn send(&self, target: NodeId, message: Bytes, timeout: Duration) -> Result<Bytes> {
        let host = self.0.lock().unwrap().get(&target).cloned();
        let host = host.ok_or_else(|| Error::unavailable("down"))?;
        let answer = env::time::timeout(timeout, host.handle(self.1, message)).await;
        answer.unwrap_or_else(|_| Err(Error::unavailable("no answer")))
    }
}

async fn start(dir: &env::testing::TempDir) -> Hosts {
    let hosts = Hosts::default();
    for id in (1..=3).map(replica) {
        // Tasks of the host before it end a moment after they were told to, and hold the store until then.
        let path = dir.join(format!("{id}/kv"));
        let open = async || kv::RocksKv::open(&path, kv::Options::default()).ok();
        let kv = eventually("the store's lock", open).await;
        let config = config(id, Last::default(), dir.join(format!("{id}/log")));
        let network = Arc::new(Direct(hosts.clone(), id.node()));
        let host = Host::open(Env::real(), config, Arc::new(kv), network).await.unwrap();
        for group in GROUPS {
            host.open_group(group, Arc::new(Recorder::default())).await.unwrap();
        }
        hosts.lock().unwrap().insert(id.node(), Arc::new(host));
    }
    hosts
}

async fn stop(hosts: Hosts, orderly: bool) {
    let all = std::mem::take(&mut *hosts.lock().unwrap());
    for host in all.into_values() {
        if orderly {
            host.shutdown().await
        } else {
            host.kill().await
        };
        let host =
            eventually("end of the last message", async || (Arc::strong_count(&host) == 1).then_some(()))
                .await;
        let () = host;
    }
}

fn groups(hosts: &Hosts, id: PartitionId) -> Vec<Arc<Group>> {
    hosts.lock().unwrap().values().map(|host| host.group(id).unwrap()).collect()
}

async fn leader(hosts: &Hosts, id: PartitionId) -> Arc<Group> {
    eventually("a leader", async || {
        for group in groups(hosts, id) {
            if group.is_leader() && group.linearize().await.is_ok() {
                return Some(group);
            }
        }
        None
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_survive_restarts() {
    let dir = temp_dir();
    let mut hosts = start(&dir).await;
    let voters: BTreeSet<ReplicaId> = (1..=3).map(replica).collect();
    for id in GROUPS {
        groups(&hosts, id)[0].initialize(voters.clone()).await.unwrap();
    }
    for round in 0..3 {
        for id in GROUPS {
            let group = leader(&hosts, id).await;
            let propose = |count: u64| {
                let group = group.clone();
                async move { group.propose(Bytes::from(format!("{round}.{count}"))).await.unwrap().index }
            };
            let indexes: BTreeSet<u64> =
                futures::future::join_all((0..100).map(propose)).await.into_iter().collect();
            assert_eq!(indexes, (round * 100 + 1..=round * 100 + 100).collect());
        }
        stop(hosts, round == 0).await;
        hosts = start(&dir).await;
    }
    for id in GROUPS {
        let index = leader(&hosts, id).await.linearize().await.unwrap();
        assert_eq!(index, 300);
        for group in groups(&hosts, id) {
            group.wait_applied(index, Duration::from_secs(10)).await.unwrap();
            assert_eq!(commands(&group).len(), 300);
            assert_eq!(group.read_snapshot(|state, _| Ok(list(state))).unwrap(), commands(&group));
        }
    }
    assert!(leader(&hosts, A).await.still_leader());
    stop(hosts, true).await;
}
