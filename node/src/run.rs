//! Starts a node, keeps it in touch with the cluster, and stops it in an orderly way.

use std::sync::{Arc, Mutex};

use blockserver::Blockserver;
use client::{Cluster, Endpoints};
use env::Env;
use env::task::JoinHandle;
use env::time::{Duration, Instant};
use net::{Counters, PageServer, Transport};
use proto::cluster::{Heartbeat, HeartbeatSeen};
use proto::command::LEVEL_NEWEST;
use proto::map::{ClusterMap, ROOT, Role};
use tokio::sync::watch;
use tracing::{info, warn};
use types::limits::{NODE_HEARTBEAT_PERIOD, NODE_REQUEST_DEADLINE};
use types::{ErrorKind, NodeId, Result};

use crate::config::NodeConfig;
use crate::disks::{DiskKeeper, Duties};
use crate::health::Health;
use crate::home::{Home, Membership};
use crate::links::BlockLinks;
use crate::meta::MetaKeeper;
use crate::platform::{Listener, Platform, Presence};
use crate::repair::{self, Moved};
use crate::service::NodeService;
use crate::standing::{self, Refusals, Renewal};
use crate::store::StoreRecord;
use crate::unlock;

/// A running node.
pub struct Node {
    id: NodeId,
    home: Arc<Home>,
    listener: Box<dyn Listener>,
    service: Arc<NodeService>,
    cluster: Arc<Cluster>,
    tasks: Tasks,
    /// When a leader of the root partition has last heard this node.
    heard: Heard,
    pages: Option<PageServer>,
    keeper: Option<Arc<MetaKeeper>>,
}

/// What the rooms of a node are started with.
struct Start {
    env: Env,
    platform: Arc<dyn Platform>,
    config: NodeConfig,
    membership: Membership,
    presence: Arc<dyn Presence>,
    refusals: Arc<Refusals>,
    map: watch::Sender<Arc<ClusterMap>>,
    moved: Moved,
}

impl Start {
    /// A view of the cluster over TLS/TCP, with connections of its own, that shares the node's map.
    fn view(&self) -> Result<Arc<Cluster>> {
        let dial = self.presence.dial()?;
        let endpoints = Endpoints { addresses: Vec::new(), transport: Transport::Tcp };
        let (env, map) = (self.env.clone(), self.map.clone());
        let cluster = Cluster::new(env, dial, endpoints, map, NODE_REQUEST_DEADLINE);
        Ok(Arc::new(cluster.with_moved(self.moved.clone())))
    }
}

impl Node {
    /// Starts the node of a prepared data directory. `NotFound` when none was prepared, `Exists` when it is in use,
    /// `Denied` when its certificate has run out.
    pub async fn start(env: Env, platform: Arc<dyn Platform>, config: NodeConfig) -> Result<Self> {
        let home = Arc::new(Home::lock(&env, &config.data)?);
        let membership = home.membership()?;
        let presence = platform.appear(&config, &membership.credentials)?;
        standing::check(membership.node, &presence.standing(), env.clock.wall())?;
        let refusals = Arc::new(Refusals::load(&home, &presence)?);
        let (map, _) = watch::channel(Arc::new(home.map()?));
        let service = Arc::new(NodeService::new(map.clone()));
        let listener = presence.listen(service.clone()).await?;
        let moved = repair::moved(&home)?;
        let native = config.native;
        let start = Start { env, platform, config, membership, presence, refusals, map, moved };
        let (id, cluster) = (start.membership.node, start.view()?);
        let heard = Heard::default();
        let mut node = Self {
            id,
            home,
            listener,
            service,
            cluster,
            tasks: Tasks::default(),
            heard,
            pages: None,
            keeper: None,
        };
        node.pages = node.show(&start).await?;
        // A node that cannot start all of its rooms must not serve with the rest: dropping it closes its doors.
        node.start_rooms(start).await?;
        info!(node = %node.id, %native, "node is up");
        Ok(node)
    }

    /// Where clients connect.
    pub fn native_address(&self) -> std::net::SocketAddr {
        self.listener.native_address()
    }

    /// A view of the cluster with this node's rights.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Where the node shows its health; `None` when it does not.
    pub fn admin_address(&self) -> Option<std::net::SocketAddr> {
        self.pages.as_ref().map(PageServer::address)
    }

    async fn show(&self, start: &Start) -> Result<Option<PageServer>> {
        let (service, cluster, heard) = (self.service.clone(), self.cluster.clone(), self.heard.clone());
        let (counters, roles) = (self.listener.counters(), start.config.roles.clone());
        let health = move || {
            let (meta, block) = (service.meta(), service.block.get());
            let rooms =
                [(Role::Meta, "metaserver", meta.is_some()), (Role::Block, "blockserver", block.is_some())];
            let is_starting = |(role, _, is_up): &(Role, _, bool)| roles.contains(role) && !is_up;
            Health {
                starting: rooms.into_iter().filter(is_starting).map(|(_, name, _)| name).collect(),
                partitions: meta.as_ref().map(|meta| meta.partitions()).unwrap_or_default(),
                epoch: cluster.map().epoch,
                heard: heard.ago(),
                disks: service.disks.get().map(|disks| disks.disks().reports()).unwrap_or_default(),
                disk_problems: service.disks.get().map(|disks| disks.problems()).unwrap_or_default(),
                scrubs: block.map(|block| block.scrubs()).unwrap_or_default(),
                healing: block.map(|block| block.healing().disks).unwrap_or_default(),
                indexes: meta.as_ref().map(|meta| meta.index_stats()).unwrap_or_default(),
                polls: meta.as_ref().map_or(0, |meta| meta.poll_count()),
                polls_woken: meta.as_ref().map_or(0, |meta| meta.poll_woken_count()),
            }
        };
        start.platform.show(&start.config, Arc::new(move |path| health().page(path, &counters))).await
    }

    async fn start_rooms(&mut self, start: Start) -> Result<()> {
        let Start { env, platform, config, membership, map, presence, .. } = &start;
        env::task::spawn(save_maps(self.home.clone(), map.subscribe()));
        if config.roles.contains(&Role::Meta) {
            let keeper = Arc::new(self.keeper(&start).await?);
            self.keeper = Some(keeper.clone());
            keeper.start().await?;
        }
        let renewal = Renewal {
            env: env.clone(),
            node: self.id,
            platform: platform.clone(),
            presence: presence.clone(),
            home: self.home.clone(),
            cluster: self.cluster.clone(),
        };
        self.tasks.0.push(env::task::spawn(renewal.run()));
        let report = Reporter {
            node: self.id,
            service: self.service.clone(),
            cluster: self.cluster.clone(),
            counters: self.listener.counters(),
            config: config.clone(),
            heard: self.heard.clone(),
            refusals: start.refusals.clone(),
        };
        self.tasks.0.push(env::task::spawn(report.run()));
        if config.roles.contains(&Role::Block) {
            let keeper = DiskKeeper::new(Duties {
                env: env.clone(),
                platform: platform.clone(),
                home: self.home.clone(),
                membership: membership.clone(),
                cluster: self.cluster.clone(),
                configured: config.disks.clone(),
            });
            let keeper = keeper.await?;
            let disks = keeper.disks().clone();
            self.tasks.0.push(env::task::spawn(keeper.clone().run()));
            let _ = self.service.disks.set(keeper.clone());
            keeper.wait_a_while().await;
            let secret = membership.secret.clone();
            let block = blockserver::Config { node: self.id, secret, disks };
            let links = Arc::new(BlockLinks::new(self.cluster.clone()));
            let block = Blockserver::start(env.clone(), block, map.subscribe(), links)?;
            blockserver::keep_redundancy(&block);
            blockserver::keep_verifying(&block);
            let _ = self.service.block.set(block);
        }
        Ok(())
    }

    async fn keeper(&self, start: &Start) -> Result<MetaKeeper> {
        let (env, home, config) = (start.env.clone(), self.home.clone(), start.config.clone());
        // From a passphrase it takes its time.
        let unlocking = env::task::blocking(move || unlock::load(&env, &home, &config)).await?;
        Ok(MetaKeeper {
            env: start.env.clone(),
            platform: start.platform.clone(),
            home: self.home.clone(),
            config: start.config.clone(),
            membership: start.membership.clone(),
            unlocking,
            service: self.service.clone(),
            cluster: start.view()?,
            map: start.map.clone(),
            open: Default::default(),
            record: StoreRecord::load(&self.home)?.into(),
            keeping: Default::default(),
        })
    }

    /// Stops in order: hands over what it leads, then no new requests, then the partitions, then the stores.
    pub async fn stop(self) -> Result<()> {
        info!(node = %self.id, "stopping");
        // First of all it stops judging others: it will soon hear from nobody, itself included.
        if let Some(meta) = self.service.meta() {
            meta.retire();
            meta.hand_over().await;
        }
        drop(self.tasks);
        self.listener.shutdown().await;
        match self.keeper {
            Some(keeper) => keeper.stop().await,
            None => Ok(()),
        }
    }
}

/// What a node does unasked, for as long as it is there.
#[derive(Default)]
struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// When somebody has last heard this node. Clones are the same.
#[derive(Clone, Debug, Default)]
struct Heard(Arc<Mutex<Option<Instant>>>);

impl Heard {
    fn note(&self) {
        *self.0.lock().expect("no panic while it is held") = Some(env::time::now());
    }

    fn ago(&self) -> Option<Duration> {
        let last = *self.0.lock().expect("no panic while it is held");
        last.map(|at| env::time::now().saturating_duration_since(at))
    }
}

/// Saves every new map.
async fn save_maps(home: Arc<Home>, mut maps: watch::Receiver<Arc<ClusterMap>>) {
    while maps.changed().await.is_ok() {
        let map = maps.borrow_and_update().clone();
        let home = home.clone();
        if let Err(e) = env::task::blocking(move || home.save_map(&map)).await {
            warn!("the cluster map could not be saved: {e}");
        }
    }
}

/// Sends heartbeats for as long as the node runs.
struct Reporter {
    node: NodeId,
    service: Arc<NodeService>,
    cluster: Arc<Cluster>,
    counters: Arc<Counters>,
    config: NodeConfig,
    heard: Heard,
    refusals: Arc<Refusals>,
}

impl Reporter {
    async fn run(self) {
        let (mut silent, mut refused_for) = (false, None);
        loop {
            let deadline = env::time::now() + NODE_HEARTBEAT_PERIOD * 4;
            let heartbeat = self.heartbeat();
            let seen = self.cluster.ask_until(ROOT, &heartbeat, NODE_HEARTBEAT_PERIOD * 2, deadline).await;
            match seen {
                Ok(HeartbeatSeen { map, level, keys, revoked, wall, refused }) => {
                    self.cluster.env.clock.hear(wall);
                    (silent, refused_for) = (false, None);
                    if let Some(list) = revoked {
                        self.refusals.hear(list).await;
                    }
                    if let Some(meta) = self.service.meta() {
                        meta.hear_level(level);
                        keys.into_iter().for_each(|ring| meta.hear_ring(ring));
                        refused.into_iter().for_each(|why| meta.refuse(why));
                    }
                    self.heard.note();
                    map.into_iter().for_each(|map| self.cluster.offer_map(map));
                }
                Err(e) if e.kind() == ErrorKind::Denied => {
                    // Once for each reason: it is tried again a few times a second.
                    if refused_for.as_ref() != Some(&e) {
                        let node = self.node;
                        warn!(
                            "the cluster does not accept this node: {e}. If it was removed, let it join again with an empty \
                             data directory; if not, it needs `cloudsync admin token create --renew {node}` and \
                             `cloudsync renew`"
                        );
                    }
                    refused_for = Some(e);
                }
                Err(e) => {
                    if !silent {
                        warn!("no leader of the root partition hears this node: {e}");
                    }
                    silent = true;
                }
            }
            env::time::sleep(NODE_HEARTBEAT_PERIOD).await;
        }
    }

    fn heartbeat(&self) -> Heartbeat {
        let (block, disks) = (self.service.block.get(), self.service.disks.get());
        let meta = self.service.meta();
        // Clients speak QUIC, nodes TLS/TCP.
        let traffic = self.counters.of(Transport::Quic);
        Heartbeat {
            node: self.node,
            native: self.config.native,
            control: self.config.control,
            level: LEVEL_NEWEST,
            epoch: self.cluster.map().epoch,
            disks: block.map(|block| block.disk_reports()).unwrap_or_default(),
            disk_problems: disks.map(|disks| disks.problems()).unwrap_or_default(),
            stamp: meta.as_ref().map(|meta| meta.stamp()),
            store_problem: self.service.store_problem(),
            partitions: meta.map(|meta| meta.partition_reports()).unwrap_or_default(),
            revoked_version: self.refusals.version(),
            syncing_slots: block.map_or(0, |block| block.syncing_slots()),
            wall: self.cluster.env.clock.wall(),
            bytes_received: traffic.received,
            bytes_sent: traffic.sent,
        }
    }
}
