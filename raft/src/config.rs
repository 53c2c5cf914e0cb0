//! How a host runs: its times, and how much log it keeps.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};
use types::limits::{LOG_TAIL_COUNT_MAX, LOG_TAILS_SIZE_MAX};
use types::{Error, ReplicaId, Result, Start};

use crate::label::Last;

use crate::Archive;

/// How a host runs.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Which store of which node this is. Ids are never used twice: a store that was lost comes back under a new one.
    pub replica: ReplicaId,
    /// The start that begins now.
    pub start: Start,
    /// What is known of the store since it was last open.
    pub last: Last,
    /// The states are new and empty: what they had comes from the log and from others.
    pub fresh_state: bool,
    /// Others can be asked for a state that this store has lost.
    pub has_others: bool,
    /// Directory of the log.
    pub log_dir: PathBuf,
    /// A leader tells its voters this often that it is alive.
    pub heartbeat_ms: u64,
    /// A voter that has not heard of a leader for a time drawn from this range asks for votes.
    pub election_ms: Range<u64>,
    /// What is kept of a group's log after its state is on disk.
    pub log_tail: LogTail,
    /// Takes the log's segments before they are deleted.
    pub archive: Option<Arc<dyn Archive>>,
}

/// How much log is kept for nodes that were away for a while; one that misses more gets a snapshot. Large, also because
/// openraft must never find that entries it is about to apply were removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogTail {
    /// Entries of a group.
    pub count: u64,
    /// Bytes of a group.
    pub size: u64,
}

impl HostConfig {
    /// A host with times that suit nodes at one site.
    pub fn new(replica: ReplicaId, start: Start, last: Last, log_dir: PathBuf) -> Self {
        let log_tail = LogTail { count: LOG_TAIL_COUNT_MAX, size: LOG_TAILS_SIZE_MAX };
        Self {
            replica,
            start,
            last,
            fresh_state: false,
            has_others: true,
            log_dir,
            heartbeat_ms: 100,
            election_ms: 350..700,
            log_tail,
            archive: None,
        }
    }

    /// How recently a majority must have answered for a read without a message: well below the time in which it could
    /// elect another leader, whatever the clocks' drift.
    pub(crate) fn lease(&self) -> Duration {
        Duration::from_millis(self.election_ms.start * 7 / 10)
    }

    /// The same in openraft's terms; `Invalid` when the times do not fit together.
    pub(crate) fn openraft(&self, can_lead: bool) -> Result<Arc<Config>> {
        let config = Config {
            cluster_name: "cloudsync".into(),
            heartbeat_interval: self.heartbeat_ms,
            // `heartbeat.rs` beats for all groups at once; none that has just sent entries. A beat may come a little early.
            enable_heartbeat: false,
            heartbeat_min_interval: Some(self.heartbeat_ms * 3 / 4),
            election_timeout_min: self.election_ms.start,
            election_timeout_max: self.election_ms.end,
            enable_pre_vote: Some(true),
            enable_elect: can_lead,
            // A restarted leader may have lost applied state: it must be elected again.
            enable_leader_restore: Some(false),
            // Snapshots and purges are triggered by `trim.rs` only.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            install_snapshot_timeout: 10_000,
            // Bounds memory; a proposer has few entries under way.
            api_channel_size: Some(1024),
            max_payload_entries: 4096,
            ..Config::default()
        };
        let valid = config
            .validate()
            .map_err(|e| Error::invalid(format!("raft settings do not fit together: {e}")))?;
        Ok(Arc::new(valid))
    }
}
