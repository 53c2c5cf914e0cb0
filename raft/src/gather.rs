//! Heartbeats of several groups that wait for each other.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::oneshot;
use types::{PartitionId, ReplicaId, Result};

use crate::message::Append;

/// Heartbeats that wait for those of other groups to the same replica.
#[derive(Debug, Default)]
pub struct Gathering(Mutex<BTreeMap<ReplicaId, Vec<Beat>>>);

/// One of them.
#[derive(Debug)]
pub struct Beat {
    pub group: PartitionId,
    pub append: Append,
    pub answer: oneshot::Sender<Result<Bytes>>,
}

impl Gathering {
    /// `Some` for the first one, which sends them all.
    pub fn add(&self, target: ReplicaId, beat: Beat) -> Option<First<'_>> {
        let mut waiting = self.lock();
        let beats = waiting.entry(target).or_default();
        beats.push(beat);
        (beats.len() == 1).then(|| First { gathering: self, target, is_done: false })
    }

    fn take(&self, target: ReplicaId) -> Vec<Beat> {
        self.lock().remove(&target).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ReplicaId, Vec<Beat>>> {
        self.0.lock().expect("never poisoned: no panic inside")
    }
}

/// The duty to send what waits. When the first gives up before it has, the others learn it at once.
pub struct First<'a> {
    gathering: &'a Gathering,
    target: ReplicaId,
    is_done: bool,
}

impl First<'_> {
    /// All that wait.
    pub fn take(mut self) -> Vec<Beat> {
        self.is_done = true;
        self.gathering.take(self.target)
    }
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.gathering.take(self.target);
        }
    }
}
