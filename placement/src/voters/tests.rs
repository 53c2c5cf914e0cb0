//! Goal: who votes where. Method: clusters of many shapes, changed until nothing changes any more; looked at on the way.

use super::*;

/// Nodes 1, 2 … of these zones, all up.
fn nodes(zones: &str) -> Vec<Elector> {
    let node =
        |(id, zone): (u64, char)| Elector { id: NodeId(id), zone: zone.into(), presence: Presence::Up };
    (1..).zip(zones.chars()).map(node).collect()
}

/// As a cluster begins: one node votes everywhere. The first partition is the heavy one.
fn founded(count: usize) -> Vec<Electorate> {
    let partition = |at| Electorate { voters: vec![NodeId(1)], is_frozen: false, is_heavy: at == 0 };
    (0..count).map(partition).collect()
}

fn ids(partition: &Electorate) -> Vec<u64> {
    partition.voters.iter().map(|id| id.0).collect()
}

/// Makes changes, two at a time, until there are none. How many votes were given.
#[track_caller]
fn settle(partitions: &mut [Electorate], nodes: &[Elector]) -> usize {
    let mut moved = 0;
    for _ in 0..1000 {
        let changes = change_voters(partitions, nodes, 2);
        if changes.is_empty() {
            return moved;
        }
        let new = |(at, voters): &(usize, Vec<NodeId>)| {
            voters.iter().filter(|id| !partitions[*at].voters.contains(id)).count()
        };
        let new: Vec<usize> = changes.iter().map(new).collect();
        assert!(new.iter().filter(|count| **count > 0).count() <= 2, "two at a time: {changes:?}");
        moved += new.iter().sum::<usize>();
        changes.into_iter().for_each(|(at, voters)| partitions[at].voters = voters);
    }
    panic!("no end of changes: {partitions:?}");
}

/// Most and least of what the nodes have.
fn range(counts: impl Iterator<Item = usize>) -> (usize, usize) {
    let counts: Vec<usize> = counts.collect();
    (*counts.iter().max().unwrap(), *counts.iter().min().unwrap())
}

fn votes(partitions: &[Electorate], id: NodeId) -> usize {
    partitions.iter().filter(|partition| partition.voters.contains(&id)).count()
}

fn leads(partitions: &[Electorate], id: NodeId) -> usize {
    partitions.iter().filter(|partition| partition.voters.first() == Some(&id)).count()
}

/// Lets a cluster of these zones settle: every partition has `count` voters in as many zones as possible.
#[track_caller]
fn settled(zones: &str, partition_count: usize, count: usize) -> (Vec<Electorate>, Vec<Elector>) {
    let (mut partitions, nodes) = (founded(partition_count), nodes(zones));
    settle(&mut partitions, &nodes);
    let zone_count = BTreeSet::from_iter(zones.chars()).len();
    for partition in &partitions {
        assert_eq!(BTreeSet::from_iter(&partition.voters).len(), count, "{zones}: {partition:?}");
        let found: BTreeSet<&str> =
            partition.voters.iter().map(|id| nodes[id.0 as usize - 1].zone.as_str()).collect();
        assert_eq!(found.len(), count.min(zone_count), "{zones}: {partition:?}");
    }
    (partitions, nodes)
}

#[test]
fn votes_are_spread_over_zones_and_nodes() {
    for (zones, count) in [("a", 1), ("ab", 1), ("aa", 1), ("abc", 3), ("aaa", 3), ("aabb", 3), ("abcd", 3)] {
        settled(zones, 9, count);
    }
    // Where zones are alike, nodes are.
    for zones in ["aaaaa", "abcde", "abcabc", "abcabcabc", "aabb", "abababab", "aabbccddee", "aaaaaaaaaaaa"] {
        for partition_count in [9, 17, 64] {
            let (partitions, nodes) = settled(zones, partition_count, 3);
            let (most, least) = range(nodes.iter().map(|node| votes(&partitions, node.id)));
            let share = partition_count * 3 / nodes.len();
            assert!(most - least <= 1 && most <= share + 1, "{zones} {partition_count}: {least} to {most}");
            let (most, least) = range(nodes.iter().map(|node| leads(&partitions, node.id)));
            assert!(most - least <= 2, "{zones} {partition_count}: leads of {least} to {most}");
        }
    }
    // A zone of one node has a vote everywhere; the others share what they can.
    for zones in ["abccc", "abbccc", "aabbbcccc", "aaaab"] {
        let (partitions, nodes) = settled(zones, 17, 3);
        for zone in BTreeSet::from_iter(zones.chars()) {
            let of_zone = nodes.iter().filter(|node| node.zone == zone.to_string());
            let (most, least) = range(of_zone.map(|node| votes(&partitions, node.id)));
            assert!(most - least <= 1, "{zones} {zone}: {least} to {most}");
        }
    }
}

/// From the first node on, as nodes come one after the other.
#[test]
fn a_cluster_that_grows_moves_little() {
    let all = nodes("abcabcabc");
    let mut partitions = founded(17);
    for (count, at_most) in [(1, 0), (2, 0), (3, 34), (4, 13), (5, 11), (6, 9), (7, 9), (8, 8), (9, 7)] {
        let moved = settle(&mut partitions, &all[..count]);
        assert!(moved <= at_most, "{count} nodes: {moved} votes moved");
    }
    assert_eq!(settle(&mut partitions, &all), 0);
}

#[test]
fn a_partition_gets_all_of_its_voters_at_once() {
    let changes = change_voters(&founded(3), &nodes("abbc"), 2);
    assert_eq!(changes, [(0, [1, 2, 4].map(NodeId).into()), (1, [1, 3, 4].map(NodeId).into())]);
    assert_eq!(change_voters(&founded(3), &nodes("abbc"), 0), []);
    let mut partitions = founded(3);
    partitions[1].is_frozen = true;
    let changed: Vec<usize> =
        change_voters(&partitions, &nodes("abbc"), 9).iter().map(|(at, _)| *at).collect();
    assert_eq!(changed, [0, 2]);
}

/// The voters of one partition of five nodes after some were lost.
#[track_caller]
fn check_loss(voters: [u64; 3], down: &[u64], away: &[u64], want: &[u64]) {
    let mut nodes = nodes("abcab");
    for node in &mut nodes {
        match node.id.0 {
            id if away.contains(&id) => node.presence = Presence::Away,
            id if down.contains(&id) => node.presence = Presence::Down,
            _ => {}
        }
    }
    let partition = Electorate { voters: voters.map(NodeId).into(), is_frozen: false, is_heavy: true };
    let changes = change_voters(std::slice::from_ref(&partition), &nodes, 2);
    let after = changes.into_iter().next().map_or(partition.voters, |(_, voters)| voters);
    assert_eq!(after, want.iter().copied().map(NodeId).collect::<Vec<_>>(), "{down:?} {away:?}");
}

#[test]
fn who_is_away_for_long_is_replaced_one_at_a_time() {
    check_loss([1, 2, 3], &[], &[], &[1, 2, 3]);
    check_loss([1, 2, 3], &[2], &[], &[1, 2, 3]);
    check_loss([1, 2, 3], &[], &[4], &[1, 2, 3]);
    // From the zone of the one that is lost, and never by one that is away or down.
    check_loss([1, 2, 3], &[], &[2], &[1, 3, 5]);
    check_loss([1, 2, 3], &[], &[2, 3], &[1, 3, 5]);
    check_loss([1, 2, 3], &[], &[2, 5], &[1, 3, 4]);
    check_loss([1, 2, 3], &[4], &[2, 5], &[1, 2, 3]);
    // Who leads goes first; if nobody can take its place, another leads.
    check_loss([1, 2, 3], &[], &[1], &[2, 3, 4]);
    check_loss([1, 2, 3], &[4, 5], &[1], &[2, 1, 3]);
    check_loss([1, 2, 3], &[1], &[], &[1, 2, 3]);
}

/// Of those that are removed from the cluster nothing is left to wait for.
#[test]
fn a_removed_node_is_replaced() {
    let all = nodes("abca");
    let partition = Electorate { voters: [1, 3].map(NodeId).into(), is_frozen: false, is_heavy: false };
    let partitions = [partition];
    assert_eq!(change_voters(&partitions, &all[..3], 1), [(0, [1, 3, 2].map(NodeId).into())]);
    assert_eq!(change_voters(&partitions, &[all[0].clone(), all[2].clone()], 1), [], "two stay two");
}

#[test]
fn a_node_that_is_lost_and_comes_back_costs_its_share() {
    let (mut partitions, mut nodes) = settled("abcab", 16, 3);
    let share = votes(&partitions, NodeId(4));
    nodes[3].presence = Presence::Down;
    assert_eq!(settle(&mut partitions, &nodes), 0, "it may come back any moment");
    nodes[3].presence = Presence::Away;
    assert_eq!(settle(&mut partitions, &nodes), share);
    assert_eq!(votes(&partitions, NodeId(4)), 0);
    nodes[3].presence = Presence::Up;
    let moved = settle(&mut partitions, &nodes);
    assert!(moved <= share + 1, "{moved} of {share}");
    assert!(votes(&partitions, NodeId(4)) + 1 >= share);
}

/// What its leader knows would have to be learnt again.
#[test]
fn a_heavy_partition_moves_for_zones_only() {
    let mut partitions = founded(9);
    settle(&mut partitions, &nodes("abc"));
    let before = partitions[0].clone();
    settle(&mut partitions, &nodes("abcabcabc"));
    assert_eq!(partitions[0], before);
    let mut partitions = founded(9);
    settle(&mut partitions, &nodes("aaa"));
    settle(&mut partitions, &nodes("aaabc"));
    assert_eq!(BTreeSet::from_iter(ids(&partitions[0])).range(4..).count(), 2, "{:?}", partitions[0]);
}
