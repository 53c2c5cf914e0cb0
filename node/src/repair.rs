//! What an operator does to a stopped node when the cluster cannot help itself any more.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use env::Env;
use kv::Kv;
use proto::map::ClusterMap;
use raft::HostConfig;
use raft::recover::{self, Remains};
use types::{Error, NodeId, PartitionId, ReplicaId, Result};

use crate::config::NodeConfig;
use crate::home::Home;
use crate::platform::Platform;
use crate::store::StoreRecord;

/// The metadata of a stopped node.
pub struct StoppedMeta {
    env: Env,
    home: Home,
    node: NodeId,
    record: StoreRecord,
    map: ClusterMap,
    kv: Arc<dyn Kv>,
}

impl StoppedMeta {
    /// Opens it. `Exists` while the node runs, `NotFound` when it holds no metadata.
    pub fn open(env: &Env, platform: &dyn Platform, config: &NodeConfig) -> Result<Self> {
        let home = Home::lock(env, &config.data)?;
        let node = home.membership()?.node;
        let record = StoreRecord::load(&home).map_err(|e| e.context("this node holds no metadata"))?;
        let kv = platform.open_kv(&record.state_dir(&home))?;
        Ok(Self { env: env.clone(), node, record, map: home.map()?, kv, home })
    }

    /// What this node has of each partition.
    pub fn survey(&self) -> Result<Vec<Remains>> {
        let found = recover::survey(&self.env, &self.config()?, &self.kv, &self.partitions());
        found.map_err(raft::OpenError::into_error)
    }

    /// Leaves a command out that no build can apply, when this node meets it. `Invalid` for one that has been applied.
    pub fn skip(&self, partition: PartitionId, index: u64, reason: &str) -> Result<()> {
        if !self.partitions().contains(&partition) {
            return Err(Error::not_found(format!("there is no partition {partition}")));
        }
        raft::skip(&*self.kv, partition, index, reason)
    }

    /// Makes this node's replicas the only voters.
    pub fn take_over(&self) -> Result<()> {
        let voters = self.survey()?.into_iter().flat_map(|found| found.voters);
        let others: Vec<ReplicaId> =
            voters.chain(self.map.nodes.keys().filter_map(|node| self.map.replica(*node))).collect();
        recover::take_over(&self.env, &self.config()?, &self.kv, &self.partitions(), &others)
            .map_err(raft::OpenError::into_error)
    }

    fn config(&self) -> Result<HostConfig> {
        let replica = self.record.replica(self.node).ok_or_else(|| {
            Error::invalid("this node's metadata was given up and not filled again: choose another node")
        })?;
        let start = self.record.next_start(self.env.random.u64());
        Ok(HostConfig::new(replica, start, self.record.last(), self.record.log_dir(&self.home)))
    }

    fn partitions(&self) -> Vec<PartitionId> {
        self.map.partitions.iter().map(|partition| partition.id).collect()
    }
}

/// Where a node was expected and where it listens now, by node. Holds until the map says something new of the node.
pub type Moved = BTreeMap<NodeId, (SocketAddr, SocketAddr)>;

/// File in the data directory.
const MOVED: &str = "moved";

/// What an operator has said about moved nodes.
pub fn moved(home: &Home) -> Result<Moved> {
    if home.has(MOVED) { home.load(MOVED) } else { Ok(Moved::new()) }
}

/// Tells a stopped node where others listen now. `NotFound` for a node that it does not know.
pub fn readdress(env: &Env, config: &NodeConfig, addresses: &[(NodeId, SocketAddr)]) -> Result<()> {
    let home = Home::lock(env, &config.data)?;
    home.membership()?;
    let map = home.map()?;
    let mut moved = moved(&home)?;
    for (node, address) in addresses {
        let info = map.nodes.get(node);
        let info = info.ok_or_else(|| Error::not_found(format!("this node knows of no node {node}")))?;
        moved.insert(*node, (info.native, *address));
    }
    home.save(MOVED, &moved)
}
