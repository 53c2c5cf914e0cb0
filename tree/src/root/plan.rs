//! What follows from a changed map: the placement table and the voters. Pure and deterministic (I-PLACE, I-DET).

use std::collections::BTreeSet;

use placement::Change;
use proto::map::{ClusterMap, Role};
use types::NodeId;

/// Voters of every partition: enough to lose one.
const VOTER_COUNT: usize = 3;

/// After nodes went down or came back: slots on disks that are down get substitutes.
pub fn substitute(map: &mut ClusterMap) {
    let disks = disks(map);
    if let Some(table) = &map.table {
        let change = placement::substitute(table, map.profile, &disks);
        accept(map, change);
    }
}

/// After disks were added: the first table, or the fewest moves to a balanced one.
pub fn rebalance(map: &mut ClusterMap) {
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
pub fn settle(map: &mut ClusterMap) {
    let serving = |slot: &placement::Slot| slot.state == placement::SlotState::Serving;
    let filled = map.table.as_ref().is_some_and(|table| table.pgs.iter().flatten().all(serving));
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
/// without a voter. A voter that is merely down stays: it may come back with data that a quorum needs.
pub fn desired_voters(map: &ClusterMap) -> Vec<NodeId> {
    let is_meta = |id: &NodeId| map.nodes.get(id).is_some_and(|n| n.roles.contains(&Role::Meta));
    let mut voters: Vec<NodeId> = map.voters.iter().copied().filter(is_meta).take(VOTER_COUNT).collect();
    while voters.len() < VOTER_COUNT {
        let zones: BTreeSet<&str> = voters.iter().map(|v| map.nodes[v].zone.as_str()).collect();
        let candidates = map.nodes.iter().filter(|(id, n)| n.up && is_meta(id) && !voters.contains(id));
        match candidates.min_by_key(|(id, n)| (zones.contains(n.zone.as_str()), **id)) {
            Some((id, _)) => voters.push(*id),
            None => break,
        }
    }
    // Two voters tolerate no more failures than one, and stop when either is away.
    if voters.len() == 2 && map.voters.len() == 1 { map.voters.clone() } else { voters }
}
