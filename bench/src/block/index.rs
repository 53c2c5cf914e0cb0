//! The index of a disk: making it anew from the segments, and the memory of a disk with many shards.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use env::Env;
use futures::stream::{self, StreamExt, TryStreamExt};
use segments::{DiskStore, Purpose};
use types::limits::{DISK_QUEUE_COUNT_MAX, MIB};
use types::{Error, Result};

use super::filter;
use super::own_disk::{META, OwnDisk, key};
use super::table::{Row, Section};
use crate::context::{Bench, say};
use crate::figure::Goal;
use crate::usage;

/// Millions of records per second.
const REBUILD_GOAL: Goal = Goal::AtLeast(1.0);
/// MB of memory for so many shards.
const MEMORY_GOAL: Goal = Goal::AtMost(400.0);
const MEMORY_SHARDS: f64 = 10e6;
/// Bytes of a shard. The index does not care, and much smaller than their headers they need not be.
const PAYLOAD_SIZE: usize = 64;
/// Many segments of some 300,000 records: all but the last one have footers, as on a disk that has been in use.
const SEGMENT_SIZE: u64 = 64 * MIB as u64;
/// Shards that are looked up before memory is looked at.
const LOOKED_UP: u64 = 20_000;
/// The options of this program that make it open a disk, see [`occupy`].
const OCCUPY: &str = "--occupy";
const RECORDS: &str = "--block-records";

/// Rebuilds the index of one disk in every run.
pub async fn measure(bench: &Bench) -> Result<Section> {
    let count = bench.plan.block.record_count;
    let disk = open(&bench.env, &bench.scratch.join("index"));
    let filled = fill(&disk, count as u64).await?;
    let mut rates = Vec::new();
    for _ in 0..bench.plan.runs {
        say("blocks: rebuild of the index");
        disk.remove_index()?;
        let start = env::time::now();
        let store = disk.open().await?;
        store.settled().await;
        let seconds = start.elapsed().as_secs_f64();
        check(&store, count as u64)?;
        rates.push(count as f64 / 1e6 / seconds);
    }
    let memory = measure_memory(bench, &disk, count as u64).await?;
    disk.remove()?;
    let scaled = memory.iter().map(|mb| mb * MEMORY_SHARDS / count as f64).collect();
    let goal = |goal| bench.plan.goal(goal);
    let rows = vec![
        Row::new(format!("put {count} shards of {PAYLOAD_SIZE} bytes"), "M/s", vec![filled]),
        Row::new(format!("rebuild of an index of {count} records"), "M/s", rates)
            .with_goal(goal(REBUILD_GOAL)),
        Row::new(format!("memory of an open disk with {count} shards"), "MB", memory),
        Row::new("the same, for 10000000 shards", "MB", scaled).with_goal(goal(MEMORY_GOAL)),
        filter::measure(bench).await?,
    ];
    Ok(Section { title: "Index of one disk, and filter".to_owned(), beside: "limit".to_owned(), rows })
}

fn open(env: &Env, root: &Path) -> OwnDisk {
    OwnDisk::at(env, root).with_segment_size(SEGMENT_SIZE)
}

/// Puts so many shards and waits until the segments are sealed; returns millions per second.
async fn fill(disk: &OwnDisk, count: u64) -> Result<f64> {
    say(format_args!("blocks: an index of {count} records"));
    let store = disk.open().await?;
    let payload = Bytes::from_static(&[7; PAYLOAD_SIZE]);
    let start = env::time::now();
    stream::iter(0..count)
        .map(|n| store.put_shard(key(n), META, payload.clone(), None, Purpose::Store))
        .buffer_unordered(DISK_QUEUE_COUNT_MAX / 2)
        .try_for_each(|()| async { Ok(()) })
        .await?;
    let rate = count as f64 / 1e6 / start.elapsed().as_secs_f64();
    store.settled().await;
    check(&store, count)?;
    Ok(rate)
}

fn check(store: &Arc<DiskStore>, count: u64) -> Result<()> {
    let stats = store.stats()?;
    if stats.is_rebuilding || stats.records != count {
        return Err(Error::internal(format!("the index knows {} of {count} records", stats.records)));
    }
    Ok(())
}

/// MB that an open disk takes in a process of its own: in this one, what others have left is used again.
async fn measure_memory(bench: &Bench, disk: &OwnDisk, count: u64) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    for run in 0..bench.plan.runs {
        let (program, log) = (env::process::current_exe()?, bench.scratch.join(format!("occupy-{run}")));
        let args =
            [OCCUPY, &disk.root().display().to_string(), RECORDS, &count.to_string()].map(str::to_owned);
        let said = env::process::run_detached(&program, &args, &log).await?;
        let bytes: u64 =
            said.parse().map_err(|_| Error::internal(format!("a process that opened a disk said {said}")))?;
        all.push(bytes as f64 / 1e6);
    }
    Ok(all)
}

/// Opens the disk in `root`, looks up some of its `count` shards, and returns by how many bytes that has made this process
/// larger.
pub async fn occupy(env: &Env, root: &Path, count: u64) -> Result<u64> {
    let memory = || usage::memory(&*env.disk, &[std::process::id()]);
    let before = memory();
    let store = open(env, root).open().await?;
    store.settled().await;
    for n in (0..count).step_by((count / LOOKED_UP).max(1) as usize) {
        if !store.has(key(n)).await? {
            return Err(Error::corrupt(format!("shard {n} is not there")));
        }
    }
    Ok(memory().saturating_sub(before))
}
