//! Requests about the cluster: heartbeats, stores, slots.

use std::collections::BTreeMap;

use access::{Action, acting_node, authorize};
use env::mutant::Mutant;
use net::Caller;
use proto::cluster::{
    ClusterStatus, ConfirmJoin, FetchStatus, FilledSlot, FinishSync, Heartbeat, HeartbeatSeen, NodeRemoved,
    NodeStatus, RegisterStore, RemoveNode, StoreRegistered,
};
use proto::command::MapChange;
use proto::map::{ClusterMap, Role};
use tree::root;
use types::{DiskId, Epoch, Error, Millis, NodeId, Result};

use super::Metaserver;
use crate::liveness::Liveness;

impl Metaserver {
    pub(super) async fn heartbeat(&self, caller: &Caller, mut heartbeat: Heartbeat) -> Result<HeartbeatSeen> {
        authorize(&caller.identity, Action::ActFor(heartbeat.node))?;
        self.must_lead_root()?;
        let roles = self.roles_of(heartbeat.node)?;
        let root = self.root()?;
        root.read(|state| root::check_build(state, heartbeat.level))?;
        let level = root.read(|state| tree::level(state))?;
        let holds_metadata = heartbeat.stamp.is_some();
        if holds_metadata && !roles.contains(&Role::Meta) {
            return Err(Error::denied(format!(
                "node {} has joined without metadata: it speaks for no store",
                heartbeat.node
            )));
        }
        let keys = holds_metadata.then(|| root.read(|state| root::key_ring(state))).transpose()?;
        let have = heartbeat.epoch;
        let revoked = root.read(|state| root::revoked(state, heartbeat.revoked_version))?;
        let refused = match &heartbeat.stamp {
            Some(stamp) if stamp.replica.node() == heartbeat.node => self.host.meet(stamp)?,
            Some(stamp) => Some(format!("node {} speaks for replica {}", heartbeat.node, stamp.replica)),
            None => None,
        };
        if refused.is_some() {
            // It will close its store, and takes no part from now on.
            heartbeat.stamp = None;
        }
        let mut liveness = self.liveness.lock().expect("no panic while it is held");
        // Read while nobody else can: what was heard is never newer than the next look at it.
        let now_ms = self.now_ms();
        let map = self.map.borrow();
        liveness.get_or_insert_with(|| Liveness::new(now_ms)).heard(now_ms, heartbeat, &map);
        let map = (map.epoch > have).then(|| ClusterMap::clone(&map));
        Ok(HeartbeatSeen { map, level, keys, revoked, wall: self.env.clock.wall(), refused })
    }

    pub(super) async fn confirm_join(&self, caller: &Caller, request: ConfirmJoin) -> Result<()> {
        authorize(&caller.identity, Action::ActFor(request.node))?;
        self.change_map(MapChange::ConfirmNode { node: request.node }).await.map(|_| ())
    }

    pub(super) async fn register_store(
        &self,
        caller: &Caller,
        request: RegisterStore,
    ) -> Result<StoreRegistered> {
        let RegisterStore { node, store } = request;
        authorize(&caller.identity, Action::ActFor(node))?;
        self.must_lead_root()?;
        self.refuse_second_store(node)?;
        self.change_map(MapChange::RegisterStore { node, store }).await?;
        let map = self.current_map()?;
        let known = map.nodes.get(&node).and_then(|info| info.store).filter(|info| info.uuid == store);
        let number =
            known.ok_or_else(|| Error::conflict("the node has registered another store since"))?.number;
        Ok(StoreRegistered { number, map })
    }

    /// Two processes that run as one node would replace each other's stores for ever.
    fn refuse_second_store(&self, node: NodeId) -> Result<()> {
        let now_ms = self.now_ms();
        let liveness = self.liveness.lock().expect("no panic while it is held");
        match liveness.as_ref().and_then(|liveness| liveness.holder(node, now_ms)) {
            None => Ok(()),
            Some(address) => Err(Error::conflict(format!(
                "a process at {address} takes part as node {node}: stop it, or this one"
            ))),
        }
    }

    pub(super) async fn remove_node(&self, caller: &Caller, request: RemoveNode) -> Result<NodeRemoved> {
        let RemoveNode { node, force, dry_run } = request;
        authorize(&caller.identity, Action::AdministerCluster)?;
        self.root()?.linearize().await?;
        let planned = root::check_removal(&self.current_map()?, node, force)?;
        if dry_run {
            return Ok(planned);
        }
        self.change_map(MapChange::RemoveNode { node, force }).await.map(|_| planned)
    }

    fn roles_of(&self, node: NodeId) -> Result<Vec<Role>> {
        let roles = |map: &ClusterMap| map.nodes.get(&node).map(|info| info.roles.clone());
        let mut found = roles(&self.map.borrow());
        if found.is_none() {
            found = roles(&self.current_map()?); // The published map may lack who has just joined.
        }
        found.ok_or_else(|| {
            Error::denied(format!(
                "node {node} was removed from the cluster: join again with an empty data directory"
            ))
        })
    }

    pub(super) async fn fetch_status(&self, caller: &Caller, _: FetchStatus) -> Result<ClusterStatus> {
        authorize(&caller.identity, Action::ViewCluster)?;
        let map = self.read_newest(&self.root()?, |state| root::map(state)).await?.ok_or_else(unfounded)?;
        let (now_ms, wall) = (self.now_ms(), self.env.clock.wall());
        let liveness = self.liveness.lock().expect("no panic while it is held");
        let status = |id: &NodeId| {
            let last = liveness.as_ref().and_then(|l| l.last(*id, now_ms));
            let (silent_ms, mut last) = last.map(|(ms, heartbeat)| (ms, heartbeat.clone())).unzip();
            if *id == self.node {
                last.iter_mut().for_each(|own| self.refresh(own));
            }
            let behind_ms = liveness.as_ref().map(|l| l.behind_ms(*id, now_ms)).unwrap_or_default();
            let ahead_ms =
                last.as_ref().zip(silent_ms).map_or(0, |(last, ms)| ahead(last.wall.plus(ms), wall));
            (*id, NodeStatus { silent_ms, last, ahead_ms, behind_ms })
        };
        let nodes: BTreeMap<NodeId, NodeStatus> = map.nodes.keys().map(status).collect();
        let waits_ms = liveness.as_ref().map(|l| l.absences.left_ms(now_ms, self.down_out_ms));
        Ok(ClusterStatus { nodes, map, waits_ms: waits_ms.unwrap_or_default() })
    }

    /// What this node has said of its groups is older than what it knows. How far they have come stays, as it is compared
    /// with what others have said.
    fn refresh(&self, heartbeat: &mut Heartbeat) {
        let said: BTreeMap<_, _> = heartbeat.partitions.iter().map(|said| (said.id, said.applied)).collect();
        heartbeat.partitions = self.partition_reports();
        for report in &mut heartbeat.partitions {
            report.applied = said.get(&report.id).copied().unwrap_or(report.applied);
        }
    }

    pub(super) async fn finish_sync(&self, caller: &Caller, request: FinishSync) -> Result<()> {
        let node = acting_node(&caller.identity)?;
        let map = self.current_map()?;
        // A disk that is not in the map has no slots: nothing is said of it.
        let is_anothers = |disk: &DiskId| map.disks.get(disk).is_some_and(|info| info.node != node);
        if let Some(filled) = request.slots.iter().find(|filled| is_anothers(&filled.disk)) {
            return Err(Error::denied(format!(
                "node {node} may not speak for disk {}: only its own node may",
                filled.disk
            )));
        }
        let mut slots = request.slots;
        if Mutant::UnfencedCompletion.is_planted() {
            slots.iter_mut().for_each(|filled| filled.since = since_of(&map, filled).unwrap_or(filled.since));
        }
        self.change_map(MapChange::FinishSync { slots }).await.map(drop)
    }

    pub(super) fn must_lead_root(&self) -> Result<()> {
        if self.root()?.is_leader() {
            return Ok(());
        }
        Err(Error::stale_epoch(format!("node {} does not lead the root partition", self.node)))
    }

    pub(super) fn current_map(&self) -> Result<ClusterMap> {
        self.root()?.read(|state| root::map(state))?.ok_or_else(unfounded)
    }
}

/// When the disk of a slot was given it.
fn since_of(map: &ClusterMap, filled: &FilledSlot) -> Option<Epoch> {
    map.slots(filled.pg).ok()?.get(usize::from(filled.slot)).map(|slot| slot.since)
}

/// Milliseconds from one time to a later or earlier one.
fn ahead(time: Millis, of: Millis) -> i64 {
    let ms = |by: u64| i64::try_from(by).unwrap_or(i64::MAX);
    if time >= of { ms(time.since(of)) } else { -ms(of.since(time)) }
}

fn unfounded() -> Error {
    Error::unavailable("the cluster is still being initialised")
}
