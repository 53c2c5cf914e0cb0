//! What a metaserver does unasked: follows the map, watches nodes, keeps the right voters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proto::command::{Bootstrap, MapChange, RootCommand};
use proto::map::{ClusterMap, Partition, ROOT};
use raft::Group;
use tracing::{info, warn};
use tree::root;
use types::limits::{
    BOOTSTRAP_TIMEOUT, EXPIRED_LOOK_PERIOD, MEMBERSHIP_CHANGE_COUNT_MAX, NODE_WATCH_PERIOD,
    VOTERS_CHECK_PERIOD,
};
use types::{ClusterId, ErrorKind, FeatureLevel, NamespaceName, NodeId, ReplicaId, Result};

use super::Metaserver;
use super::groups::replicas_of;
use crate::liveness::Liveness;

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
        env::task::spawn(self.clone().forget());
        env::task::spawn(self.clone().keep_groups());
        env::task::spawn(self.clone().leave_groups());
        env::task::spawn(self.clone().keep_filters());
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

    /// While this node leads the root partition, it forgets who has run out.
    async fn forget(self: Arc<Self>) {
        let mut looked = env::time::now();
        while !self.is_retired() {
            // In short steps: whoever is retired goes, and does not keep its store for another minute.
            env::time::sleep(NODE_WATCH_PERIOD).await;
            if looked.elapsed() < EXPIRED_LOOK_PERIOD {
                continue;
            }
            looked = env::time::now();
            if self.must_lead_root().is_ok()
                && let Err(e) = self.forget_expired().await
            {
                warn!("what has expired could not be forgotten, trying again: {e}");
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

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    async fn watch_nodes_once(&self) -> Result<()> {
        let (changes, away, ghosts, out) = {
            let mut liveness = self.liveness.lock().expect("no panic while it is held");
            if self.must_lead_root().is_err() {
                *liveness = None;
                return Ok(());
            }
            let now_ms = self.now_ms();
            let map = self.map.borrow();
            let liveness = liveness.get_or_insert_with(|| Liveness::new(now_ms));
            let away = liveness.away(now_ms, self.down_out_ms, &map);
            let out = liveness.absences.decide(now_ms, self.down_out_ms, &map);
            (liveness.changes(now_ms, &map), away, liveness.ghosts(now_ms, self.down_out_ms, &map), out)
        };
        if !changes.is_empty() {
            for change in &changes {
                info!(node = %change.node, up = change.up, disks = ?change.disks, "node changed");
            }
            self.change_map(MapChange::SetNodes { changes }).await?;
        }
        if !out.is_empty() {
            for (disk, is_out) in &out {
                match is_out {
                    true => warn!(%disk, "a disk is out: its slots go to others"),
                    false => info!(%disk, "a disk is back"),
                }
            }
            self.change_map(MapChange::SetOut { disks: out }).await?;
        }
        for node in ghosts {
            info!(%node, "a node that has joined and never said so is forgotten");
            self.change_map(MapChange::RemoveNode { node, force: false }).await?;
        }
        self.choose_voters(&away).await
    }

    /// Decides who should vote where. Few changes are under way at once; one that waits for somebody who will not come
    /// does not count.
    async fn choose_voters(&self, away: &BTreeSet<NodeId>) -> Result<()> {
        let (map, mut maps) = (self.map.borrow().clone(), self.map.subscribe());
        let voters = {
            let liveness = self.liveness.lock().expect("no panic while it is held");
            liveness.as_ref().map(|liveness| liveness.voters(self.now_ms())).unwrap_or_default()
        };
        let is_waited_for = |partition: &Partition, voters: &BTreeSet<ReplicaId>| {
            let lacks = |id: &NodeId| map.replica(*id).is_some_and(|replica| !voters.contains(&replica));
            partition.voters.iter().any(|id| lacks(id) && !away.contains(id))
        };
        let (mut frozen, mut under_way) = (BTreeSet::new(), 0);
        for partition in &map.partitions {
            // Where nobody leads nothing can be changed.
            let voters = voters.get(&partition.id);
            let is_under_way = voters.is_some_and(|voters| is_waited_for(partition, voters));
            under_way += usize::from(is_under_way);
            if is_under_way || voters.is_none() {
                frozen.insert(partition.id);
            }
        }
        let change_count_max = MEMBERSHIP_CHANGE_COUNT_MAX.saturating_sub(under_way);
        let partitions = root::desired_voters(&map, away, &frozen, change_count_max);
        if partitions.is_empty() {
            return Ok(());
        }
        for (partition, voters) in &partitions {
            info!(%partition, ?voters, "changing the voters");
        }
        let epoch = self.change_map(MapChange::SetVoters { partitions }).await?.epoch;
        // What was decided counts at the next look.
        let _ = env::time::timeout(VOTERS_CHECK_PERIOD, maps.wait_for(|map| map.epoch >= epoch)).await;
        Ok(())
    }

    /// Gives every group that this node leads the voters named in the map, and the leader that it prefers. One that cannot
    /// be changed keeps no other waiting.
    async fn keep_voters(self: Arc<Self>) {
        let mut since = BTreeMap::new();
        while !self.is_retired() {
            env::time::sleep(VOTERS_CHECK_PERIOD).await;
            if let Err(e) = self.raise_levels().await {
                warn!("the feature level could not be raised, trying again: {e}");
            }
            let (map, mut maps) = (self.map.borrow().clone(), self.map.subscribe());
            let groups = self.host.groups();
            self.prefer_leaders(&map, &groups, &mut since).await;
            let wanted = |map: &ClusterMap| {
                groups.iter().map(|group| replicas_of(map, group.id())).collect::<Vec<_>>()
            };
            let now_wanted = wanted(&map);
            let kept = groups.iter().zip(&now_wanted).map(async |(group, wanted)| {
                if let Err(e) = keep_voters_of(group, wanted).await {
                    warn!(partition = %group.id(), "its voters could not be changed, trying again: {e}");
                }
            });
            // A store that is not wanted any more may never answer: nobody waits for it.
            tokio::select! {
                _ = futures::future::join_all(kept) => {}
                _ = maps.wait_for(|map| wanted(map) != now_wanted) => {}
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

async fn keep_voters_of(group: &Group, wanted: &BTreeSet<ReplicaId>) -> Result<()> {
    let status = group.status();
    if !group.is_leader() || status.voters.is_empty() || wanted.is_empty() {
        return Ok(());
    }
    if status.voters != *wanted {
        for replica in wanted.difference(&status.voters) {
            group.add_learner(*replica).await?;
        }
        group.set_voters(wanted.clone()).await?;
    }
    // Whoever was to vote and is not to any more.
    for replica in status.learners.difference(wanted) {
        group.remove_learner(*replica).await?;
    }
    Ok(())
}
