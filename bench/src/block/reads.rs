//! Reading shards of one disk, one at a time, from memory and from the disk, beside pread of as many bytes of the same file.

use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use env::{File, OpenMode};
use segments::{DiskStore, Purpose};
use types::Result;
use types::limits::{KIB, MIB};

use super::own_disk::{META, OwnDisk, key};
use super::segment_files;
use super::table::{Row, Section};
use crate::context::{Bench, say};
use crate::data::noise;
use crate::figure::median;
use crate::percentiles::Percentiles;

/// Records begin here.
const HEADER_SIZE: u64 = 4096;
/// The order of reads is that of multiples of this prime: nothing that reads ahead guesses it.
const STRIDE: usize = 7919;

/// What is read of a shard.
#[derive(Clone, Copy)]
struct ReadKind {
    shard_size: usize,
    wanted: usize,
}

const KINDS: [ReadKind; 4] = [
    ReadKind { shard_size: 4 * KIB, wanted: 4 * KIB },
    ReadKind { shard_size: 64 * KIB, wanted: 64 * KIB },
    ReadKind { shard_size: MIB, wanted: MIB },
    ReadKind { shard_size: MIB, wanted: 4 * KIB },
];

/// Where the bytes are before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pages {
    /// In the page cache.
    Warm,
    /// On the disk only.
    Cold,
}

/// What reading showed.
pub struct Read {
    /// A row for each kind and place of the bytes.
    pub section: Section,
    /// MB/s of pread of 1 MiB from the disk.
    pub limit: f64,
}

/// Measures all kinds.
pub async fn measure(bench: &Bench) -> Result<Read> {
    let (mut rows, mut limit) = (Vec::new(), 0.0);
    for kind in KINDS {
        say(format_args!("blocks: read {}", kind.what()));
        let disk = OwnDisk::at(&bench.env, &bench.scratch.join("reads"));
        let store = disk.open().await?;
        let count = (bench.plan.block.read_size / kind.shard_size).clamp(2, bench.plan.block.read_count_max);
        fill(&store, kind.shard_size, count).await?;
        for pages in [Pages::Cold, Pages::Warm] {
            let (ours, plain) = compare(bench, &disk, &store, kind, count, pages).await?;
            if kind.wanted == MIB && pages == Pages::Cold {
                limit = MIB as f64 / median(&plain);
            }
            let what = format!("{}, {}", kind.what(), if pages == Pages::Warm { "warm" } else { "cold" });
            rows.push(Row::new(what, "µs", ours).beside(plain));
        }
        drop(store);
        disk.remove()?;
    }
    let title = "Read from one disk, one at a time, p50".to_owned();
    Ok(Read { section: Section { title, beside: "pread".to_owned(), rows }, limit })
}

impl ReadKind {
    fn what(self) -> String {
        let size = |bytes: usize| match bytes {
            MIB.. => format!("{} MiB", bytes / MIB),
            _ => format!("{} KiB", bytes / KIB),
        };
        match self.wanted == self.shard_size {
            true => format!("a shard of {}", size(self.wanted)),
            false => format!("{} of a shard of {}", size(self.wanted), size(self.shard_size)),
        }
    }
}

async fn fill(store: &DiskStore, size: usize, count: usize) -> Result<()> {
    let noise = noise("read probe", size);
    let put = |n| store.put_shard(key(n as u64), META, noise.clone(), None, Purpose::Store);
    for n in 0..count {
        put(n).await?;
    }
    Ok(())
}

/// Microseconds of ours and of pread at the median, in every run. They take turns: what disturbs one disturbs the other.
async fn compare(
    bench: &Bench,
    disk: &OwnDisk,
    store: &Arc<DiskStore>,
    kind: ReadKind,
    count: usize,
    pages: Pages,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    let segment = disk.segment()?;
    let file = bench.env.disk.open(&segment, OpenMode::Read)?;
    let record = (file.len()? - HEADER_SIZE) / count as u64;
    for _ in 0..bench.plan.runs {
        prepare(bench, disk.root(), &segment, pages).await?;
        let mut took = [Vec::new(), Vec::new()];
        for (turn, n) in order(count).enumerate() {
            let micros = match turn % 2 {
                0 => read(store, kind, n).await?,
                _ => {
                    let file = file.clone();
                    env::task::blocking(move || read_plainly(&*file, kind, HEADER_SIZE + n as u64 * record))
                        .await?
                }
            };
            took[turn % 2].push(micros);
        }
        let [ours_took, plain_took] = took;
        ours.push(Percentiles::of(ours_took).p50);
        plain.push(Percentiles::of(plain_took).p50);
    }
    Ok((ours, plain))
}

async fn prepare(bench: &Bench, root: &Path, segment: &Path, pages: Pages) -> Result<()> {
    let (disk, root, segment) = (bench.env.disk.clone(), root.to_owned(), segment.to_owned());
    let work = move || match pages {
        Pages::Cold => segment_files::uncache(&*disk, &root),
        Pages::Warm => Ok(disk.read(&segment).map(drop)?),
    };
    env::task::blocking(work).await
}

async fn read(store: &DiskStore, kind: ReadKind, n: usize) -> Result<f64> {
    let range = (kind.wanted < kind.shard_size).then(|| middle(kind)..middle(kind) + kind.wanted as u32);
    let key = key(n as u64);
    let start = env::time::now();
    let found = store.get_shard(key.chunk, Some(key.slot), Some(key.generation), range).await?;
    let micros = start.elapsed().as_secs_f64() * 1e6;
    check(&found.bytes, kind);
    Ok(micros)
}

/// Of the record that begins at `offset`.
fn read_plainly(file: &dyn File, kind: ReadKind, offset: u64) -> Result<f64> {
    let offset = offset + if kind.wanted < kind.shard_size { middle(kind).into() } else { 0 };
    let mut bytes = BytesMut::new();
    let start = env::time::now();
    file.read_append_exact(&mut bytes, kind.wanted, offset)?;
    let micros = start.elapsed().as_secs_f64() * 1e6;
    check(&bytes, kind);
    Ok(micros)
}

fn check(bytes: &[u8], kind: ReadKind) {
    assert_eq!(bytes.len(), kind.wanted, "as many bytes as were asked for");
}

/// Where a part of a shard begins.
fn middle(kind: ReadKind) -> u32 {
    (kind.shard_size / 2) as u32
}

/// All numbers below `count`, each once, not in their order.
fn order(count: usize) -> impl Iterator<Item = usize> {
    assert!(!count.is_multiple_of(STRIDE), "then some would come twice");
    (0..count).map(move |n| n * STRIDE % count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_read_once() {
        for count in [1, 4, 256, 2000] {
            let mut all: Vec<usize> = order(count).collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..count));
        }
    }

    #[test]
    fn kinds_have_names() {
        let names: Vec<String> = KINDS.map(ReadKind::what).to_vec();
        assert_eq!(
            names,
            ["a shard of 4 KiB", "a shard of 64 KiB", "a shard of 1 MiB", "4 KiB of a shard of 1 MiB"]
        );
    }
}
