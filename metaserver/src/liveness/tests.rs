//! Goal: what the leader decides from what it has heard. Method: one map, a list of heartbeats and a time; one word
//! per node that changes.

use proto::cluster::{DiskReport, PartitionReport};
use proto::command::{Bootstrap, NewNode};
use proto::keys::UnlockKey;
use proto::map::DiskInfo;
use types::{ClusterId, DiskUuid, Epoch, Millis, Profile, ReplicaId, Stamp, Start, StoreUuid};

use super::*;

/// When the leader began to listen.
const SINCE_MS: u64 = 10_000;

fn address(port: u64) -> std::net::SocketAddr {
    format!("127.0.0.1:{port}").parse().unwrap()
}

/// Nodes 1 and 2 are up, node 3 is down. Node 1 has the disks 1, which is healthy, and 2, which is not.
pub(super) fn map() -> ClusterMap {
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
        tree_partitions: 1,
        index_partitions: 1,
        secrets: Default::default(),
        keys: tree::root::found_ring(&UnlockKey([0; 32]), &mut || [0; 32], Millis(0)),
        node,
        certificates: Vec::new(),
    });
    for id in [2, 3] {
        let mut node = map.nodes[&NodeId(1)].clone();
        (node.native, node.control, node.up) = (address(id), address(100 + id), id == 2);
        map.nodes.insert(NodeId(id), node);
    }
    for (id, state) in [(1, DiskState::Healthy), (2, DiskState::ReadOnly)] {
        let uuid = DiskUuid([id as u8; 16]);
        let disk = DiskInfo { node: NodeId(1), uuid, capacity: 1, state, is_out: false };
        map.disks.insert(DiskId(id), disk);
    }
    map
}

/// What a node says whose disks are as given.
fn says(node: u64, disks: &[(u32, DiskState)]) -> Heartbeat {
    let report = |state| DiskReport { state, ..DiskReport::default() };
    Heartbeat {
        node: NodeId(node),
        native: address(node),
        control: address(100 + node),
        level: FeatureLevel(1),
        epoch: Epoch(1),
        disk_problems: Vec::new(),
        disks: disks.iter().map(|(id, state)| (DiskId(*id), report(*state))).collect(),
        stamp: None,
        store_problem: String::new(),
        partitions: Vec::new(),
        revoked_version: 0,
        syncing_slots: 0,
        wall: Millis(0),
        bytes_received: 0,
        bytes_sent: 0,
    }
}

/// What a node says that is as the map has it.
fn same(node: u64) -> Heartbeat {
    says(node, if node == 1 { &[(1, DiskState::Healthy), (2, DiskState::ReadOnly)] } else { &[] })
}

/// The same, said by the `count`-th process that runs with the node's store.
fn started(count: u64, heartbeat: Heartbeat) -> Heartbeat {
    let start = Start { store: StoreUuid([1; 16]), count, nonce: count };
    let replica = ReplicaId::new(heartbeat.node, 1);
    Heartbeat { stamp: Some(Stamp { replica, start, mark: 0 }), ..heartbeat }
}

/// One word per change: the node, whether it is up, where it listens, its broken disks. Times are since the leader
/// began to listen.
#[track_caller]
fn check(heard: Vec<(u64, Heartbeat)>, now_ms: u64, want: &[&str]) {
    let mut liveness = Liveness::new(SINCE_MS);
    heard.into_iter().for_each(|(ms, heartbeat)| liveness.heard(SINCE_MS + ms, heartbeat, &map()));
    let line = |change: NodeChange| {
        let up = if change.up { "up" } else { "down" };
        let broken = change.disks.iter().filter(|(_, state)| !state.is_writable());
        let broken: Vec<u32> = broken.map(|(disk, _)| disk.0).collect();
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
    check(both(0, 0), 5000, &["1 down 1/101 []", "2 down 2/102 []"]);
    // The last heartbeat counts.
    check([both(5000, 100), both(5000, 4000)].concat(), 5000, &[]);
}

#[test]
fn a_young_leader_does_not_take_what_it_has_not_heard_for_silence() {
    check(vec![], 0, &[]);
    check(vec![], 1500, &[]);
    check(vec![(1400, same(1))], 1501, &["2 down 2/102 []"]);
    check(vec![], 1501, &["1 down 1/101 []", "2 down 2/102 []"]);
}

#[test]
fn a_node_that_is_heard_again_is_up() {
    check(vec![(0, same(1)), (0, same(2)), (0, same(3))], 1500, &["3 up 3/103 []"]);
    check(vec![(0, same(1)), (0, same(2)), (0, same(3))], 1501, &["1 down 1/101 []", "2 down 2/102 []"]);
}

#[test]
fn the_map_follows_addresses() {
    let native = started(1, Heartbeat { native: address(9), ..same(1) });
    let control = started(1, Heartbeat { control: address(9), ..same(2) });
    check(vec![(0, native.clone()), (0, control)], 100, &["1 up 9/101 [2]", "2 up 2/9 []"]);
    // What was said before a silence is not where it is.
    check(vec![(0, native), (5000, same(2))], 5000, &["1 down 1/101 []"]);
}

/// Node 2 and a copy of it that runs beside it, which take turns.
#[test]
fn a_copy_of_a_node_does_not_move_it() {
    let node = same(2);
    let copy = || Heartbeat { native: address(9), ..same(2) };
    let turns = |first: Heartbeat, second: Heartbeat| -> Vec<(u64, Heartbeat)> {
        (0..20).map(|turn| (turn * 300, if turn % 2 == 0 { first.clone() } else { second.clone() })).collect()
    };
    let rest =
        |heard: Vec<(u64, Heartbeat)>| [heard, (0..20).map(|turn| (turn * 300, same(1))).collect()].concat();
    let check = |heard: Vec<(u64, Heartbeat)>, want: &[&str]| {
        let mut heard = rest(heard);
        heard.sort_by_key(|(ms, _)| *ms);
        check(heard, 5800, want);
    };
    check(turns(node.clone(), copy()), &[]);
    check(turns(copy(), node.clone()), &[]);
    check(turns(started(4, node.clone()), copy()), &[]);
    check(turns(started(4, node.clone()), started(4, copy())), &[]);
    check(turns(started(4, node.clone()), started(3, copy())), &[]);
    // What was started last holds the store, whatever the map says.
    check(turns(started(4, node.clone()), started(5, copy())), &["2 up 9/102 []"]);
    check(turns(node.clone(), started(5, copy())), &["2 up 9/102 []"]);
    check(turns(started(5, copy()), node.clone()), &["2 up 9/102 []"]);
    // A node without metadata has moved when it is not heard any more where it was.
    check(vec![(0, node.clone()), (300, copy()), (1500, copy())], &["2 down 2/102 []"]);
    let later = vec![(0, node), (1501, copy()), (3000, copy()), (4400, copy())];
    check(later, &["2 up 9/102 []"]);
}

/// What a follower says of a partition.
fn report(partition: u32) -> PartitionReport {
    PartitionReport {
        id: PartitionId(partition),
        leading: false,
        term: 1,
        applied: 0,
        problem: String::new(),
        restarts: 0,
        level: FeatureLevel(1),
        voters: Default::default(),
        learners: Default::default(),
    }
}

/// A leader that was cut off may still say what it knew.
#[test]
fn who_votes_is_what_the_newest_leader_says() {
    let mut liveness = Liveness::new(SINCE_MS);
    let mut says = |ms, node, term, leading, voters: &[u64]| {
        let voters = voters.iter().map(|id| ReplicaId::new(NodeId(*id), 1)).collect();
        let report = PartitionReport { term, leading, voters, ..report(3) };
        liveness.heard(SINCE_MS + ms, Heartbeat { partitions: vec![report], ..same(node) }, &map());
        let found = liveness.voters(SINCE_MS + ms).remove(&PartitionId(3))?;
        Some(found.into_iter().map(|replica| replica.node().0).collect::<Vec<_>>())
    };
    assert_eq!(says(0, 1, 7, false, &[1, 2, 3]), None, "who does not lead does not know");
    assert_eq!(says(100, 2, 5, true, &[1, 2]), Some(vec![1, 2]));
    assert_eq!(says(200, 1, 7, true, &[1, 3]), Some(vec![1, 3]));
    assert_eq!(says(300, 2, 5, true, &[1, 2]), Some(vec![1, 3]));
    assert_eq!(says(1800, 2, 5, true, &[1, 2]), Some(vec![1, 2]), "the other is silent");
}

#[test]
fn a_copy_is_behind_until_it_has_come_to_where_the_newest_was() {
    let mut liveness = Liveness::new(SINCE_MS);
    let map = map();
    let mut behind = |ms, node, applied| {
        let report = PartitionReport { applied, ..report(3) };
        liveness.heard(SINCE_MS + ms, Heartbeat { partitions: vec![report], ..same(node) }, &map);
        liveness.behind_ms(NodeId(node), SINCE_MS + ms).get(&PartitionId(3)).copied()
    };
    // However fast the newest goes on: what counts is where it was.
    let said = [
        (0, 1, 100, 0),
        (0, 2, 40, 0),
        (300, 1, 200, 0),
        (300, 2, 90, 300),
        (600, 2, 100, 0),
        (900, 2, 150, 300),
        (1200, 2, 200, 0),
        (9000, 2, 200, 0),
        (9000, 1, 201, 0),
        (9300, 2, 200, 0),
        (9600, 2, 200, 300),
    ];
    for (ms, node, applied, want) in said {
        assert_eq!(behind(ms, node, applied), Some(want), "node {node} at {ms} ms");
    }
    assert_eq!(liveness.behind_ms(NodeId(7), SINCE_MS), Default::default());
}

#[test]
fn the_map_follows_disks() {
    let one = |disks: &[(u32, DiskState)], want: &[&str]| check(vec![(0, says(1, disks))], 100, want);
    one(&[(1, DiskState::Healthy), (2, DiskState::ReadOnly)], &[]);
    one(&[(1, DiskState::ReadOnly), (2, DiskState::ReadOnly)], &["1 up 1/101 [1, 2]"]);
    one(&[(1, DiskState::ReadOnly), (2, DiskState::Healthy)], &["1 up 1/101 [1]"]);
    one(&[(1, DiskState::Healthy), (2, DiskState::Healthy)], &["1 up 1/101 []"]);
}

/// What a node does not speak of stays as it is, and what is not its own is not for it to say (M15).
#[test]
fn disks_that_the_map_and_the_node_do_not_both_have() {
    let one = |disks: &[(u32, DiskState)], want: &[&str]| check(vec![(0, says(1, disks))], 100, want);
    one(&[(2, DiskState::ReadOnly)], &[]);
    one(&[], &[]);
    one(&[(1, DiskState::Healthy), (2, DiskState::ReadOnly), (7, DiskState::Healthy)], &[]);
    one(&[(1, DiskState::Healthy), (2, DiskState::ReadOnly), (7, DiskState::ReadOnly)], &[]);
    check(vec![(0, says(2, &[(1, DiskState::ReadOnly)]))], 100, &[]);
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
    let first = started(1, Heartbeat { native: address(7), ..same(1) });
    let second = Heartbeat { native: address(8), ..same(1) };
    let mut liveness = Liveness::new(SINCE_MS);
    liveness.heard(SINCE_MS, second.clone(), &map());
    assert_eq!(liveness.holder(NodeId(1), SINCE_MS), None);
    liveness.heard(SINCE_MS + 100, first, &map());
    liveness.heard(SINCE_MS + 200, second.clone(), &map());
    assert_eq!(liveness.holder(NodeId(1), SINCE_MS + 200), Some(address(7)));
    liveness.heard(SINCE_MS + 1700, second, &map());
    assert_eq!(liveness.holder(NodeId(1), SINCE_MS + 1600), Some(address(7)));
    assert_eq!(liveness.holder(NodeId(1), SINCE_MS + 1601), None, "it has stopped, or its store was lost");
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
            liveness.heard(SINCE_MS + ms, heartbeat, &map);
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
    liveness.heard(SINCE_MS, same(1), &map());
    liveness.heard(SINCE_MS + 100, says(1, &[]), &map());
    assert_eq!(liveness.last(NodeId(1), SINCE_MS + 150), Some((50, &says(1, &[]))));
    assert_eq!(liveness.last(NodeId(2), SINCE_MS + 150), None);
}
