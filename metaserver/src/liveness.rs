//! The failure detector of the root leader: decides from heartbeats which nodes are up. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use proto::cluster::Heartbeat;
use proto::command::NodeChange;
use proto::map::{ClusterMap, Role};
use types::limits::NODE_SILENCE_MS_MAX;
use types::{DiskId, FeatureLevel, NodeId};

/// What the leader has heard. Times are milliseconds on the leader's monotonic clock.
#[derive(Debug)]
pub struct Liveness {
    /// When this node started listening: nobody is silent for longer than we have listened.
    since_ms: u64,
    last: BTreeMap<NodeId, (u64, Heartbeat)>,
    /// When a node's replicas last took part, and at which address.
    took_part: BTreeMap<NodeId, (u64, SocketAddr)>,
    /// Since when it is known that a node has joined, of those that have not said that they know it.
    joined_ms: BTreeMap<NodeId, u64>,
}

impl Liveness {
    /// A detector that starts listening at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        let (last, took_part, joined_ms) = Default::default();
        Self { since_ms: now_ms, last, took_part, joined_ms }
    }

    /// Takes a heartbeat.
    pub fn heard(&mut self, now_ms: u64, heartbeat: Heartbeat) {
        let before = self.heard_ms(heartbeat.node);
        assert!(
            before <= now_ms,
            "the clock is read in the order of the heartbeats: {before} ms, now {now_ms} ms"
        );
        if heartbeat.stamp.is_some() && heartbeat.partitions.iter().all(|p| p.problem.is_empty()) {
            self.took_part.insert(heartbeat.node, (now_ms, heartbeat.native));
        }
        self.last.insert(heartbeat.node, (now_ms, heartbeat));
    }

    /// The last heartbeat of a node and how many milliseconds ago it came; `None` when there was none.
    pub fn last(&self, node: NodeId, now_ms: u64) -> Option<(u64, &Heartbeat)> {
        let (heard_ms, heartbeat) = self.last.get(&node)?;
        Some((now_ms.saturating_sub(*heard_ms), heartbeat))
    }

    /// Where the process listens whose replicas take part as those of `node`, as far as it was heard lately. Others may
    /// say that they are this node too.
    pub fn holder(&self, node: NodeId, now_ms: u64) -> Option<SocketAddr> {
        let (ms, native) = self.took_part.get(&node)?;
        (now_ms.saturating_sub(*ms) <= NODE_SILENCE_MS_MAX).then_some(*native)
    }

    /// The nodes whose replicas have not taken part for longer than `away_ms`: silent ones, and those that say that
    /// their store is closed or a copy has stopped.
    pub fn away(&self, now_ms: u64, away_ms: u64, map: &ClusterMap) -> BTreeSet<NodeId> {
        let since = |id: &NodeId| self.took_part.get(id).map_or(self.since_ms, |(ms, _)| *ms);
        map.nodes.keys().copied().filter(|id| now_ms - since(id) > away_ms).collect()
    }

    /// The nodes that have joined longer than `away_ms` ago, have never said that they know it, and have been silent for
    /// as long.
    pub fn ghosts(&mut self, now_ms: u64, away_ms: u64, map: &ClusterMap) -> Vec<NodeId> {
        let is_unconfirmed = |id: &NodeId| map.nodes.get(id).is_some_and(|node| !node.confirmed);
        self.joined_ms.retain(|id, _| is_unconfirmed(id));
        for id in map.nodes.keys().filter(|id| is_unconfirmed(id)) {
            self.joined_ms.entry(*id).or_insert(now_ms);
        }
        let joined_before = self.joined_ms.iter().filter(|(_, since_ms)| now_ms - **since_ms > away_ms);
        joined_before.map(|(id, _)| *id).filter(|id| self.silence(*id, now_ms) > away_ms).collect()
    }

    /// The newest feature level that every meta node of the map knows; `None` while one of them is silent.
    pub fn level(&self, now_ms: u64, map: &ClusterMap) -> Option<FeatureLevel> {
        let meta = map.nodes.iter().filter(|(_, node)| node.roles.contains(&Role::Meta));
        let levels = meta.map(|(id, _)| {
            let (silent_ms, heartbeat) = self.last(*id, now_ms)?;
            (silent_ms <= NODE_SILENCE_MS_MAX).then_some(heartbeat.level)
        });
        levels.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    fn silence(&self, node: NodeId, now_ms: u64) -> u64 {
        let heard_ms = self.heard_ms(node);
        assert!(heard_ms <= now_ms, "nobody is heard in the future: at {heard_ms} ms, now {now_ms} ms");
        now_ms - heard_ms
    }

    fn heard_ms(&self, node: NodeId) -> u64 {
        self.last.get(&node).map_or(self.since_ms, |(heard_ms, _)| *heard_ms)
    }

    /// The changes that would make the map agree with what was heard.
    pub fn changes(&self, now_ms: u64, map: &ClusterMap) -> Vec<NodeChange> {
        map.nodes
            .iter()
            .filter_map(|(id, node)| {
                let down = self.silence(*id, now_ms) > NODE_SILENCE_MS_MAX;
                let change = match self.last.get(id) {
                    Some((_, h)) if !down => NodeChange {
                        node: *id,
                        up: true,
                        native: h.native,
                        control: h.control,
                        broken_disks: h.disks.iter().filter(|(_, d)| !d.healthy).map(|(id, _)| *id).collect(),
                    },
                    _ if down => NodeChange {
                        node: *id,
                        up: false,
                        native: node.native,
                        control: node.control,
                        broken_disks: broken_disks(map, *id),
                    },
                    // Not heard from yet, but we have not listened for long either.
                    _ => return None,
                };
                let same = change.up == node.up
                    && change.native == node.native
                    && change.control == node.control
                    && change.broken_disks == broken_disks(map, *id);
                (!same).then_some(change)
            })
            .collect()
    }
}

fn broken_disks(map: &ClusterMap, node: NodeId) -> Vec<DiskId> {
    map.disks.iter().filter(|(_, d)| d.node == node && !d.healthy).map(|(id, _)| *id).collect()
}

#[cfg(test)]
mod tests {
    //! Goal: what the leader decides from what it has heard. Method: one map, a list of heartbeats and a time; one word
    //! per node that changes.

    use proto::cluster::DiskReport;
    use proto::command::{Bootstrap, NewNode};
    use proto::map::DiskInfo;
    use proto::seal::ClusterSecret;
    use types::{ClusterId, DiskUuid, Epoch, Profile, ReplicaId, Stamp, Start, StoreUuid};

    use super::*;

    /// When the leader began to listen.
    const SINCE_MS: u64 = 10_000;

    fn address(port: u64) -> std::net::SocketAddr {
        format!("127.0.0.1:{port}").parse().unwrap()
    }

    /// Nodes 1 and 2 are up, node 3 is down. Node 1 has the disks 1, which is healthy, and 2, which is not.
    fn map() -> ClusterMap {
        let node = NewNode {
            zone: "z".into(),
            roles: vec![Role::Block],
            native: address(1),
            control: address(101),
            store: None,
        };
        let mut map = tree::root::bootstrap_map(&Bootstrap {
            cluster: ClusterId([1; 16]),
            profile: Profile { k: 1, m: 1 },
            pg_count: 1,
            namespace_partitions: 1,
            index_partitions: 1,
            authority: String::new(),
            secret: ClusterSecret([0; 32]),
            node,
        });
        for id in [2, 3] {
            let mut node = map.nodes[&NodeId(1)].clone();
            (node.native, node.control, node.up) = (address(id), address(100 + id), id == 2);
            map.nodes.insert(NodeId(id), node);
        }
        for (id, healthy) in [(1, true), (2, false)] {
            let disk = DiskInfo { node: NodeId(1), uuid: DiskUuid([id as u8; 16]), capacity: 1, healthy };
            map.disks.insert(DiskId(id), disk);
        }
        map
    }

    /// What a node says whose disks are as given.
    fn says(node: u64, disks: &[(u32, bool)]) -> Heartbeat {
        let report = |healthy| DiskReport {
            healthy,
            problem: String::new(),
            used_bytes: 0,
            free_bytes: 0,
            records: 0,
        };
        Heartbeat {
            node: NodeId(node),
            native: address(node),
            control: address(100 + node),
            level: FeatureLevel(1),
            epoch: Epoch(1),
            disks: disks.iter().map(|(id, healthy)| (DiskId(*id), report(*healthy))).collect(),
            stamp: None,
            store_problem: String::new(),
            partitions: Vec::new(),
            syncing_slots: 0,
            bytes_received: 0,
            bytes_sent: 0,
        }
    }

    /// What a node says that is as the map has it.
    fn same(node: u64) -> Heartbeat {
        says(node, if node == 1 { &[(1, true), (2, false)] } else { &[] })
    }

    /// One word per change: the node, whether it is up, where it listens, its broken disks. Times are since the leader
    /// began to listen.
    #[track_caller]
    fn check(heard: Vec<(u64, Heartbeat)>, now_ms: u64, want: &[&str]) {
        let mut liveness = Liveness::new(SINCE_MS);
        heard.into_iter().for_each(|(ms, heartbeat)| liveness.heard(SINCE_MS + ms, heartbeat));
        let line = |change: NodeChange| {
            let up = if change.up { "up" } else { "down" };
            let broken: Vec<u32> = change.broken_disks.iter().map(|disk| disk.0).collect();
            format!("{} {up} {}/{} {broken:?}", change.node, change.native.port(), change.control.port())
        };
        let changes = liveness.changes(SINCE_MS + now_ms, &map());
        assert_eq!(changes.into_iter().map(line).collect::<Vec<_>>(), want);
    }

    #[test]
    fn a_node_is_down_after_a_silence() {
        let both = |one, two| vec![(one, same(1)), (two, same(2))];
        check(both(5000, 5000), 5000, &[]);
        check(both(5000, 3500), 5000, &[]);
        check(both(5000, 3499), 5000, &["2 down 2/102 []"]);
        check(both(0, 0), 5000, &["1 down 1/101 [2]", "2 down 2/102 []"]);
        // The last heartbeat counts.
        check([both(5000, 100), both(5000, 4000)].concat(), 5000, &[]);
    }

    #[test]
    fn a_young_leader_does_not_take_what_it_has_not_heard_for_silence() {
        check(vec![], 0, &[]);
        check(vec![], 1500, &[]);
        check(vec![(1400, same(1))], 1501, &["2 down 2/102 []"]);
        check(vec![], 1501, &["1 down 1/101 [2]", "2 down 2/102 []"]);
    }

    #[test]
    fn a_node_that_is_heard_again_is_up() {
        check(vec![(0, same(1)), (0, same(2)), (0, same(3))], 1500, &["3 up 3/103 []"]);
        check(vec![(0, same(1)), (0, same(2)), (0, same(3))], 1501, &["1 down 1/101 [2]", "2 down 2/102 []"]);
    }

    #[test]
    fn the_map_follows_addresses() {
        let native = Heartbeat { native: address(9), ..same(1) };
        let control = Heartbeat { control: address(9), ..same(2) };
        check(vec![(0, native.clone()), (0, control)], 100, &["1 up 9/101 [2]", "2 up 2/9 []"]);
        // What was said before a silence is not where it is.
        check(vec![(0, native), (5000, same(2))], 5000, &["1 down 1/101 [2]"]);
    }

    #[test]
    fn the_map_follows_disks() {
        let one = |disks: &[(u32, bool)], want: &[&str]| check(vec![(0, says(1, disks))], 100, want);
        one(&[(1, true), (2, false)], &[]);
        one(&[(1, false), (2, false)], &["1 up 1/101 [1, 2]"]);
        one(&[(1, false), (2, true)], &["1 up 1/101 [1]"]);
        one(&[(1, true), (2, true)], &["1 up 1/101 []"]);
    }

    /// As it is today: what a node does not speak of is healthy (finding M15), and what the map does not have as that
    /// node's is a change for ever, with a new map each time.
    #[test]
    fn disks_that_the_map_and_the_node_do_not_both_have() {
        let one = |disks: &[(u32, bool)], want: &[&str]| check(vec![(0, says(1, disks))], 100, want);
        one(&[(2, false)], &[]);
        one(&[], &["1 up 1/101 []"]);
        one(&[(1, true), (2, false), (7, true)], &[]);
        one(&[(1, true), (2, false), (7, false)], &["1 up 1/101 [2, 7]"]);
        check(vec![(0, says(2, &[(1, false)]))], 100, &["2 up 2/102 [1]"]);
    }

    /// However long the leader has listened: whoever joins has its time from then on.
    #[test]
    fn a_node_that_joins_has_its_time_to_say_so() {
        let (mut liveness, mut map) = (Liveness::new(SINCE_MS), map());
        map.nodes.values_mut().for_each(|node| node.confirmed = true);
        let mut ghosts = |ms, map: &ClusterMap| liveness.ghosts(SINCE_MS + ms, 5000, map);
        assert_eq!(ghosts(9000, &map), []);
        map.nodes.get_mut(&NodeId(3)).unwrap().confirmed = false;
        assert_eq!(ghosts(9200, &map), []);
        assert_eq!(ghosts(14_200, &map), []);
        assert_eq!(ghosts(14_201, &map), [NodeId(3)]);
        map.nodes.get_mut(&NodeId(3)).unwrap().confirmed = true;
        assert_eq!(ghosts(14_300, &map), []);
    }

    /// Two processes that say that they are node 1: one that takes part, and one whose store was refused.
    #[test]
    fn a_store_is_held_by_whoever_takes_part_with_it() {
        let start = Start { store: StoreUuid([1; 16]), count: 1, nonce: 1 };
        let stamp = Stamp { replica: ReplicaId::new(NodeId(1), 1), start, mark: 0 };
        let first = Heartbeat { stamp: Some(stamp), native: address(7), ..same(1) };
        let second = Heartbeat { native: address(8), ..same(1) };
        let mut liveness = Liveness::new(SINCE_MS);
        liveness.heard(SINCE_MS, second.clone());
        assert_eq!(liveness.holder(NodeId(1), SINCE_MS), None);
        liveness.heard(SINCE_MS + 100, first);
        liveness.heard(SINCE_MS + 200, second.clone());
        assert_eq!(liveness.holder(NodeId(1), SINCE_MS + 200), Some(address(7)));
        liveness.heard(SINCE_MS + 1700, second);
        assert_eq!(liveness.holder(NodeId(1), SINCE_MS + 1600), Some(address(7)));
        assert_eq!(
            liveness.holder(NodeId(1), SINCE_MS + 1601),
            None,
            "it has stopped, or its store was lost"
        );
    }

    #[test]
    fn nodes_that_are_not_in_the_map_change_nothing() {
        check(vec![(0, same(9))], 100, &[]);
    }

    /// A node that is not heard may be of any build.
    #[test]
    fn the_level_of_all_is_that_of_the_oldest_build() {
        let mut map = map();
        map.nodes.get_mut(&NodeId(1)).unwrap().roles.push(Role::Meta);
        map.nodes.get_mut(&NodeId(3)).unwrap().roles = vec![Role::Meta];
        let check = |heard: &[(u64, u64, u32)], now_ms, want: Option<u32>| {
            let mut liveness = Liveness::new(SINCE_MS);
            for (ms, node, level) in heard {
                let heartbeat = Heartbeat { level: FeatureLevel(*level), ..same(*node) };
                liveness.heard(SINCE_MS + ms, heartbeat);
            }
            assert_eq!(liveness.level(SINCE_MS + now_ms, &map), want.map(FeatureLevel), "{heard:?}");
        };
        check(&[], 0, None);
        check(&[(0, 1, 2)], 0, None);
        check(&[(0, 1, 2), (0, 3, 3)], 0, Some(2));
        check(&[(0, 1, 2), (0, 3, 1)], 0, Some(1));
        // Others apply no log.
        check(&[(0, 1, 2), (0, 2, 1), (0, 3, 2)], 0, Some(2));
        check(&[(0, 1, 2), (5000, 3, 2)], 5000, None);
        check(&[(0, 1, 1), (0, 3, 2), (9, 1, 2)], 9, Some(2));
    }

    #[test]
    fn what_was_heard_last_is_remembered_with_its_age() {
        let mut liveness = Liveness::new(SINCE_MS);
        assert_eq!(liveness.last(NodeId(1), SINCE_MS), None);
        liveness.heard(SINCE_MS, same(1));
        liveness.heard(SINCE_MS + 100, says(1, &[]));
        assert_eq!(liveness.last(NodeId(1), SINCE_MS + 150), Some((50, &says(1, &[]))));
        assert_eq!(liveness.last(NodeId(2), SINCE_MS + 150), None);
    }
}
