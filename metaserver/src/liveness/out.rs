//! Decides when a disk that is away is waited for no longer. Pure.
//!
//! Down is not out: who is back in time has missed only what was written meanwhile.

use std::collections::BTreeMap;

use proto::map::ClusterMap;
use types::DiskId;

/// Since when disks cannot be read, as long as this node has led. Times are milliseconds on its monotonic clock.
#[derive(Debug, Default)]
pub struct Absences(BTreeMap<DiskId, u64>);

impl Absences {
    /// The disks to declare out, or in again. One that cannot be read is waited for; one that can, but is never written
    /// again, goes at once. Nobody goes while so many are away that it looks like a mistake.
    pub fn decide(&mut self, now_ms: u64, down_out_ms: u64, map: &ClusterMap) -> Vec<(DiskId, bool)> {
        self.0.retain(|id, _| map.disks.contains_key(id) && !map.is_readable(*id));
        for id in map.disks.keys().filter(|id| !map.is_readable(**id)) {
            self.0.entry(*id).or_insert(now_ms);
        }
        let is_over = |id: &DiskId| self.0.get(id).is_none_or(|since| now_ms - since > down_out_ms);
        let is_storm = map.is_storm();
        let decide = |(id, disk): (&DiskId, &proto::map::DiskInfo)| {
            let must_go = map.will_not_write(*id) && is_over(id) && !is_storm;
            let is_back = disk.is_out && !map.will_not_write(*id);
            ((must_go && !disk.is_out) || is_back).then_some((*id, must_go))
        };
        map.disks.iter().filter_map(decide).collect()
    }

    /// How much longer each disk that is away is waited for, as far as nothing else keeps it.
    pub fn left_ms(&self, now_ms: u64, down_out_ms: u64) -> BTreeMap<DiskId, u64> {
        let left = |since: &u64| (since + down_out_ms).saturating_sub(now_ms);
        self.0.iter().map(|(id, since)| (*id, left(since))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proto::map::DiskState::{Failed, Full, Healthy, Missing, ReadOnly, Slow};
    use proto::map::{DiskInfo, DiskState, NodeInfo, Role};
    use types::NodeId;

    use super::*;

    const WAIT_MS: u64 = 100;

    /// A cluster of so many nodes with two disks each: 1 and 2 in node 1, and so on.
    fn cluster(nodes: u64) -> ClusterMap {
        let mut map = super::super::tests::map();
        map.profile.m = 2;
        (map.nodes, map.disks) = Default::default();
        let address = "127.0.0.1:1".parse().unwrap();
        for id in 1..=nodes {
            let roles = vec![Role::Block];
            let zone = "z".to_owned();
            let node = NodeInfo {
                zone,
                native: address,
                control: address,
                roles,
                up: true,
                confirmed: true,
                store: None,
            };
            map.nodes.insert(NodeId(id), node);
            for disk in [2 * id - 1, 2 * id] {
                map.disks.insert(DiskId(disk as u32), DiskInfo { node: NodeId(id), ..DiskInfo::default() });
            }
        }
        map
    }

    /// Disks in these states, from the beginning: who is out after a moment, and when the wait is over.
    #[track_caller]
    fn check(nodes: u64, states: &[(u32, DiskState)], soon: &[u32], late: &[u32]) {
        let mut map = cluster(nodes);
        states.iter().for_each(|(id, state)| map.disks.get_mut(&DiskId(*id)).unwrap().state = *state);
        let mut absences = Absences::default();
        let mut out = |ms| -> Vec<u32> {
            for (id, is_out) in absences.decide(ms, WAIT_MS, &map) {
                map.disks.get_mut(&id).unwrap().is_out = is_out;
            }
            map.disks.iter().filter(|(_, disk)| disk.is_out).map(|(id, _)| id.0).collect()
        };
        assert_eq!(out(7), soon, "soon");
        assert_eq!(out(7 + WAIT_MS), soon, "not before the wait is over");
        assert_eq!(out(8 + WAIT_MS), late, "late");
    }

    #[test]
    fn disks_that_stay_away_are_out() {
        check(8, &[], &[], &[]);
        check(8, &[(1, Slow), (2, Full)], &[], &[]);
        check(8, &[(1, Missing)], &[], &[1]);
        check(8, &[(1, Failed)], &[], &[1]);
        check(8, &[(1, ReadOnly)], &[1], &[1]);
        // A whole node is one thing that happened.
        check(8, &[(1, Missing), (2, Missing)], &[], &[1, 2]);
        // As many nodes as the profile survives, and no more of them.
        check(8, &[(1, Missing), (3, Failed)], &[], &[1, 3]);
        check(8, &[(1, Missing), (3, Failed), (5, Missing)], &[], &[]);
        check(8, &[(1, ReadOnly), (3, ReadOnly), (5, ReadOnly)], &[], &[]);
        // A tenth of many disks, wherever they are.
        check(15, &[(1, Missing), (3, Failed), (5, Missing)], &[], &[1, 3, 5]);
        // In a single node it takes more than the profile survives.
        check(1, &[(1, Missing), (2, Failed)], &[], &[1, 2]);
    }

    #[test]
    fn who_returns_is_in_again_and_waited_for_anew() {
        let mut map = cluster(8);
        let mut absences = Absences::default();
        let set = |map: &mut ClusterMap, state, is_out| {
            let disk = map.disks.get_mut(&DiskId(5)).unwrap();
            (disk.state, disk.is_out) = (state, is_out);
        };
        set(&mut map, Missing, false);
        assert_eq!(absences.decide(0, WAIT_MS, &map), []);
        set(&mut map, Healthy, false);
        assert_eq!(absences.decide(90, WAIT_MS, &map), []);
        set(&mut map, Missing, false);
        assert_eq!(absences.decide(110, WAIT_MS, &map), []);
        assert_eq!(absences.left_ms(150, WAIT_MS), [(DiskId(5), 60)].into());
        assert_eq!(absences.left_ms(500, WAIT_MS), [(DiskId(5), 0)].into());
        assert_eq!(absences.decide(211, WAIT_MS, &map), [(DiskId(5), true)]);
        set(&mut map, Healthy, true);
        assert_eq!(absences.decide(220, WAIT_MS, &map), [(DiskId(5), false)]);
        // It can be read, but it will not be written.
        set(&mut map, ReadOnly, true);
        assert_eq!(absences.decide(230, WAIT_MS, &map), []);
    }
}
