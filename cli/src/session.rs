//! A command's connection to the cluster.

use std::sync::Arc;
use std::time::Duration;

use client::{Blocks, Cluster, Connection, CredentialFile, Namespace};
use env::Env;
use net::{ClientConfig, Counters};
use types::{NamespaceName, Result};

use crate::args::Global;

/// A connection to the cluster, and the name of the namespace that the command is about.
#[derive(Debug)]
pub struct Session {
    /// Clock, files and randomness of this machine.
    pub env: Env,
    /// Whom to ask: follows the map and its leaders.
    pub cluster: Arc<Cluster>,
    /// What the credential file says: identity and addresses.
    pub credentials: CredentialFile,
    name: NamespaceName,
    counters: Arc<Counters>,
}

impl Session {
    /// Connects with the credential file of the command line. Every request gives up after the timeout given there.
    pub async fn open(env: &Env, global: &Global) -> Result<Self> {
        let credentials = CredentialFile::load(&*env.disk, &global.credentials)?;
        let timeout = Duration::from_secs(global.timeout);
        let Connection { cluster, counters } =
            credentials.connect(env, ClientConfig::default(), timeout).await?;
        Ok(Self { env: env.clone(), cluster, credentials, name: global.namespace.clone(), counters })
    }

    /// Opens the namespace; `NotFound` when there is none of that name.
    pub async fn namespace(&self) -> Result<Arc<Namespace>> {
        Ok(Arc::new(Namespace::open(self.cluster.clone(), &self.name).await?))
    }

    /// Bytes this command has sent so far: everything above QUIC itself, so names, hashes and retries too.
    pub fn sent_bytes(&self) -> u64 {
        self.counters.total().sent
    }

    /// Access to the chunks of the cluster.
    pub fn blocks(&self) -> Arc<Blocks> {
        Arc::new(Blocks::new(self.cluster.clone()))
    }
}
