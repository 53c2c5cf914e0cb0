//! The load generator: the same requests at the same pace for every system.

use std::time::Duration;

use env::Disk;
use env::task::JoinSet;
use futures::stream::{self, StreamExt, TryStreamExt};
use types::{Error, Result};

use super::system::{Client, System};
use crate::percentiles::Percentiles;
use crate::usage;

/// Clients that connect at the same time.
const CONNECTING: usize = 16;

/// A client that commits one new file, or batch of them, after another.
pub struct Worker {
    client: Box<dyn Client>,
    dir: String,
    next: usize,
}

/// What a round of commits showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Done {
    /// Files per second.
    pub rate: f64,
    /// Milliseconds of a request.
    pub latency: Percentiles,
    /// Processor seconds of all server processes, per 1,000 files.
    pub cpu: f64,
}

/// `count` clients, each with a directory of its own.
pub async fn connect(system: &dyn System, what: &str, count: usize) -> Result<Vec<Worker>> {
    stream::iter(0..count)
        .map(|index| async move {
            let (mut client, dir) = (system.connect().await?, format!("{what}-{index}"));
            client.make_dir(&dir).await?;
            Ok(Worker { client, dir, next: 0 })
        })
        .buffered(CONNECTING)
        .try_collect()
        .await
}

/// Lets all commit for `time`, `batch` files in each request.
pub async fn commit(
    disk: &dyn Disk,
    system: &dyn System,
    workers: &mut Vec<Worker>,
    batch: usize,
    time: Duration,
) -> Result<Done> {
    let pids = system.pids();
    let cpu = usage::cpu_seconds(disk, &pids);
    let start = env::time::now();
    let mut tasks = JoinSet::new();
    for mut worker in workers.drain(..) {
        tasks.spawn(async move {
            let mut took = Vec::new();
            while start.elapsed() < time {
                let begun = env::time::now();
                worker.commit(batch).await?;
                took.push(begun.elapsed().as_secs_f64() * 1000.0);
            }
            Ok::<_, Error>((worker, took))
        });
    }
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let (worker, took) = done.map_err(|e| Error::internal(e.to_string()))??;
        workers.push(worker);
        latencies.extend(took);
    }
    let (files, seconds) = ((latencies.len() * batch) as f64, start.elapsed().as_secs_f64());
    let cpu = usage::cpu_seconds(disk, &pids) - cpu;
    Ok(Done { rate: files / seconds, latency: Percentiles::of(latencies), cpu: cpu * 1000.0 / files })
}

impl Worker {
    async fn commit(&mut self, count: usize) -> Result<()> {
        let names: Vec<String> =
            (self.next..self.next + count).map(|number| format!("file-{number:06}")).collect();
        self.next += count;
        self.client.commit(&self.dir, &names).await
    }
}

/// Fills directories that are called `full-N` with `per_dir` files each until there are `files`; returns files per second.
pub async fn fill(system: &dyn System, files: usize, per_dir: usize, at_once: usize) -> Result<f64> {
    let start = env::time::now();
    let dirs = files.div_ceil(per_dir);
    stream::iter(0..at_once)
        .map(|first| async move {
            let mut client = system.connect().await?;
            for index in (first..dirs).step_by(at_once) {
                let (dir, count) = (full_dir(index), per_dir.min(files - index * per_dir));
                client.make_dir(&dir).await?;
                let names: Vec<String> = (0..count).map(|number| format!("file-{number:06}")).collect();
                for batch in names.chunks(system.batch_size()) {
                    client.commit(&dir, batch).await?;
                }
            }
            Ok::<_, Error>(())
        })
        .buffer_unordered(at_once)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(files as f64 / start.elapsed().as_secs_f64())
}

/// One of the directories that [`fill`] made.
pub fn full_dir(index: usize) -> String {
    format!("full-{index}")
}

/// Milliseconds of listing a full directory `times` times; `Internal` when an answer has not `want` entries.
pub async fn list(
    client: &mut dyn Client,
    dir: &str,
    limit: Option<usize>,
    want: usize,
    times: usize,
) -> Result<Percentiles> {
    let mut took = Vec::new();
    for _ in 0..times {
        let begun = env::time::now();
        let count = client.list(dir, limit).await?;
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
        if count != want {
            return Err(Error::internal(format!("{count} entries of {dir} were listed instead of {want}")));
        }
    }
    Ok(Percentiles::of(took))
}
