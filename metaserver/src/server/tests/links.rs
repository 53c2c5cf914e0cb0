//! The network between the nodes, whose links can be cut or held up, and the heartbeats that go over it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use env::Random;
use net::{Request, Service};
use proto::Method;
use proto::cluster::{Heartbeat, HeartbeatSeen};
use proto::map::ClusterMap;
use raft::Network;
use tokio::sync::watch;
use types::{Error, NodeId, Result};

use super::words::{caller, node};
use crate::Metaserver;

/// Between two heartbeats of a node; as in `node`.
const PULSE: Duration = Duration::from_millis(300);

#[derive(Default)]
struct State {
    servers: BTreeMap<NodeId, Arc<Metaserver>>,
    /// Where each node's map is published.
    maps: BTreeMap<NodeId, watch::Sender<Arc<ClusterMap>>>,
    cut: BTreeSet<NodeId>,
    heartbeats: BTreeMap<NodeId, Heartbeat>,
}

/// The network. Clones are the same one.
#[derive(Clone)]
pub struct Links {
    state: Arc<Mutex<State>>,
    /// What is sent to these nodes is on its way until they are released.
    held: watch::Sender<BTreeSet<NodeId>>,
    random: Random,
}

/// The network as one node sees it.
struct Line {
    links: Links,
    source: NodeId,
}

impl Links {
    /// A network without anybody, and the task that keeps heartbeats going.
    pub fn new() -> Self {
        let held = watch::channel(BTreeSet::new()).0;
        let links = Self { state: Arc::default(), held, random: Random::seeded(2) };
        env::task::spawn(links.clone().pulse());
        links
    }

    pub fn line(&self, id: u64) -> Arc<dyn Network> {
        Arc::new(Line { links: self.clone(), source: NodeId(id) })
    }

    pub fn attach(&self, id: u64, server: Arc<Metaserver>) {
        self.lock().servers.insert(NodeId(id), server);
    }

    /// What a node hears of the map is published there.
    pub fn follow(&self, id: u64, map: watch::Sender<Arc<ClusterMap>>) {
        self.lock().maps.insert(NodeId(id), map);
    }

    /// Nothing answers at this node any more; its heartbeats go on.
    pub fn detach(&self, id: u64) {
        self.lock().servers.remove(&NodeId(id));
    }

    pub fn server(&self, id: u64) -> Arc<Metaserver> {
        self.lock().servers[&NodeId(id)].clone()
    }

    /// The nodes that serve.
    pub fn serving(&self) -> Vec<u64> {
        self.lock().servers.keys().map(|id| id.0).collect()
    }

    /// From now on a node sends this heartbeat.
    pub fn say(&self, heartbeat: Heartbeat) {
        self.lock().heartbeats.insert(heartbeat.node, heartbeat);
    }

    /// From now on a node sends no heartbeats.
    pub fn silence(&self, id: u64) {
        self.lock().heartbeats.remove(&NodeId(id));
    }

    /// Nothing gets to a node or from it any more.
    pub fn cut(&self, id: u64) {
        self.lock().cut.insert(NodeId(id));
    }

    /// Undoes [`Links::cut`].
    pub fn mend(&self, id: u64) {
        self.lock().cut.remove(&NodeId(id));
    }

    /// What is sent to a node stays on its way.
    pub fn hold(&self, id: u64) {
        self.held.send_if_modified(|held| held.insert(NodeId(id)));
    }

    /// Undoes [`Links::hold`]: what was on its way arrives.
    pub fn release(&self, id: u64) {
        self.held.send_if_modified(|held| held.remove(&NodeId(id)));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The server at `target`, if messages from `source` reach it.
    fn reach(&self, source: NodeId, target: NodeId) -> Result<Arc<Metaserver>> {
        let state = self.lock();
        let cut = source != target && (state.cut.contains(&source) || state.cut.contains(&target));
        let server = state.servers.get(&target).filter(|_| !cut);
        server.cloned().ok_or_else(|| Error::unavailable(format!("node {target} does not answer")))
    }

    async fn travel(&self, target: NodeId) {
        env::time::sleep(Duration::from_micros(200 + self.random.below(2000))).await;
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held.contains(&target)).await.unwrap();
    }

    /// Sends every node's heartbeat to every server that it reaches; a real one looks for the leader.
    async fn pulse(self) {
        loop {
            let (heartbeats, targets): (Vec<Heartbeat>, Vec<NodeId>) = {
                let state = self.lock();
                (state.heartbeats.values().cloned().collect(), state.servers.keys().copied().collect())
            };
            for heartbeat in heartbeats.into_iter().map(|heartbeat| self.complete(heartbeat)) {
                let (who, request) = (node(heartbeat.node.0), Request::of(&heartbeat, Bytes::new()));
                for target in &targets {
                    if let Ok(server) = self.reach(heartbeat.node, *target) {
                        // A refusal is a follower's.
                        let answer = server.call(&caller(&who), request.clone(), env::time::now()).await;
                        if let Ok(seen) = answer.and_then(|reply| reply.answer::<Heartbeat>()) {
                            self.hear(heartbeat.node, seen);
                        }
                    }
                }
            }
            env::time::sleep(PULSE).await;
        }
    }

    /// What a node that serves says of its copies.
    fn complete(&self, heartbeat: Heartbeat) -> Heartbeat {
        let state = self.lock();
        let Some(server) = state.servers.get(&heartbeat.node) else { return heartbeat };
        Heartbeat { partitions: server.partition_reports(), ..heartbeat }
    }

    fn hear(&self, id: NodeId, seen: HeartbeatSeen) {
        if let Some(server) = self.lock().servers.get(&id) {
            server.hear_level(seen.level);
            seen.keys.into_iter().for_each(|ring| server.hear_ring(ring));
        }
        seen.map.into_iter().for_each(|map| self.tell(id.0, map));
    }

    /// Tells a node of a map.
    pub fn tell(&self, id: u64, newer: ClusterMap) {
        let state = self.lock();
        let Some(map) = state.maps.get(&NodeId(id)).filter(|map| newer.epoch > map.borrow().epoch) else {
            return;
        };
        map.send_replace(Arc::new(newer));
    }
}

#[async_trait]
impl Network for Line {
    async fn send(&self, target: NodeId, message: Bytes, timeout: Duration) -> Result<Bytes> {
        let call = async {
            self.links.travel(target).await;
            let server = self.links.reach(self.source, target)?;
            let request = Request { method: Method::Raft as u16, header: Bytes::new(), body: message };
            let answer = server.call(&caller(&node(self.source.0)), request, env::time::now()).await;
            self.links.travel(self.source).await;
            self.links.reach(target, self.source)?;
            Ok(answer?.body)
        };
        let late = |_| Err(Error::unavailable(format!("node {target} does not answer in time")));
        env::time::timeout(timeout, call).await.unwrap_or_else(late)
    }
}
