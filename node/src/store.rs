//! What a node knows of its metadata store, kept beside it: without this a store that was removed, exchanged or copied
//! back could not be told from the one that was left.

use std::path::PathBuf;

use raft::Last;
use serde::{Deserialize, Serialize};
use types::limits::COUNTER_MAX;
use types::{Error, NodeId, ReplicaId, Result, Start, StoreUuid};

use crate::home::Home;

/// File in the data directory.
const FILE: &str = "store";
/// A new directory of states is a repair: nobody has seen so many.
const STATES_MAX: u32 = u32::MAX / 2;

/// The store of a node. Each has a directory of its own, named by its uuid: one that is given up stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreRecord {
    /// Which store.
    pub uuid: StoreUuid,
    /// Which of the node's stores the cluster counts it as; `None` until the cluster has said so.
    pub number: Option<u16>,
    /// How often it was started.
    pub starts: u64,
    /// Its log had this many commits at least.
    pub mark: u64,
    /// Counts the directories of its states: damaged ones are not used again.
    pub states: u32,
    /// Nothing was served from the newest directory of states yet: they come from the log and from others.
    pub fresh: bool,
    /// The cluster exists: it is never founded again.
    pub founded: bool,
}

impl StoreRecord {
    /// A store that was never started, as a new node has it: the cluster counts it as its first.
    pub fn first(uuid: StoreUuid) -> Self {
        Self { uuid, number: Some(1), starts: 0, mark: 0, states: 0, fresh: false, founded: false }
    }

    /// A store in place of this one, which the cluster does not know yet.
    pub fn replaced_by(&self, uuid: StoreUuid) -> Self {
        Self { uuid, number: None, starts: 0, mark: 0, states: 0, fresh: false, founded: self.founded }
    }

    /// The replica it holds; `None` until the cluster has said which.
    pub fn replica(&self, node: NodeId) -> Option<ReplicaId> {
        Some(ReplicaId::new(node, self.number?))
    }

    /// The start that comes now.
    pub fn next_start(&self, nonce: u64) -> Start {
        Start { store: self.uuid, count: self.starts + 1, nonce }
    }

    /// What `raft` is to compare with what it finds.
    pub fn last(&self) -> Last {
        Last { count: self.starts, mark: self.mark }
    }

    /// Directory of the log, below the data directory.
    pub fn log_dir(&self, home: &Home) -> PathBuf {
        home.join(format!("meta/{}/log", self.uuid))
    }

    /// Directory of the states, below the data directory.
    pub fn state_dir(&self, home: &Home) -> PathBuf {
        home.join(format!("meta/{}/state{}", self.uuid, self.states))
    }

    /// Reads the record. `NotFound` on a node without metadata.
    pub fn load(home: &Home) -> Result<Self> {
        let record: Self = home.load(FILE)?;
        if record.starts > COUNTER_MAX || record.mark > COUNTER_MAX || record.states > STATES_MAX {
            let path = home.join(FILE);
            return Err(Error::corrupt(format!("{} says what cannot be: {record:?}", path.display())));
        }
        Ok(record)
    }

    /// Writes it, durably.
    pub fn save(&self, home: &Home) -> Result<()> {
        home.save(FILE, self)
    }
}

/// What a node does about a store that it cannot go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Opens it again.
    Reopen,
    /// Takes part as a new replica, which the others fill.
    Replace,
}

/// What to do when the store's promises may be lost. With nobody to fill a new one, nothing can be done but to say so:
/// `Corrupt`.
pub fn replace(record: &StoreRecord, others_vote: bool, why: &Error) -> Result<Remedy> {
    if others_vote {
        return Ok(Remedy::Replace);
    }
    Err(Error::corrupt(format!(
        "the metadata of this cluster is not what it was ({}), and no other node has a copy: put the directory \
         meta/{} back as it was, or start anew with an empty data directory",
        why.message(),
        record.uuid
    )))
}
