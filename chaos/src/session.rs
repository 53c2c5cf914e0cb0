//! A client of the cluster with its own connections, like the command line; its local disk is in memory.

use std::path::Path as LocalPath;
use std::sync::Arc;
use std::time::Duration;

use client::{Blocks, Cluster, CredentialFile, Download, FileState, Namespace, Progress, Uploader};
use env::disk::SimDisk;
use env::{Disk, Env, OpenMode};
use futures::StreamExt;
use net::ClientConfig;
use proto::namespace::{Entry, Opened};
use types::{NamespaceName, Path, Result, VersionId};

use crate::history::Content;

/// Where files go.
const NAMESPACE: &str = "home";
/// What an upload is called on the local disk.
const SOURCE: &str = "/source";

/// A client that works in one namespace.
pub struct Session {
    /// Its view of the cluster.
    pub cluster: Arc<Cluster>,
    /// Where it works.
    pub namespace: Arc<Namespace>,
    /// Every request gives up after this time.
    pub timeout: Duration,
    blocks: Arc<Blocks>,
    uploader: Uploader,
    disk: Arc<dyn Disk>,
}

impl Session {
    /// Connects with a credential file. Every request gives up after `timeout`.
    pub async fn open(env: &Env, credentials: &LocalPath, timeout: Duration) -> Result<Self> {
        let file = CredentialFile::load(&*env.disk, credentials)?;
        let config = ClientConfig { quic_connections: 1, tcp_connections: 1 };
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(0));
        let env = Env { disk: disk.clone(), ..env.clone() };
        let cluster = file.connect(&env, config, timeout).await?.cluster;
        let namespace = Arc::new(Namespace::open(cluster.clone(), &NamespaceName::parse(NAMESPACE)?).await?);
        let blocks = Arc::new(Blocks::new(cluster.clone()));
        let uploader =
            Uploader::new(cluster.clone(), namespace.clone(), blocks.clone(), Arc::new(Progress::default()));
        Ok(Self { cluster, namespace, timeout, blocks, uploader, disk })
    }

    /// Stores a file as the newest version, if what is there is still what `seen` says.
    pub async fn put(&self, path: &Path, seen: Option<Entry>, bytes: &[u8]) -> Result<VersionId> {
        let state = FileState::of(path, seen)?;
        let source = LocalPath::new(SOURCE);
        // An upload that was given up has left its source behind.
        if self.disk.exists(source) {
            self.disk.remove_file(source)?;
        }
        self.disk.open(source, OpenMode::CreateNew)?.write_at(&[bytes], 0)?;
        Ok(self.uploader.upload_file(source, path, &state).await?.version)
    }

    /// Reads what was opened to its end and hashes it.
    pub async fn read(&self, opened: Opened) -> Result<Content> {
        let download = Download::open(self.blocks.clone(), opened).await?;
        let mut hasher = blake3::Hasher::new();
        let mut parts = std::pin::pin!(download.read(0..download.size()));
        while let Some(part) = parts.next().await {
            hasher.update(&part?);
        }
        Ok(Content(*hasher.finalize().as_bytes()))
    }
}
