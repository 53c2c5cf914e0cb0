//! What a simulated node stands on: stores in memory, the switchboard, and certificates that are mere names.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use env::Random;
use kv::{Kv, KvFaults, KvImage, MemKv};
use net::testing::Switchboard;
use net::{Counters, Dial, Service};
use node::config::NodeConfig;
use node::{Listener, Platform};
use types::{ClusterId, Error, Identity, Result};

/// What a certificate says instead of being one. Keys are chance that no seed decides, and there is no one to deceive.
const CERTIFICATE: &str = "simulated ";

/// What the stores of a node held at one moment, by path.
pub type StoreImages = BTreeMap<PathBuf, KvImage>;

/// The platform of one node. Its stores outlive the node's processes.
#[derive(Clone)]
pub struct SimPlatform {
    network: Switchboard,
    random: Random,
    stores: Arc<Mutex<BTreeMap<PathBuf, MemKv>>>,
}

impl std::fmt::Debug for SimPlatform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimPlatform")
    }
}

impl SimPlatform {
    /// A platform on `network` without stores.
    pub fn new(network: Switchboard, random: Random) -> Self {
        Self { network, random, stores: Arc::default() }
    }

    /// The power fails: every store forgets what it had not made durable.
    pub fn crash(&self) {
        self.stores().values().for_each(MemKv::crash);
    }

    /// From now on the stores of the node fail as `faults` say.
    pub fn set_faults(&self, faults: KvFaults) {
        self.stores().values().for_each(|store| store.set_faults(faults));
    }

    /// The stores below `prefix` lose everything. Their process must not run.
    pub fn lose(&self, prefix: &Path) {
        self.below(prefix).iter().for_each(|(_, store)| store.lose());
    }

    /// Rots so many rows in each of the stores below `prefix`.
    pub fn rot(&self, prefix: &Path, count: u64) {
        for (_, store) in self.below(prefix) {
            store.rot(count);
        }
    }

    /// What a power failure could not take from the stores now.
    pub fn image(&self) -> StoreImages {
        self.stores().iter().map(|(path, store)| (path.clone(), store.image())).collect()
    }

    /// Sets the stores below `prefix` back to what they were. Their process must not run.
    pub fn put_back(&self, images: &StoreImages, prefix: &Path) {
        for (path, store) in self.below(prefix) {
            match images.get(&path) {
                Some(image) => store.put_back(image),
                None => store.lose(), // There was none then.
            }
        }
    }

    /// How often each thing went wrong in the stores of the node.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        self.stores().values().flat_map(|store| store.counts().rows()).collect()
    }

    fn below(&self, prefix: &Path) -> Vec<(PathBuf, MemKv)> {
        let stores = self.stores();
        let below = stores.iter().filter(|(path, _)| path.starts_with(prefix));
        below.map(|(path, store)| (path.clone(), store.clone())).collect()
    }

    fn stores(&self) -> MutexGuard<'_, BTreeMap<PathBuf, MemKv>> {
        self.stores.lock().expect("no panic while it is held")
    }
}

/// The credentials of an identity, as this platform writes them.
fn credentials_of(identity: &Identity) -> String {
    format!("{CERTIFICATE}{identity}")
}

fn holder(credentials: &str) -> Result<Identity> {
    let name = credentials.strip_prefix(CERTIFICATE);
    Identity::parse(
        name.ok_or_else(|| Error::invalid(format!("{credentials:?} is no simulated certificate")))?,
    )
}

#[async_trait]
impl Platform for SimPlatform {
    fn open_kv(&self, path: &Path) -> Result<Arc<dyn Kv>> {
        let empty = || MemKv::new(self.random.u64());
        let mut stores = self.stores();
        let store = stores.entry(path.to_owned()).or_insert_with(empty);
        *store = store.reopen(); // What is left of an earlier process changes nothing.
        Ok(Arc::new(store.clone()))
    }

    async fn listen(
        &self,
        config: &NodeConfig,
        credentials: &str,
        service: Arc<dyn Service>,
    ) -> Result<Box<dyn Listener>> {
        holder(credentials)?;
        for address in [config.native, config.control] {
            self.network.attach(address, service.clone());
        }
        Ok(Box::new(Doors { network: self.network.clone(), addresses: [config.native, config.control] }))
    }

    fn dial(&self, config: &NodeConfig, credentials: &str) -> Result<Arc<dyn Dial>> {
        Ok(self.network.dialer(config.native, holder(credentials)?))
    }

    fn dial_anonymously(&self, config: &NodeConfig, _: &str) -> Result<Arc<dyn Dial>> {
        Ok(self.network.dialer(config.native, Identity::Anonymous))
    }

    fn create_authority(&self, cluster: ClusterId) -> Result<String> {
        Ok(format!("{CERTIFICATE}authority of {cluster}"))
    }

    fn issue(&self, _: &str, identity: &Identity) -> Result<String> {
        Ok(credentials_of(identity))
    }

    fn sign(&self, _: &str, _: &str, identity: &Identity) -> Result<String> {
        Ok(credentials_of(identity))
    }

    fn request(&self) -> Result<(String, String)> {
        Ok(("key".to_owned(), "request".to_owned()))
    }

    fn credentials(&self, _: &str, certificate: &str) -> Result<String> {
        Ok(certificate.to_owned())
    }
}

struct Doors {
    network: Switchboard,
    addresses: [SocketAddr; 2],
}

#[async_trait]
impl Listener for Doors {
    fn native_address(&self) -> SocketAddr {
        self.addresses[0]
    }

    fn counters(&self) -> Arc<Counters> {
        Arc::default()
    }

    async fn shutdown(&self) {
        self.addresses.iter().for_each(|address| self.network.detach(*address));
    }
}
