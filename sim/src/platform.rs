//! What a simulated node stands on: stores in memory, the switchboard, and certificates that are mere names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use env::{Clock, Random};
use kv::{Kv, KvFaults, KvImage, MemKv};
use net::testing::Switchboard;
use net::{Counters, Dial, Service, Terms};
use node::config::NodeConfig;
use node::{Listener, Platform, Presence, Standing};
use types::{ClusterId, Error, Identity, Millis, Result, Serial};

/// What a certificate says instead of being one. Keys are chance that no seed decides, and there is no one to deceive.
/// Serial and times follow it, so that it is renewed like any other.
const CERTIFICATE: &str = "simulated ";

/// What the stores of a node held at one moment, by path.
pub type StoreImages = BTreeMap<PathBuf, KvImage>;

/// The platform of one node. Its stores outlive the node's processes.
#[derive(Clone)]
pub struct SimPlatform {
    network: Switchboard,
    random: Random,
    clock: Clock,
    stores: Arc<Mutex<BTreeMap<PathBuf, MemKv>>>,
}

impl std::fmt::Debug for SimPlatform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimPlatform")
    }
}

impl SimPlatform {
    /// A platform on `network` without stores, whose wall clock is that of the node.
    pub fn new(network: Switchboard, random: Random, clock: Clock) -> Self {
        Self { network, random, clock, stores: Arc::default() }
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

/// Credentials as this platform writes them.
fn credentials_of(terms: &Terms, now: Millis) -> String {
    let Terms { identity, serial, expires } = terms;
    format!("{CERTIFICATE}{identity} {serial} {now} {expires}")
}

fn read(credentials: &str) -> Result<(Identity, Standing)> {
    let bad = || Error::invalid(format!("{credentials:?} is no simulated certificate"));
    let words: Vec<&str> = credentials.strip_prefix(CERTIFICATE).ok_or_else(bad)?.split(' ').collect();
    let [identity, numbers @ ..] = &words[..] else { return Err(bad()) };
    let numbers: Vec<u64> = numbers.iter().map_while(|number| number.parse().ok()).collect();
    let [serial, issued, expires] = numbers[..] else { return Err(bad()) };
    let standing = Standing { serial: Serial(serial), issued: Millis(issued), expires: Millis(expires) };
    Ok((Identity::parse(identity)?, standing))
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

    fn appear(&self, config: &NodeConfig, credentials: &str) -> Result<Arc<dyn Presence>> {
        let (identity, standing) = read(credentials)?;
        let addresses = [config.native, config.control];
        let (network, standing) = (self.network.clone(), Mutex::new(standing));
        Ok(Arc::new(SimPresence { network, addresses, identity, standing }))
    }

    fn dial_anonymously(&self, config: &NodeConfig, _: &str) -> Result<Arc<dyn Dial>> {
        Ok(self.network.dialer(config.native, Identity::Anonymous))
    }

    fn create_authority(&self, cluster: ClusterId) -> Result<String> {
        Ok(format!("{CERTIFICATE}authority of {cluster}"))
    }

    fn issue(&self, _: &str, terms: &Terms) -> Result<String> {
        Ok(credentials_of(terms, self.clock.wall()))
    }

    fn sign(&self, _: &str, _: &str, terms: &Terms) -> Result<String> {
        Ok(credentials_of(terms, self.clock.wall()))
    }

    fn request(&self) -> Result<(String, String)> {
        // No two are the same, as with keys.
        Ok(("key".to_owned(), format!("request {:x}", self.random.u64())))
    }

    fn credentials(&self, _: &str, certificate: &str) -> Result<String> {
        Ok(certificate.to_owned())
    }
}

/// A node on the switchboard. Nobody is turned away there: it has no certificates to look at.
struct SimPresence {
    network: Switchboard,
    addresses: [SocketAddr; 2],
    identity: Identity,
    standing: Mutex<Standing>,
}

#[async_trait]
impl Presence for SimPresence {
    async fn listen(&self, service: Arc<dyn Service>) -> Result<Box<dyn Listener>> {
        for address in self.addresses {
            self.network.attach(address, service.clone());
        }
        Ok(Box::new(Doors { network: self.network.clone(), addresses: self.addresses }))
    }

    fn dial(&self) -> Result<Arc<dyn Dial>> {
        Ok(self.network.dialer(self.addresses[0], self.identity.clone()))
    }

    fn standing(&self) -> Standing {
        *self.standing.lock().expect("no panic while it is held")
    }

    fn renew(&self, credentials: &str) -> Result<()> {
        let (identity, standing) = read(credentials)?;
        assert_eq!(identity, self.identity, "a node renews its own certificate");
        *self.standing.lock().expect("no panic while it is held") = standing;
        Ok(())
    }

    fn refuse(&self, _: BTreeSet<Serial>) {}
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
