//! Chunks of a cluster, put and got one at a time by one client.

use std::path::Path as LocalPath;
use std::pin::pin;

use client::{Download, FileState};
use futures::StreamExt;
use proto::block::ChunkKind;
use types::limits::MIB;
use types::{Path, Result};

use super::segment_files;
use crate::context::{Bench, path};
use crate::data::{noise, write_noise};
use crate::deployment::Deployment;
use crate::percentiles::Percentiles;
use crate::session::Session;

/// Bytes of a chunk that is put, and of most that are got.
pub const CHUNK_SIZE: usize = MIB;
/// What is done before anything counts: it opens connections.
const WARM_UP: usize = 16;

/// The file whose chunks are got.
pub struct StoredFile {
    at: Path,
    size: u64,
}

impl StoredFile {
    /// Uploads new bytes under a name of its own.
    pub async fn put(bench: &Bench, deployment: &Deployment) -> Result<Self> {
        let (local, size) = (bench.scratch.join("stored"), bench.plan.block.file_size);
        fill(bench, &local, size).await?;
        let session = Session::open(&bench.env, &deployment.credentials()).await?;
        let at = path(&["stored"])?;
        session.uploader().upload_file(&local, &at, &FileState::Absent).await?;
        bench.env.disk.remove_file(&local)?;
        Ok(Self { at, size })
    }
}

async fn fill(bench: &Bench, local: &LocalPath, size: u64) -> Result<()> {
    let (disk, local) = (bench.env.disk.clone(), local.to_owned());
    env::task::blocking(move || write_noise(&*disk, &local, "block file", size)).await
}

/// Milliseconds to put new chunks; `label` makes them new.
pub async fn put(bench: &Bench, deployment: &Deployment, label: &str) -> Result<Percentiles> {
    let putter = Putter::new(bench, deployment).await?;
    let (count, mut took) = (bench.plan.block.chunk_count, Vec::new());
    let warm_up = WARM_UP.min(count);
    for n in 0..warm_up + count {
        took.push(putter.put(&format!("{label} {n}")).await?);
    }
    Ok(Percentiles::of(took.split_off(warm_up)))
}

/// Milliseconds to get chunks that no system has in memory.
pub async fn get(bench: &Bench, deployment: &Deployment, file: &StoredFile) -> Result<Percentiles> {
    let getter = Getter::new(bench, deployment, file).await?;
    let count = bench.plan.block.chunk_count;
    for n in 0..WARM_UP.min(count) {
        getter.get(n, count).await?;
    }
    for dir in deployment.disk_dirs()? {
        // A node that was killed has its disk still.
        segment_files::uncache(&*bench.env.disk, &dir)?;
    }
    let mut took = Vec::new();
    for n in 0..count {
        took.push(getter.get(n, count).await?);
    }
    Ok(Percentiles::of(took))
}

/// A client that puts chunks.
pub struct Putter {
    session: Session,
    blocks: std::sync::Arc<client::Blocks>,
}

impl Putter {
    /// A client with connections of its own.
    pub async fn new(bench: &Bench, deployment: &Deployment) -> Result<Self> {
        let session = Session::open(&bench.env, &deployment.credentials()).await?;
        let blocks = session.blocks();
        Ok(Self { session, blocks })
    }

    /// Milliseconds until a new chunk is durable.
    pub async fn put(&self, label: &str) -> Result<f64> {
        let bytes = noise(label, CHUNK_SIZE);
        let chunk = chunk::chunk_id(&bytes).within(self.session.namespace.scope().await?);
        let start = env::time::now();
        self.blocks.put_chunk(chunk, ChunkKind::Data, Vec::new(), bytes).await?;
        Ok(start.elapsed().as_secs_f64() * 1000.0)
    }
}

/// A client that gets chunks of a file.
pub struct Getter {
    download: Download,
}

impl Getter {
    /// A client with connections of its own, and new tickets.
    pub async fn new(bench: &Bench, deployment: &Deployment, file: &StoredFile) -> Result<Self> {
        let session = Session::open(&bench.env, &deployment.credentials()).await?;
        let opened = session.namespace.open_version(&file.at, None).await?;
        let download = Download::open(session.blocks(), opened, 0..u64::MAX).await?;
        assert_eq!(download.size(), file.size, "it is the file that was stored");
        Ok(Self { download })
    }

    /// Milliseconds to get a MiB from the beginning of the `n`-th of `count` equal parts of the file: from the chunks that
    /// have it.
    pub async fn get(&self, n: usize, count: usize) -> Result<f64> {
        let offset = self.download.size() / count as u64 * (n % count) as u64;
        let start = env::time::now();
        let mut pieces = pin!(self.download.read(offset..offset + CHUNK_SIZE as u64));
        while let Some(piece) = pieces.next().await {
            piece?;
        }
        Ok(start.elapsed().as_secs_f64() * 1000.0)
    }
}
