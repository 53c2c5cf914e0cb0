//! A cluster of metaservers in one process, on tokio's paused clock.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use env::Env;
use env::disk::SimDisk;
use kv::{Batch, Durability, Kv, Order, Read};
use net::{Authority, KeyPair, Reply, Request, Service};
use proto::Call;
use proto::cluster::{Heartbeat, Joined, RegisterDisks};
use proto::command::{Bootstrap, FirstCertificate};
use proto::keys::{Unlock, UnlockKey};
use proto::map::{ClusterMap, ROOT, Role};
use proto::namespace::{Mode, Op, WriteNamespace, Written};
use raft::{Group, Host, HostConfig, Last};
use tokio::sync::watch;
use tree::root;
use types::limits::{META_DOWN_OUT_DEFAULT, NODE_CERTIFICATE_VALIDITY};
use types::{
    DiskUuid, FeatureLevel, GcEpoch, Identity, Millis, NamespaceId, NamespaceName, NodeId, PartitionId,
    Profile, RequestId, Result,
};

use super::late::LateKv;
use super::links::Links;
use super::words::{
    ANNS, CLUSTER, SECRET, UNLOCK, admin, ann, caller, eventually, heartbeat, join_with, new_node, node,
    of_roles, replica, start, token_for,
};
use crate::{Config, Metaserver, Signer, Unlocking};

/// What a node keeps over a restart.
struct Machine {
    env: Env,
    kv: LateKv,
    map: watch::Sender<Arc<ClusterMap>>,
    unlock: UnlockKey,
    /// The newest feature level that its build knows.
    level: FeatureLevel,
}

/// The cluster.
pub struct World {
    pub env: Env,
    pub net: Links,
    down_out: Duration,
    /// By default leaders stay, so that tests know whom to ask.
    leader_stay: Duration,
    bootstrap: Bootstrap,
    machines: BTreeMap<NodeId, Machine>,
}

fn first(identity: Identity, env: &Env) -> FirstCertificate {
    let issued = env.clock.wall();
    FirstCertificate { identity, issued, expires: issued.plus(NODE_CERTIFICATE_VALIDITY.as_millis() as u64) }
}

fn signer(env: Env) -> Signer {
    Signer(Arc::new(move |authority, request, terms| {
        Authority::from_pem(authority)?.sign(request, terms, &env)
    }))
}

impl World {
    /// A cluster of one metaserver, with Ann's namespace.
    pub async fn one() -> Self {
        Self::of_one(META_DOWN_OUT_DEFAULT, Duration::MAX).await
    }

    /// As [`World::one`], with these settings.
    pub async fn of_one(down_out: Duration, leader_stay: Duration) -> Self {
        let env = Env::simulated(1);
        let net = Links::new();
        let bootstrap = Bootstrap {
            cluster: CLUSTER,
            profile: Profile { k: 2, m: 1 },
            pg_count: 4,
            tree_partitions: 2,
            index_partitions: 2,
            secrets: root::Secrets {
                authority: Authority::create(&env, CLUSTER).unwrap().to_pem(),
                secret: SECRET,
            }
            .seal(&UNLOCK),
            keys: root::found_ring(&UNLOCK, &mut || env.random.bytes(), Millis(1)),
            node: new_node(1, &[Role::Meta, Role::Block]),
            certificates: [node(1), admin()].map(|identity| first(identity, &env)).into(),
        };
        let map = root::bootstrap_map(&bootstrap);
        let mut world = Self { env, net, down_out, leader_stay, bootstrap, machines: BTreeMap::new() };
        world.add(1, map).await;
        assert_eq!(world.give("ann", &ann()).await, ANNS);
        world
    }

    /// Gives node 1 as many disks as the profile needs, so that chunks have somewhere to be.
    pub async fn add_disks(&self) {
        let disks = (1..=3).map(|id| (DiskUuid([id; 16]), 100)).collect();
        self.ask(1, &super::words::node(1), &RegisterDisks { node: NodeId(1), disks }).await.unwrap();
    }

    /// A cluster of three metaservers that all vote; the first leads everything.
    pub async fn three() -> Self {
        let mut world = Self::one().await;
        for id in [2, 3] {
            let joined = world.join(id, &[Role::Meta]).await;
            world.add(id, joined.map).await;
        }
        world.until("three voters everywhere", || world.vote(&[1, 2, 3], &[1, 2, 3])).await;
        assert!(world.map(1).partitions.iter().all(|p| world.group(1, p.id).is_leader()));
        world
    }

    /// Lets a node join. It sends heartbeats from now on.
    pub async fn join(&self, id: u64, roles: &[Role]) -> Joined {
        let token = self.ask(1, &admin(), &token_for(1)).await.unwrap();
        let request = KeyPair::create().unwrap().request().unwrap();
        let join = join_with(token.secret, request, id, roles);
        let joined = self.ask(1, &Identity::Anonymous, &join).await.unwrap();
        assert_eq!(joined.node, NodeId(id));
        self.net.say(of_roles(heartbeat(id), roles));
        joined
    }

    /// Starts a new metaserver that knows `map`.
    pub async fn add(&mut self, id: u64, map: ClusterMap) {
        self.net.say(heartbeat(id));
        let random = env::Random::seeded(100 + id);
        let env = Env { disk: Arc::new(SimDisk::new(id)), random, ..self.env.clone() };
        let map = watch::channel(Arc::new(map)).0;
        self.net.follow(id, map.clone());
        let machine = Machine { env, kv: LateKv::new(id), map, unlock: UNLOCK, level: FeatureLevel::FIRST };
        self.machines.insert(NodeId(id), machine);
        self.start(id).await;
    }

    /// Replaces a running metaserver by a build that knows feature levels up to `level`.
    pub async fn update(&mut self, id: u64, level: FeatureLevel) {
        self.try_update(id, level).await.unwrap();
    }

    pub async fn try_update(&mut self, id: u64, level: FeatureLevel) -> Result<()> {
        self.stop(id).await;
        self.machines.get_mut(&NodeId(id)).unwrap().level = level;
        self.try_start(id).await?;
        self.net.say(Heartbeat { level, ..heartbeat(id) });
        Ok(())
    }

    /// Stops a metaserver and starts it with another unlock key.
    pub async fn restart_with(&mut self, id: u64, unlock: UnlockKey) -> Result<()> {
        self.stop(id).await;
        self.machines.get_mut(&NodeId(id)).unwrap().unlock = unlock;
        self.try_start(id).await
    }

    /// Starts a metaserver from what its machine has kept.
    pub async fn start(&self, id: u64) {
        self.try_start(id).await.unwrap();
    }

    async fn try_start(&self, id: u64) -> Result<()> {
        let machine = &self.machines[&NodeId(id)];
        let (env, network) = (machine.env.clone(), self.net.line(id));
        let host = HostConfig::new(replica(id), start(id), Last::default(), PathBuf::from("/log"));
        let host = Host::open(env.clone(), host, Arc::new(machine.kv.clone()), network).await.unwrap();
        let config = Config {
            host,
            secret: SECRET,
            unlocking: Unlocking { key: machine.unlock.clone(), how: Unlock::File(machine.unlock.clone()) },
            bootstrap: (id == 1).then(|| self.bootstrap.clone()),
            signer: signer(env.clone()),
            down_out: self.down_out,
            leader_stay: self.leader_stay,
            level: machine.level,
        };
        let server = Metaserver::start(env, config, machine.map.clone()).await?;
        self.net.attach(id, server);
        Ok(())
    }

    /// Stops a metaserver; its heartbeats go on.
    pub async fn stop(&self, id: u64) {
        let server = self.server(id);
        self.net.detach(id);
        server.shutdown().await;
    }

    pub fn server(&self, id: u64) -> Arc<Metaserver> {
        self.net.server(id)
    }

    /// The map as a node knows it.
    pub fn map(&self, id: u64) -> Arc<ClusterMap> {
        self.machines[&NodeId(id)].map.borrow().clone()
    }

    pub fn group(&self, id: u64, partition: PartitionId) -> Arc<Group> {
        self.server(id).group(partition).unwrap().clone()
    }

    /// True when these nodes, and no others, vote in every partition and will do so, as each of `seen_by` knows.
    pub fn vote(&self, nodes: &[u64], seen_by: &[u64]) -> bool {
        let voters = BTreeSet::from_iter(nodes.iter().map(|id| replica(*id)));
        seen_by.iter().all(|id| {
            let server = self.server(*id);
            self.map(*id).partitions.iter().all(|partition| {
                let wanted: BTreeSet<_> = partition.voters.iter().map(|id| replica(id.0)).collect();
                let found = server.group(partition.id).map(|group| group.voters());
                wanted == voters && found == Ok(wanted)
            })
        })
    }

    /// Which of the servers leads a partition and can prove it.
    pub async fn leader(&self, partition: PartitionId) -> u64 {
        let ids = self.net.serving();
        eventually("a leader", async || {
            for id in &ids {
                let Ok(group) = self.server(*id).group(partition) else { continue };
                if group.is_leader() && group.linearize().await.is_ok() {
                    return Some(*id);
                }
            }
            None
        })
        .await
    }

    /// Makes another node the leader of a partition.
    pub async fn transfer(&self, partition: PartitionId, target: u64) {
        let leader = self.leader(partition).await;
        self.group(leader, partition).transfer_leader(replica(target)).await.unwrap();
        eventually("the new leader", async || (self.leader(partition).await == target).then_some(())).await;
    }

    /// Puts a request to a node.
    pub async fn send(&self, id: u64, who: &Identity, request: Request) -> Result<Reply> {
        self.server(id).call(&caller(who), request, env::time::now()).await
    }

    /// Asks a node a question.
    pub async fn ask<Q: Call>(&self, id: u64, who: &Identity, question: &Q) -> Result<Q::Answer> {
        self.send(id, who, Request::of(question, Bytes::new())).await?.answer::<Q>()
    }

    /// Makes somebody's namespace: no verb does so for users.
    pub async fn give(&self, name: &str, owner: &Identity) -> NamespaceId {
        let name = NamespaceName::parse(name).unwrap();
        self.server(1).put_namespace(name, owner.to_string()).await.unwrap()
    }

    /// A batch for Ann's namespace, under a request id of its own.
    pub fn batch(&self, mode: Mode, ops: Vec<Op>) -> WriteNamespace {
        WriteNamespace { namespace: ANNS, request: RequestId(self.env.random.bytes()), mode, ops }
    }

    /// Has Ann make changes that must all succeed, through the first node.
    pub async fn write(&self, ops: Vec<Op>) -> Written {
        let written = self.ask(1, &ann(), &self.batch(Mode::Atomic, ops)).await.unwrap();
        assert!(written.results.iter().all(Result::is_ok), "{written:?}");
        written
    }

    /// Waits until `done`, for a simulated minute at most.
    pub async fn until(&self, what: &str, done: impl Fn() -> bool) {
        eventually(what, async || done().then_some(())).await;
    }

    /// A hash of everything a node has stored: equal when nothing was done.
    pub fn state(&self, id: u64) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        let mut add = |key: &[u8], value: &[u8]| {
            hasher.update(&(key.len() as u64).to_le_bytes()).update(key);
            hasher.update(&(value.len() as u64).to_le_bytes()).update(value);
            ControlFlow::Continue(())
        };
        self.kv(id).scan(b"", b"", Order::Forward, &mut add).unwrap();
        hasher.finalize()
    }

    /// Rows that a node has of a partition: of its state, and beside it.
    pub fn row_count(&self, id: u64, partition: PartitionId) -> usize {
        let mut count = 0;
        for table in [b"m", b"s", b"k"] {
            let prefix = [&table[..], &partition.0.to_be_bytes()].concat();
            let mut visit = |_: &[u8], _: &[u8]| {
                count += 1;
                ControlFlow::Continue(())
            };
            self.kv(id).scan(&prefix, &kv::prefix_end(&prefix), Order::Forward, &mut visit).unwrap();
        }
        count
    }

    /// What a node has stored.
    pub fn kv(&self, id: u64) -> &LateKv {
        &self.machines[&NodeId(id)].kv
    }

    /// The files of a node's log.
    pub fn log(&self, id: u64) -> Vec<Vec<u8>> {
        let (disk, dir) = (&self.machines[&NodeId(id)].env.disk, PathBuf::from("/log"));
        disk.read_dir(&dir).unwrap().iter().filter_map(|name| disk.read(&dir.join(name)).ok()).collect()
    }

    /// Begins a new epoch of garbage collection in a partition of the index: no command does so yet. The row is `g`
    /// behind the prefix of the partition's state (docs/formats/metadata-rows.md).
    pub fn set_gc_epoch(&self, partition: PartitionId, epoch: GcEpoch) {
        let group = [b"s", &partition.0.to_be_bytes()[..]].concat();
        let mut prefix = Vec::new();
        let mut first = |key: &[u8], _: &[u8]| {
            prefix = key[..group.len() + 4].to_vec();
            ControlFlow::Break(())
        };
        self.kv(1).scan(&group, &kv::prefix_end(&group), Order::Forward, &mut first).unwrap();
        let mut batch = Batch::new();
        let row = [&[1], &proto::encode(&epoch)[..]].concat();
        batch.put(&[&prefix[..], &[0xff, 0xff, b'g']].concat(), &row);
        self.kv(1).write(batch, Durability::Buffered).unwrap();
    }

    /// Replaces every row of the first node's states by one that no build has written.
    pub fn scribble(&self) {
        let mut batch = Batch::new();
        let mut visit = |key: &[u8], _: &[u8]| {
            batch.put(key, &[0]);
            ControlFlow::Continue(())
        };
        self.kv(1).scan(b"s", b"t", Order::Forward, &mut visit).unwrap();
        self.kv(1).write(batch, Durability::Buffered).unwrap();
    }

    pub fn now(&self) -> Millis {
        self.env.clock.wall()
    }

    /// The map that the root's leader has decided.
    pub fn decided(&self) -> ClusterMap {
        self.group(1, ROOT).read(|state| root::map(state)).unwrap().unwrap()
    }
}
