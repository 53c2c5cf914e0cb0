//! The root partition: the cluster map, join tokens, namespaces by name, and the secrets that meta nodes hold.

mod plan;
mod row;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use kv::{Overlay, Read};
use proto::cluster::NodeRemoved;
use proto::command::{Bootstrap, NewNode, NodeChange, RootCommand, Stamped};
use proto::map::{ClusterMap, DiskInfo, NodeInfo, Partition, PartitionKind, ROOT, StoreInfo};
use types::limits::{NAMESPACE_COUNT_MAX, NODE_COUNT_MAX, NODE_DISK_COUNT_MAX, PARTITION_COUNT_MAX};
use types::{
    ClusterId, DiskId, DiskUuid, Epoch, Error, GcEpoch, Millis, NamespaceId, NamespaceName, NodeId,
    PartitionId, PgId, Result, StoreUuid,
};

use crate::{Machine, answer};
pub use plan::desired_voters;
pub use row::Secrets;

/// The state machine of the root partition.
#[derive(Debug, Default)]
pub struct RootMachine;

/// The map, once the cluster is bootstrapped.
pub fn map(state: &dyn Read) -> Result<Option<ClusterMap>> {
    row::load(state, row::MAP)
}

/// Authority and secret of the cluster; `Unavailable` before it is bootstrapped.
pub fn secrets(state: &dyn Read) -> Result<Secrets> {
    row::load(state, row::SECRETS)?.ok_or_else(not_bootstrapped)
}

/// The id of a namespace; `NotFound` when there is none of that name.
pub fn find_namespace(state: &dyn Read, name: &NamespaceName) -> Result<NamespaceId> {
    row::load(state, &row::namespace_key(name))?
        .ok_or_else(|| Error::not_found(format!("there is no namespace {name}: create it first")))
}

/// `Denied` unless the token with this hash is valid at `now`.
pub fn check_token(state: &dyn Read, hash: &[u8; 32], now: Millis) -> Result<()> {
    match row::load::<Millis>(state, &row::token_key(hash))? {
        Some(expires) if now <= expires => Ok(()),
        Some(_) => {
            Err(Error::denied("the join token has expired: create a new one on a node of the cluster"))
        }
        None => Err(Error::denied("the join token is not one of this cluster's")),
    }
}

/// The map of a cluster that consists of its first node.
pub fn bootstrap_map(bootstrap: &Bootstrap) -> ClusterMap {
    let namespaces = bootstrap.namespace_partitions;
    let kinds = std::iter::once(PartitionKind::Root)
        .chain((0..namespaces).map(|_| PartitionKind::Namespace))
        .chain((0..bootstrap.index_partitions).map(|_| PartitionKind::Index));
    ClusterMap {
        cluster: bootstrap.cluster,
        epoch: Epoch(1),
        gc_epoch: GcEpoch(0),
        profile: bootstrap.profile,
        pg_count: bootstrap.pg_count,
        nodes: BTreeMap::from([(NodeId(1), NodeInfo { up: true, confirmed: true, ..node(&bootstrap.node) })]),
        disks: BTreeMap::new(),
        table: None,
        relaxed_count: 0,
        partitions: kinds.zip(ROOT.0..).map(|(kind, id)| Partition { id: PartitionId(id), kind }).collect(),
        voters: vec![NodeId(1)],
    }
}

impl Machine for RootMachine {
    fn apply(&self, state: &mut Overlay<'_>, _index: u64, command: &[u8]) -> Bytes {
        let stamped: Stamped<RootCommand> = match proto::decode(command) {
            Ok(stamped) => stamped,
            Err(e) => return answer::encode::<()>(&Err(e)),
        };
        match stamped.command {
            RootCommand::Bootstrap(bootstrap) => answer::encode(&apply_bootstrap(state, &bootstrap)),
            RootCommand::AddNode { node, token_hash } => {
                answer::encode(&add_node(state, node, &token_hash, stamped.time))
            }
            RootCommand::SetNodes { changes } => answer::encode(&set_nodes(state, changes)),
            RootCommand::RegisterDisks { node, disks } => answer::encode(&register_disks(state, node, disks)),
            RootCommand::FinishSync { slots } => answer::encode(&finish_sync(state, slots)),
            RootCommand::AddToken { hash, expires } => {
                state.put(row::token_key(&hash), proto::encode(&expires));
                answer::encode(&Ok(()))
            }
            RootCommand::CreateNamespace { name } => answer::encode(&create_namespace(state, &name)),
            RootCommand::SetVoters { voters } => answer::encode(&set_voters(state, voters)),
            RootCommand::ConfirmNode { node } => answer::encode(&confirm_node(state, node)),
            RootCommand::RegisterStore { node, store } => answer::encode(&register_store(state, node, store)),
            RootCommand::RemoveNode { node, force } => answer::encode(&remove_node(state, node, force)),
        }
    }
}

fn apply_bootstrap(state: &mut Overlay<'_>, bootstrap: &Bootstrap) -> Result<ClusterId> {
    if let Some(map) = map(state)? {
        return Ok(map.cluster);
    }
    check_partition_counts(bootstrap)?;
    let first = bootstrap_map(bootstrap);
    first.check()?;
    let secrets = Secrets { authority: bootstrap.authority.clone(), secret: bootstrap.secret.clone() };
    state.put(row::SECRETS, proto::encode(&secrets));
    state.put(row::NODE_COUNT, proto::encode(&1u64));
    state.put(row::MAP, proto::encode(&first));
    Ok(bootstrap.cluster)
}

/// Before a list of that length is made.
fn check_partition_counts(bootstrap: &Bootstrap) -> Result<()> {
    for count in [bootstrap.namespace_partitions, bootstrap.index_partitions] {
        if !(1..=PARTITION_COUNT_MAX).contains(&count) {
            return Err(Error::invalid(format!(
                "{count} partitions of one kind: 1 to {PARTITION_COUNT_MAX} are possible"
            )));
        }
    }
    Ok(())
}

fn add_node(state: &mut Overlay<'_>, new: NewNode, token_hash: &[u8; 32], now: Millis) -> Result<NodeId> {
    check_token(state, token_hash, now)?;
    change_map(state, |state, map| {
        if map.nodes.len() >= NODE_COUNT_MAX {
            return Err(Error::invalid(format!(
                "the cluster has {NODE_COUNT_MAX} nodes, which is the limit"
            )));
        }
        let id = NodeId(row::next_count(state, row::NODE_COUNT)?);
        map.nodes.insert(id, node(&new));
        Ok(id)
    })
}

fn set_nodes(state: &mut Overlay<'_>, changes: Vec<NodeChange>) -> Result<Epoch> {
    change_map(state, |_, map| {
        for change in changes {
            let Some(node) = map.nodes.get_mut(&change.node) else { continue };
            node.up = change.up;
            node.confirmed |= change.up;
            node.native = change.native;
            node.control = change.control;
            for (id, disk) in map.disks.iter_mut().filter(|(_, d)| d.node == change.node) {
                disk.healthy = !change.broken_disks.contains(id);
            }
        }
        plan::substitute(map);
        plan::settle(map);
        Ok(map.epoch.next())
    })
}

fn register_disks(state: &mut Overlay<'_>, node: NodeId, disks: Vec<(DiskUuid, u64)>) -> Result<Vec<DiskId>> {
    let current = map(state)?.ok_or_else(not_bootstrapped)?;
    let known = |uuid: &DiskUuid| current.disks.iter().find(|(_, d)| d.uuid == *uuid);
    if let Some((id, disk)) = disks.iter().filter_map(|(uuid, _)| known(uuid)).find(|(_, d)| d.node != node) {
        return Err(Error::invalid(format!(
            "disk {id} belongs to node {}, but node {node} found it: move it back, or wipe it to use it here",
            disk.node
        )));
    }
    if disks.iter().all(|(uuid, capacity)| known(uuid).is_some_and(|(_, d)| d.capacity == *capacity)) {
        let ids: Vec<DiskId> = disks.iter().filter_map(|(uuid, _)| Some(*known(uuid)?.0)).collect();
        assert_eq!(ids.len(), disks.len(), "the answer has one id per disk of the question");
        return Ok(ids);
    }
    change_map(state, |state, map| {
        let mut ids = Vec::with_capacity(disks.len());
        for (uuid, capacity) in disks {
            let id = match map.disks.iter().find(|(_, d)| d.uuid == uuid) {
                Some((id, _)) => *id,
                None => DiskId(row::next_count(state, row::DISK_COUNT)? as u32),
            };
            map.disks.insert(id, DiskInfo { node, uuid, capacity, healthy: true });
            ids.push(id);
        }
        if map.disks.values().filter(|d| d.node == node).count() > NODE_DISK_COUNT_MAX {
            return Err(Error::invalid(format!("a node can have at most {NODE_DISK_COUNT_MAX} disks")));
        }
        plan::rebalance(map);
        Ok(ids)
    })
}

fn finish_sync(state: &mut Overlay<'_>, slots: Vec<(PgId, u8, DiskId)>) -> Result<()> {
    change_map(state, |_, map| {
        let table = map.table.as_mut().ok_or_else(|| Error::invalid("there is no placement table yet"))?;
        for (pg, slot, disk) in slots {
            // A slot that has moved on in the meantime is somebody else's to fill.
            let _ = table.finish_sync(pg, usize::from(slot), disk);
        }
        plan::settle(map);
        Ok(())
    })
}

fn create_namespace(state: &mut Overlay<'_>, name: &NamespaceName) -> Result<NamespaceId> {
    let key = row::namespace_key(name);
    if let Some(id) = row::load(state, &key)? {
        return Ok(id);
    }
    let id = row::next_count(state, row::NAMESPACE_COUNT)?;
    if id > NAMESPACE_COUNT_MAX as u64 {
        return Err(Error::invalid(format!(
            "the cluster has {NAMESPACE_COUNT_MAX} namespaces, which is the limit"
        )));
    }
    state.put(key, proto::encode(&NamespaceId(id)));
    Ok(NamespaceId(id))
}

fn set_voters(state: &mut Overlay<'_>, voters: Vec<NodeId>) -> Result<Epoch> {
    change_map(state, |_, map| {
        if voters.is_empty() || voters.iter().any(|v| !map.nodes.contains_key(v)) {
            return Err(Error::invalid(format!("voters {voters:?} are not all nodes of the cluster")));
        }
        map.voters = voters;
        Ok(map.epoch.next())
    })
}

fn confirm_node(state: &mut Overlay<'_>, id: NodeId) -> Result<()> {
    let current = map(state)?.ok_or_else(not_bootstrapped)?;
    if known_node(&current, id)?.confirmed {
        return Ok(());
    }
    change_map(state, |_, map| {
        map.nodes.entry(id).and_modify(|node| node.confirmed = true);
        Ok(())
    })
}

fn register_store(state: &mut Overlay<'_>, id: NodeId, uuid: StoreUuid) -> Result<u16> {
    let current = map(state)?.ok_or_else(not_bootstrapped)?;
    let before = known_node(&current, id)?.store;
    if let Some(store) = before.filter(|store| store.uuid == uuid) {
        return Ok(store.number);
    }
    let number = before.map_or(0, |store| store.number).checked_add(1);
    let number =
        number.ok_or_else(|| Error::invalid(format!("node {id} has had too many stores: join anew")))?;
    change_map(state, |_, map| {
        map.nodes.entry(id).and_modify(|node| node.store = Some(StoreInfo { uuid, number }));
        Ok(number)
    })
}

fn remove_node(state: &mut Overlay<'_>, id: NodeId, force: bool) -> Result<NodeRemoved> {
    let current = map(state)?.ok_or_else(not_bootstrapped)?;
    let removed = check_removal(&current, id, force)?;
    change_map(state, |_, map| {
        map.nodes.remove(&id);
        map.disks.retain(|_, disk| disk.node != id);
        map.voters.retain(|voter| *voter != id);
        plan::substitute(map);
        plan::settle(map);
        Ok(removed)
    })
}

/// What goes with a node. `Conflict` when it may not go.
pub fn check_removal(map: &ClusterMap, id: NodeId, force: bool) -> Result<NodeRemoved> {
    if known_node(map, id)?.up {
        return Err(Error::conflict(format!("node {id} is up: stop it first")));
    }
    let disks = map.disks.iter().filter(|(_, disk)| disk.node == id);
    let disks: Vec<DiskId> = disks.map(|(id, _)| *id).collect();
    let uses = |slot: &placement::Slot| {
        disks.contains(&slot.disk) || slot.previous.is_some_and(|d| disks.contains(&d))
    };
    let groups = map.table.iter().flat_map(|table| &table.pgs);
    let group_count = groups.filter(|slots| slots.iter().any(uses)).count() as u32;
    if group_count > 0 && !force {
        return Err(Error::conflict(format!(
            "{group_count} placement groups still count on the disks of node {id}: wait until they are rebuilt \
             elsewhere, or add disks; --force gives up what only this node has"
        )));
    }
    let is_voter = map.voters.contains(&id);
    if is_voter && map.voters.len() == 1 {
        return Err(Error::conflict(format!("node {id} is the only voter: without it there is no cluster")));
    }
    Ok(NodeRemoved { disks, group_count, is_voter })
}

fn known_node(map: &ClusterMap, id: NodeId) -> Result<&NodeInfo> {
    map.nodes.get(&id).ok_or_else(|| Error::not_found(format!("there is no node {id} in the cluster")))
}

/// Changes the map and its epoch together; an error leaves both as they were.
fn change_map<T>(
    state: &mut Overlay<'_>,
    change: impl FnOnce(&mut Overlay<'_>, &mut ClusterMap) -> Result<T>,
) -> Result<T> {
    let mut map = map(state)?.ok_or_else(not_bootstrapped)?;
    let (epoch, given) = (map.epoch, (map.cluster, map.profile, map.pg_count));
    let done = change(state, &mut map)?;
    assert_eq!(map.epoch, epoch, "the epoch grows here only, by one (I-PLACE)");
    assert_eq!((map.cluster, map.profile, map.pg_count), given, "a cluster is born with these");
    map.epoch = epoch.next();
    state.put(row::MAP, proto::encode(&map));
    Ok(done)
}

fn node(new: &NewNode) -> NodeInfo {
    NodeInfo {
        zone: new.zone.clone(),
        native: new.native,
        control: new.control,
        roles: new.roles.clone(),
        up: false,
        confirmed: false,
        store: new.store.map(|uuid| StoreInfo { uuid, number: 1 }),
    }
}

fn not_bootstrapped() -> Error {
    Error::unavailable("the cluster is not initialised yet: its first node is still starting")
}
