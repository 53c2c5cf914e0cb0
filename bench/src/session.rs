//! A client of its own: its own connections, its own view of the cluster.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use client::{Blocks, Cluster, CredentialFile, Namespace, Progress, Uploader};
use env::Env;
use net::ClientConfig;
use types::{NamespaceName, Result};

/// Longer than any election: a measurement that runs into it has failed.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Where files go.
const NAMESPACE: &str = "home";

/// A client that works in one namespace.
pub struct Session {
    /// Its view of the cluster.
    pub cluster: Arc<Cluster>,
    /// Where it works.
    pub namespace: Arc<Namespace>,
}

impl Session {
    /// A client with as many connections as the command line has.
    pub async fn open(env: &Env, credentials: &Path) -> Result<Self> {
        Self::open_with(env, credentials, ClientConfig::default()).await
    }

    /// One of many clients that each ask one thing at a time: one connection is enough.
    pub async fn open_small(env: &Env, credentials: &Path) -> Result<Self> {
        Self::open_with(env, credentials, ClientConfig { quic_connections: 1, tcp_connections: 1 }).await
    }

    async fn open_with(env: &Env, credentials: &Path, config: ClientConfig) -> Result<Self> {
        let file = CredentialFile::load(&*env.disk, credentials)?;
        let cluster = file.connect(env, config, TIMEOUT).await?.cluster;
        let namespace = Namespace::open(cluster.clone(), &NamespaceName::parse(NAMESPACE)?).await?;
        Ok(Self { cluster, namespace: Arc::new(namespace) })
    }

    /// Access to chunks.
    pub fn blocks(&self) -> Arc<Blocks> {
        Arc::new(Blocks::new(self.cluster.clone()))
    }

    /// An uploader of its own, with a window of its own.
    pub fn uploader(&self) -> Uploader {
        let progress = Arc::new(Progress::default());
        Uploader::new(self.cluster.clone(), self.namespace.clone(), self.blocks(), progress)
    }
}
