//! What a node gets from its surroundings beside `env`: stores, connections, certificates.
//!
//! Two exist: [`RealPlatform`] here, on RocksDB, sockets and keys, and the one of the simulation, on memory, a
//! switchboard and fixed certificates, because a key is chance that no seed decides.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use env::Env;
use kv::{Kv, RocksKv};
use net::{
    Authority, Client, ClientConfig, Counters, Credentials, Dial, KeyPair, Load, Page, PageServer, Passport,
    Server, ServerConfig, Service, Terms, Trust,
};
use types::{ClusterId, Millis, Result, Serial};

use crate::config::NodeConfig;

/// The surroundings of a node. Certificates and keys are text (PEM) whose form only the platform knows.
#[async_trait]
pub trait Platform: Send + Sync + Debug + 'static {
    /// Opens a store, creating it when missing.
    fn open_kv(&self, path: &Path) -> Result<Arc<dyn Kv>>;

    /// The network as a node with this configuration uses it that holds `credentials`.
    fn appear(&self, config: &NodeConfig, credentials: &str) -> Result<Arc<dyn Presence>>;

    /// Shows pages where the configuration says so; a platform without sockets shows none.
    async fn show(&self, _: &NodeConfig, _: ShowPage) -> Result<Option<PageServer>> {
        Ok(None)
    }

    /// Connections as nobody in particular to nodes that `authority` vouches for.
    fn dial_anonymously(&self, config: &NodeConfig, authority: &str) -> Result<Arc<dyn Dial>>;

    /// A new authority for a cluster: its certificate and key.
    fn create_authority(&self, cluster: ClusterId) -> Result<String>;

    /// A new key and the certificate for it, signed by `authority`.
    fn issue(&self, authority: &str, terms: &Terms) -> Result<String>;

    /// The certificate for a request that somebody else made with [`Platform::request`].
    fn sign(&self, authority: &str, request: &str, terms: &Terms) -> Result<String>;

    /// A new key, and the request for its certificate.
    fn request(&self) -> Result<(String, String)>;

    /// The credentials that a key and the certificate for it make.
    fn credentials(&self, key: &str, certificate: &str) -> Result<String>;
}

/// One node on the network: what it shows, and whom it turns away.
#[async_trait]
pub trait Presence: Send + Sync + 'static {
    /// Lets `service` answer at the addresses of the node.
    async fn listen(&self, service: Arc<dyn Service>) -> Result<Box<dyn Listener>>;

    /// Connections of their own.
    fn dial(&self) -> Result<Arc<dyn Dial>>;

    /// What is known of the credentials in use.
    fn standing(&self) -> Standing;

    /// Shows these credentials from now on, on connections that are opened from now on. `Invalid` for another node's.
    fn renew(&self, credentials: &str) -> Result<()>;

    /// Turns away whoever shows one of these certificates from now on, and whoever has come in with one.
    fn refuse(&self, revoked: BTreeSet<Serial>);
}

/// What is known of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What they are listed and revoked by.
    pub serial: Serial,
    /// When they were issued.
    pub issued: Millis,
    /// When they stop being accepted.
    pub expires: Millis,
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

    async fn show(&self, config: &NodeConfig, show: ShowPage) -> Result<Option<PageServer>> {
        match config.admin {
            Some(address) => Ok(Some(PageServer::start(address, show).await?)),
            None => Ok(None),
        }
    }

    fn appear(&self, config: &NodeConfig, credentials: &str) -> Result<Arc<dyn Presence>> {
        let passport = Passport::from(&Credentials::from_pem(credentials)?);
        let listen =
            ServerConfig { native: config.native, control: Some(config.control), load: Load::default() };
        Ok(Arc::new(RealPresence { env: self.0.clone(), listen, passport }))
    }

    fn dial_anonymously(&self, _: &NodeConfig, authority: &str) -> Result<Arc<dyn Dial>> {
        Ok(Arc::new(Client::anonymous(&self.0, &Trust::from_pem(authority)?, ClientConfig::default())?))
    }

    fn create_authority(&self, cluster: ClusterId) -> Result<String> {
        Ok(Authority::create(&self.0, cluster)?.to_pem())
    }

    fn issue(&self, authority: &str, terms: &Terms) -> Result<String> {
        Ok(Authority::from_pem(authority)?.issue_on(terms, &self.0)?.to_pem())
    }

    fn sign(&self, authority: &str, request: &str, terms: &Terms) -> Result<String> {
        Authority::from_pem(authority)?.sign(request, terms, &self.0)
    }

    fn request(&self) -> Result<(String, String)> {
        let key = KeyPair::create()?;
        Ok((key.to_pem(), key.request()?))
    }

    fn credentials(&self, key: &str, certificate: &str) -> Result<String> {
        Ok(Credentials::from_parts(certificate, &KeyPair::from_pem(key)?)?.to_pem())
    }
}

/// Sockets, and what is shown on them.
struct RealPresence {
    env: Env,
    listen: ServerConfig,
    passport: Passport,
}

#[async_trait]
impl Presence for RealPresence {
    async fn listen(&self, service: Arc<dyn Service>) -> Result<Box<dyn Listener>> {
        Ok(Box::new(Server::start(&self.env, self.listen.clone(), &self.passport, service).await?))
    }

    fn dial(&self) -> Result<Arc<dyn Dial>> {
        Ok(Arc::new(Client::new(&self.env, &self.passport, ClientConfig::default())?))
    }

    fn standing(&self) -> Standing {
        let own = self.passport.credentials().expect("a presence begins with credentials");
        Standing { serial: own.serial(), issued: own.issued(), expires: own.expires() }
    }

    fn renew(&self, credentials: &str) -> Result<()> {
        self.passport.renew(&Credentials::from_pem(credentials)?)
    }

    fn refuse(&self, revoked: BTreeSet<Serial>) {
        self.passport.refuse(revoked);
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
