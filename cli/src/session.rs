//! A command's connection to the cluster.

use std::path::Path as LocalPath;
use std::sync::Arc;
use std::time::Duration;

use client::{Blocks, Cluster, Endpoints, Namespace};
use env::Env;
use net::Transport;
use types::{NamespaceName, Result};

use crate::args::Global;
use crate::credentials::CredentialFile;

/// A view of the cluster, and the name of the namespace that the command is about.
#[derive(Debug)]
pub struct Session {
    /// The machine.
    pub env: Env,
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// What the credential file says.
    pub credentials: CredentialFile,
    name: NamespaceName,
    counters: Arc<net::Counters>,
}

impl Session {
    /// Connects with the credential file of the command line.
    pub async fn open(env: &Env, global: &Global) -> Result<Self> {
        let timeout = Duration::from_secs(global.timeout);
        Self::open_with(env, &global.credentials, global.namespace.clone(), timeout).await
    }

    /// Connects with a credential file. Every request fails after `timeout`.
    pub async fn open_with(
        env: &Env,
        credentials: &LocalPath,
        name: NamespaceName,
        timeout: Duration,
    ) -> Result<Self> {
        let credentials = CredentialFile::load(&*env.disk, credentials)?;
        let identity = credentials.credentials()?;
        let dial = Arc::new(net::Client::new(env, &identity, net::ClientConfig::default())?);
        let counters = dial.counters();
        let endpoints = Endpoints { addresses: credentials.endpoints.clone(), transport: Transport::Quic };
        let cluster = Cluster::connect(env.clone(), dial, endpoints, timeout).await?;
        Ok(Self { env: env.clone(), cluster, credentials, name, counters })
    }

    /// The namespace.
    pub async fn namespace(&self) -> Result<Arc<Namespace>> {
        Ok(Arc::new(Namespace::open(self.cluster.clone(), &self.name).await?))
    }

    /// Bytes this command has sent so far: everything above QUIC itself, so also names, hashes and repetitions.
    pub fn sent_bytes(&self) -> u64 {
        self.counters.total().sent
    }

    /// The chunks.
    pub fn blocks(&self) -> Arc<Blocks> {
        Arc::new(Blocks::new(self.cluster.clone()))
    }
}
