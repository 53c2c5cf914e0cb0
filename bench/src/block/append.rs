//! Appending to one disk, durably: its engine with group commit beside a plain loop that makes as many bytes durable with
//! each sync.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use env::task::JoinSet;
use env::{Disk, Env, OpenMode};
use segments::{DiskStore, Purpose};
use types::limits::{KIB, MIB};
use types::{Error, Result};

use super::own_disk::{META, OwnDisk, key};
use super::recorder::Recorder;
use super::table::{Row, Section};
use crate::context::{Bench, say};
use crate::data::noise;
use crate::figure::{Goal, median};

/// Bytes of a shard: of a small chunk, and of one of half a MiB.
const SIZES: [usize; 2] = [4 * KIB, 128 * KIB];
/// Ours to the plain loop.
const GOAL: Goal = Goal::AtLeast(0.85);
/// What is written is this long before it repeats: more than a processor's cache.
const NOISE_SIZE: usize = 64 * MIB;
/// The engine reserves space in such steps, and gives pages back from such batches on: so does the plain loop.
const ALLOCATION_STEP: u64 = 16 * MIB as u64;
const BULK_SIZE_MIN: u64 = 64 * KIB as u64;
/// Writers of the plain loop's file begin here, as the engine's do.
const HEADER_SIZE: u64 = 4096;

/// What appending showed.
pub struct Appended {
    /// A row for each size and number of writers.
    pub section: Section,
    /// MB/s that the disk takes at best.
    pub limit: f64,
}

/// What writers have done.
struct Appends {
    count: usize,
    seconds: f64,
    /// Bytes that each sync made durable.
    syncs: Vec<u64>,
}

/// Measures all sizes and numbers of writers.
pub async fn measure(bench: &Bench) -> Result<Appended> {
    let noise = noise("append probe", NOISE_SIZE);
    let (mut rows, mut best) = (Vec::new(), 0.0_f64);
    for size in SIZES {
        for writers in bench.plan.block.append_writers.iter().copied() {
            say(format_args!("blocks: append {} KiB, {writers} at once", size / KIB));
            let (row, limit) = compare(bench, &noise, size, writers).await?;
            rows.push(row);
            best = best.max(limit);
        }
    }
    let title = "Append to one disk, durable on return".to_owned();
    let section = Section { title, beside: "a plain loop, the same syncs".to_owned(), rows };
    Ok(Appended { section, limit: best })
}

/// One row, and the rate of the plain loop.
async fn compare(bench: &Bench, noise: &Bytes, size: usize, writers: usize) -> Result<(Row, f64)> {
    let (mut ours, mut plain, mut grouped) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.plan.runs {
        let written = append(bench, noise, size, writers).await?;
        let payload = (written.count * size) as f64 / 1e6;
        grouped.push(written.count as f64 / written.syncs.len() as f64);
        ours.push(payload / written.seconds);
        plain.push(payload / repeat(bench, noise, written.syncs).await?);
    }
    let (group, limit) = (median(&grouped), median(&plain));
    let who = if writers == 1 { "1 writer".to_owned() } else { format!("{writers} writers") };
    let what = format!("{} KiB, {who} ({group:.0} in a sync)", size / KIB);
    let row = Row::new(what, "MB/s", ours).beside(plain).with_ratio_goal(bench.plan.goal(GOAL));
    Ok((row, limit))
}

/// Lets writers put one new shard after another into a new disk.
async fn append(bench: &Bench, noise: &Bytes, size: usize, writers: usize) -> Result<Appends> {
    let recorder = Arc::new(Recorder::new(bench.env.disk.clone()));
    let env = Env { disk: recorder.clone(), ..bench.env.clone() };
    let disk = OwnDisk::at(&env, &bench.scratch.join("append"));
    let store = disk.open().await?;
    // The first one finds an index and a segment that nobody has written to.
    put(&store, noise, size, u64::MAX).await?;
    recorder.take();
    let (time, start) = (bench.plan.block.append_time, env::time::now());
    let mut tasks = JoinSet::new();
    for writer in 0..writers as u64 {
        let (store, noise) = (store.clone(), noise.clone());
        tasks.spawn(async move {
            let mut count = 0;
            while start.elapsed() < time {
                put(&store, &noise, size, writer << 32 | count).await?;
                count += 1;
            }
            Ok::<_, Error>(count)
        });
    }
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        count += done.map_err(|e| Error::internal(e.to_string()))??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let syncs = recorder.take();
    drop(store);
    disk.remove()?;
    Ok(Appends { count: count as usize, seconds, syncs })
}

async fn put(store: &DiskStore, noise: &Bytes, size: usize, number: u64) -> Result<()> {
    let at = number as usize % (noise.len() / size) * size;
    store.put_shard(key(number), META, noise.slice(at..at + size), None, Purpose::Store).await
}

/// Seconds of a plain loop for these syncs.
async fn repeat(bench: &Bench, noise: &Bytes, syncs: Vec<u64>) -> Result<f64> {
    let (disk, path, noise) = (bench.env.disk.clone(), bench.scratch.join("plain"), noise.clone());
    env::task::blocking(move || {
        let start = env::time::now();
        append_plainly(&*disk, &path, &noise, &syncs)?;
        let seconds = start.elapsed().as_secs_f64();
        disk.remove_file(&path)?;
        Ok(seconds)
    })
    .await
}

fn append_plainly(disk: &dyn Disk, path: &Path, noise: &[u8], syncs: &[u64]) -> Result<()> {
    let file = disk.open(path, OpenMode::CreateNew)?;
    let (mut end, mut allocated, mut from) = (HEADER_SIZE, 0, 0);
    for size in syncs.iter().copied() {
        let (start, len) = (end, size as usize);
        end += size;
        if end > allocated {
            allocated = end.next_multiple_of(ALLOCATION_STEP);
            file.allocate(allocated)?;
        }
        from = if from + len > noise.len() { 0 } else { from };
        file.write_at(&[&noise[from..from + len]], start)?;
        from += len;
        file.sync_data()?;
        if size >= BULK_SIZE_MIN {
            file.uncache(start / HEADER_SIZE * HEADER_SIZE..end);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use env::disk::SimDisk;

    use super::*;

    #[test]
    fn the_plain_loop_writes_all_of_it() {
        let (disk, path) = (SimDisk::new(0), Path::new("/plain"));
        append_plainly(&disk, path, b"abcdefgh", &[3, 5, 2]).unwrap();
        assert_eq!(&disk.read(path).unwrap()[HEADER_SIZE as usize..], b"abcdefghab");
    }
}
