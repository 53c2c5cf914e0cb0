//! A command's connection to the cluster.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use client::{Blocks, Cluster, Connection, CredentialFile, Namespace};
use env::Env;
use net::{ClientConfig, Counters};
use types::Result;

use crate::args::{Global, NamespaceRef};

/// A connection to the cluster, and the name of the namespace that the command is about.
#[derive(Debug)]
pub struct Session {
    /// Clock, files and randomness of this machine.
    pub env: Env,
    /// Whom to ask: follows the map and its leaders.
    pub cluster: Arc<Cluster>,
    /// What the credential file says: identity and addresses.
    pub credentials: CredentialFile,
    name: NamespaceRef,
    counters: Arc<Counters>,
    /// Where to say that an answer may be old; `None` when none may be.
    stale: Option<Arc<AtomicBool>>,
}

impl Session {
    /// Connects with the credential file of the command line. Every request gives up after the timeout given there.
    pub async fn open(env: &Env, global: &Global) -> Result<Self> {
        let credentials = CredentialFile::load(&*env.disk, &global.credentials)?;
        let timeout = Duration::from_secs(global.timeout);
        let Connection { cluster, counters } =
            credentials.connect(env, ClientConfig::default(), timeout).await?;
        let name = global.namespace.clone();
        Ok(Self { env: env.clone(), cluster, credentials, name, counters, stale: None })
    }

    /// For a command that changes nothing: takes an answer that may be old when there is no other, and sets `told` then.
    pub fn accept_stale(self, told: &Arc<AtomicBool>) -> Self {
        Self { stale: Some(told.clone()), ..self }
    }

    /// Opens the namespace; `NotFound` when there is none of that name.
    pub async fn namespace(&self) -> Result<Arc<Namespace>> {
        let cluster = self.cluster.clone();
        let namespace = match &self.name {
            NamespaceRef::Name(name) => Namespace::open(cluster, name).await?,
            NamespaceRef::Id(id) => Namespace::of(cluster, *id),
        };
        Ok(Arc::new(match &self.stale {
            Some(told) => namespace.accept_stale(told.clone()),
            None => namespace,
        }))
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
