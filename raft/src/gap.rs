//! What is missing of the state of a group whose log is good, and how far it has come again.

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
struct Filling {
    /// Who has sent the last piece.
    source: Option<ReplicaId>,
    /// What has become of the last attempt.
    last: Option<String>,
}

/// The error of a group with a gap that nobody fills. `Corrupt`.
pub fn none(group: PartitionId, begin: EntryId) -> Error {
    Error::corrupt(format!(
        "the state of partition {group} is lost: it ends before its log begins, after entry {}, and no other node has one",
        begin.index
    ))
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

    /// Notes who has sent a piece.
    pub fn note_source(&self, source: ReplicaId) {
        self.lock().source = Some(source);
    }

    /// Who has sent the last piece.
    pub fn source(&self) -> Option<ReplicaId> {
        self.lock().source
    }

    fn lock(&self) -> MutexGuard<'_, Filling> {
        self.filling.lock().expect("no panic while it is held")
    }
}
