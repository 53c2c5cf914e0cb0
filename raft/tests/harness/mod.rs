//! Several nodes in one process: a network whose links can be cut, disks and stores that forget at a crash.
//!
//! Runs on tokio's paused clock with one thread, so simulated seconds cost nothing and a seed gives one order of
//! events.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use env::disk::SimDisk;
use env::task::Owner;
use env::{Env, Random};
use kv::{MemKv, Order, Overlay, Read};
use raft::{Applied, Group, Host, HostConfig, Last, LogTail, Network, OpenError, StateMachine};
use types::{Error, ErrorKind, NodeId, PartitionId, ReplicaId, Result, Start, StoreUuid};

pub const GROUPS: [PartitionId; 3] = [PartitionId(1), PartitionId(2), PartitionId(3)];
pub const A: PartitionId = GROUPS[0];

/// The first store of a node.
pub fn replica(node: u64) -> ReplicaId {
    ReplicaId::new(NodeId(node), 1)
}

/// The next start of a store that was left as `last` says.
pub fn config(replica: ReplicaId, last: Last, log_dir: PathBuf) -> HostConfig {
    let store = StoreUuid([replica.node().0 as u8; 16]);
    let start = Start { store, count: last.count + 1, nonce: last.count };
    HostConfig::new(replica, start, last, log_dir)
}

/// Keeps every command under its index, and the number of commands.
#[derive(Default)]
pub struct Recorder {
    /// What `restored` saw last: the rows of the state.
    pub restored: Mutex<Option<usize>>,
    pub told: Mutex<u64>,
}

impl StateMachine for Recorder {
    fn apply(&self, state: &mut Overlay<'_>, index: u64, command: &[u8]) -> Result<Bytes> {
        let count =
            state.get(b"count").unwrap().map_or(0, |c| u64::from_be_bytes(c[..].try_into().unwrap())) + 1;
        assert_eq!(count, index, "indexes have no gaps, and every command is applied once");
        state.put(Bytes::from_static(b"count"), Bytes::copy_from_slice(&count.to_be_bytes()));
        state.put([b"c", &index.to_be_bytes()[..]].concat(), Bytes::copy_from_slice(command));
        Ok(Bytes::from([b"did ", command].concat()))
    }

    fn applied(&self, index: u64, _changes: &Overlay<'_>) {
        *self.told.lock().unwrap() = index;
    }

    fn restored(&self, state: &dyn Read) -> Result<()> {
        *self.restored.lock().unwrap() = Some(list(state).len());
        Ok(())
    }
}

/// The commands that a copy has recorded, in order.
pub fn commands(group: &Arc<Group>) -> Vec<String> {
    group.read(|state| Ok(list(state))).unwrap()
}

/// The recorded commands in order.
pub fn list(state: &dyn Read) -> Vec<String> {
    let mut found = Vec::new();
    let visit = &mut |key: &[u8], command: &[u8]| {
        if key != b"count" {
            found.push(String::from_utf8(command.to_vec()).unwrap());
        }
        ControlFlow::Continue(())
    };
    state.scan(b"c\0", b"d", Order::Forward, visit).unwrap();
    found
}

#[derive(Default)]
struct Links {
    hosts: BTreeMap<NodeId, Arc<Host>>,
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Large messages are slow, and of so many one is lost, or its answer is.
    large_loss: Option<u64>,
    large_count: u64,
    /// Messages by source and target.
    sent: BTreeMap<(NodeId, NodeId), u64>,
}

/// Large enough to be no entry of these tests.
const LARGE_SIZE_MIN: usize = 1 << 20;

/// The network of all nodes.
#[derive(Clone)]
pub struct Net {
    links: Arc<Mutex<Links>>,
    random: Random,
}

/// The network as one node sees it.
struct Line {
    net: Net,
    source: NodeId,
}

impl Net {
    fn reach(&self, source: NodeId, target: NodeId) -> Option<Arc<Host>> {
        let links = self.links.lock().unwrap();
        if links.cut.contains(&(source, target)) { None } else { links.hosts.get(&target).cloned() }
    }

    /// From now on large messages are slow, and one of `count` is lost, or its answer is.
    pub fn lose_large(&self, count: Option<u64>) {
        self.links.lock().unwrap().large_loss = count;
    }

    /// Messages so far, by source and target.
    pub fn sent(&self) -> BTreeMap<(NodeId, NodeId), u64> {
        self.links.lock().unwrap().sent.clone()
    }

    /// Large messages so far.
    pub fn large_count(&self) -> u64 {
        self.links.lock().unwrap().large_count
    }

    /// Whether a message, and whether its answer arrives.
    async fn carry(&self, size: usize) -> (bool, bool) {
        if size < LARGE_SIZE_MIN {
            return (true, true);
        }
        let lost = {
            let mut links = self.links.lock().unwrap();
            links.large_count += 1;
            let count = links.large_count;
            let Some(loss) = links.large_loss else { return (true, true) };
            (count.is_multiple_of(2 * loss), count.is_multiple_of(loss))
        };
        env::time::sleep(Duration::from_millis(700)).await;
        (!lost.0, !lost.1)
    }

    async fn travel(&self) {
        env::time::sleep(Duration::from_micros(200 + self.random.below(2000))).await;
    }
}

#[async_trait]
impl Network for Line {
    async fn send(&self, target: NodeId, message: Bytes, timeout: Duration) -> Result<Bytes> {
        let lost = || Error::unavailable(format!("node {target} does not answer"));
        *self.net.links.lock().unwrap().sent.entry((self.source, target)).or_default() += 1;
        let call = async {
            self.net.travel().await;
            let (arrives, is_answered) = self.net.carry(message.len()).await;
            let host = self.net.reach(self.source, target).filter(|_| arrives).ok_or_else(lost)?;
            let answer = host.handle(self.source, message).await;
            self.net.travel().await;
            let (_, returns) = self.net.carry(answer.as_ref().map_or(0, Bytes::len)).await;
            self.net.reach(target, self.source).filter(|_| is_answered && returns).ok_or_else(lost)?;
            answer
        };
        env::time::timeout(timeout, call).await.unwrap_or_else(|_| Err(lost()))
    }
}

/// What survives a crash of a node.
pub struct Node {
    pub id: ReplicaId,
    pub env: Env,
    pub disk: SimDisk,
    pub kv: MemKv,
    pub machines: BTreeMap<PartitionId, Arc<Recorder>>,
    pub host: Option<Arc<Host>>,
    /// What a node keeps beside its store.
    pub last: Last,
    /// Its states are begun anew.
    pub fresh: bool,
    /// To whom its tasks belong, in a cluster whose machines can be suspended.
    pub owner: Option<Owner>,
}

pub struct Cluster {
    pub nodes: BTreeMap<ReplicaId, Node>,
    pub net: Net,
    pub tail: LogTail,
    /// Each node is a machine of its own, that can be suspended.
    pub is_owned: bool,
    seed: u64,
}

impl Cluster {
    /// Nodes 1 to `count`, running, with empty groups.
    pub async fn start(seed: u64, count: u64) -> Self {
        let net = Net { links: Arc::default(), random: Random::seeded(seed) };
        let tail = config(replica(1), Last::default(), "/log".into()).log_tail;
        let mut cluster = Self { nodes: BTreeMap::new(), net, tail, is_owned: false, seed };
        for id in 1..=count {
            cluster.add(replica(id)).await;
        }
        cluster
    }

    /// As [`Cluster::with_leaders`], of machines that can be suspended.
    pub async fn of_machines(seed: u64, count: u64) -> Self {
        let mut cluster = Self::start(seed, 0).await;
        cluster.is_owned = true;
        for id in 1..=count {
            cluster.add(replica(id)).await;
        }
        cluster.elect().await;
        cluster
    }

    /// A cluster whose groups have all nodes as voters and a leader.
    pub async fn with_leaders(seed: u64, count: u64) -> Self {
        let cluster = Self::start(seed, count).await;
        cluster.elect().await;
        cluster
    }

    /// Three nodes that have applied 200 commands (10 MB) and kept only the end of the log.
    pub async fn with_short_logs(seed: u64) -> Self {
        let mut cluster = Self::start(seed, 0).await;
        cluster.tail.count = 20;
        for id in 1..=3 {
            cluster.add(replica(id)).await;
        }
        cluster.group(replica(1), A).initialize((1..=3).map(replica).collect()).await.unwrap();
        for count in 0..200 {
            cluster.propose(A, &format!("{count:0>50000}")).await;
        }
        env::time::sleep(Duration::from_secs(5)).await;
        cluster
    }

    async fn elect(&self) {
        let voters: BTreeSet<ReplicaId> = self.nodes.keys().copied().collect();
        for group in GROUPS {
            self.group(replica(1), group).initialize(voters.clone()).await.unwrap();
        }
        for group in GROUPS {
            self.leader(group).await;
        }
    }

    /// A new, empty node.
    pub async fn add(&mut self, id: ReplicaId) {
        let seed = self.seed * 1000 + id.0;
        let disk = SimDisk::new(seed);
        let env = Env { disk: Arc::new(disk.clone()), ..Env::simulated(seed) };
        let owner = self.is_owned.then(|| Owner::new(id.to_string(), Random::seeded(seed)));
        let (kv, machines, last) = (MemKv::new(seed), BTreeMap::new(), Last::default());
        let node = Node { id, env, disk, kv, machines, host: None, last, fresh: false, owner };
        self.nodes.insert(id, node);
        self.open(id).await;
    }

    /// Starts a stopped node from what it has on disk.
    pub async fn open(&mut self, id: ReplicaId) {
        self.try_open(id).await.unwrap();
    }

    /// As `open`, when it may be refused.
    pub async fn try_open(&mut self, id: ReplicaId) -> Result<(), OpenError> {
        let node = self.nodes.get_mut(&id).unwrap();
        // Wider than in production: fewer candidates stand in the same millisecond, where chance inside tokio decides.
        let election_ms = 600..1200;
        let config = config(id, node.last, "/log".into());
        let config = HostConfig { log_tail: self.tail, election_ms, fresh_state: node.fresh, ..config };
        let network = Arc::new(Line { net: self.net.clone(), source: id.node() });
        node.machines = GROUPS.map(|group| (group, Arc::new(Recorder::default()))).into();
        let (env, kv, machines) = (node.env.clone(), Arc::new(node.kv.clone()), node.machines.clone());
        let open = async move {
            let host = Host::open(env, config, kv, network).await?;
            for (group, machine) in machines {
                host.open_group(group, machine).await.unwrap();
            }
            Ok::<_, OpenError>(Arc::new(host))
        };
        let host = match &node.owner {
            Some(owner) => owner.spawn(open).await.unwrap()?,
            None => open.await?,
        };
        node.last.count += 1;
        node.fresh = false;
        node.host = Some(host.clone());
        self.net.links.lock().unwrap().hosts.insert(id.node(), host);
        Ok(())
    }

    /// Power loss.
    pub async fn crash(&mut self, id: ReplicaId) {
        let host = self.net.links.lock().unwrap().hosts.remove(&id.node()).unwrap();
        let node = self.nodes.get_mut(&id).unwrap();
        node.host = None;
        node.last.mark = host.stamp().mark;
        host.kill().await;
        node.disk.crash();
        node.kv.crash();
    }

    /// Power loss of a node whose states cannot be read afterwards: it begins them anew.
    pub async fn lose_states(&mut self, id: ReplicaId) {
        self.crash(id).await;
        let node = self.nodes.get_mut(&id).unwrap();
        node.kv.lose();
        node.fresh = true;
    }

    /// Cuts or mends all links of a node.
    pub fn isolate(&self, id: ReplicaId, cut: bool) {
        let mut links = self.net.links.lock().unwrap();
        for other in self.nodes.keys().filter(|other| **other != id) {
            for link in [(id.node(), other.node()), (other.node(), id.node())] {
                if cut {
                    links.cut.insert(link)
                } else {
                    links.cut.remove(&link)
                };
            }
        }
    }

    /// The network as this node sees it.
    pub fn line(&self, id: ReplicaId) -> Arc<dyn Network> {
        Arc::new(Line { net: self.net.clone(), source: id.node() })
    }

    /// What is sent to one node reaches the other.
    pub fn swap(&self, a: ReplicaId, b: ReplicaId) {
        let mut links = self.net.links.lock().unwrap();
        let (one, other) = (links.hosts.remove(&a.node()).unwrap(), links.hosts.remove(&b.node()).unwrap());
        links.hosts.insert(a.node(), other);
        links.hosts.insert(b.node(), one);
    }

    pub fn group(&self, node: ReplicaId, group: PartitionId) -> Arc<Group> {
        self.nodes[&node].host.as_ref().expect("running").group(group).unwrap()
    }

    /// The group on the leader, once a majority agrees on it.
    pub async fn leader(&self, group: PartitionId) -> Arc<Group> {
        self.leader_except(group, replica(0)).await
    }

    /// As `leader`, but not on this node.
    pub async fn leader_except(&self, group: PartitionId, except: ReplicaId) -> Arc<Group> {
        eventually("a leader", async || {
            for node in self.nodes.values().filter(|node| node.host.is_some() && node.id != except) {
                let group = self.group(node.id, group);
                if group.is_leader() && group.linearize().await.is_ok() {
                    return Some(group);
                }
            }
            None
        })
        .await
    }

    /// Proposes until the command is acknowledged, and says what came of it. May apply it more than once.
    pub async fn propose(&self, group: PartitionId, command: &str) -> Applied {
        eventually("an acknowledgement", async || {
            let leader = self.leader(group).await;
            match leader.propose(Bytes::from(command.to_owned())).await {
                Ok(applied) => Some(applied),
                Err(e) => {
                    assert!(e.is_transient(), "{e}");
                    None
                }
            }
        })
        .await
    }

    /// Waits until the copy on `node` has everything the leader has, and returns its commands.
    pub async fn caught_up(&self, node: ReplicaId, group: PartitionId) -> Vec<String> {
        let index = self.leader(group).await.linearize().await.unwrap();
        let copy = self.group(node, group);
        copy.wait_applied(index, Duration::from_secs(60)).await.unwrap();
        commands(&copy)
    }
}

/// Tries until there is an answer; fails after a simulated minute.
pub async fn eventually<T>(what: &str, attempt: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..3000 {
        if let Some(found) = attempt().await {
            return found;
        }
        env::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no {what} after a minute");
}

pub fn kind<T>(result: Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}
