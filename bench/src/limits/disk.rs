//! The disk: appending and fdatasync, the way segments and logs are written.

use std::path::PathBuf;
use std::sync::Arc;

use env::{Disk, OpenMode};
use types::limits::{KIB, MIB};
use types::{Error, Result};

use crate::Bench;
use crate::data::noise;
use crate::figure::Figure;

/// Files at once: as many as a 4+2 stripe has shards.
const FILE_COUNT: usize = 6;
/// An fdatasync of little is bound by latency: fewer bytes are enough to measure it.
const SMALL_SHARE: u64 = 256;

/// What the disk can do.
pub struct DiskLimits {
    /// Six files, MB/s.
    pub six: Figure,
    /// One file, MB/s.
    pub single: Figure,
    /// Small synchronous appends, per second.
    pub syncs: Figure,
    /// Seconds of a core per GB written.
    pub cpu: Figure,
}

/// One way to write.
#[derive(Clone, Copy)]
struct Pattern {
    files: usize,
    block: usize,
    size: u64,
}

/// How fast it went.
struct Written {
    bytes_per_second: f64,
    cpu_per_gb: f64,
}

/// Measures all patterns.
pub async fn measure(bench: &Bench) -> Result<DiskLimits> {
    let size = bench.plan.probe_size;
    let six = run(bench, Pattern { files: FILE_COUNT, block: MIB, size }).await?;
    let single = run(bench, Pattern { files: 1, block: MIB, size }).await?;
    let small = run(bench, Pattern { files: 1, block: 4 * KIB, size: size / SMALL_SHARE }).await?;
    let rates = |written: &[Written], unit: f64| written.iter().map(|w| w.bytes_per_second / unit).collect();
    Ok(DiskLimits {
        six: Figure::new("disk: append 1 MiB + fdatasync, 6 files at once", "MB/s", rates(&six, 1e6)),
        single: Figure::new("disk: append 1 MiB + fdatasync, 1 file", "MB/s", rates(&single, 1e6)),
        syncs: Figure::new("disk: append 4 KiB + fdatasync, 1 file", "per s", rates(&small, 4096.0)),
        cpu: Figure::new("disk write", "s/GB", six.iter().map(|w| w.cpu_per_gb).collect()),
    })
}

async fn run(bench: &Bench, pattern: Pattern) -> Result<Vec<Written>> {
    let mut results = Vec::new();
    for _ in 0..bench.plan.runs {
        let (disk, dir) = (bench.env.disk.clone(), bench.scratch.join("probe"));
        let done = env::task::spawn_blocking(move || write(&disk, &dir, pattern)).await;
        results.push(done.map_err(|e| Error::internal(e.to_string()))??);
    }
    Ok(results)
}

fn write(disk: &Arc<dyn Disk>, dir: &std::path::Path, pattern: Pattern) -> Result<Written> {
    disk.create_dir_all(dir)?;
    let block = noise("disk probe", pattern.block);
    let size = pattern.size / pattern.files as u64;
    let (user, system) = env::process::cpu_seconds();
    let start = env::time::now();
    let writers: Vec<_> = (0..pattern.files)
        .map(|index| {
            let (disk, block, path) = (disk.clone(), block.clone(), dir.join(index.to_string()));
            env::task::thread("disk probe", move || append(&*disk, path, &block, size))
        })
        .collect();
    let mut bytes = 0;
    for writer in writers {
        bytes += writer.join().map_err(|_| Error::internal("a writer of the disk probe panicked"))??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let (user_after, system_after) = env::process::cpu_seconds();
    disk.remove_dir_all(dir)?;
    Ok(Written {
        bytes_per_second: bytes as f64 / seconds,
        cpu_per_gb: (user_after - user + system_after - system) / (bytes as f64 / 1e9),
    })
}

/// Appends `size` bytes, rounded up to whole blocks, each durable before the next.
fn append(disk: &dyn Disk, path: PathBuf, block: &[u8], size: u64) -> Result<u64> {
    let file = disk.open(&path, OpenMode::CreateNew)?;
    let mut offset = 0;
    while offset < size {
        file.write_at(&[block], offset)?;
        file.sync_data()?;
        offset += block.len() as u64;
    }
    Ok(offset)
}

#[cfg(test)]
mod tests {
    use env::disk::SimDisk;

    use super::*;

    #[test]
    fn everything_is_written_in_whole_blocks_and_removed() {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(0));
        let path = PathBuf::from("/a");
        assert_eq!(append(&*disk, path.clone(), &[7; 10], 25).unwrap(), 30);
        assert_eq!(disk.read(&path).unwrap(), [7; 30]);
        let dir = std::path::Path::new("/probe");
        assert!(
            write(&disk, dir, Pattern { files: 6, block: 10, size: 100 }).unwrap().bytes_per_second > 0.0
        );
        assert!(!disk.exists(dir));
    }
}
