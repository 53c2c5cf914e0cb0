//! Whom to ask: the map, the leaders of partitions, and asking again until a deadline.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use env::Env;
use env::time::Instant;
use net::{Dial, Reply, Request, Target, Transport};
use proto::Call;
use proto::cluster::{ClusterStatus, FetchDigest, FetchMap, FetchStatus, PartitionDigest};
use proto::disks::{AdoptDisk, ControlScrub, DiskAdopted, FetchHealing, Healing, Scrubbed};
use proto::map::{ClusterMap, ROOT};
use tokio::sync::watch;
use types::limits::{CLIENT_BACKOFF_MS, DIGEST_TIMEOUT, DISK_ADOPT_PATIENCE, LEADER_ATTEMPT_TIMEOUT};
use types::{Advice, Epoch, Error, ErrorKind, NodeId, PartitionId, Result};

/// Where to find the cluster at first.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Any nodes of the cluster.
    pub addresses: Vec<SocketAddr>,
    /// What to speak: QUIC for clients, TCP between nodes.
    pub transport: Transport,
}

/// A view of the cluster that follows its changes.
pub struct Cluster {
    /// Clock, files and randomness of this machine.
    pub env: Env,
    dial: Arc<dyn Dial>,
    endpoints: Endpoints,
    map: watch::Sender<Arc<ClusterMap>>,
    leaders: Mutex<BTreeMap<PartitionId, NodeId>>,
    deadline: Duration,
    /// Where a node was expected and where it listens now, as an operator has said.
    moved: BTreeMap<NodeId, (SocketAddr, SocketAddr)>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("endpoints", &self.endpoints)
            .field("epoch", &self.map().epoch)
            .finish()
    }
}

impl Cluster {
    /// Connects: asks the endpoints for the map. `deadline` bounds every request made through this view. `Denied` when
    /// the cluster does not accept the credentials.
    pub async fn connect(
        env: Env,
        dial: Arc<dyn Dial>,
        endpoints: Endpoints,
        deadline: Duration,
    ) -> Result<Arc<Self>> {
        let mut error = Error::invalid("no address of the cluster is known: set CLOUDSYNC_CREDENTIALS");
        for address in &endpoints.addresses {
            let target = Target { transport: endpoints.transport, address: *address, node: None };
            match fetch_map(&*dial, &target, Epoch(0), LEADER_ATTEMPT_TIMEOUT * 2).await {
                Ok(Some(map)) => {
                    let (map, _) = watch::channel(Arc::new(map));
                    return Ok(Arc::new(Self::new(env, dial, endpoints, map, deadline)));
                }
                Ok(None) => error = Error::unavailable(format!("{address} has no map of the cluster yet")),
                // What is wrong with our credentials is wrong at every endpoint and worth more than "unreachable".
                Err(e) if e.kind() == ErrorKind::Denied => return Err(e),
                Err(e) => error = e,
            }
        }
        Err(error)
    }

    /// A view for a node, where somebody else keeps the map current.
    pub fn new(
        env: Env,
        dial: Arc<dyn Dial>,
        endpoints: Endpoints,
        map: watch::Sender<Arc<ClusterMap>>,
        deadline: Duration,
    ) -> Self {
        let (leaders, moved) = Default::default();
        Self { env, dial, endpoints, map, leaders, deadline, moved }
    }

    /// A view that finds nodes elsewhere than the map says, until the map says something new of them.
    pub fn with_moved(self, moved: BTreeMap<NodeId, (SocketAddr, SocketAddr)>) -> Self {
        Self { moved, ..self }
    }

    /// The newest map known here.
    pub fn map(&self) -> Arc<ClusterMap> {
        self.map.borrow().clone()
    }

    /// Tells when the map changes.
    pub fn watch_map(&self) -> watch::Receiver<Arc<ClusterMap>> {
        self.map.subscribe()
    }

    /// When a request that starts now must be done.
    pub fn deadline(&self) -> Instant {
        env::time::now() + self.deadline
    }

    /// Asks the leader of a partition, following it when it moves. The request must be safe to repeat.
    pub async fn ask<Q: Call>(&self, partition: PartitionId, question: &Q) -> Result<Q::Answer> {
        self.ask_until(partition, question, LEADER_ATTEMPT_TIMEOUT, self.deadline()).await
    }

    /// Like [`Cluster::ask`], with the time one attempt may take and a deadline for all.
    pub async fn ask_until<Q: Call>(
        &self,
        partition: PartitionId,
        question: &Q,
        attempt: Duration,
        deadline: Instant,
    ) -> Result<Q::Answer> {
        let request = Request::of(question, Bytes::new());
        for round in 0.. {
            let mut error = Error::unavailable(format!("partition {partition} has no voters in the map"));
            for node in self.voters_in_order(partition) {
                let left = deadline.saturating_duration_since(env::time::now());
                match self.call_node(node, request.clone(), attempt.min(left)).await {
                    Ok(reply) => {
                        self.leaders().insert(partition, node);
                        return reply.answer::<Q>();
                    }
                    Err(e) if !e.is_transient() => return Err(e),
                    Err(e) => error = worse(error, e),
                }
                if env::time::now() >= deadline {
                    break;
                }
            }
            self.leaders().remove(&partition);
            let pause = Duration::from_millis(backoff_ms(round));
            if env::time::now() + pause >= deadline {
                return Err(error.context(format!("no leader of partition {partition} answered in time")));
            }
            env::time::sleep(pause).await;
            self.refresh_map(self.map().epoch).await;
        }
        unreachable!("the loop ends by returning")
    }

    /// Asks the root partition.
    pub async fn ask_root<Q: Call>(&self, question: &Q) -> Result<Q::Answer> {
        self.ask(ROOT, question).await
    }

    /// What the leader of the root partition knows about the cluster.
    pub async fn fetch_status(&self) -> Result<ClusterStatus> {
        self.ask_root(&FetchStatus {}).await
    }

    /// The digest of what one node has of a partition. For administrators.
    pub async fn fetch_digest(&self, node: NodeId, partition: PartitionId) -> Result<PartitionDigest> {
        let request = Request::of(&FetchDigest { partition }, Bytes::new());
        self.call_node(node, request, DIGEST_TIMEOUT).await?.answer::<FetchDigest>()
    }

    /// Gives a node a directory to use as a disk. For administrators.
    pub async fn adopt_disk(&self, node: NodeId, path: String) -> Result<DiskAdopted> {
        let left = self.deadline.max(DISK_ADOPT_PATIENCE * 2);
        self.call_node(node, Request::of(&AdoptDisk { path }, Bytes::new()), left)
            .await?
            .answer::<AdoptDisk>()
    }

    /// Tells a node how to verify its disks, and hears how far it is. For administrators.
    pub async fn control_scrub(&self, node: NodeId, question: ControlScrub) -> Result<Scrubbed> {
        let request = Request::of(&question, Bytes::new());
        self.call_node(node, request, LEADER_ATTEMPT_TIMEOUT).await?.answer::<ControlScrub>()
    }

    /// How the repair of a node's disks goes on.
    pub async fn fetch_healing(&self, node: NodeId) -> Result<Healing> {
        let request = Request::of(&FetchHealing {}, Bytes::new());
        self.call_node(node, request, LEADER_ATTEMPT_TIMEOUT).await?.answer::<FetchHealing>()
    }

    /// Sends one request to one node, once. `StaleEpoch` when the map does not have the node.
    pub async fn call_node(&self, node: NodeId, request: Request, timeout: Duration) -> Result<Reply> {
        let address = self
            .map()
            .nodes
            .get(&node)
            .map(|info| self.where_now(node, info.native))
            .ok_or_else(|| Error::stale_epoch(format!("node {node} is not in the map")))?;
        let target = Target { transport: self.endpoints.transport, address, node: Some(node) };
        self.dial.call(&target, request, timeout).await
    }

    fn where_now(&self, node: NodeId, expected: SocketAddr) -> SocketAddr {
        match self.moved.get(&node) {
            Some((from, to)) if *from == expected => *to,
            _ => expected,
        }
    }

    /// Asks around for a map newer than `have`; keeps the old one when nobody has one.
    pub async fn refresh_map(&self, have: Epoch) {
        if self.map().epoch > have {
            return;
        }
        let map = self.map();
        let voters = map.voters(ROOT).iter().filter_map(|v| map.nodes.get_key_value(v));
        let others = map.nodes.iter().filter(|(_, n)| n.up);
        let known = voters.chain(others).map(|(id, n)| self.where_now(*id, n.native));
        for address in known.chain(self.endpoints.addresses.iter().copied()).take(6) {
            let target = Target { transport: self.endpoints.transport, address, node: None };
            if let Ok(Some(newer)) = fetch_map(&*self.dial, &target, have, LEADER_ATTEMPT_TIMEOUT / 3).await {
                self.offer_map(newer);
                return;
            }
        }
    }

    /// Takes a map if it is newer.
    pub fn offer_map(&self, map: ClusterMap) {
        self.map.send_if_modified(|current| {
            let newer = map.epoch > current.epoch;
            if newer {
                *current = Arc::new(map);
            }
            newer
        });
    }

    /// What to do about a failed attempt: waits as the error advises, or returns it.
    pub(crate) async fn recover(&self, error: Error, attempt: usize, deadline: Instant) -> Result<()> {
        let pause = match error.advice() {
            Advice::Retry(ms) => Duration::from_millis(ms.max(backoff_ms(attempt))),
            Advice::RefreshMap => Duration::from_millis(backoff_ms(0)),
            Advice::AskUser | Advice::GiveUp => return Err(error),
        };
        if env::time::now() + pause >= deadline {
            return Err(error);
        }
        env::time::sleep(pause).await;
        self.refresh_map(self.map().epoch).await;
        Ok(())
    }

    /// The last known leader first, then those that are up, of these the one that should lead.
    fn voters_in_order(&self, partition: PartitionId) -> Vec<NodeId> {
        let map = self.map();
        let leader = self.leaders().get(&partition).copied();
        let mut voters = map.voters(partition).to_vec();
        voters.sort_by_key(|v| (Some(*v) != leader, map.nodes.get(v).is_none_or(|n| !n.up)));
        voters
    }

    fn leaders(&self) -> std::sync::MutexGuard<'_, BTreeMap<PartitionId, NodeId>> {
        self.leaders.lock().expect("no panic while it is held")
    }
}

async fn fetch_map(
    dial: &dyn Dial,
    target: &Target,
    have: Epoch,
    timeout: Duration,
) -> Result<Option<ClusterMap>> {
    let reply = dial.call(target, Request::of(&FetchMap { have }, Bytes::new()), timeout).await?;
    Ok(reply.answer::<FetchMap>()?.map)
}

/// How long to wait after the `attempt`-th failure, counted from 0: longer each time, up to a point.
fn backoff_ms(attempt: usize) -> u64 {
    CLIENT_BACKOFF_MS[attempt.min(CLIENT_BACKOFF_MS.len() - 1)]
}

/// The more telling of two errors: "I am not the leader" explains nothing when another voter is unreachable.
fn worse(a: Error, b: Error) -> Error {
    if b.kind() == ErrorKind::StaleEpoch && a.kind() != ErrorKind::StaleEpoch { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay() {
        let pauses = [0, 1, 2, 3, 4, 5, usize::MAX].map(backoff_ms);
        assert_eq!(pauses, [10, 30, 60, 100, 150, 150, 150]);
    }

    #[test]
    fn the_more_telling_error_is_kept() {
        let (first, away) = (Error::unavailable("no voters"), Error::unavailable("unreachable"));
        let other_leader = Error::stale_epoch("not the leader");
        assert_eq!(worse(first.clone(), away.clone()), away);
        assert_eq!(worse(away.clone(), other_leader.clone()), away);
        assert_eq!(worse(other_leader.clone(), away.clone()), away);
        let newer = Error::stale_epoch("nor this");
        assert_eq!(worse(other_leader, newer.clone()), newer);
    }
}
