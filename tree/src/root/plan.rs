//! What follows from a changed map: the placement table and the voters. Pure; computed by whoever proposes the change,
//! never by `apply`, which another build may run (I-PLACE, I-DET).

use std::collections::BTreeSet;

use placement::{Change, Elector, Electorate, Presence};
use proto::command::{MapChange, Placed};
use proto::map::{ClusterMap, DiskState, NodeInfo, Partition, PartitionKind, Role};
use types::{NodeId, PartitionId};

/// The table that follows from a change which has been made in `map`; `None` when it stays as it is there.
pub fn follow_up(mut map: ClusterMap, change: &MapChange) -> Option<Placed> {
    let (table, relaxed_count) = (map.table.clone(), map.relaxed_count);
    match change {
        MapChange::SetNodes { .. }
        | MapChange::RemoveNode { .. }
        | MapChange::SetOut { .. }
        | MapChange::RemoveDisk { .. } => {
            substitute(&mut map);
            settle(&mut map);
        }
        MapChange::RegisterDisks { .. } => rebalance(&mut map),
        MapChange::FinishSync { .. } => settle(&mut map),
        MapChange::AddNode { .. }
        | MapChange::SetVoters { .. }
        | MapChange::ConfirmNode { .. }
        | MapChange::RegisterStore { .. } => return None,
    }
    let is_same = map.table == table && map.relaxed_count == relaxed_count;
    map.table.filter(|_| !is_same).map(|table| Placed { table, relaxed_count: map.relaxed_count })
}

/// After disks went out or came back: slots on disks that are out get substitutes.
fn substitute(map: &mut ClusterMap) {
    let disks = disks(map);
    if let Some(table) = &map.table {
        let change = placement::substitute(table, map.profile, &disks, map.epoch.next());
        accept(map, change);
    }
}

/// After disks were added: the first table, or the fewest moves to a balanced one.
fn rebalance(map: &mut ClusterMap) {
    let disks = disks(map);
    match &map.table {
        Some(table) => {
            let change = placement::rebalance(table, map.profile, &disks, map.epoch.next());
            accept(map, change);
        }
        // Too few disks for the profile: no table yet, and writes say so.
        None => {
            if let Ok(table) = placement::build(map.profile, map.pg_count, &disks) {
                assert_eq!(
                    table.pgs.len(),
                    usize::from(map.pg_count),
                    "the groups that chunks are divided into"
                );
                // Changes nothing in a new table but tells how many groups had to break a rule.
                let change = placement::substitute(&table, map.profile, &disks, map.epoch.next());
                accept(map, change);
            }
        }
    }
}

/// When every slot is filled and nobody is waited for: the fewest moves to a balanced table, so that disks that came back
/// (or were added while others were being filled) get their share. A balanced table stays as it is.
fn settle(map: &mut ClusterMap) {
    // A cluster without a table gets its first as soon as enough disks are up.
    let Some(table) = &map.table else { return rebalance(map) };
    let serving = |slot: &placement::PgSlot| slot.state == placement::SlotState::Serving;
    let filled = table.pgs.iter().flatten().all(serving);
    if filled && map.disks.iter().all(|(id, disk)| disk.is_out || map.is_readable(*id)) {
        rebalance(map);
    }
}

/// Takes over what `placement` has made of the table.
fn accept(map: &mut ClusterMap, change: Change) {
    let groups = change.table.pgs.len();
    assert!(change.relaxed <= groups, "no group breaks its rules twice");
    assert!(
        map.table.as_ref().is_none_or(|before| before.pgs.len() == groups),
        "a change of the table neither adds nor loses groups (I-PLACE)"
    );
    map.relaxed_count = change.relaxed as u32;
    map.table = Some(change.table);
}

fn disks(map: &ClusterMap) -> Vec<placement::Candidate> {
    map.disks
        .iter()
        .map(|(id, disk)| {
            let zone = map.nodes.get(&disk.node).map(|n| n.zone.clone()).unwrap_or_default();
            placement::Candidate {
                id: *id,
                node: disk.node,
                zone,
                weight: disk.capacity,
                // Before the first table who does not answer yet is left out; later somebody waits for them.
                usable: disk.state < DiskState::BackfillFull && (map.table.is_some() || map.is_live(*id)),
                down: disk.is_out,
            }
        })
        .collect()
}

/// The voters that partitions should get now, as `placement` has it, with those of `frozen` left as they are and at most
/// `change_count_max` changes begun. Nodes that are `away` for long are replaced.
pub fn desired_voters(
    map: &ClusterMap,
    away: &BTreeSet<NodeId>,
    frozen: &BTreeSet<PartitionId>,
    change_count_max: usize,
) -> Vec<(PartitionId, Vec<NodeId>)> {
    let presence = |id: &NodeId, node: &NodeInfo| match () {
        () if away.contains(id) => Presence::Away,
        () if node.up => Presence::Up,
        () => Presence::Down,
    };
    let meta = map.nodes.iter().filter(|(_, node)| node.roles.contains(&Role::Meta));
    let electors: Vec<Elector> = meta
        .map(|(id, node)| Elector { id: *id, zone: node.zone.clone(), presence: presence(id, node) })
        .collect();
    let partition = |partition: &Partition| Electorate {
        voters: partition.voters.clone(),
        is_frozen: frozen.contains(&partition.id),
        // Its leader knows who was heard when.
        is_heavy: partition.kind == PartitionKind::Root,
    };
    let partitions: Vec<Electorate> = map.partitions.iter().map(partition).collect();
    let changes = placement::change_voters(&partitions, &electors, change_count_max);
    changes.into_iter().map(|(at, voters)| (map.partitions[at].id, voters)).collect()
}
