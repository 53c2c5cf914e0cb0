//! A disk that is ten times slower than the others.

use std::path::Path;

use env::{Disk, OpenMode};
use types::Result;
use types::limits::KIB;

use crate::context::Bench;
use crate::data::noise;
use crate::percentiles::Percentiles;

/// What an operation takes on the slow disk, in times of what it takes on others.
const TIMES: f64 = 10.0;
/// Bytes of a shard of most chunks.
const BLOCK_SIZE: usize = 256 * KIB;
/// Operations that are looked at.
const COUNT: usize = 50;

/// By how much a disk is slower, in whole milliseconds: rules have no smaller unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slowness {
    sync: u64,
    read: u64,
}

impl Slowness {
    /// For a disk that takes so many milliseconds.
    fn of(sync: f64, read: f64) -> Self {
        let delay = |ms: f64| (ms * (TIMES - 1.0)).ceil().max(1.0) as u64;
        Self { sync: delay(sync), read: delay(read) }
    }

    /// In words.
    pub fn what(self) -> String {
        format!("{} ms a sync, {} ms a read", self.sync, self.read)
    }

    /// The rules that make the disk in a directory so slow.
    pub fn rules(self, disk: &Path) -> String {
        let disk = disk.display();
        format!("{disk} sync delay {}\n{disk} read delay {}\n", self.sync, self.read)
    }
}

/// Looks at what this disk takes to append and sync, and to read, as much as a shard.
pub async fn probe(bench: &Bench) -> Result<Slowness> {
    let (disk, path) = (bench.env.disk.clone(), bench.scratch.join("slow probe"));
    env::task::blocking(move || {
        let (sync, read) = operations(&*disk, &path)?;
        disk.remove_file(&path)?;
        Ok(Slowness::of(sync, read))
    })
    .await
}

/// Milliseconds at the median.
fn operations(disk: &dyn Disk, path: &Path) -> Result<(f64, f64)> {
    let file = disk.open(path, OpenMode::CreateNew)?;
    let (mut block, size) = (noise("slow probe", BLOCK_SIZE).to_vec(), BLOCK_SIZE as u64);
    let (mut syncs, mut reads) = (Vec::new(), Vec::new());
    for n in 0..COUNT as u64 {
        let start = env::time::now();
        file.write_at(&[&block], n * size)?;
        file.sync_data()?;
        syncs.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    file.uncache(0..COUNT as u64 * size);
    for n in (0..COUNT as u64).rev() {
        let start = env::time::now();
        file.read_exact_at(&mut block, n * size)?;
        reads.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    Ok((Percentiles::of(syncs).p50, Percentiles::of(reads).p50))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_times_as_long_is_nine_times_longer() {
        assert_eq!(Slowness::of(2.0, 0.3), Slowness { sync: 18, read: 3 });
        assert_eq!(Slowness::of(0.01, 0.0), Slowness { sync: 1, read: 1 });
    }

    #[test]
    fn rules_are_about_one_disk() {
        let slow = Slowness { sync: 18, read: 3 };
        assert_eq!(slow.rules(Path::new("/a/disk1")), "/a/disk1 sync delay 18\n/a/disk1 read delay 3\n");
        assert_eq!(slow.what(), "18 ms a sync, 3 ms a read");
    }
}
