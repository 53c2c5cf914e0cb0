//! The settings of a node and of a new cluster, with their defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use proto::map::Role;
use types::Profile;
use types::limits::{LOG_TAIL_COUNT_MAX, META_DOWN_OUT_DEFAULT, PG_COUNT_DEFAULT};

/// Port of a node that is given none; its control port is the next one, and where it shows its health the one after.
pub const NATIVE_PORT: u16 = 7400;
/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Directory of its identity, metadata and Raft log.
    pub data: PathBuf,
    /// Failure domain that it shares with other nodes.
    pub zone: String,
    /// What it runs: a metaserver, a blockserver, or both.
    pub roles: Vec<Role>,
    /// Where it listens for clients and other nodes: QUIC and TLS/TCP on the same port.
    pub native: SocketAddr,
    /// Where it listens for administration: gRPC.
    pub control: SocketAddr,
    /// Where it shows its health and its numbers, over HTTP to whoever asks; nowhere unless told.
    pub admin: Option<SocketAddr>,
    /// Directories of its disks, usually one mount point each.
    pub disks: Vec<PathBuf>,
    /// What `init` creates; ignored on nodes that join, but for the passphrase.
    pub cluster: ClusterConfig,
    /// How long a voter may be away before another node takes its place.
    pub meta_down_out: Duration,
    /// Entries of a partition's log that it keeps for voters that were away. Not for files: simulations set it.
    pub log_tail_count: u64,
}

/// What a cluster is like. None of this can be changed later, but where the passphrase is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Redundancy of every chunk.
    pub profile: Profile,
    /// Number of placement groups.
    pub pg_count: u16,
    /// Number of partitions for trees.
    pub tree_partitions: u32,
    /// Number of partitions for the chunk index.
    pub index_partitions: u32,
    /// File whose first line unlocks the cluster's keys, on each of its meta nodes; a key file in the data directory does
    /// when there is none.
    pub passphrase_file: Option<PathBuf>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self {
            data: PathBuf::from("cloudsync-data"),
            zone: "zone1".to_owned(),
            roles: vec![Role::Meta, Role::Block],
            native: local(NATIVE_PORT),
            control: local(NATIVE_PORT + 1),
            admin: None,
            disks: Vec::new(),
            cluster: ClusterConfig::default(),
            meta_down_out: META_DOWN_OUT_DEFAULT,
            log_tail_count: LOG_TAIL_COUNT_MAX,
        }
    }
}

impl Default for ClusterConfig {
    fn default() -> Self {
        let profile = Profile { k: 4, m: 2 };
        Self {
            profile,
            pg_count: PG_COUNT_DEFAULT,
            tree_partitions: 4,
            index_partitions: 4,
            passphrase_file: None,
        }
    }
}
