//! The rules of a change of the map, but for what needs computing. Pure and deterministic (I-DET).

use proto::cluster::{FilledSlot, NodeRemoved};
use proto::command::{MapChange, MapChanged, NewNode, NodeChange};
use proto::map::{ClusterMap, DiskInfo, NodeInfo, Role, StoreInfo};
use types::limits::{NODE_COUNT_MAX, NODE_DISK_COUNT_MAX};
use types::{DiskId, DiskUuid, Error, NodeId, PartitionId, Result, StoreUuid};

/// The map and the ids that were given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// The map before or after a change.
    pub map: ClusterMap,
    /// Nodes there have been.
    pub node_count: u64,
    /// Disks there have been.
    pub disk_count: u64,
}

impl Registry {
    /// Makes a change, all but its epoch and the table that follows from it. After an error it is of no use any more.
    pub fn change(&mut self, change: &MapChange) -> Result<MapChanged> {
        let mut changed = MapChanged { epoch: self.map.epoch, ..MapChanged::default() };
        match change {
            MapChange::AddNode { node, .. } => changed.node = Some(self.add_node(node)?),
            MapChange::SetNodes { changes } => changes.iter().for_each(|change| self.set_node(change)),
            MapChange::RegisterDisks { node, disks } => changed.disks = self.register_disks(*node, disks)?,
            MapChange::FinishSync { slots } => {
                let table = self.map.table.as_mut();
                let table = table.ok_or_else(|| Error::invalid("there is no placement table yet"))?;
                for filled in slots {
                    // A slot that has moved on in the meantime is somebody else's to fill.
                    let FilledSlot { pg, slot, disk, since } = *filled;
                    let _ = table.finish_sync(pg, usize::from(slot), disk, since);
                }
            }
            MapChange::SetVoters { partitions } => self.set_voters(partitions)?,
            MapChange::ConfirmNode { node } => self.known(*node)?.confirmed = true,
            MapChange::RegisterStore { node, store } => self.register_store(*node, *store)?,
            MapChange::RemoveNode { node, force } => self.remove_node(*node, *force)?,
            MapChange::SetOut { disks } => {
                for (id, is_out) in disks {
                    self.map.disks.get_mut(id).into_iter().for_each(|disk| disk.is_out = *is_out);
                }
            }
            MapChange::RemoveDisk { disk, force } => {
                check_disk_removal(&self.map, *disk, *force)?;
                self.map.disks.remove(disk);
            }
        }
        Ok(changed)
    }

    fn add_node(&mut self, new: &NewNode) -> Result<NodeId> {
        if self.map.nodes.len() >= NODE_COUNT_MAX {
            return Err(Error::invalid(format!(
                "the cluster has {NODE_COUNT_MAX} nodes, which is the limit"
            )));
        }
        self.node_count += 1;
        let id = NodeId(self.node_count);
        self.map.nodes.insert(id, node(new));
        Ok(id)
    }

    fn set_node(&mut self, change: &NodeChange) {
        let Some(node) = self.map.nodes.get_mut(&change.node) else { return };
        node.up = change.up;
        node.confirmed |= change.up;
        node.native = change.native;
        node.control = change.control;
        for (id, disk) in self.map.disks.iter_mut().filter(|(_, disk)| disk.node == change.node) {
            disk.state = change.disks.get(id).copied().unwrap_or(disk.state);
        }
    }

    fn register_disks(&mut self, node: NodeId, disks: &[(DiskUuid, u64)]) -> Result<Vec<DiskId>> {
        let mut ids = Vec::with_capacity(disks.len());
        for (uuid, capacity) in disks {
            let known = self.map.disks.iter().find(|(_, disk)| disk.uuid == *uuid);
            let id = match known {
                Some((id, disk))
                    if disk.node != node && self.map.nodes.get(&disk.node).is_some_and(|node| node.up) =>
                {
                    return Err(Error::invalid(format!(
                        "disk {id} belongs to node {}, which is up, but node {node} found it: put it back, or wipe it to \
                         use it here",
                        disk.node
                    )));
                }
                Some((id, disk)) if (disk.node, disk.capacity) == (node, *capacity) => *id,
                Some((id, _)) => self.set_disk(*id, node, *uuid, *capacity),
                None => {
                    self.disk_count += 1;
                    self.set_disk(DiskId(self.disk_count as u32), node, *uuid, *capacity)
                }
            };
            ids.push(id);
        }
        if self.map.disks.values().filter(|disk| disk.node == node).count() > NODE_DISK_COUNT_MAX {
            return Err(Error::invalid(format!("a node can have at most {NODE_DISK_COUNT_MAX} disks")));
        }
        Ok(ids)
    }

    fn set_disk(&mut self, id: DiskId, node: NodeId, uuid: DiskUuid, capacity: u64) -> DiskId {
        let DiskInfo { state, is_out, .. } = self.map.disks.get(&id).cloned().unwrap_or_default();
        self.map.disks.insert(id, DiskInfo { node, uuid, capacity, state, is_out });
        id
    }

    fn set_voters(&mut self, partitions: &[(PartitionId, Vec<NodeId>)]) -> Result<()> {
        for (id, voters) in partitions {
            if voters.is_empty() || voters.iter().any(|voter| !self.map.nodes.contains_key(voter)) {
                return Err(Error::invalid(format!("voters {voters:?} are not all nodes of the cluster")));
            }
            let partition = self.map.partitions.iter_mut().find(|partition| partition.id == *id);
            let partition = partition.ok_or_else(|| Error::invalid(format!("there is no partition {id}")))?;
            partition.voters.clone_from(voters);
        }
        Ok(())
    }

    fn register_store(&mut self, id: NodeId, uuid: StoreUuid) -> Result<()> {
        let node = self.known(id)?;
        if !node.roles.contains(&Role::Meta) {
            return Err(Error::denied(format!("node {id} has not joined as one that holds metadata")));
        }
        if node.store.is_some_and(|store| store.uuid == uuid) {
            return Ok(());
        }
        let number = node.store.map_or(0, |store| store.number).checked_add(1);
        let number =
            number.ok_or_else(|| Error::invalid(format!("node {id} has had too many stores: join anew")))?;
        node.store = Some(StoreInfo { uuid, number });
        Ok(())
    }

    fn remove_node(&mut self, id: NodeId, force: bool) -> Result<()> {
        check_removal(&self.map, id, force)?;
        self.map.nodes.remove(&id);
        self.map.disks.retain(|_, disk| disk.node != id);
        for partition in &mut self.map.partitions {
            partition.voters.retain(|voter| *voter != id);
        }
        Ok(())
    }

    fn known(&mut self, id: NodeId) -> Result<&mut NodeInfo> {
        self.map.nodes.get_mut(&id).ok_or_else(|| unknown(id))
    }
}

/// Placement groups that count on a disk. `Conflict` when it may not go.
pub fn check_disk_removal(map: &ClusterMap, id: DiskId, force: bool) -> Result<u32> {
    if !map.disks.contains_key(&id) {
        return Err(Error::not_found(format!("there is no disk {id} in the cluster")));
    }
    if map.is_readable(id) {
        return Err(Error::conflict(format!(
            "disk {id} is there: take it out of its node's configuration first, or leave it"
        )));
    }
    let group_count = groups_with(map, &[id]);
    if group_count > 0 && !force {
        return Err(Error::conflict(format!(
            "{group_count} placement groups still count on disk {id}: wait until they are rebuilt elsewhere, or add \
             disks; --force gives up what only this disk has"
        )));
    }
    Ok(group_count)
}

/// Placement groups with a slot on one of these disks, or one that comes from there.
fn groups_with(map: &ClusterMap, disks: &[DiskId]) -> u32 {
    let uses = |slot: &placement::PgSlot| {
        disks.contains(&slot.disk) || slot.previous.is_some_and(|previous| disks.contains(&previous))
    };
    let groups = map.table.iter().flat_map(|table| &table.pgs);
    groups.filter(|slots| slots.iter().any(uses)).count() as u32
}

/// What goes with a node that is removed. `Conflict` when it may not go.
pub fn check_removal(map: &ClusterMap, id: NodeId, force: bool) -> Result<NodeRemoved> {
    if map.nodes.get(&id).ok_or_else(|| unknown(id))?.up {
        return Err(Error::conflict(format!("node {id} is up: stop it first")));
    }
    let disks = map.disks.iter().filter(|(_, disk)| disk.node == id);
    let disks: Vec<DiskId> = disks.map(|(id, _)| *id).collect();
    let group_count = groups_with(map, &disks);
    if group_count > 0 && !force {
        return Err(Error::conflict(format!(
            "{group_count} placement groups still count on the disks of node {id}: wait until they are rebuilt \
             elsewhere, or add disks; --force gives up what only this node has"
        )));
    }
    if let Some(partition) = map.partitions.iter().find(|partition| partition.voters == [id]) {
        return Err(Error::conflict(format!(
            "node {id} is the only voter of partition {}: what that holds would be lost",
            partition.id
        )));
    }
    let is_voter = map.partitions.iter().any(|partition| partition.voters.contains(&id));
    Ok(NodeRemoved { disks, group_count, is_voter })
}

fn unknown(id: NodeId) -> Error {
    Error::not_found(format!("there is no node {id} in the cluster"))
}

/// A node that was just admitted.
pub fn node(new: &NewNode) -> NodeInfo {
    NodeInfo {
        zone: new.zone.clone(),
        native: new.native,
        control: new.control,
        roles: new.roles.clone(),
        up: false,
        confirmed: false,
        store: new
            .store
            .filter(|_| new.roles.contains(&Role::Meta))
            .map(|uuid| StoreInfo { uuid, number: 1 }),
    }
}
