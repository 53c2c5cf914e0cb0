//! Messages about the cluster itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use types::{
    ClusterId, DiskId, DiskUuid, Epoch, FeatureLevel, Millis, NodeId, PartitionId, PgId, ReplicaId, Stamp,
    StoreUuid,
};

use crate::certificates::Revoked;
use crate::keys::KeyRing;
use crate::keys::Unlock;
use crate::map::{ClusterMap, DiskState, Role};
use crate::seal::ClusterSecret;

/// Asks for the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchMap {
    /// The epoch the caller has.
    pub have: Epoch,
}

/// Answer to [`FetchMap`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapFetched {
    /// The answering node's map when it is newer than the caller's.
    pub map: Option<ClusterMap>,
}

/// What went wrong on a disk since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskErrors {
    /// Reads that the medium failed.
    pub media_read: u64,
    /// Writes and syncs that the medium failed.
    pub media_write: u64,
    /// Shards that could not be read.
    pub unreadable: u64,
    /// Shards that did not match their checksums.
    pub damaged: u64,
    /// Requests that it did not answer in time.
    pub timeouts: u64,
}

/// State of one disk, as its node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskReport {
    /// What it can do.
    pub state: DiskState,
    /// What is wrong (also with a healthy disk, such as a full one), or empty.
    pub problem: String,
    /// Where it is on its node, or was when it was there last.
    pub path: String,
    /// Payload bytes of its shards and replicas.
    pub used_bytes: u64,
    /// Bytes that the file system can still take.
    pub free_bytes: u64,
    /// Shards and replicas on it.
    pub records: u64,
    /// What reads take on average, in microseconds; 0 before the first.
    pub read_micros: u64,
    /// What writes take until they are durable.
    pub sync_micros: u64,
    /// What went wrong.
    pub errors: DiskErrors,
}

/// State of one partition, as a node with a copy of it sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionReport {
    /// The partition reported on.
    pub id: PartitionId,
    /// The reporting node leads it.
    pub leading: bool,
    /// Raft term.
    pub term: u64,
    /// Commands applied to the node's copy.
    pub applied: u64,
    /// Why the node's copy has stopped, or waits for its state; empty while it serves.
    pub problem: String,
    /// How often the copy was started again since its process began.
    pub restarts: u64,
    /// The feature level that the copy has reached.
    pub level: FeatureLevel,
    /// Replicas with a vote, as the reporting node knows; the leader knows best.
    pub voters: BTreeSet<ReplicaId>,
    /// Replicas without a vote, which are being filled.
    pub learners: BTreeSet<ReplicaId>,
}

/// From every node, several times a second, to the leader of the root partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The node that sends it.
    pub node: NodeId,
    /// Where it listens now.
    pub native: SocketAddr,
    /// Where it listens for gRPC now.
    pub control: SocketAddr,
    /// The newest feature level that its build knows.
    pub level: FeatureLevel,
    /// Of the map it has.
    pub epoch: Epoch,
    /// State of each of its disks.
    pub disks: BTreeMap<DiskId, DiskReport>,
    /// What is wrong beside these: directories that are no disk of this node, or that there is no disk at all.
    pub disk_problems: Vec<String>,
    /// What its metadata store says of itself; `None` while it takes no part.
    pub stamp: Option<Stamp>,
    /// What is wrong with its metadata store, as what one would say of it; empty when all is well.
    pub store_problem: String,
    /// State of each partition it has a copy of.
    pub partitions: Vec<PartitionReport>,
    /// Version of the list of revoked certificates that it has.
    pub revoked_version: u64,
    /// Slots it still has to fill.
    pub syncing_slots: u32,
    /// What its clock says.
    pub wall: Millis,
    /// Bytes received from clients since it started.
    pub bytes_received: u64,
    /// Bytes sent to clients since it started.
    pub bytes_sent: u64,
}

/// Answer to [`Heartbeat`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatSeen {
    /// The map, when it is newer than the sender's.
    pub map: Option<ClusterMap>,
    /// The feature level of the root partition, which the others may be raised to.
    pub level: FeatureLevel,
    /// The key ring, sealed, for a meta node: it may have no copy of the root partition.
    pub keys: Option<KeyRing>,
    /// Whom to turn away, when the sender has another version of that.
    pub revoked: Option<Revoked>,
    /// What the clock of the leader says, which all go by.
    pub wall: Millis,
    /// Why the sender's metadata store must not take part: others have heard more of it than it says.
    pub refused: Option<String>,
}

/// A new node asks to join; `Denied` without a valid token. The same request again gets the same answer: the one before may
/// have been lost. Beside what a token renews the only request that needs no certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// From the join token.
    #[serde(with = "serde_bytes")]
    pub secret: [u8; 32],
    /// Certificate signing request, PEM.
    pub request: String,
    /// Its failure domain.
    pub zone: String,
    /// What it will do.
    pub roles: Vec<Role>,
    /// Where it will listen.
    pub native: SocketAddr,
    /// Where it will listen for gRPC.
    pub control: SocketAddr,
    /// Its metadata store, on a meta node.
    pub store: Option<StoreUuid>,
    /// The newest feature level that its build knows; `Invalid` below that of the cluster.
    pub level: FeatureLevel,
}

/// Answer to [`Join`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// Its id, forever.
    pub node: NodeId,
    /// Id of the cluster it joined.
    pub cluster: ClusterId,
    /// Its certificate, PEM.
    pub certificate: String,
    /// The cluster's secret.
    pub secret: ClusterSecret,
    /// How it comes by the unlock key, on a meta node.
    pub unlock: Option<Unlock>,
    /// The map, to find the others.
    pub map: ClusterMap,
}

/// A node says that it knows its id. One that never does, because the answer to its [`Join`] was lost, is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmJoin {
    /// The node, which must be the caller.
    pub node: NodeId,
}

/// A node has a new metadata store, because the one it had is lost or not accepted any more. `Conflict` while a store
/// of that node takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterStore {
    /// The node, which must be the caller.
    pub node: NodeId,
    /// Its new store.
    pub store: StoreUuid,
}

/// Answer to [`RegisterStore`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreRegistered {
    /// How many stores the node has had, this one included.
    pub number: u16,
    /// The map, to find the others.
    pub map: ClusterMap,
}

/// Takes a node that is down, and its disks, out of the cluster for ever. For administrators. `Conflict` when that
/// would cost data its redundancy, or when it is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveNode {
    /// The one to take out.
    pub node: NodeId,
    /// Also when its disks still count for the redundancy of what is stored.
    pub force: bool,
    /// Only says what would happen.
    pub dry_run: bool,
}

/// Answer to [`RemoveNode`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRemoved {
    /// Disks that go with it.
    pub disks: Vec<DiskId>,
    /// Placement groups that have a slot on them.
    pub group_count: u32,
    /// It votes in the partitions.
    pub is_voter: bool,
}

/// A node says which disks it found; new ones get an id. One that was another node's is this one's from now on, when that
/// node is down or gone: somebody has moved it here. `Invalid` when that node is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterDisks {
    /// The node that found them, which must be the caller.
    pub node: NodeId,
    /// Disk and capacity in bytes.
    pub disks: Vec<(DiskUuid, u64)>,
}

/// Answer to [`RegisterDisks`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisksRegistered {
    /// In the order of the request.
    pub ids: Vec<DiskId>,
    /// The map has had them since this epoch at the latest: one that lacks them later has lost them on purpose.
    pub epoch: Epoch,
}

/// A node has filled slots that were `Syncing`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishSync {
    /// Each complete on its disk.
    pub slots: Vec<FilledSlot>,
}

/// A slot whose disk has all that it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilledSlot {
    /// Its placement group.
    pub pg: PgId,
    /// Its position there.
    pub slot: u8,
    /// The disk that is complete.
    pub disk: DiskId,
    /// Since when the disk was being filled, as the table said. When it was given the slot once more in the meantime, it
    /// may lack what was written between.
    pub since: Epoch,
}

/// Asks for the state of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchStatus {}

/// State of one node as the root leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Milliseconds since its last heartbeat; `None` when this leader has not heard of it.
    pub silent_ms: Option<u64>,
    /// Its last heartbeat.
    pub last: Option<Heartbeat>,
    /// By how many milliseconds its clock is ahead of that of the node that was asked.
    pub ahead_ms: i64,
    /// For how many milliseconds each of its copies has not come to where the newest one was when that time began.
    pub behind_ms: BTreeMap<PartitionId, u64>,
}

/// Answer to [`FetchStatus`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// The current map.
    pub map: ClusterMap,
    /// All nodes of the map.
    pub nodes: BTreeMap<NodeId, NodeStatus>,
    /// For how many more milliseconds disks that are away are waited for. In a storm they are for longer.
    pub waits_ms: BTreeMap<DiskId, u64>,
}

/// Asks for the digest of a replica of a partition. For administrators; answered by any node that has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchDigest {
    /// Which partition.
    pub partition: PartitionId,
}

/// Answer to [`FetchDigest`]: equal for equal `applied`, on every node and every build (I-DET).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionDigest {
    /// Commands applied to the state that was looked at.
    pub applied: u64,
    /// Of all its rows.
    #[serde(with = "serde_bytes")]
    pub digest: [u8; 32],
}
