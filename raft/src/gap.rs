//! What is missing of a group's state when it ends before the group's log begins, and how far others have filled it.

use std::sync::{Mutex, MutexGuard};

use types::{Error, PartitionId, ReplicaId};

use crate::engine::LogId;
use crate::log::EntryId;

/// What is missing of a group's state.
#[derive(Debug)]
pub struct Gap {
    group: PartitionId,
    /// The last entry that the log has no more.
    pub begin: LogId,
    filling: Mutex<Filling>,
}

/// How far it has come.
#[derive(Debug, Default)]
pub struct Filling {
    /// Who has sent the last piece.
    pub source: Option<ReplicaId>,
    /// What has become of the last attempt.
    pub last: Option<String>,
}

impl Gap {
    /// Of a group whose log begins after `begin`.
    pub fn new(group: PartitionId, begin: LogId) -> Self {
        Self { group, begin, filling: Mutex::default() }
    }

    /// Why the group cannot do what needs a state. `Unavailable`.
    pub fn problem(&self) -> Error {
        let last = self.lock().last.clone().unwrap_or("nobody was asked yet".to_owned());
        Error::unavailable(format!(
            "partition {} has lost its state on this node and waits for another's: {last}",
            self.group
        ))
    }

    /// Notes what has become of an attempt.
    pub fn note(&self, last: String) {
        self.lock().last = Some(last);
    }

    /// To be looked at or changed.
    pub fn lock(&self) -> MutexGuard<'_, Filling> {
        self.filling.lock().expect("no panic while it is held")
    }
}

/// The error of a group with a gap that nobody fills. `Corrupt`.
pub fn lost(group: PartitionId, begin: EntryId) -> Error {
    Error::corrupt(format!(
        "the state of partition {group} is lost: it ends before its log begins, after entry {}, and no other node has one",
        begin.index
    ))
}
