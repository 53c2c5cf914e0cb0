//! Which copies this node has: those of the partitions that the map has it vote in. A copy that the map does not name any
//! more is closed and deleted as soon as the partition's leader confirms that this node is out: the map alone may be old.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use proto::map::{ClusterMap, Partition, PartitionKind};
use tokio::sync::watch;
use tracing::{debug, warn};
use tree::index::IndexMachine;
use tree::namespace::NamespaceMachine;
use tree::root::RootMachine;
use tree::{Machine, Replica};
use types::limits::VOTERS_CHECK_PERIOD;
use types::{ErrorKind, PartitionId, ReplicaId, Result};

use super::Metaserver;
use crate::machine::{Followed, Replicated};
use crate::polls::Polls;

impl Metaserver {
    /// Opens what this node has something of. It may be a member still, whatever the map says.
    pub(super) async fn open_copies(&self) -> Result<()> {
        let (map, copies) = (self.map.borrow().clone(), self.host.copies()?);
        for partition in map.partitions.iter().filter(|partition| copies.contains(&partition.id)) {
            self.open_group(partition).await?;
        }
        Ok(())
    }

    /// Opens what the map has this node vote in.
    pub(super) async fn open_groups(&self) -> Result<()> {
        let map = self.map.borrow().clone();
        for partition in map.partitions.iter().filter(|partition| partition.voters.contains(&self.node)) {
            self.open_group(partition).await?;
        }
        Ok(())
    }

    async fn open_group(&self, partition: &Partition) -> Result<()> {
        let id = partition.id;
        if self.host.group(id).is_some() {
            return Ok(());
        }
        let machine: Arc<dyn raft::StateMachine> = match partition.kind {
            PartitionKind::Root => Arc::new(Replicated(self.replica(id, RootMachine))),
            PartitionKind::Tree => {
                let machine = self.replica(id, NamespaceMachine::default());
                Arc::new(Followed::new(machine, self.polls.clone()))
            }
            PartitionKind::Index => {
                let replica = self.replica(id, IndexMachine::default());
                self.indexes().insert(id, replica.clone());
                Arc::new(Replicated(replica))
            }
        };
        let group = self.host.open_group(id, machine).await?;
        env::task::spawn(wake_at_end(group.watch_applied(), self.polls.clone()));
        Ok(())
    }

    fn replica<M: Machine>(&self, partition: PartitionId, machine: M) -> Arc<Replica<M>> {
        Arc::new(Replica::new(partition, machine).of_build(self.level))
    }

    /// Opens copies as the map changes.
    pub(super) async fn keep_groups(self: Arc<Self>) {
        let mut maps = self.map.subscribe();
        while !self.is_retired() {
            maps.borrow_and_update();
            if let Err(e) = self.open_groups().await {
                warn!("not all partitions run here that should, trying again: {e}");
            }
            // What could not be opened is tried again without a change, too.
            let _ = env::time::timeout(VOTERS_CHECK_PERIOD, maps.changed()).await;
        }
    }

    /// Closes copies that are not wanted here any more.
    pub(super) async fn leave_groups(self: Arc<Self>) {
        while !self.is_retired() {
            env::time::sleep(VOTERS_CHECK_PERIOD).await;
            let map = self.map.borrow().clone();
            let ids = self.host.groups().into_iter().map(|group| group.id());
            let left = ids.filter(|id| !map.voters(*id).contains(&self.node));
            join_all(left.map(|id| self.leave_group(&map, id))).await;
        }
    }

    async fn leave_group(&self, map: &ClusterMap, id: PartitionId) {
        match self.host.close_group(id, &replicas_of(map, id)).await {
            Ok(()) => drop(self.indexes().remove(&id)),
            Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::Unavailable) => {
                debug!(partition = %id, "the copy stays for now: {e}");
            }
            Err(e) => {
                warn!(partition = %id, "a copy that is not wanted here is not deleted, trying again: {e}")
            }
        }
    }
}

/// The stores of the nodes that should vote in a partition. One whose node has none to name yet is left out until it has.
pub(super) fn replicas_of(map: &ClusterMap, partition: PartitionId) -> BTreeSet<ReplicaId> {
    map.voters(partition).iter().filter_map(|node| map.replica(*node)).collect()
}

/// Whoever waits for a partition that stops looks again, and is told so.
async fn wake_at_end(mut applied: watch::Receiver<u64>, polls: Polls) {
    while applied.changed().await.is_ok() {}
    polls.wake_all();
}
