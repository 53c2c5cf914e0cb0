//! One large file, stored and fetched back by the client library.

use std::path::Path;
use std::sync::Arc;

use client::{FileState, Progress, download_file};
use types::Result;

use crate::context::{Bench, path};
use crate::data::{check_equal, write_noise};
use crate::deployment::Deployment;
use crate::figure::{Figure, Goal};
use crate::session::Session;

/// Processor time of a transfer, seconds of a core per GB.
pub struct CpuCost {
    /// The client's.
    pub client: Figure,
    /// All servers' together.
    pub servers: Figure,
}

/// What a large file showed.
pub struct Transfer {
    /// Rate of the put.
    pub put: Figure,
    /// Rate of the get.
    pub get: Figure,
    /// Cost of the put.
    pub put_cpu: CpuCost,
    /// Cost of the get.
    pub get_cpu: CpuCost,
}

/// What is read before and after.
struct Meters {
    start: env::time::Instant,
    client: f64,
    servers: f64,
}

/// The difference, for `size` bytes.
struct Sample {
    rate: f64,
    client: f64,
    servers: f64,
}

/// Stores and fetches a new file in every run, and compares it.
pub async fn measure(bench: &Bench, deployment: &Deployment, put_goal: Option<Goal>) -> Result<Transfer> {
    let (mut puts, mut gets) = (Vec::new(), Vec::new());
    for run in 0..bench.plan.runs {
        let (put, get) = run_once(bench, deployment, run).await?;
        puts.push(put);
        gets.push(get);
    }
    let size = size_in_words(bench.plan.file_size);
    Ok(Transfer {
        put: rate(format!("put {size}, durable"), &puts).with_goal(put_goal),
        get: rate(format!("get {size}, into the page cache"), &gets),
        put_cpu: cost(&puts),
        get_cpu: cost(&gets),
    })
}

async fn run_once(bench: &Bench, deployment: &Deployment, run: usize) -> Result<(Sample, Sample)> {
    let (source, target) = (bench.scratch.join("large"), bench.scratch.join("large-back"));
    let label = format!("{:?} large {run}", deployment.kind);
    let (disk, size) = (bench.env.disk.clone(), bench.plan.file_size);
    let (filled_disk, filled) = (disk.clone(), source.clone());
    env::task::blocking(move || write_noise(&*filled_disk, &filled, &label, size)).await?;
    let session = Session::open(&bench.env, &deployment.credentials()).await?;
    let uploader = session.uploader();
    let stored = path(&[&format!("large-{run}")])?;

    let meters = Meters::read(deployment);
    uploader.upload_file(&source, &stored, &FileState::Absent).await?;
    let put = meters.since(deployment, size);

    let meters = Meters::read(deployment);
    let opened = session.namespace.open_version(&stored, None).await?;
    let progress = Arc::new(Progress::default());
    download_file(disk.clone(), session.blocks(), opened, &target, &progress).await?;
    let get = meters.since(deployment, size);

    env::task::blocking(move || compare_and_remove(&*disk, &source, &target)).await?;
    Ok((put, get))
}

fn compare_and_remove(disk: &dyn env::Disk, source: &Path, target: &Path) -> Result<()> {
    check_equal(disk, source, target)?;
    disk.remove_file(source)?;
    Ok(disk.remove_file(target)?)
}

impl Meters {
    fn read(deployment: &Deployment) -> Self {
        let (user, system) = env::process::cpu_seconds();
        Self { start: env::time::now(), client: user + system, servers: deployment.cpu_seconds() }
    }

    fn since(&self, deployment: &Deployment, size: u64) -> Sample {
        let seconds = self.start.elapsed().as_secs_f64();
        let now = Self::read(deployment);
        let gigabytes = size as f64 / 1e9;
        Sample {
            rate: size as f64 / 1e6 / seconds,
            client: (now.client - self.client) / gigabytes,
            servers: (now.servers - self.servers) / gigabytes,
        }
    }
}

fn rate(what: String, samples: &[Sample]) -> Figure {
    Figure::new(what, "MB/s", samples.iter().map(|s| s.rate).collect())
}

fn cost(samples: &[Sample]) -> CpuCost {
    CpuCost {
        client: Figure::new("client", "s/GB", samples.iter().map(|s| s.client).collect()),
        servers: Figure::new("servers", "s/GB", samples.iter().map(|s| s.servers).collect()),
    }
}

/// Sizes of the plan are whole numbers of MiB.
fn size_in_words(size: u64) -> String {
    use types::limits::{GIB, MIB};
    if size.is_multiple_of(GIB) {
        format!("{} GiB", size / GIB)
    } else {
        format!("{} MiB", size / MIB as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_words() {
        assert_eq!(size_in_words(1 << 30), "1 GiB");
        assert_eq!(size_in_words(20 << 20), "20 MiB");
    }
}
