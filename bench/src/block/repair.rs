//! What a disk had is made again on others: how fast, beside what the machine allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::health::Slots;
use env::task::JoinSet;
use proto::disks::RemoveDisk;
use proto::map::ClusterMap;
use types::{DiskId, Error, NodeId, Result};

use super::chunks::{Getter, Putter, StoredFile};
use super::segment_files;
use super::table::{Row, Section};
use crate::context::{Bench, say};
use crate::deployment::Deployment;
use crate::figure::Goal;
use crate::percentiles::Percentiles;
use crate::session::Session;

/// Of what the machine allows, when nobody else wants anything.
const GOAL: Goal = Goal::AtLeast(0.7);
/// Data shards of the cluster's profile: so many are read to make one.
const K: f64 = 4.0;
/// Clients that put, and that get, while repair is busy.
const CLIENTS: usize = 2;
/// How often we look whether it is done, and how long we do.
const LOOK_PERIOD: Duration = Duration::from_millis(20);
const TIMEOUT: Duration = Duration::from_secs(600);

/// What the machine can do, each on its own, in MB/s.
#[derive(Clone, Copy, Debug)]
pub struct Speeds {
    /// Between nodes, both ends on this machine.
    pub network: f64,
    /// Durable appends to the disk.
    pub append: f64,
    /// Reads from the disk.
    pub read: f64,
    /// Payload that one core looks through to make a shard.
    pub rebuild: f64,
}

/// A repair while others used the cluster.
pub struct Repaired {
    /// MB of lost shards per second.
    pub rate: f64,
    /// Milliseconds of their gets.
    pub gets: Percentiles,
}

impl Speeds {
    /// MB/s of shards at best, and what does not allow more: to make one, `k` are read, sent and looked through.
    fn limit(self) -> (f64, &'static str) {
        let disk = 1.0 / (K / self.read + 1.0 / self.append);
        let limits =
            [(self.network / K, "network"), (disk, "disk"), (self.rebuild / K, "one core's arithmetic")];
        limits.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).expect("there are three")
    }
}

/// The table: with nothing else to do, and with users.
pub fn section(bench: &Bench, speeds: Speeds, idle: Vec<f64>, busy: Vec<f64>) -> Section {
    let (limit, what) = speeds.limit();
    let beside = |row: Row, runs: usize| row.beside(vec![limit; runs]);
    let runs = idle.len();
    let rows = vec![
        beside(Row::new("idle", "MB/s", idle), runs).with_ratio_goal(bench.plan.goal(GOAL)),
        beside(Row::new(format!("busy: {CLIENTS} clients put, {CLIENTS} get"), "MB/s", busy), runs),
    ];
    let title = "Repair of a lost disk, until all is whole again".to_owned();
    Section { title, beside: format!("limit: {what}"), rows }
}

/// Kills a node and waits until the others know.
pub async fn take_away(bench: &Bench, deployment: &Deployment, node: NodeId) -> Result<()> {
    deployment.kill(node).await?;
    wait_until(bench, deployment, |map| map.nodes.get(&node).is_none_or(|info| !info.up)).await
}

/// Takes the disk of a killed node out of the cluster; returns MB of its shards per second until all are elsewhere.
pub async fn repair(bench: &Bench, deployment: &Deployment, node: NodeId) -> Result<f64> {
    let lost = segment_files::size(&*bench.env.disk, &deployment.disk_dir(node)?)?;
    let session = Session::open(&bench.env, &deployment.credentials()).await?;
    let disk = disk_of(&session.cluster.map(), node)?;
    let start = env::time::now();
    session.cluster.ask_root(&RemoveDisk { disk, force: true, dry_run: false }).await?;
    wait_until(bench, deployment, |map| {
        let slots = Slots::of(map);
        slots.syncing + slots.offline + Slots::on_disk(map, disk) == 0
    })
    .await?;
    Ok(lost as f64 / 1e6 / start.elapsed().as_secs_f64())
}

/// The same while clients put and get chunks; `label` makes those that are put new.
pub async fn repair_busy(
    bench: &Bench,
    deployment: &Deployment,
    file: &StoredFile,
    node: NodeId,
    label: &str,
) -> Result<Repaired> {
    let is_over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (putter, is_over) = (Putter::new(bench, deployment).await?, is_over.clone());
        let label = format!("{label} {client}");
        clients.spawn(async move {
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                putter.put(&format!("{label} {count}")).await?;
                count += 1;
            }
            Ok::<_, Error>(Vec::new())
        });
    }
    for client in 0..CLIENTS {
        let (getter, is_over) = (Getter::new(bench, deployment, file).await?, is_over.clone());
        let count = bench.plan.block.chunk_count;
        clients.spawn(async move {
            let (mut took, mut n) = (Vec::new(), client);
            while !is_over.load(Ordering::Relaxed) || took.is_empty() {
                took.push(getter.get(n, count).await?);
                n += CLIENTS;
            }
            Ok(took)
        });
    }
    let rate = repair(bench, deployment, node).await;
    is_over.store(true, Ordering::Relaxed);
    let mut gets = Vec::new();
    while let Some(done) = clients.join_next().await {
        gets.extend(done.map_err(|e| Error::internal(e.to_string()))??);
    }
    Ok(Repaired { rate: rate?, gets: Percentiles::of(gets) })
}

/// Gives killed nodes, whose disks were taken out of the cluster, new ones, and waits until the cluster is whole.
pub async fn replace_disks(bench: &Bench, deployment: &Deployment, nodes: &[NodeId]) -> Result<()> {
    say("blocks: new disks instead of those that were lost");
    for node in nodes.iter().copied() {
        let dir = deployment.disk_dir(node)?;
        bench.env.disk.remove_dir_all(&dir)?;
        bench.env.disk.create_dir_all(&dir)?;
        deployment.restart(node).await?;
        wait_until(bench, deployment, |map| map.nodes.get(&node).is_some_and(|info| info.up)).await?;
        let session = Session::open(&bench.env, &deployment.credentials()).await?;
        let deadline = env::time::now() + TIMEOUT;
        // It may not have looked at its disks yet.
        while let Err(e) = session.cluster.adopt_disk(node, dir.display().to_string()).await {
            if env::time::now() >= deadline {
                return Err(e);
            }
            env::time::sleep(LOOK_PERIOD).await;
        }
    }
    deployment.bring_up().await
}

fn disk_of(map: &ClusterMap, node: NodeId) -> Result<DiskId> {
    let found = map.disks.iter().find(|(_, info)| info.node == node);
    found.map(|(id, _)| *id).ok_or_else(|| Error::internal(format!("node {node} has no disk")))
}

async fn wait_until(
    bench: &Bench,
    deployment: &Deployment,
    is_so: impl Fn(&ClusterMap) -> bool,
) -> Result<()> {
    let session = Session::open(&bench.env, &deployment.credentials()).await?;
    let deadline = env::time::now() + TIMEOUT;
    while !is_so(&session.cluster.fetch_status().await?.map) {
        if env::time::now() >= deadline {
            return Err(Error::unavailable("the cluster does not come to where it should"));
        }
        env::time::sleep(LOOK_PERIOD).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: f64, append: f64, read: f64, rebuild: f64, want: (f64, &str)) {
        assert_eq!(Speeds { network, append, read, rebuild }.limit(), want);
    }

    #[test]
    fn the_slowest_of_what_is_needed_is_the_limit() {
        check(400.0, 1000.0, 4000.0, 4000.0, (100.0, "network"));
        check(4000.0, 1000.0, 4000.0, 4000.0, (500.0, "disk"));
        check(4000.0, 1e12, 4e12, 400.0, (100.0, "one core's arithmetic"));
    }
}
