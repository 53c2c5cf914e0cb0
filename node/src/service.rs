//! Sends each request to the room that answers it.

use std::sync::{Arc, Mutex, OnceLock};

use access::{Action, authorize};
use async_trait::async_trait;
use blockserver::Blockserver;
use futures::FutureExt;
use metaserver::Metaserver;
use net::{Caller, Reply, Request, Routes, Service};
use proto::Method;
use proto::cluster::{FetchMap, MapFetched};
use proto::disks::{AdoptDisk, DiskAdopted};
use proto::map::{ClusterMap, Role};
use tokio::sync::watch;
use types::{Error, Result};

use crate::disks::DiskKeeper;

/// What one says of a metadata store whose disk is full: it votes and counts, but keeps nothing new.
const SHORT_OF_SPACE: &str =
    "is short of space: free some on the disk of its data directory, or make another node meta";

/// The rooms of a node; those that are still starting answer `Unavailable`.
#[derive(Debug)]
pub struct NodeService {
    routes: Routes<NodeService>,
    map: watch::Sender<Arc<ClusterMap>>,
    /// The metaserver while its store is open, if the node has that role.
    meta: Mutex<Option<Arc<Metaserver>>>,
    /// Why the metadata store is not open, as what one would say of it, or empty.
    store_problem: Mutex<String>,
    /// Who keeps the node's disks, if it has that role.
    pub disks: OnceLock<Arc<DiskKeeper>>,
    /// Set when the blockserver has started, if the node has that role.
    pub block: OnceLock<Arc<Blockserver>>,
}

#[async_trait]
impl Service for NodeService {
    async fn call(&self, caller: &Caller, request: Request, deadline: env::time::Instant) -> Result<Reply> {
        match Method::from_number(request.method).and_then(Method::role) {
            Some(Role::Block) => match self.block.get() {
                Some(block) => block.call(caller, request, deadline).await,
                None => Err(Error::unavailable("this node holds no disks, or is still opening them")),
            },
            Some(Role::Meta) => match self.meta() {
                Some(meta) => meta.call(caller, request, deadline).await,
                // Not the room's fault: the caller has an old map, or the node is just starting.
                None => Err(Error::stale_epoch("this node holds no metadata, or is still opening it")),
            },
            None => self.routes.dispatch(self, caller, request).await,
        }
    }
}

impl NodeService {
    /// A node whose rooms have not started yet; `map` is what it knows of the cluster.
    pub fn new(map: watch::Sender<Arc<ClusterMap>>) -> Self {
        let routes = Routes::new()
            .on(|s: &Self, caller, question| std::future::ready(s.fetch_map(caller, question)).boxed())
            .on(|s: &Self, caller, question| s.adopt_disk(caller, question).boxed());
        let (meta, store_problem) = Default::default();
        Self { routes, map, meta, store_problem, disks: OnceLock::new(), block: OnceLock::new() }
    }

    /// The metaserver, while its store is open.
    pub fn meta(&self) -> Option<Arc<Metaserver>> {
        self.meta.lock().expect("no panic while it is held").clone()
    }

    /// Serves with this metaserver from now on.
    pub fn set_meta(&self, meta: Option<Arc<Metaserver>>) {
        *self.meta.lock().expect("no panic while it is held") = meta;
    }

    /// What is wrong with the metadata store, as what one would say of it, or empty.
    pub fn store_problem(&self) -> String {
        match self.meta() {
            Some(meta) if meta.is_short_of_space() => SHORT_OF_SPACE.to_owned(),
            _ => self.store_problem.lock().expect("no panic while it is held").clone(),
        }
    }

    /// Says why the metadata store is not open: "is closed: …".
    pub fn set_store_problem(&self, why: String) {
        *self.store_problem.lock().expect("no panic while it is held") = why;
    }

    async fn adopt_disk(&self, caller: &Caller, question: AdoptDisk) -> Result<DiskAdopted> {
        authorize(&caller.identity, Action::AdministerCluster)?;
        match self.disks.get() {
            Some(disks) => disks.adopt(&question.path).await,
            None => Err(Error::invalid("this node does not hold disks: add \"block\" to its key `roles`")),
        }
    }

    fn fetch_map(&self, caller: &Caller, question: FetchMap) -> Result<MapFetched> {
        authorize(&caller.identity, Action::ViewCluster)?;
        let map = self.map.borrow();
        Ok(MapFetched { map: (map.epoch > question.have).then(|| ClusterMap::clone(&map)) })
    }
}
