//! The world of a run: nodes with their disks, stores, clocks and processes, clients, and the network between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::{Cluster, Endpoints};
use env::disk::{DiskImage, SimDisk};
use env::task::Owner;
use env::{Disk, Env, Random};
use net::testing::{Jitter, LinkFaults, Switchboard};
use net::{Dial, Transport};
use node::config::{ClusterConfig, NodeConfig};
use node::{JoinToken, Node, Platform};
use oracle::Inventory;
use proto::certificates::{CreateToken, Grant};
use proto::map::Role;
use tokio::sync::oneshot;
use types::{Error, Identity, NodeId, Profile, Result, limits};

use crate::plan::Harm;
use crate::platform::{SimPlatform, StoreImages};
use crate::trace::Trace;

/// The address of who looks at disks.
const OBSERVER: ([u8; 4], u16) = ([10, 2, 0, 1], 1);

/// What a world is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Nodes, each with one disk, over three zones.
    pub nodes: u64,
    /// How many of them hold metadata, the first ones.
    pub meta: u64,
    /// Redundancy of every chunk.
    pub profile: Profile,
    /// Placement groups.
    pub pg_count: u16,
}

/// Nodes and the network between them.
pub struct World {
    /// Every choice of the world that is not one of its parts'.
    pub random: Random,
    /// What carries every message between them; no address is open until its node has started.
    pub network: Switchboard,
    trace: Trace,
    nodes: Vec<SimNode>,
}

/// One machine: what outlives its processes, and the process if one runs.
struct SimNode {
    id: NodeId,
    config: NodeConfig,
    env: Env,
    disk: SimDisk,
    platform: Arc<SimPlatform>,
    lives: u64,
    /// What it once had in its data directory.
    copy: Option<(DiskImage, StoreImages)>,
    process: Option<Process>,
}

/// A running node. Ending it in an orderly way is not what a simulation is for.
struct Process {
    owner: Owner,
}

/// The links of a healthy world.
pub fn healthy_links() -> LinkFaults {
    let delay = limits::SIM_LATENCY;
    LinkFaults { delay, jitter: Jitter::Uniform(delay), ..LinkFaults::default() }
}

impl World {
    /// A world in which nothing runs yet. What happens in it is written to `trace`.
    pub fn new(seed: u64, shape: Shape, trace: &Trace) -> Self {
        let random = Random::seeded(seed);
        let network = Switchboard::seeded(Random::seeded(random.u64()));
        network.set_default(healthy_links());
        let links = trace.clone();
        network.on_event(move |event| links.link(*event));
        let node = |number: u64| SimNode::new(number, shape, &random, &network);
        let nodes = (1..=shape.nodes).map(node).collect();
        Self { random, network, trace: trace.clone(), nodes }
    }

    /// Founds the cluster on node 1, lets all others join, and starts them.
    pub async fn found(&mut self) -> Result<()> {
        let token = self.begin().await?;
        for id in self.ids().split_off(1) {
            self.join(id, &token).await?;
            self.start(id).await?;
        }
        Ok(())
    }

    /// Founds the cluster on node 1 and starts it. Returns what the others need to join.
    pub async fn begin(&mut self) -> Result<JoinToken> {
        let first = &mut self.nodes[0];
        first
            .on_its_own(|env, platform, config| async move { node::init(&env, &*platform, &config) })
            .await?;
        first.start().await?;
        let admin = self.client(0).await?;
        let (grant, uses) = (Grant::Join(Role::Meta), self.nodes.len() as u32);
        let secret = admin.ask_root(&CreateToken { grant, uses, valid_ms: 3_600_000 }).await?.secret;
        let control = vec![self.nodes[0].config.control];
        Ok(JoinToken { secret, control, authority: String::new() })
    }

    /// Lets a node join. It does not run yet.
    pub async fn join(&mut self, id: NodeId, token: &JoinToken) -> Result<()> {
        let token = token.clone();
        let step = |env, platform: Arc<dyn Platform>, config| async move {
            node::join(&env, &*platform, &config, &token).await.map(drop)
        };
        self.node(id).on_its_own(step).await
    }

    /// The address of a client. Clients have no disk that outlives them.
    pub fn client_address(number: u64) -> SocketAddr {
        SocketAddr::from(([10, 1, 0, number as u8 + 1], 1))
    }

    /// A client of its own, with the rights of the administrator.
    pub async fn client(&self, number: u64) -> Result<Arc<Cluster>> {
        let env = Env { disk: Arc::new(SimDisk::new(number)), ..Env::simulated(self.random.u64()) };
        let dial = self.network.dialer(Self::client_address(number), Identity::Admin("admin".to_owned()));
        let addresses = self.nodes.iter().map(|node| node.config.native).collect();
        let endpoints = Endpoints { addresses, transport: Transport::Quic };
        Cluster::connect(env, dial, endpoints, limits::SIM_CONNECT_TIMEOUT).await
    }

    /// The network as somebody beside the cluster uses it who passes for `identity`.
    pub fn dialer(&self, identity: Identity) -> Arc<dyn Dial> {
        self.network.dialer(SocketAddr::from(OBSERVER), identity)
    }

    /// All nodes.
    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    /// Where a node is reached. All its ports are at one machine.
    pub fn address(&self, id: NodeId) -> SocketAddr {
        self.get(id).config.native
    }

    /// The disk of a node.
    pub fn disk(&self, id: NodeId) -> &SimDisk {
        &self.get(id).disk
    }

    /// The stores of a node.
    pub fn platform(&self, id: NodeId) -> &SimPlatform {
        &self.get(id).platform
    }

    /// Starts the process of a node; returns when it serves.
    pub async fn start(&mut self, id: NodeId) -> Result<()> {
        self.trace.note(format_args!("node {id} starts"));
        self.network.rejoin(self.address(id));
        self.node(id).start().await.map_err(|e| e.context(format!("start node {id}")))
    }

    /// Power loss of a node: its process ends where it is, nothing speaks for it, and its disk and stores lose what was
    /// not synced.
    pub fn crash(&mut self, id: NodeId) {
        self.trace.note(format_args!("node {id} loses its power"));
        self.network.isolate(self.address(id));
        let network = self.network.clone();
        self.node(id).crash(&network);
    }

    /// Makes a copy of what a node has in its data directory, for [`Harm::SetBack`] and [`Harm::NodeSetBack`].
    pub fn copy(&mut self, id: NodeId) {
        let node = self.node(id);
        node.copy = Some((node.disk.image(), node.platform.image()));
    }

    /// Harms the metadata of a node. Its process must not run.
    pub fn harm(&mut self, id: NodeId, harm: Harm) {
        self.trace.note(format_args!("harms the metadata of node {id}: {harm:?}"));
        self.node(id).harm(harm);
    }

    /// Removes everything in a directory of a node. Its process must not run.
    pub fn lose_files(&mut self, id: NodeId, dir: &Path) {
        let disk = self.node(id).disk.reopen();
        let names = disk.read_dir(dir).expect("a disk that was used has this directory");
        let removed = names.iter().try_for_each(|name| disk.remove_file(&dir.join(name)));
        removed.and_then(|()| disk.sync_dir(dir)).expect("a healthy disk removes files");
    }

    /// Sets the wall clock of a node by this many milliseconds.
    pub fn jump_clock(&self, id: NodeId, ms: i64) {
        self.get(id).env.clock.jump(ms);
    }

    /// What nodes and clients have in their hands right now.
    pub fn inventory(&self) -> Inventory {
        let processes = self.nodes.iter().filter_map(|node| node.process.as_ref());
        let tasks = processes.map(|process| process.owner.task_count() as u64).sum();
        let calls = self.network.open_calls();
        let requests = calls.values().map(|calls| (calls.asked + calls.answering) as u64).sum();
        Inventory { permits: 0, tasks, requests }
    }

    /// The tasks of all nodes: how many were started where.
    pub fn task_sites(&self) -> BTreeMap<String, u64> {
        let processes = self.nodes.iter().filter_map(|node| node.process.as_ref());
        let mut sites = BTreeMap::new();
        for site in processes.flat_map(|process| process.owner.task_sites()) {
            *sites.entry(site).or_default() += 1;
        }
        sites
    }

    /// Disks that failed a write, and so are read-only until they are replaced.
    pub fn failed_disk_count(&self) -> usize {
        let counts = self.nodes.iter().map(|node| node.disk.counts());
        counts.filter(|counts| counts.write_errors + counts.short_writes > 0).count()
    }

    /// How often each thing went wrong, where it did.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let disks = self.nodes.iter().flat_map(|node| node.disk.counts().rows());
        let stores = self.nodes.iter().flat_map(|node| node.platform.counts());
        let mut counts = BTreeMap::new();
        for (name, count) in self.network.counts().rows().into_iter().chain(disks).chain(stores) {
            *counts.entry(name).or_insert(0) += count;
        }
        counts.retain(|_, count| *count > 0);
        counts
    }

    /// Lets a node stand still; time goes on without it.
    pub fn pause(&self, id: NodeId) {
        self.get(id).process.iter().for_each(|process| process.owner.pause());
    }

    /// Suspends the machine of a node: it stands still, its monotonic clock included; boot time goes on.
    pub fn suspend(&self, id: NodeId) {
        self.get(id).process.iter().for_each(|process| process.owner.suspend());
    }

    /// Lets a node go on.
    pub fn resume(&self, id: NodeId) {
        self.get(id).process.iter().for_each(|process| process.owner.resume());
    }

    fn get(&self, id: NodeId) -> &SimNode {
        self.nodes.iter().find(|node| node.id == id).expect("only ids of the world are used")
    }

    fn node(&mut self, id: NodeId) -> &mut SimNode {
        self.nodes.iter_mut().find(|node| node.id == id).expect("only ids of the world are used")
    }
}

impl SimNode {
    fn new(number: u64, shape: Shape, random: &Random, network: &Switchboard) -> Self {
        let seed = random.u64();
        let address = |port| SocketAddr::from(([10, 0, 0, number as u8], port));
        let is_meta = number <= shape.meta;
        let config = NodeConfig {
            data: PathBuf::from("/data"),
            zone: format!("zone{}", (number - 1) % 3 + 1),
            roles: if is_meta { vec![Role::Meta, Role::Block] } else { vec![Role::Block] },
            native: address(7400),
            control: address(7401),
            admin: None,
            disks: vec![PathBuf::from("/disk1")],
            meta_down_out: limits::SIM_META_DOWN_OUT,
            log_tail_count: limits::SIM_LOG_TAIL_COUNT,
            cluster: ClusterConfig {
                profile: shape.profile,
                pg_count: shape.pg_count,
                ..ClusterConfig::default()
            },
        };
        let disk = SimDisk::new(seed);
        let env = Env { disk: Arc::new(disk.clone()), ..Env::simulated(seed + 1) };
        let platform =
            Arc::new(SimPlatform::new(network.clone(), Random::seeded(seed + 2), env.clock.clone()));
        Self { id: NodeId(number), config, env, disk, platform, lives: 0, copy: None, process: None }
    }

    /// Runs a step of the node's set-up as a process of its own.
    async fn on_its_own<F>(
        &mut self,
        step: impl FnOnce(Env, Arc<dyn Platform>, NodeConfig) -> F + Send + 'static,
    ) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let owner = self.new_life();
        let (env, platform, config) = (self.env.clone(), self.platform.clone(), self.config.clone());
        let done = owner.spawn(async move { step(env, platform, config).await });
        let done = done.await.map_err(|e| Error::internal(e.to_string()))?;
        owner.kill();
        done
    }

    /// The owner of a new process, and a disk on which what is left of the one before changes nothing.
    fn new_life(&mut self) -> Owner {
        self.lives += 1;
        self.disk = self.disk.reopen();
        self.env.disk = Arc::new(self.disk.clone());
        Owner::new(format!("node{}.{}", self.id, self.lives), Random::seeded(self.env.random.u64()))
    }

    /// Starts the process; returns when it serves, or with the reason why it does not.
    async fn start(&mut self) -> Result<()> {
        assert!(self.process.is_none(), "node {} runs already", self.id);
        let owner = self.new_life();
        let (env, platform, config) = (self.env.clone(), self.platform.clone(), self.config.clone());
        let (started, start) = oneshot::channel();
        owner.spawn(async move {
            let started_node = Node::start(env, platform, config).await;
            let (node, outcome) = match started_node {
                Ok(node) => (Some(node), Ok(())),
                Err(e) => (None, Err(e)),
            };
            let _ = started.send(outcome); // The world may have ended.
            if node.is_some() {
                std::future::pending::<()>().await; // Until the power fails.
            }
        });
        self.process = Some(Process { owner });
        let outcome = start.await.unwrap_or_else(|_| Err(Error::unavailable("killed while it started")));
        if outcome.is_err() {
            self.process = None;
        }
        outcome
    }

    fn harm(&mut self, harm: Harm) {
        let (data, meta) = (self.config.data.clone(), self.config.data.join("meta"));
        let disk = self.disk.reopen();
        let remove = |path: &Path| {
            disk.remove_dir_all(path).and_then(|()| disk.sync_dir(&data)).expect("a healthy disk removes it");
        };
        let set_back = |path: &Path| {
            let (files, stores) = self.copy.as_ref().expect("it was copied before");
            disk.put_back(files, path);
            self.platform.put_back(stores, path);
        };
        match harm {
            Harm::Lost => {
                remove(&meta);
                self.platform.lose(&meta);
            }
            Harm::LogLost => {
                let stores = disk.read_dir(&meta).expect("a meta node has this directory");
                stores.iter().for_each(|store| remove(&meta.join(store)));
            }
            Harm::StatesLost => self.platform.lose(&meta),
            Harm::SetBack => set_back(&meta),
            Harm::NodeSetBack => set_back(&data),
            Harm::StatesRot(count) => self.platform.rot(&meta, count),
            Harm::LogRot(count) => drop(disk.rot(&meta, count)),
        }
    }

    fn crash(&mut self, network: &Switchboard) {
        // First of all its disk and stores take no more: what its values do when they are dropped comes too late.
        self.disk.crash();
        self.platform.crash();
        [self.config.native, self.config.control].iter().for_each(|address| network.detach(*address));
        if let Some(process) = self.process.take() {
            process.owner.kill();
        }
    }
}
