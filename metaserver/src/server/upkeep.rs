//! What a metaserver does unasked: follows the map, watches nodes, keeps the right voters.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proto::command::{Bootstrap, MapChange, RootCommand};
use proto::map::{ClusterMap, ROOT};
use raft::Group;
use tokio::sync::watch;
use tracing::{info, warn};
use tree::root;
use types::limits::{BOOTSTRAP_TIMEOUT, NODE_WATCH_PERIOD, VOTERS_CHECK_PERIOD};
use types::{ClusterId, ErrorKind, FeatureLevel, NamespaceName, NodeId, ReplicaId, Result};

use super::Metaserver;
use crate::liveness::Liveness;
use crate::polls::Polls;

/// The namespace that every cluster has, and that the command line uses unless told otherwise.
const FIRST_NAMESPACE: &str = "home";
/// Owner of the first namespace: the administrator that `init` creates.
const FIRST_OWNER: &str = "admin/admin";

impl Metaserver {
    /// Creates the cluster of which this is the first node. If it is killed in between, the next start continues.
    pub(super) async fn bootstrap(&self, bootstrap: Bootstrap) -> Result<()> {
        for group in self.host.groups() {
            match group.initialize(BTreeSet::from([self.host.replica()])).await {
                Err(e) if e.kind() != ErrorKind::Exists => return Err(e),
                _ => {}
            }
        }
        // Others vote only once the cluster exists: this is a restart, and somebody else may lead.
        if self.host.groups().iter().any(|group| group.voters().len() > 1) {
            return Ok(());
        }
        let deadline = env::time::now() + BOOTSTRAP_TIMEOUT;
        loop {
            match self.propose_beginning(&bootstrap).await {
                Err(e) if e.is_transient() && env::time::now() < deadline => {
                    env::time::sleep(NODE_WATCH_PERIOD / 4).await
                }
                done => return done,
            }
        }
    }

    async fn propose_beginning(&self, bootstrap: &Bootstrap) -> Result<()> {
        let cluster: ClusterId =
            self.propose(ROOT, RootCommand::Bootstrap(Box::new(bootstrap.clone()))).await?;
        let name = NamespaceName::parse(FIRST_NAMESPACE).expect("a valid name");
        self.put_namespace(name, FIRST_OWNER.to_owned()).await?;
        info!(%cluster, "the cluster is initialised");
        Ok(())
    }

    pub(super) fn start_upkeep(self: Arc<Self>) {
        env::task::spawn(self.clone().follow_map());
        env::task::spawn(self.clone().watch_nodes());
        for group in self.host.groups() {
            env::task::spawn(wake_at_end(group.watch_applied(), self.polls.clone()));
        }
        env::task::spawn(self.keep_voters());
    }

    /// Publishes every map that the root partition decides on.
    async fn follow_map(self: Arc<Self>) {
        while !self.is_retired() {
            // Ends when the group stops, which may be started again.
            if let Some(group) = self.host.group(ROOT) {
                self.follow_map_of(&group).await;
            }
            env::time::sleep(NODE_WATCH_PERIOD).await;
        }
    }

    async fn follow_map_of(&self, group: &Group) {
        let mut applied = group.watch_applied();
        loop {
            match group.read(|state| root::map(state)) {
                Ok(Some(map)) => {
                    self.map.send_if_modified(|current| {
                        let newer = map.epoch > current.epoch;
                        if newer {
                            *current = Arc::new(map);
                        }
                        newer
                    });
                }
                Ok(None) => {}
                Err(e) => warn!("the cluster map cannot be read: {e}"),
            }
            if applied.changed().await.is_err() {
                return; // The group was shut down.
            }
        }
    }

    /// While this node leads the root partition, it declares silent nodes down and returning ones up.
    async fn watch_nodes(self: Arc<Self>) {
        while !self.is_retired() {
            env::time::sleep(NODE_WATCH_PERIOD).await;
            if self.is_retired() {
                return;
            }
            if let Err(e) = self.watch_nodes_once().await {
                warn!("changes of the nodes could not be committed, trying again: {e}");
            }
        }
    }

    fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    async fn watch_nodes_once(&self) -> Result<()> {
        let (changes, away, ghosts) = {
            let mut liveness = self.liveness.lock().expect("no panic while it is held");
            if !self.root().is_leader() {
                *liveness = None;
                return Ok(());
            }
            let now_ms = self.now_ms();
            let map = self.map.borrow();
            let liveness = liveness.get_or_insert_with(|| Liveness::new(now_ms));
            let away = liveness.away(now_ms, self.down_out_ms, &map);
            (liveness.changes(now_ms, &map), away, liveness.ghosts(now_ms, self.down_out_ms, &map))
        };
        if !changes.is_empty() {
            for change in &changes {
                info!(node = %change.node, up = change.up, broken_disks = ?change.broken_disks, "node changed");
            }
            self.change_map(MapChange::SetNodes { changes }).await?;
        }
        for node in ghosts {
            info!(%node, "a node that has joined and never said so is forgotten");
            self.change_map(MapChange::RemoveNode { node, force: false }).await?;
        }
        let (wanted, current) = {
            let map = self.map.borrow();
            (root::desired_voters(&map, &away), map.voters.clone())
        };
        // One change after the other, unless the one under way waits for somebody who will not come.
        let voters: BTreeSet<NodeId> = self.root().voters().into_iter().map(ReplicaId::node).collect();
        let is_under_way = current.iter().any(|id| !voters.contains(id) && !away.contains(id));
        if wanted != current && !is_under_way {
            info!(?wanted, "changing the voters");
            self.change_map(MapChange::SetVoters { voters: wanted }).await?;
        }
        Ok(())
    }

    /// Gives every group that this node leads the voters named in the map. One that cannot be changed keeps no other
    /// waiting.
    async fn keep_voters(self: Arc<Self>) {
        while !self.is_retired() {
            env::time::sleep(VOTERS_CHECK_PERIOD).await;
            if let Err(e) = self.raise_levels().await {
                warn!("the feature level could not be raised, trying again: {e}");
            }
            let wanted = wanted_replicas(&self.map.borrow());
            let mut maps = self.map.subscribe();
            let groups = self.host.groups();
            let kept = groups.iter().map(async |group| {
                if let Err(e) = keep_voters_of(group, &wanted).await {
                    warn!(partition = %group.id(), "its voters could not be changed, trying again: {e}");
                }
            });
            // A store that is not wanted any more may never answer: nobody waits for it.
            tokio::select! {
                _ = futures::future::join_all(kept) => {}
                _ = maps.wait_for(|map| wanted_replicas(map) != wanted) => {}
            }
        }
    }

    /// What this node's heartbeats report about its partitions.
    pub fn partition_reports(&self) -> Vec<proto::cluster::PartitionReport> {
        let ids = self.host.groups().into_iter().map(|group| group.id());
        let report = |id| {
            let (status, group) = (self.host.status(id)?, self.host.group(id)?);
            Some(proto::cluster::PartitionReport {
                id,
                leading: status.role == raft::Role::Leader,
                term: status.term,
                applied: status.applied,
                problem: match status.problem {
                    Some(e) => e.message().to_owned(),
                    None if status.role == raft::Role::Stopped => "its core has ended".to_owned(),
                    None => String::new(),
                },
                restarts: status.restarts,
                // What cannot be read stops the group, and is said there.
                level: group.read(|state| tree::level(state)).unwrap_or(FeatureLevel::FIRST),
                voters: status.voters,
                learners: status.learners,
            })
        };
        ids.filter_map(report).collect()
    }
}

/// The stores of the nodes that should vote. One whose node has none to name yet is left out until it has.
fn wanted_replicas(map: &ClusterMap) -> BTreeSet<ReplicaId> {
    map.voters.iter().filter_map(|node| map.replica(*node)).collect()
}

/// Whoever waits for a partition that stops looks again, and is told so.
async fn wake_at_end(mut applied: watch::Receiver<u64>, polls: Polls) {
    while applied.changed().await.is_ok() {}
    polls.wake_all();
}

async fn keep_voters_of(group: &Group, wanted: &BTreeSet<ReplicaId>) -> Result<()> {
    let current = group.voters();
    if !group.is_leader() || current == *wanted || current.is_empty() || wanted.is_empty() {
        return Ok(());
    }
    for node in wanted.difference(&current) {
        group.add_learner(*node).await?;
    }
    group.set_voters(wanted.clone()).await
}
