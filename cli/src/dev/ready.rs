//! When a development cluster counts as started. Pure.

use proto::cluster::ClusterStatus;

use super::layout::Layout;
use crate::health::Slots;

/// What is still missing; nothing when the cluster is ready.
pub(super) fn missing(layout: &Layout, status: &ClusterStatus) -> Vec<String> {
    let map = &status.map;
    let mut missing = Vec::new();
    let up = layout
        .nodes
        .iter()
        .filter(|plan| map.nodes.values().any(|node| node.up && node.native == plan.native));
    let up = up.count();
    if up < layout.nodes.len() {
        missing.push(format!("{up} of {} nodes up", layout.nodes.len()));
    }
    if map.voters.len() < layout.voter_count() {
        missing.push(format!("{} of {} voters", map.voters.len(), layout.voter_count()));
    }
    let slots = Slots::of(map);
    match &map.table {
        None => missing.push(format!("{} disks, {} needed", map.disks.len(), map.profile.n())),
        Some(_) if slots.syncing + slots.offline > 0 => {
            missing.push(format!("{} slots to fill", slots.syncing + slots.offline));
        }
        Some(_) => {}
    }
    missing
}

#[cfg(test)]
mod tests {
    use placement::SlotState;
    use types::{NodeId, Profile};

    use super::*;
    use crate::dev::Shape;
    use crate::health::tests::status;

    #[test]
    fn ready_when_nothing_is_missing() {
        let ports: Vec<u16> = (1..=3).flat_map(|id| [7400 + 2 * id, 8000 + id]).collect();
        let layout = Layout::plan(Shape { nodes: 3, zones: 3, profile: Profile { k: 1, m: 1 } }, &ports);
        let mut status = status(3);
        assert_eq!(missing(&layout, &status), ["1 of 3 voters"]);
        status.map.voters = vec![NodeId(1), NodeId(2), NodeId(3)];
        assert_eq!(missing(&layout, &status), [""; 0]);
        status.map.nodes.get_mut(&NodeId(3)).unwrap().up = false;
        assert_eq!(missing(&layout, &status), ["2 of 3 nodes up"]);
        status.map.nodes.remove(&NodeId(2));
        status.map.table.as_mut().unwrap().pgs[0][0].state = SlotState::Syncing;
        assert_eq!(missing(&layout, &status), ["1 of 3 nodes up", "1 slots to fill"]);
        status.map.table = None;
        assert_eq!(missing(&layout, &status)[1], "3 disks, 2 needed");
    }
}
