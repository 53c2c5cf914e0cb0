//! What an operator does to a stopped node when the cluster cannot help itself any more.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use env::Env;
use kv::Kv;
use metaserver::Unlocking;
use net::Terms;
use proto::map::{ClusterMap, ROOT};
use raft::HostConfig;
use raft::recover::{self, Remains};
use tree::root::{self, Secrets};
use types::limits::LOCAL_CERTIFICATE_VALIDITY;
use types::{Error, ErrorKind, Identity, NodeId, PartitionId, ReplicaId, Result};

use crate::config::NodeConfig;
use crate::home::Home;
use crate::platform::Platform;
use crate::store::StoreRecord;
use crate::unlock;

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

    /// What this node has of each partition that it has a part in.
    pub fn survey(&self) -> Result<Vec<Remains>> {
        let found = recover::survey(&self.env, &self.config()?, &self.kv, &self.partitions());
        let found = found.map_err(raft::OpenError::into_error)?;
        Ok(found.into_iter().filter(|remains| !remains.voters.is_empty()).collect())
    }

    /// The node that it is of.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// All nodes that this one knows of, but itself.
    pub fn others(&self) -> Vec<NodeId> {
        self.map.nodes.keys().copied().filter(|node| *node != self.node).collect()
    }

    /// Leaves a command out that no build can apply, when this node meets it. `Invalid` for one that has been applied.
    pub fn skip(&self, partition: PartitionId, index: u64, reason: &str) -> Result<()> {
        if !self.partitions().contains(&partition) {
            return Err(Error::not_found(format!("there is no partition {partition}")));
        }
        raft::skip(&*self.kv, partition, index, reason)
    }

    /// Makes this node's replicas the only voters of the partitions of which most voters are on nodes that are `lost` for
    /// good; returns them. `Invalid` when there are none. The others go on with the voters that they have.
    pub fn take_over(&self, lost: &[NodeId]) -> Result<Vec<PartitionId>> {
        let found = self.survey()?;
        let orphans: Vec<PartitionId> = found
            .iter()
            .filter(|remains| has_lost_most(remains, lost))
            .map(|remains| remains.partition)
            .collect();
        if orphans.is_empty() {
            return Err(Error::invalid(
                "no partition of this node has lost most of its voters: start those that are left",
            ));
        }
        let voters = found.into_iter().flat_map(|remains| remains.voters);
        let known = voters.chain(self.map.nodes.keys().filter_map(|node| self.map.replica(*node)));
        let replaced: Vec<ReplicaId> = known.filter(|replica| lost.contains(&replica.node())).collect();
        recover::take_over(&self.env, &self.config()?, &self.kv, &orphans, &replaced)
            .map_err(raft::OpenError::into_error)?;
        Ok(orphans)
    }

    /// Credentials that this node signs by itself, with what its copy of the root partition and its unlock key let it: for
    /// when nobody is left whom a running cluster accepts. They are short-lived, and the cluster does not list them.
    pub fn issue(&self, platform: &dyn Platform, config: &NodeConfig, identity: &Identity) -> Result<String> {
        let state = recover::state_of(self.kv.clone(), ROOT)?;
        let sealed = root::secrets(&state).map_err(|e| match e.kind() {
            ErrorKind::Unavailable => Error::not_found(
                "this node has no copy of the root partition: use a token, or do this on a node that has one",
            ),
            _ => e,
        })?;
        let Unlocking { key, .. } = unlock::load(&self.env, &self.home, config)?;
        let Secrets { authority, .. } = Secrets::open(&sealed, &key)?;
        platform.issue(&authority, &Terms::uncounted(identity, LOCAL_CERTIFICATE_VALIDITY, &self.env))
    }

    /// Gives this node a certificate that it has signed by itself; once it runs, it gets another from the cluster.
    pub fn renew(&self, platform: &dyn Platform, config: &NodeConfig) -> Result<()> {
        self.home.renew(self.issue(platform, config, &Identity::Node(self.node))?)
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

/// Half of them is no majority.
fn has_lost_most(remains: &Remains, lost: &[NodeId]) -> bool {
    let count = remains.voters.iter().filter(|voter| lost.contains(&voter.node())).count();
    2 * count >= remains.voters.len()
}

/// Where a node was expected and where it listens now, by node. Holds until the map says something new of the node.
pub type Moved = BTreeMap<NodeId, (SocketAddr, SocketAddr)>;

/// File in the data directory.
pub(crate) const MOVED: &str = "moved";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_still_has_a_majority_is_left_alone() {
        for (voters, lost, want) in [
            (&[1, 2, 3][..], &[][..], false),
            (&[1, 2, 3], &[3, 4, 5], false),
            (&[1, 2, 3], &[2, 3], true),
            (&[1, 2, 3], &[2, 3, 4, 5], true),
            (&[1, 2], &[2], true),
            (&[1], &[2, 3], false),
            (&[1, 2, 3, 4, 5], &[4, 5], false),
            (&[1, 2, 3, 4, 5], &[3, 4, 5], true),
        ] {
            let voters = voters.iter().map(|node| ReplicaId::new(NodeId(*node), 1)).collect();
            let (partition, applied, committed, last) = (PartitionId(1), 0, 0, 0);
            let remains = Remains { partition, voters, applied, committed, last };
            let lost: Vec<NodeId> = lost.iter().copied().map(NodeId).collect();
            assert_eq!(has_lost_most(&remains, &lost), want, "{remains:?} {lost:?}");
        }
    }
}
