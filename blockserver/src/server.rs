//! The blockserver: local disks, and the coordination of chunks over the disks of a placement group.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use access::{Action, authorize};
use async_trait::async_trait;
use bytes::Bytes;
use chunk::erasure::{self, Kernel, Stripe};
use env::Env;
use futures::{FutureExt, TryFutureExt};
use net::{Caller, Reply, Request, Routes, Service};
use proto::block::{DeleteShard, DistrustShard, GetShard, ListShards, PutShard, ShardList, ShardRead};
use proto::cluster::DiskReport;
use proto::disks::{ControlScrub, FetchHealing, Healing, ScrubStatus, Scrubbed};
use proto::map::ClusterMap;
use proto::seal::ClusterSecret;
use segments::{DiskStore, Purpose};
use tokio::sync::watch;
use types::{ChunkKey, DiskId, Error, NodeId, Profile, Result};

use crate::disks::Disks;
use crate::keys::KnownKeys;
use crate::links::Links;
use crate::patience::Patience;
use crate::yielding::Users;

/// Entries of one [`ShardList`].
const LIST_COUNT: usize = 1024;

/// What a blockserver needs to start.
#[derive(Debug)]
pub struct Config {
    /// The node whose disks these are.
    pub node: NodeId,
    /// The secret that the cluster's nodes share.
    pub secret: ClusterSecret,
    /// The node's disks.
    pub disks: Arc<Disks>,
}

/// A running blockserver.
pub struct Blockserver {
    /// Itself, for work that outlives a request.
    pub(crate) this: std::sync::Weak<Blockserver>,
    pub(crate) env: Env,
    routes: Routes<Blockserver>,
    pub(crate) node: NodeId,
    pub(crate) secret: ClusterSecret,
    pub(crate) disks: Arc<Disks>,
    pub(crate) map: watch::Receiver<Arc<ClusterMap>>,
    pub(crate) links: Arc<dyn Links>,
    pub(crate) keys: Arc<KnownKeys>,
    kernel: Kernel,
    stripes: Mutex<BTreeMap<(u8, u8), Arc<Stripe>>>,
    pub(crate) writing: Mutex<BTreeMap<ChunkKey, crate::writing::Shared>>,
    pub(crate) detours: Mutex<crate::detours::Detours>,
    pub(crate) users: Users,
    pub(crate) scrubs: crate::scrubs::Scrubs,
    pub(crate) progress: crate::progress::Progress,
    /// How long reads of parts take.
    pub(crate) reads: Mutex<Patience>,
    /// The slot that was looked through last.
    pub(crate) audited: Mutex<Option<crate::task::Task>>,
}

impl std::fmt::Debug for Blockserver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blockserver")
            .field("node", &self.node)
            .field("disks", &self.disks.open().keys())
            .finish()
    }
}

impl Blockserver {
    /// Checks the codec on this machine (an error if it computes wrongly), then serves. `keep_redundancy` and
    /// `keep_verifying` look after its disks.
    pub fn start(
        env: Env,
        config: Config,
        map: watch::Receiver<Arc<ClusterMap>>,
        links: Arc<dyn Links>,
    ) -> Result<Arc<Self>> {
        let kernel = erasure::self_test()?;
        let keys = KnownKeys::start(links.clone());
        let server = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            env,
            routes: routes(),
            node: config.node,
            secret: config.secret,
            disks: config.disks,
            map,
            links,
            keys,
            kernel,
            stripes: Mutex::new(BTreeMap::new()),
            writing: Mutex::new(BTreeMap::new()),
            detours: Mutex::default(),
            users: Users::default(),
            scrubs: Default::default(),
            progress: Default::default(),
            reads: Mutex::default(),
            audited: Mutex::default(),
        });
        Ok(server)
    }

    /// State of the local disks.
    pub fn disk_reports(&self) -> BTreeMap<DiskId, DiskReport> {
        self.disks.reports()
    }

    /// Number of slots that this node holds and has not filled yet.
    pub fn syncing_slots(&self) -> u32 {
        self.progress.slot_count()
    }

    pub(crate) fn current_map(&self) -> Arc<ClusterMap> {
        self.map.borrow().clone()
    }

    /// Asks the node that has a disk, once. `StaleEpoch` when the map does not have that disk.
    pub(crate) async fn call_disk(
        &self,
        map: &ClusterMap,
        disk: DiskId,
        request: Request,
        timeout: env::time::Duration,
    ) -> Result<Reply> {
        let (node, _) =
            map.node_of(disk).ok_or_else(|| Error::stale_epoch(format!("disk {disk} is not in the map")))?;
        self.links.call_node(node, request, timeout).await.map_err(|e| e.context(format!("node {node}")))
    }

    /// The coder of a profile, created once.
    pub(crate) fn stripe(&self, profile: Profile) -> Result<Arc<Stripe>> {
        let mut stripes = self.stripes.lock().expect("no panic while it is held");
        if let Some(stripe) = stripes.get(&(profile.k, profile.m)) {
            assert_eq!(
                stripe.profile(),
                profile,
                "a coder of another profile would give other bytes (I-READ)"
            );
            return Ok(stripe.clone());
        }
        let stripe = Arc::new(Stripe::new(profile, self.kernel)?);
        stripes.insert((profile.k, profile.m), stripe.clone());
        Ok(stripe)
    }

    fn disk(&self, id: DiskId) -> Result<Arc<DiskStore>> {
        self.disks.get(&id).ok_or_else(|| {
            Error::stale_epoch(format!("disk {id} is not on node {}: refresh the map", self.node))
        })
    }

    async fn put_shard(&self, caller: &Caller, request: PutShard, body: Bytes) -> Result<()> {
        authorize(&caller.identity, Action::ActAsNode)?;
        self.disk(request.disk)?
            .put_shard(request.key, request.meta, body, Some(request.crc), Purpose::Store)
            .await
    }

    async fn get_shard(&self, caller: &Caller, request: GetShard) -> Result<(ShardRead, Bytes)> {
        authorize(&caller.identity, Action::ActAsNode)?;
        let disk = self.disk(request.disk)?;
        let GetShard { chunk, slot, generation, .. } = request;
        let found = disk.get_shard(chunk, slot, generation, request.bytes()).await?;
        let crc = crc32fast::hash(&found.bytes);
        Ok((ShardRead { key: found.key, meta: found.meta, crc }, found.bytes))
    }

    async fn list_shards(&self, caller: &Caller, request: ListShards) -> Result<ShardList> {
        authorize(&caller.identity, Action::ActAsNode)?;
        let (first, last) = request.pg.range(self.current_map().pg_count);
        let mut shards =
            self.disk(request.disk)?.list_shards(first, last, request.after, LIST_COUNT + 1).await?;
        let more = shards.len() > LIST_COUNT;
        shards.truncate(LIST_COUNT);
        Ok(ShardList { shards, more })
    }

    async fn delete_shard(&self, caller: &Caller, request: DeleteShard) -> Result<()> {
        authorize(&caller.identity, Action::ActAsNode)?;
        self.disk(request.disk)?.delete(request.key).await
    }

    async fn handle_scrub(&self, caller: &Caller, request: ControlScrub) -> Result<Scrubbed> {
        authorize(&caller.identity, Action::AdministerCluster)?;
        self.control_scrub(request)
    }

    /// How far its disks are verified.
    pub fn scrubs(&self) -> BTreeMap<DiskId, ScrubStatus> {
        self.disks.open().into_keys().map(|id| (id, self.scrubs.control(id, None))).collect()
    }

    /// How the repair of its disks goes on.
    pub fn healing(&self) -> Healing {
        let (open, mut disks) = (self.disks.open(), self.progress.report(env::time::now()));
        disks.retain(|id, _| open.contains_key(id));
        Healing { disks }
    }

    async fn fetch_healing(&self, caller: &Caller) -> Result<Healing> {
        authorize(&caller.identity, Action::ViewCluster)?;
        Ok(self.healing())
    }

    async fn distrust_shard(&self, caller: &Caller, request: DistrustShard) -> Result<()> {
        authorize(&caller.identity, Action::ActAsNode)?;
        self.disk(request.disk)?.distrust(request.key).await
    }
}

/// Every verb a blockserver answers.
fn routes() -> Routes<Blockserver> {
    Routes::new()
        .on_with_body(|s: &Blockserver, caller, question, body| {
            s.put_chunk(&caller.identity, question, body).map_ok(alone).boxed()
        })
        .on_with_body(|s: &Blockserver, caller, question, _| s.get_chunk(&caller.identity, question).boxed())
        .on_with_body(|s: &Blockserver, caller, question, body| {
            s.put_shard(caller, question, body).map_ok(alone).boxed()
        })
        .on_with_body(|s: &Blockserver, caller, question, _| s.get_shard(caller, question).boxed())
        .on(|s: &Blockserver, caller, question| s.list_shards(caller, question).boxed())
        .on(|s: &Blockserver, caller, question| s.delete_shard(caller, question).boxed())
        .on(|s: &Blockserver, caller, question| s.distrust_shard(caller, question).boxed())
        .on(|s: &Blockserver, caller, question| s.handle_scrub(caller, question).boxed())
        .on(|s: &Blockserver, caller, _: FetchHealing| s.fetch_healing(caller).boxed())
}

/// An answer without a body.
fn alone<T>(answer: T) -> (T, Bytes) {
    (answer, Bytes::new())
}

#[async_trait]
impl Service for Blockserver {
    async fn call(&self, caller: &Caller, request: Request, _deadline: env::time::Instant) -> Result<Reply> {
        self.routes.dispatch(self, caller, request).await
    }
}
