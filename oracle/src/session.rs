//! A client of the cluster: what a program that uses the client library does, and plain questions to the leader or to one
//! node. Its local files are in memory.

use std::ops::Range;
use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::{Blocks, Cluster, Download, FileState, Namespace, Progress, Uploaded, Uploader};
use env::disk::SimDisk;
use env::{Disk, Env, OpenMode};
use futures::StreamExt;
use net::Request;
use proto::Call;
use proto::namespace::{Entry, Freshness, Mode, Op, Opened, View, WriteNamespace, Written};
use types::limits::LEADER_ATTEMPT_TIMEOUT;
use types::{NamespaceName, NodeId, Path, RequestId, Result, Seq};

use crate::content::Hash;

/// A client that works in one namespace.
#[derive(Debug)]
pub struct Session {
    /// Its view of the cluster.
    pub cluster: Arc<Cluster>,
    /// Where it works.
    pub namespace: Arc<Namespace>,
    /// Every request gives up after this time.
    pub timeout: Duration,
    pub(crate) blocks: Arc<Blocks>,
    uploader: Uploader,
}

impl Session {
    /// What the machine offers, with a disk in memory instead of its own: for the view of a client.
    pub fn env(env: &Env) -> Env {
        Env { disk: Arc::new(SimDisk::new(0)), ..env.clone() }
    }

    /// A client that works in the namespace of this name. What it uploads is a file on the disk of the view's `env` for a
    /// moment: see [`Session::env`]. `NotFound` when there is no such namespace.
    pub async fn new(cluster: Arc<Cluster>, namespace: &NamespaceName) -> Result<Self> {
        let now = env::time::now();
        let timeout = cluster.deadline().saturating_duration_since(now);
        let namespace = Arc::new(Namespace::open(cluster.clone(), namespace).await?);
        let blocks = Arc::new(Blocks::new(cluster.clone()));
        let progress = Arc::new(Progress::default());
        let uploader = Uploader::new(cluster.clone(), namespace.clone(), blocks.clone(), progress);
        Ok(Self { cluster, namespace, timeout, blocks, uploader })
    }

    /// Stores a file as the newest version, if what is there is still what `seen` says.
    pub async fn put(&self, path: &Path, seen: Option<Entry>, bytes: Bytes) -> Result<Uploaded> {
        let state = FileState::of(path, seen)?;
        let source = LocalSource::new(&self.cluster.env, &bytes)?;
        drop(bytes); // A copy is on the disk.
        self.uploader.upload_file(&source.path, path, &state).await
    }

    /// Reads what was opened, all of it or a range, and hashes it.
    pub async fn read(&self, opened: Opened, range: Option<Range<u64>>) -> Result<Hash> {
        let range = range.unwrap_or(0..u64::MAX);
        let download = Download::open(self.blocks.clone(), opened, range.clone()).await?;
        let mut hasher = blake3::Hasher::new();
        let mut parts = std::pin::pin!(download.read(range));
        while let Some(part) = parts.next().await {
            hasher.update(&part?);
        }
        Ok(Hash(*hasher.finalize().as_bytes()))
    }

    /// Asks the leader for changes: each on its own, or all or none. The answer names the position they were judged at.
    pub async fn write(&self, mode: Mode, ops: Vec<Op>) -> Result<Written> {
        let request = RequestId(self.cluster.env.random.bytes());
        let namespace = self.namespace.id();
        self.ask_leader(&WriteNamespace { namespace, request, mode, ops }).await
    }

    /// Asks the leader of the namespace.
    pub async fn ask_leader<Q: Call>(&self, question: &Q) -> Result<Q::Answer> {
        let partition = self.cluster.map().namespace_partition(self.namespace.id());
        self.cluster.ask(partition, question).await
    }

    /// The nodes that have the namespace.
    pub fn voters(&self) -> Vec<NodeId> {
        let map = self.cluster.map();
        map.voters(map.namespace_partition(self.namespace.id())).to_vec()
    }

    /// Asks one node, once.
    pub async fn ask_node<Q: Call>(&self, node: NodeId, question: &Q) -> Result<Q::Answer> {
        let request = Request::of(question, Bytes::new());
        let timeout = LEADER_ATTEMPT_TIMEOUT.min(self.timeout);
        self.cluster.call_node(node, request, timeout).await?.answer::<Q>()
    }

    /// The newest state, as far as anything was acknowledged.
    pub fn newest(&self) -> View {
        View { namespace: self.namespace.id(), freshness: Freshness::Linearizable }
    }

    /// The state at a position, or a later one.
    pub fn at_least(&self, seq: Seq) -> View {
        View { namespace: self.namespace.id(), freshness: Freshness::AtLeast(seq) }
    }
}

/// A local file that is there as long as this value.
struct LocalSource {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl LocalSource {
    fn new(env: &Env, bytes: &[u8]) -> Result<Self> {
        let path = LocalPath::new("/").join(format!("source-{:016x}", env.random.u64()));
        let source = Self { disk: env.disk.clone(), path };
        source.disk.open(&source.path, OpenMode::CreateNew)?.write_at(&[bytes], 0)?;
        Ok(source)
    }
}

impl Drop for LocalSource {
    fn drop(&mut self) {
        let _ = self.disk.remove_file(&self.path); // It may never have come to be.
    }
}
