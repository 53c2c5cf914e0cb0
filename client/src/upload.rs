//! A local file becomes chunks and a version. What is stored already is not sent; nothing is sent twice.
//!
//! There is no upload session on any server: a put that was killed is simply done again, and the pins of its chunks
//! say what is there (decision 0005).

use std::collections::BTreeMap;
use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chunk::manifest::{ChunkRef, Content, Manifest, TreeBuilder, content_root, parse_node};
use chunk::split::{SplitRule, Splitter};
use env::{Metadata, OpenMode};
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use proto::block::ChunkKind;
use proto::namespace::{Base, Entry, Kind, Op};
use proto::seal::Receipt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use types::limits::{FILE_SIZE_MAX, INLINE_SIZE_MAX, MANIFEST_INLINE_COUNT_MAX, MIB};
use types::{ChunkId, Error, Path, Result, VersionId};

use crate::blocks::Blocks;
use crate::cluster::Cluster;
use crate::namespace::Namespace;

/// Bytes of chunks between reading and acknowledgement, over all files of an uploader.
const WINDOW_BYTES: usize = 32 * MIB;
/// Bytes read from a file at once.
const READ_SIZE: usize = MIB;
/// A file that changes while it is read is read again so many times.
const READ_TRIES: usize = 3;

/// Counts what was done, for progress and reports. Shared by all transfers of a command.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of files that are through.
    pub bytes_done: AtomicU64,
    /// Files that are through.
    pub files_done: AtomicU64,
    /// Files that were there already with this content.
    pub files_unchanged: AtomicU64,
}

/// What is known of the target of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    /// There is no entry.
    Absent,
    /// There is this file.
    Present(Entry),
}

impl FileState {
    /// The state that an entry (or its absence) means for a file; a directory cannot be replaced by one.
    pub fn of(path: &Path, entry: Option<Entry>) -> Result<Self> {
        match entry {
            None => Ok(FileState::Absent),
            Some(entry) if entry.kind == Kind::File => Ok(FileState::Present(entry)),
            Some(_) => Err(Error::exists(format!("{path} is a directory; a file cannot replace it"))),
        }
    }

    fn base(&self) -> Base {
        match self {
            FileState::Absent => Base::Absent,
            FileState::Present(entry) => Base::Version(entry.version),
        }
    }
}

/// What an upload did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// The version that now holds the content.
    pub version: VersionId,
    /// Bytes of the file.
    pub size: u64,
    /// False when that version was there before.
    pub changed: bool,
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

/// A chunk in memory; its permit is its share of the window.
struct Piece {
    id: ChunkId,
    bytes: Bytes,
    permit: OwnedSemaphorePermit,
}

/// A chunk that is stored.
type Stored = (ChunkRef, Receipt);

impl Uploader {
    /// An uploader that counts into `progress`.
    pub fn new(
        cluster: Arc<Cluster>,
        namespace: Arc<Namespace>,
        blocks: Arc<Blocks>,
        progress: Arc<Progress>,
    ) -> Self {
        Self { cluster, namespace, blocks, window: Arc::new(Semaphore::new(WINDOW_BYTES)), progress }
    }

    /// Stores a local file as the newest version at `target`, whose state was `state` when the caller looked.
    pub async fn upload_file(
        &self,
        source: &LocalPath,
        target: &Path,
        state: &FileState,
    ) -> Result<Uploaded> {
        for _ in 0..READ_TRIES {
            let before = self.metadata(source).await?;
            let (manifest, receipts) = self.store_content(source, before.size).await?;
            let after = self.metadata(source).await?;
            if before.stamp == after.stamp && manifest.size == after.size {
                let done = self.commit(target, state, manifest, receipts, &before).await?;
                self.progress.files_done.fetch_add(1, Ordering::Relaxed);
                return Ok(done);
            }
        }
        Err(Error::conflict(format!(
            "{} keeps changing while it is read: nothing was stored, try again when its writer is done",
            source.display()
        )))
    }

    async fn commit(
        &self,
        target: &Path,
        state: &FileState,
        manifest: Manifest,
        receipts: Vec<Receipt>,
        source: &Metadata,
    ) -> Result<Uploaded> {
        let size = manifest.size;
        if let FileState::Present(entry) = state
            && entry.content_root == content_root(&manifest)
            && entry.size == size
        {
            self.progress.files_unchanged.fetch_add(1, Ordering::Relaxed);
            return Ok(Uploaded { version: entry.version, size, changed: false });
        }
        let weight =
            receipts.len() * (size_of::<ChunkRef>() + size_of::<Receipt>()) + target.to_string().len();
        let inline = match &manifest.content {
            Content::Inline(bytes) => bytes.len(),
            _ => 0,
        };
        let op = Op::CommitVersion {
            path: target.clone(),
            base: state.base(),
            manifest,
            receipts,
            modified: source.modified,
        };
        let done = self.namespace.apply(op, weight + inline).await?;
        let version = done.version.ok_or_else(|| Error::internal("a commit answered without a version"))?;
        Ok(Uploaded { version, size, changed: true })
    }

    /// Makes the content durable and returns what a commit needs.
    async fn store_content(&self, source: &LocalPath, size: u64) -> Result<(Manifest, Vec<Receipt>)> {
        if size > FILE_SIZE_MAX {
            return Err(Error::invalid(format!("{} is larger than any file may be", source.display())));
        }
        if size <= INLINE_SIZE_MAX as u64 {
            let bytes = self.read_small(source).await?;
            if bytes.len() <= INLINE_SIZE_MAX {
                self.progress.bytes_done.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                return Ok((Manifest::inline(bytes), Vec::new()));
            }
        }
        let rule = SplitRule::for_size(size);
        let stored = self.store_chunks(self.read_chunks(source, rule)).await?;
        let size = stored.iter().map(|(chunk, _)| u64::from(chunk.size)).sum();
        if stored.len() <= MANIFEST_INLINE_COUNT_MAX {
            let (chunks, receipts) = stored.into_iter().unzip();
            return Ok((Manifest { size, rule: rule.id, content: Content::Chunks(chunks) }, receipts));
        }
        let (content, receipt) = self.store_tree(stored).await?;
        Ok((Manifest { size, rule: rule.id, content }, vec![receipt]))
    }

    /// Pins or sends every chunk; many at once, as many bytes as the window holds.
    async fn store_chunks(&self, mut pieces: mpsc::Receiver<Result<Piece>>) -> Result<Vec<Stored>> {
        let mut stored = Vec::new();
        let mut under_way = FuturesOrdered::new();
        loop {
            tokio::select! {
                piece = pieces.recv() => match piece {
                    Some(piece) => under_way.push_back(self.store_chunk(piece?)),
                    None => break,
                },
                Some(done) = under_way.next() => stored.push(done?),
            }
        }
        while let Some(done) = under_way.next().await {
            stored.push(done?);
        }
        Ok(stored)
    }

    async fn store_chunk(&self, piece: Piece) -> Result<Stored> {
        let Piece { id, bytes, permit } = piece;
        let size = bytes.len() as u32;
        let receipt = match self.blocks.pin(id).await? {
            Some(receipt) => receipt,
            None => self.blocks.put_chunk(id, ChunkKind::Data, Vec::new(), bytes).await?,
        };
        drop(permit);
        self.progress.bytes_done.fetch_add(u64::from(size), Ordering::Relaxed);
        Ok((ChunkRef { id, size }, receipt))
    }

    /// Stores a long list of chunks as a tree of nodes, children first; a node's receipt vouches for all below it.
    async fn store_tree(&self, stored: Vec<Stored>) -> Result<(Content, Receipt)> {
        let mut receipts: BTreeMap<ChunkId, Receipt> =
            stored.iter().map(|(chunk, r)| (chunk.id, *r)).collect();
        let mut builder = TreeBuilder::new();
        stored.iter().for_each(|(chunk, _)| builder.push(*chunk));
        let content = builder.finish();
        while let Some((id, bytes)) = builder.next_node() {
            let node = parse_node(&bytes)?;
            let below = node.entries.iter().map(|entry| receipts[&entry.id]).collect();
            let receipt = match self.blocks.pin(id).await? {
                Some(receipt) => receipt,
                None => self.blocks.put_chunk(id, ChunkKind::ManifestNode, below, bytes).await?,
            };
            receipts.insert(id, receipt);
        }
        let Content::Tree { root, .. } = &content else {
            return Err(Error::internal("a list of many chunks did not become a tree"));
        };
        let receipt = receipts[root];
        Ok((content, receipt))
    }

    /// Reads and cuts a file on a thread of its own.
    fn read_chunks(&self, source: &LocalPath, rule: SplitRule) -> mpsc::Receiver<Result<Piece>> {
        let (sender, receiver) = mpsc::channel(4);
        let (disk, window, source) = (self.cluster.env.disk.clone(), self.window.clone(), source.to_owned());
        env::task::spawn_blocking(move || {
            if let Err(e) = cut_file(&*disk, &source, rule, &window, &sender) {
                let _ = sender.blocking_send(Err(e.context(source.display()))); // The upload may have failed already.
            }
        });
        receiver
    }

    async fn read_small(&self, source: &LocalPath) -> Result<Bytes> {
        let (disk, source) = (self.cluster.env.disk.clone(), source.to_owned());
        let read = move || disk.read(&source).map(Bytes::from).map_err(|e| local(e, &source));
        run_blocking(read).await
    }

    async fn metadata(&self, source: &LocalPath) -> Result<Metadata> {
        let (disk, source) = (self.cluster.env.disk.clone(), source.to_owned());
        run_blocking(move || disk.metadata(&source).map_err(|e| local(e, &source))).await
    }
}

/// Reads a file piece by piece and sends its chunks as fast as the window opens.
fn cut_file(
    disk: &dyn env::Disk,
    source: &LocalPath,
    rule: SplitRule,
    window: &Arc<Semaphore>,
    chunks: &mpsc::Sender<Result<Piece>>,
) -> Result<()> {
    let file = disk.open(source, OpenMode::Read)?;
    let mut splitter = Splitter::new(rule);
    let mut offset = 0;
    let handle = env::task::Runtime::current();
    loop {
        let count = splitter.push_with(READ_SIZE, |buffer| file.read_append(buffer, READ_SIZE, offset))?;
        offset += count as u64;
        if count == 0 {
            splitter.finish();
        }
        while let Some(bytes) = splitter.next_chunk() {
            let share = bytes.len() as u32;
            let permit = handle.block_on(window.clone().acquire_many_owned(share));
            let permit = permit.expect("the window is never closed");
            let piece = Piece { id: chunk::chunk_id(&bytes), bytes, permit };
            if chunks.blocking_send(Ok(piece)).is_err() {
                return Ok(()); // The upload has failed; its error is on its way.
            }
        }
        if count == 0 {
            return Ok(());
        }
    }
}

/// Runs blocking work and returns its result.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    env::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal(format!("a worker thread failed: {e}")))?
}

/// An error of the local file system, with the path it is about.
pub(crate) fn local(error: std::io::Error, path: &LocalPath) -> Error {
    Error::from(error).context(PathBuf::from(path).display())
}
