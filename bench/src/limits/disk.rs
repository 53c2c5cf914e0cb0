//! The disk: appending and fdatasync, the way segments and logs are written.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use env::{Disk, OpenMode};
use types::limits::{KIB, MIB};
use types::{Error, Result};

use crate::context::Bench;
use crate::data::noise;
use crate::figure::Figure;

/// Bytes written for each byte stored with 4+2.
pub const AMPLIFICATION: f64 = 1.5;
/// Files at once: as many as a 4+2 stripe has shards.
const FILE_COUNT: usize = 6;
/// Directory of the files until everything is measured.
const DIR: &str = "probe";
/// What is written is this long before it repeats: more than a processor's cache, as what arrives from a network is.
const NOISE_SIZE: usize = 64 * MIB;
/// An fdatasync of little is bound by latency: fewer bytes are enough to measure it.
const SMALL_SHARE: u64 = 256;

/// What the disk can do.
pub struct DiskLimits {
    /// Six files, MB/s.
    pub six: Figure,
    /// The same by writers that give their pages back, as our segments do (decision 0010), MB/s.
    pub uncached: Figure,
    /// One file, MB/s.
    pub single: Figure,
    /// Small synchronous appends, per second.
    pub syncs: Figure,
    /// Seconds of a core per GB written by those that give their pages back.
    pub cpu: Figure,
}

/// One way to write.
#[derive(Clone, Copy)]
struct Pattern {
    name: &'static str,
    files: usize,
    block: usize,
    size: u64,
    /// Whether durable pages are given back.
    uncache: bool,
}

/// How fast it went.
struct Written {
    bytes_per_second: f64,
    cpu_per_gb: f64,
}

/// Measures all patterns.
pub async fn measure(bench: &Bench) -> Result<DiskLimits> {
    // As much as a put writes, and all of it stays until the end, as with a put: a virtual machine's memory costs more
    // on first use than when a removed file has just given it back.
    let size = (bench.plan.file_size as f64 * AMPLIFICATION) as u64;
    let plain = Pattern { name: "six", files: FILE_COUNT, block: MIB, size, uncache: false };
    let six = run(bench, plain).await?;
    let single = run(bench, Pattern { name: "single", files: 1, ..plain }).await?;
    let small = Pattern { name: "small", files: 1, block: 4 * KIB, size: size / SMALL_SHARE, ..plain };
    let small = run(bench, small).await?;
    let uncached = run(bench, Pattern { name: "uncached", uncache: true, ..plain }).await?;
    bench.env.disk.remove_dir_all(&bench.scratch.join(DIR))?;
    let rates = |written: &[Written], unit: f64| written.iter().map(|w| w.bytes_per_second / unit).collect();
    Ok(DiskLimits {
        six: Figure::new("disk: append 1 MiB + fdatasync, 6 files at once", "MB/s", rates(&six, 1e6)),
        uncached: Figure::new("disk: the same, giving pages back", "MB/s", rates(&uncached, 1e6)),
        single: Figure::new("disk: append 1 MiB + fdatasync, 1 file", "MB/s", rates(&single, 1e6)),
        syncs: Figure::new("disk: append 4 KiB + fdatasync, 1 file", "per s", rates(&small, 4096.0)),
        cpu: Figure::new("disk write", "s/GB", uncached.iter().map(|w| w.cpu_per_gb).collect()),
    })
}

async fn run(bench: &Bench, pattern: Pattern) -> Result<Vec<Written>> {
    let (disk, runs) = (bench.env.disk.clone(), bench.plan.runs);
    let dir = bench.scratch.join(DIR).join(pattern.name);
    let work = move || {
        let noise = noise("disk probe", NOISE_SIZE);
        (0..runs).map(|run| write(&disk, &dir.join(run.to_string()), &noise, pattern)).collect()
    };
    env::task::blocking(work).await
}

fn write(disk: &Arc<dyn Disk>, dir: &Path, noise: &Bytes, pattern: Pattern) -> Result<Written> {
    disk.create_dir_all(dir)?;
    let size = pattern.size / pattern.files as u64;
    let (user, system) = env::process::cpu_seconds();
    let start = env::time::now();
    let writers: Vec<_> = (0..pattern.files)
        .map(|index| {
            let (disk, noise, path) = (disk.clone(), noise.clone(), dir.join(index.to_string()));
            env::task::thread("disk probe", move || append(&*disk, &path, &noise, pattern, size))
        })
        .collect();
    let mut bytes = 0;
    for writer in writers {
        bytes += writer.join().map_err(|_| Error::internal("a writer of the disk probe panicked"))??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let (user_after, system_after) = env::process::cpu_seconds();
    Ok(Written {
        bytes_per_second: bytes as f64 / seconds,
        cpu_per_gb: (user_after - user + system_after - system) / (bytes as f64 / 1e9),
    })
}

/// Appends `size` bytes, rounded up to whole blocks, each durable before the next.
fn append(disk: &dyn Disk, path: &Path, noise: &[u8], pattern: Pattern, size: u64) -> Result<u64> {
    let file = disk.open(path, OpenMode::CreateNew)?;
    let mut offset = 0;
    for block in noise.chunks_exact(pattern.block).cycle() {
        if offset >= size {
            break;
        }
        file.write_at(&[block], offset)?;
        file.sync_data()?;
        let start = offset;
        offset += block.len() as u64;
        if pattern.uncache {
            file.uncache(start..offset);
        }
    }
    Ok(offset)
}

#[cfg(test)]
mod tests {
    use env::disk::SimDisk;

    use super::*;

    #[test]
    fn everything_is_written_in_whole_blocks() {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(0));
        let pattern = Pattern { name: "test", files: 6, block: 10, size: 100, uncache: true };
        let small = Pattern { block: 2, ..pattern };
        assert_eq!(append(&*disk, Path::new("/a"), b"abcdef", small, 9).unwrap(), 10);
        assert_eq!(disk.read(Path::new("/a")).unwrap(), b"abcdefabcd");
        let written = write(&disk, Path::new("/probe"), &Bytes::from(vec![7; 30]), pattern).unwrap();
        assert!(written.bytes_per_second > 0.0);
    }
}
