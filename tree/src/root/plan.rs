//! What follows from a changed map: the placement table and the voters. Pure; computed by whoever proposes the change,
//! never by `apply`, which another build may run (I-PLACE, I-DET).

use std::collections::BTreeSet;

use placement::Change;
use proto::command::{MapChange, Placed};
use proto::map::{ClusterMap, Role};
use types::NodeId;

/// Voters of every partition: enough to lose one.
const VOTER_COUNT: usize = 3;

/// The table that follows from a change which has been made in `map`; `None` when it stays as it is there.
pub fn follow_up(mut map: ClusterMap, change: &MapChange) -> Option<Placed> {
    let (table, relaxed_count) = (map.table.clone(), map.relaxed_count);
    match change {
        MapChange::SetNodes { .. } | MapChange::RemoveNode { .. } => {
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

/// After nodes went down or came back: slots on disks that are down get substitutes.
fn substitute(map: &mut ClusterMap) {
    let disks = disks(map);
    if let Some(table) = &map.table {
        let change = placement::substitute(table, map.profile, &disks);
        accept(map, change);
    }
}

/// After disks were added: the first table, or the fewest moves to a balanced one.
fn rebalance(map: &mut ClusterMap) {
    let disks = disks(map);
    match &map.table {
        Some(table) => {
            let change = placement::rebalance(table, map.profile, &disks);
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
                let change = placement::substitute(&table, map.profile, &disks);
                accept(map, change);
            }
        }
    }
}

/// When every slot is filled and every disk is up: the fewest moves to a balanced table, so that disks that came back
/// (or were added while others were being filled) get their share. A balanced table stays as it is.
fn settle(map: &mut ClusterMap) {
    // A cluster without a table gets its first as soon as enough disks are up.
    let Some(table) = &map.table else { return rebalance(map) };
    let serving = |slot: &placement::Slot| slot.state == placement::SlotState::Serving;
    let filled = table.pgs.iter().flatten().all(serving);
    if filled && map.disks.keys().all(|disk| map.is_live(*disk)) {
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
                usable: true,
                down: !map.is_live(*id),
            }
        })
        .collect()
}

/// The nodes that should vote: those that vote now and are still meta nodes, then nodes that are up, first from zones
/// without a voter. A voter that is merely down stays: it may come back with data that a quorum needs. Of those that are
/// `away` for long, one is replaced as soon as there is somebody to take its place: one, so that most voters of the next
/// majority have what the one before has agreed on.
pub fn desired_voters(map: &ClusterMap, away: &BTreeSet<NodeId>) -> Vec<NodeId> {
    let mut voters: Vec<NodeId> =
        map.voters.iter().copied().filter(|id| is_meta(map, *id)).take(VOTER_COUNT).collect();
    while voters.len() < VOTER_COUNT {
        match candidate(map, &voters, away) {
            Some(id) => voters.push(id),
            None => break,
        }
    }
    if let Some(at) = voters.iter().position(|voter| away.contains(voter)) {
        let others = Vec::from_iter(voters.iter().copied().filter(|voter| *voter != voters[at]));
        voters[at] = candidate(map, &others, away).unwrap_or(voters[at]);
    }
    // Two voters tolerate no more failures than one, and stop when either is away.
    if voters.len() == 2 && map.voters.len() == 1 { map.voters.clone() } else { voters }
}

fn is_meta(map: &ClusterMap, id: NodeId) -> bool {
    map.nodes.get(&id).is_some_and(|node| node.roles.contains(&Role::Meta))
}

/// Who should vote next beside `voters`.
fn candidate(map: &ClusterMap, voters: &[NodeId], away: &BTreeSet<NodeId>) -> Option<NodeId> {
    let zones: BTreeSet<&str> = voters.iter().map(|voter| map.nodes[voter].zone.as_str()).collect();
    let can_vote = |id: &NodeId| is_meta(map, *id) && !voters.contains(id) && !away.contains(id);
    let candidates = map.nodes.iter().filter(|(id, node)| node.up && can_vote(id));
    let best = candidates.min_by_key(|(id, node)| (zones.contains(node.zone.as_str()), **id));
    best.map(|(id, _)| *id)
}
