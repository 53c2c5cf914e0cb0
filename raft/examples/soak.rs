//! What the log becomes under many small commands beside quiet groups, how long a restart takes after that, and how long
//! a fresh node needs to catch up with a large state while commands go on. Real disk, all nodes in this process.
//!
//! `cargo run --release -p raft --example soak -- log [COMMANDS]` and `… -- catch-up [ROWS]`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for a terminal, used by developers")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use env::Env;
use env::testing::{TempDir, temp_dir};
use env::time::{now, sleep};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kv::{Options, Overlay, RocksKv};
use openraft_rt::AsyncRuntime;
use openraft_rt_tokio::TokioRuntime;
use raft::{Group, Host, HostConfig, Last, LogTail, Network, StateMachine};
use types::{Error, ErrorKind, NodeId, PartitionId, ReplicaId, Result, Start};

const BUSY: PartitionId = PartitionId(1);
const QUIET_COUNT: u32 = 7;
/// Commands of the busy group for one of each quiet one.
const QUIET_PERIOD: u64 = 50_000;
/// Commands under way at once.
const WINDOW: usize = 512;
const COMMAND_SIZE: usize = 100;
/// Commands per second while a node catches up: 5 MB/s.
const CATCH_UP_RATE: u64 = 50_000;
/// A node has caught up when it is so many commands behind: a tenth of a second.
const LAG_MAX: u64 = CATCH_UP_RATE / 10;
/// So little of the log is kept that a fresh node gets a snapshot.
const SHORT: LogTail = LogTail { count: 10_000, size: 32 << 20 };

/// Keeps each command as one row, among as many as `count`.
struct Rows {
    count: u64,
}

impl StateMachine for Rows {
    fn apply(&self, state: &mut Overlay<'_>, index: u64, command: &[u8]) -> Result<Bytes> {
        state.put((index % self.count).to_be_bytes().to_vec(), Bytes::copy_from_slice(command));
        Ok(Bytes::new())
    }
}

/// The first store of a node.
fn replica(node: u64) -> ReplicaId {
    ReplicaId::new(NodeId(node), 1)
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

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |default| arguments.get(1).map_or(default, |text| text.parse().unwrap());
    let mut runtime = TokioRuntime::new(2);
    match arguments.first().map(String::as_str) {
        Some("log") => runtime.block_on(fill_log(number(5_000_000))),
        Some("catch-up") => runtime.block_on(catch_up(number(2_000_000))),
        _ => println!("soak log [COMMANDS] | soak catch-up [ROWS]"),
    }
}

async fn start(
    dir: &TempDir,
    id: ReplicaId,
    network: &Hosts,
    groups: u32,
    rows: u64,
    log_tail: Option<LogTail>,
) -> Arc<Host> {
    let kv = RocksKv::open(&dir.join(format!("{id}/kv")), Options::default()).unwrap();
    let mut config = HostConfig::new(id, Start::default(), Last::default(), dir.join(format!("{id}/log")));
    config.log_tail = log_tail.unwrap_or(config.log_tail);
    let host = Host::open(Env::real(), config, Arc::new(kv), Arc::new(Direct(network.clone(), id.node())))
        .await
        .unwrap();
    for group in 0..groups {
        host.open_group(PartitionId(BUSY.0 + group), Arc::new(Rows { count: rows })).await.unwrap();
    }
    let host = Arc::new(host);
    network.lock().unwrap().insert(id.node(), host.clone());
    host
}

async fn wait_leader(host: &Host) {
    for group in host.groups() {
        while group.linearize().await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn propose(group: &Group, command: Bytes) {
    loop {
        match group.propose(command.clone()).await {
            Ok(_) => return,
            Err(e) if e.kind() == ErrorKind::Busy => sleep(Duration::from_millis(20)).await,
            Err(e) => panic!("{e}"),
        }
    }
}

async fn fill_log(count: u64) {
    let dir = temp_dir();
    let network = Hosts::default();
    let host = start(&dir, replica(1), &network, 1 + QUIET_COUNT, u64::MAX, None).await;
    for group in host.groups() {
        group.initialize(BTreeSet::from([replica(1)])).await.unwrap();
    }
    wait_leader(&host).await;
    let (begun, mut size_max) = (now(), 0);
    let command = Bytes::from(vec![7; COMMAND_SIZE]);
    let busy = host.group(BUSY).unwrap();
    let mut under_way = FuturesUnordered::new();
    for done in 0..count {
        if done % QUIET_PERIOD == 0 {
            for group in host.groups().iter().filter(|group| group.id() != BUSY) {
                propose(group, command.clone()).await;
            }
        }
        if done % 1000 == 0 {
            size_max = host.log_size().max(size_max);
        }
        under_way.push(propose(&busy, command.clone()));
        if under_way.len() >= WINDOW {
            under_way.next().await;
        }
    }
    while under_way.next().await.is_some() {}
    drop(under_way);
    drop(busy);
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{count} commands of {COMMAND_SIZE} bytes beside {QUIET_COUNT} quiet groups: {:.0}/s; log {} MiB at most, {} MiB in \
         the end",
        count as f64 / seconds,
        size_max >> 20,
        host.log_size() >> 20
    );
    network.lock().unwrap().clear();
    host.kill().await;
    drop(host);
    let begun = now();
    let host = start(&dir, replica(1), &network, 1 + QUIET_COUNT, u64::MAX, None).await;
    wait_leader(&host).await;
    println!(
        "restart after a kill: {:.1?}; {} commands",
        begun.elapsed(),
        host.group(BUSY).unwrap().applied()
    );
    host.shutdown().await;
}

async fn catch_up(rows: u64) {
    let dir = temp_dir();
    let network = Hosts::default();
    let host = start(&dir, replica(1), &network, 1, rows, Some(SHORT)).await;
    let group = host.group(BUSY).unwrap();
    group.initialize(BTreeSet::from([replica(1)])).await.unwrap();
    wait_leader(&host).await;
    let command = Bytes::from(vec![7; COMMAND_SIZE]);
    let mut under_way = FuturesUnordered::new();
    for _ in 0..rows {
        under_way.push(propose(&group, command.clone()));
        if under_way.len() >= WINDOW {
            under_way.next().await;
        }
    }
    while under_way.next().await.is_some() {}
    drop(under_way);
    let written = env::task::spawn({
        let group = group.clone();
        async move {
            let begun = now();
            let mut count = 0_u64;
            loop {
                let due = begun.elapsed().as_millis() as u64 * CATCH_UP_RATE / 1000;
                let burst: FuturesUnordered<_> =
                    (count..due).map(|_| propose(&group, command.clone())).collect();
                burst.collect::<()>().await;
                count = due;
                sleep(Duration::from_millis(10)).await;
            }
        }
    });
    let begun = now();
    let fresh = start(&dir, replica(2), &network, 1, rows, Some(SHORT)).await;
    let copy = fresh.group(BUSY).unwrap();
    let (before, mut size_max) = (group.applied(), 0);
    // One attempt may take longer than a change of members is waited for.
    let adding = env::task::spawn({
        let group = group.clone();
        async move { while group.add_learner(replica(2)).await.is_err() {} }
    });
    let lag = || group.applied().saturating_sub(copy.applied());
    while !adding.is_finished() || lag() > LAG_MAX {
        size_max = host.log_size().max(size_max);
        sleep(Duration::from_millis(100)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{rows} rows, {:.1} MB/s of commands meanwhile: caught up after {seconds:.1} s, {} commands behind; log of the \
         sender {} MiB at most",
        (group.applied() - before) as f64 * COMMAND_SIZE as f64 / seconds / 1e6,
        lag(),
        size_max >> 20
    );
    written.abort();
    let _ = written.await;
    for host in [host, fresh] {
        host.shutdown().await;
    }
}
