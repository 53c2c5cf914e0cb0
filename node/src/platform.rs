//! What a node gets from its surroundings beside `env`: stores, connections, certificates.
//!
//! Two exist: [`RealPlatform`] here, on RocksDB, sockets and keys, and the one of the simulation, on memory, a
//! switchboard and fixed certificates, because a key is chance that no seed decides.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use env::Env;
use kv::{Kv, RocksKv};
use net::{
    Authority, Client, ClientConfig, Counters, Credentials, Dial, KeyPair, Load, Page, PageServer, Server,
    ServerConfig, Service, Trust,
};
use types::limits::CERTIFICATE_VALIDITY;
use types::{ClusterId, Identity, Result};

use crate::config::NodeConfig;

/// The surroundings of a node. Certificates and keys are text (PEM) whose form only the platform knows.
#[async_trait]
pub trait Platform: Send + Sync + Debug + 'static {
    /// Opens a store, creating it when missing.
    fn open_kv(&self, path: &Path) -> Result<Arc<dyn Kv>>;

    /// Lets `service` answer at the addresses of `config`, as the holder of `credentials`.
    async fn listen(
        &self,
        config: &NodeConfig,
        credentials: &str,
        service: Arc<dyn Service>,
    ) -> Result<Box<dyn Listener>>;

    /// Connections of their own, as the holder of `credentials`, from a node with this configuration.
    fn dial(&self, config: &NodeConfig, credentials: &str) -> Result<Arc<dyn Dial>>;

    /// Shows pages where the configuration says so; a platform without sockets shows none.
    async fn show(&self, _: &NodeConfig, _: ShowPage) -> Result<Option<PageServer>> {
        Ok(None)
    }

    /// Connections as nobody in particular to nodes that `authority` vouches for.
    fn dial_anonymously(&self, config: &NodeConfig, authority: &str) -> Result<Arc<dyn Dial>>;

    /// A new authority for a cluster: its certificate and key.
    fn create_authority(&self, cluster: ClusterId) -> Result<String>;

    /// Credentials of `identity`, signed by `authority`.
    fn issue(&self, authority: &str, identity: &Identity) -> Result<String>;

    /// The certificate for a request that somebody else made with [`Platform::request`].
    fn sign(&self, authority: &str, request: &str, identity: &Identity) -> Result<String>;

    /// A new key, and the request for its certificate.
    fn request(&self) -> Result<(String, String)>;

    /// The credentials that a key and the certificate for it make.
    fn credentials(&self, key: &str, certificate: &str) -> Result<String>;
}

/// The page of a path, if there is one.
pub type ShowPage = Arc<dyn Fn(&str) -> Option<Page> + Send + Sync>;

/// Doors that are open.
#[async_trait]
pub trait Listener: Send + Sync {
    /// Where clients and nodes connect.
    fn native_address(&self) -> SocketAddr;
    /// What was received and sent.
    fn counters(&self) -> Arc<Counters>;
    /// Closes the doors once calls in progress are answered.
    async fn shutdown(&self);
}

/// RocksDB, sockets, and keys from the operating system's randomness.
#[derive(Clone, Debug)]
pub struct RealPlatform(pub Env);

#[async_trait]
impl Platform for RealPlatform {
    fn open_kv(&self, path: &Path) -> Result<Arc<dyn Kv>> {
        Ok(Arc::new(RocksKv::open(path, kv::Options::default())?))
    }

    async fn listen(
        &self,
        config: &NodeConfig,
        credentials: &str,
        service: Arc<dyn Service>,
    ) -> Result<Box<dyn Listener>> {
        let own = Credentials::from_pem(credentials)?;
        let listen =
            ServerConfig { native: config.native, control: Some(config.control), load: Load::default() };
        Ok(Box::new(Server::start(&self.0, listen, &own, service).await?))
    }

    async fn show(&self, config: &NodeConfig, show: ShowPage) -> Result<Option<PageServer>> {
        match config.admin {
            Some(address) => Ok(Some(PageServer::start(address, show).await?)),
            None => Ok(None),
        }
    }

    fn dial(&self, _: &NodeConfig, credentials: &str) -> Result<Arc<dyn Dial>> {
        let own = Credentials::from_pem(credentials)?;
        Ok(Arc::new(Client::new(&self.0, &own, ClientConfig::default())?))
    }

    fn dial_anonymously(&self, _: &NodeConfig, authority: &str) -> Result<Arc<dyn Dial>> {
        Ok(Arc::new(Client::anonymous(&self.0, &Trust::from_pem(authority)?, ClientConfig::default())?))
    }

    fn create_authority(&self, cluster: ClusterId) -> Result<String> {
        Ok(Authority::create(&self.0, cluster)?.to_pem())
    }

    fn issue(&self, authority: &str, identity: &Identity) -> Result<String> {
        let authority = Authority::from_pem(authority)?;
        Ok(authority.issue(identity, CERTIFICATE_VALIDITY, &self.0)?.to_pem())
    }

    fn sign(&self, authority: &str, request: &str, identity: &Identity) -> Result<String> {
        Authority::from_pem(authority)?.sign(request, identity, CERTIFICATE_VALIDITY, &self.0)
    }

    fn request(&self) -> Result<(String, String)> {
        let key = KeyPair::create()?;
        Ok((key.to_pem(), key.request()?))
    }

    fn credentials(&self, key: &str, certificate: &str) -> Result<String> {
        Ok(Credentials::from_parts(certificate, &KeyPair::from_pem(key)?)?.to_pem())
    }
}

#[async_trait]
impl Listener for Server {
    fn native_address(&self) -> SocketAddr {
        Server::native_address(self)
    }

    fn counters(&self) -> Arc<Counters> {
        Server::counters(self)
    }

    async fn shutdown(&self) {
        Server::shutdown(self).await;
    }
}
