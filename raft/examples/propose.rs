//! Measures proposals per second on this machine's disk, and what idle groups cost. All nodes are in this process.
//!
//! `cargo run --release -p raft --example propose`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for a terminal, used by developers")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use env::Env;
use env::testing::temp_dir;
use env::time::{now, sleep, sleep_until};
use kv::{Options, Overlay, RocksKv};
use openraft_rt::AsyncRuntime;
use openraft_rt_tokio::TokioRuntime;
use raft::{Host, HostConfig, Last, Network, StateMachine};
use types::{Error, NodeId, PartitionId, ReplicaId, Result, Start};

const GROUP: PartitionId = PartitionId(1);

/// Keeps each command as one row.
struct Rows;

impl StateMachine for Rows {
    fn apply(&self, state: &mut Overlay<'_>, index: u64, command: &[u8]) -> Result<Bytes> {
        state.put(index.to_be_bytes().to_vec(), Bytes::copy_from_slice(command));
        Ok(Bytes::new())
    }
}

type Hosts = Arc<Mutex<BTreeMap<NodeId, Arc<Host>>>>;

/// Calls the other hosts of this process, as this node.
struct Direct(Hosts, NodeId);

#[async_trait]
impl Network for Direct {
    async fn send(&self, target: NodeId, message: Bytes, _timeout: Duration) -> Result<Bytes> {
        let host = self.0.lock().unwrap().get(&target).cloned();
        host.ok_or_else(|| Error::unavailable("not started yet"))?.handle(self.1, message).await
    }
}

const SECONDS: u64 = 4;

fn main() {
    TokioRuntime::new(2).block_on(all());
}

async fn all() {
    for (voters, clients, idle) in [
        (1, 1, 0),
        (1, 64, 0),
        (1, 256, 0),
        (3, 1, 0),
        (3, 64, 0),
        (3, 256, 0),
        (3, 0, 4),
        (3, 0, 63),
        (3, 256, 63),
    ] {
        measure(voters, clients, idle).await;
    }
}

async fn measure(voters: u64, clients: usize, idle: u32) {
    let dir = temp_dir();
    let network: Hosts = Arc::default();
    for id in (1..=voters).map(NodeId) {
        let kv = RocksKv::open(&dir.join(format!("{id}/kv")), Options::default()).unwrap();
        let replica = ReplicaId::new(id, 1);
        let config =
            HostConfig::new(replica, Start::default(), Last::default(), dir.join(format!("{id}/log")));
        let direct = Arc::new(Direct(network.clone(), id));
        let host = Host::open(Env::real(), config, Arc::new(kv), direct).await.unwrap();
        for group in 0..=idle {
            host.open_group(PartitionId(GROUP.0 + group), Arc::new(Rows)).await.unwrap();
        }
        network.lock().unwrap().insert(id, Arc::new(host));
    }
    let hosts: Vec<Arc<Host>> = network.lock().unwrap().values().cloned().collect();
    for group in hosts[0].groups() {
        group
            .initialize((1..=voters).map(|id| ReplicaId::new(NodeId(id), 1)).collect::<BTreeSet<_>>())
            .await
            .unwrap();
        while group.linearize().await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    }
    let group = hosts[0].group(GROUP).unwrap();
    let cpu = cpu_seconds();
    let end = now() + Duration::from_secs(SECONDS);
    let client = || {
        let group = group.clone();
        env::task::spawn(async move {
            let command = Bytes::from_static(&[7; 256]);
            let mut latencies = Vec::new();
            while now() < end {
                let begun = now();
                group.propose(command.clone()).await.unwrap();
                latencies.push(begun.elapsed());
            }
            latencies
        })
    };
    let tasks: Vec<_> = (0..clients).map(|_| client()).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    sleep_until(end).await;
    latencies.sort_unstable();
    let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied().unwrap_or_default();
    println!(
        "{voters} voters, {clients} clients, 256 B, {idle} idle groups: {}/s, p50 {:.1?}, p99 {:.1?}, {:.2} CPU s per s",
        latencies.len() as u64 / SECONDS,
        at(50),
        at(99),
        (cpu_seconds() - cpu) / SECONDS as f64,
    );
    for host in hosts {
        host.shutdown().await;
    }
}

fn cpu_seconds() -> f64 {
    let (user, system) = env::process::cpu_seconds();
    user + system
}
