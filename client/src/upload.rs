//! A local file becomes chunks and a version. What is stored already is not sent.
//!
//! Owns: what an upload is told and what it answers. `plan` and `store` decide, `flow` performs, `cut` reads the file.
//! Knows nothing of: directories, who holds a chunk, how requests find their server.
//!
//! There is no upload session on any server: a put that was killed is simply done again, and the pins of its chunks
//! say what is there (decision 0005).

mod cut;
mod ends;
mod flow;
mod plan;
mod store;

use std::path::Path as LocalPath;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::Semaphore;
use types::limits::UPLOAD_WINDOW_SIZE;
use types::{Path, Result};

use crate::blocks::Blocks;
use crate::cluster::Cluster;
use crate::namespace::Namespace;
pub use ends::{FileState, Uploaded};
use plan::UploadPlan;

/// Counts what was done, for progress and reports. Shared by all transfers of a command.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes that are stored, or written to a local file. A file that is read again counts again.
    pub bytes_done: AtomicU64,
    /// Files that are through.
    pub files_done: AtomicU64,
    /// Files that were there already with this content; they are among `files_done`.
    pub files_unchanged: AtomicU64,
}

/// Uploads files of one namespace, sharing one window of memory and one stream of batches.
#[derive(Debug)]
pub struct Uploader {
    cluster: Arc<Cluster>,
    namespace: Arc<Namespace>,
    blocks: Arc<Blocks>,
    window: Arc<Semaphore>,
    progress: Arc<Progress>,
}

impl Uploader {
    /// An uploader that counts into `progress`.
    pub fn new(
        cluster: Arc<Cluster>,
        namespace: Arc<Namespace>,
        blocks: Arc<Blocks>,
        progress: Arc<Progress>,
    ) -> Self {
        Self { cluster, namespace, blocks, window: Arc::new(Semaphore::new(UPLOAD_WINDOW_SIZE)), progress }
    }

    /// Stores a local file as the newest version at `target`, whose state was `state` when the caller looked.
    ///
    /// `Conflict` when the target is in another state by now, or when the file keeps changing while it is read;
    /// `Invalid` when it is too large.
    pub async fn upload_file(
        &self,
        source: &LocalPath,
        target: &Path,
        state: &FileState,
    ) -> Result<Uploaded> {
        self.perform(source, UploadPlan::new(source, target, state)).await
    }
}
