//! What is wrong with the copies of the partitions, from what their leaders and the nodes that have them say.

use std::collections::{BTreeMap, BTreeSet};

use proto::cluster::{ClusterStatus, PartitionReport};
use proto::map::ClusterMap;
use types::limits::REPLICA_BEHIND_MS_MAX;
use types::{NodeId, PartitionId, ReplicaId};

use super::leader;

/// One line per kind of problem, with all partitions that have it.
pub fn problems(status: &ClusterStatus) -> Vec<String> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for partition in &status.map.partitions {
        for problem in problems_of(status, partition.id) {
            found.entry(problem).or_default().push(partition.id.to_string());
        }
    }
    let line = |(problem, partitions): (String, Vec<String>)| match partitions.len() {
        1 => format!("partition {}: {problem}", partitions[0]),
        _ => format!("partitions {}: {problem}", partitions.join(", ")),
    };
    found.into_iter().map(line).collect()
}

fn problems_of(status: &ClusterStatus, partition: PartitionId) -> Vec<String> {
    let led = leader(status, partition).and_then(|node| report(status, node, partition));
    let Some(led) = led else {
        return vec!["no node says that it leads: writes wait until one is elected".to_owned()];
    };
    let wanted = wanted(&status.map);
    let mut problems = Vec::new();
    if led.voters != wanted {
        let filled: BTreeSet<ReplicaId> = wanted.intersection(&led.learners).copied().collect();
        let filled = match filled.is_empty() {
            true => String::new(),
            false => format!("; {} is being filled", names(&filled)),
        };
        problems.push(format!("the voters are {}, not {}{filled}", names(&led.voters), names(&wanted)));
    }
    // Of those that are down it is known that they do not answer.
    let is_up = |voter: &&ReplicaId| status.map.nodes.get(&voter.node()).is_some_and(|node| node.up);
    problems
        .extend(led.voters.iter().filter(is_up).filter_map(|voter| voter_problem(status, *voter, partition)));
    problems
}

fn voter_problem(status: &ClusterStatus, voter: ReplicaId, partition: PartitionId) -> Option<String> {
    let node = voter.node();
    if report(status, node, partition).is_none() {
        return Some(format!("voter {node} takes no part"));
    }
    let behind_ms = status.nodes.get(&node)?.behind_ms.get(&partition)?;
    (*behind_ms > REPLICA_BEHIND_MS_MAX).then(|| format!("voter {node} is behind and does not catch up"))
}

/// What a node says of its copy.
fn report(status: &ClusterStatus, node: NodeId, partition: PartitionId) -> Option<&PartitionReport> {
    let last = status.nodes.get(&node)?.last.as_ref()?;
    last.partitions.iter().find(|report| report.id == partition)
}

/// The replicas that should vote in every partition. Stores are counted from 1: a node that has yet to name one votes
/// nowhere.
fn wanted(map: &ClusterMap) -> BTreeSet<ReplicaId> {
    map.voters.iter().map(|node| map.replica(*node).unwrap_or(ReplicaId::new(*node, 0))).collect()
}

/// Nodes, with their store where it is not their first.
fn names(replicas: &BTreeSet<ReplicaId>) -> String {
    let name = |replica: &ReplicaId| match replica.store() {
        1 => replica.node().to_string(),
        0 => format!("{} (without a store)", replica.node()),
        store => format!("{} (store {store})", replica.node()),
    };
    replicas.iter().map(name).collect::<Vec<_>>().join(", ")
}
