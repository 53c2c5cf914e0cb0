//! Measures proposals per second of one group on this machine's disk: `cargo run --release -p raft --example propose`.
//!
//! Arguments: voters (all in this process, default 1), clients (default 64), seconds (default 5), bytes of a command
//! (default 256), idle groups beside the measured one (default 0; with 0 clients this measures what they cost),
//! directory (default: the system's temporary one).
#![allow(clippy::print_stdout, reason = "an example talks to a terminal")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use env::Env;
use env::time::now;
use kv::{Options, Overlay, RocksKv};
use raft::{Host, HostConfig, Network, StateMachine};
use types::{Error, NodeId, PartitionId, Result};

const GROUP: PartitionId = PartitionId(1);

/// Keeps each command as one row.
struct Rows;

impl StateMachine for Rows {
    fn apply(&self, state: &mut Overlay<'_>, index: u64, command: &[u8]) -> Bytes {
        state.put(index.to_be_bytes().to_vec(), Bytes::copy_from_slice(command));
        Bytes::new()
    }
}

/// Calls the other hosts of this process.
#[derive(Clone, Default)]
struct Direct(Arc<Mutex<BTreeMap<NodeId, Arc<Host>>>>);

#[async_trait]
impl Network for Direct {
    async fn send(&self, target: NodeId, message: Bytes, _timeout: Duration) -> Result<Bytes> {
        let host = self.0.lock().expect("no panic inside").get(&target).cloned();
        host.ok_or_else(|| Error::unavailable("not started yet"))?.handle(message).await
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |at: usize, default: u64| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (voters, clients, seconds, size) = (number(0, 1), number(1, 64), number(2, 5), number(3, 256));
    let idle = u32::try_from(number(4, 0)).unwrap_or(0);
    let scratch = env::testing::temp_dir();
    let dir = arguments.get(5).map_or(scratch.path().to_owned(), PathBuf::from);

    let network = Direct::default();
    for id in (1..=voters).map(NodeId) {
        let kv = RocksKv::open(&dir.join(format!("{id}/kv")), Options::default())?;
        let config = HostConfig::new(id, dir.join(format!("{id}/log")));
        let host = Host::open(Env::real(), config, Arc::new(kv), Arc::new(network.clone())).await?;
        for group in 0..=idle {
            host.open_group(PartitionId(GROUP.0 + group), Arc::new(Rows)).await?;
        }
        network.0.lock().expect("no panic inside").insert(id, Arc::new(host));
    }
    let hosts: Vec<Arc<Host>> = network.0.lock().expect("no panic inside").values().cloned().collect();
    for group in hosts[0].groups() {
        group.initialize((1..=voters).map(NodeId).collect::<BTreeSet<_>>()).await?;
        while group.linearize().await.is_err() {
            env::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let group = hosts[0].group(GROUP).ok_or_else(|| Error::internal("just opened"))?;

    let cpu = env::process::cpu_seconds();
    let start = now();
    let end = start + Duration::from_secs(seconds);
    let command = Bytes::from(vec![7; usize::try_from(size).unwrap_or(256)]);
    let client = || {
        let (group, command) = (group.clone(), command.clone());
        env::task::spawn(async move {
            let mut latencies = Vec::new();
            while now() < end {
                let begun = now();
                group.propose(command.clone()).await?;
                latencies.push(begun.elapsed());
            }
            Ok::<_, Error>(latencies)
        })
    };
    let tasks: Vec<_> = (0..clients).map(|_| client()).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("clients do not panic")?);
    }
    env::time::sleep_until(end).await;
    let elapsed = start.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |percent: usize| latencies.get(latencies.len().saturating_sub(1) * percent / 100).copied();
    let used = env::process::cpu_seconds();
    println!(
        "{voters} voters, {clients} clients, {size} B: {:.0}/s, p50 {:.1?}, p99 {:.1?}, {} entries, {idle} idle groups, {:.2} CPU s per s",
        latencies.len() as f64 / elapsed,
        at(50).unwrap_or_default(),
        at(99).unwrap_or_default(),
        group.status().log_last,
        (used.0 + used.1 - cpu.0 - cpu.1) / elapsed,
    );
    for host in hosts {
        host.shutdown().await;
    }
    Ok(())
}
