//! The copies of the partitions: who leads, how far each is, and what is wrong with them, from what their leaders and the
//! nodes that have them say.

use std::collections::{BTreeMap, BTreeSet};

use proto::cluster::{ClusterStatus, PartitionReport};
use proto::map::{ClusterMap, Partition};
use types::limits::REPLICA_BEHIND_MS_MAX;
use types::{FeatureLevel, NodeId, PartitionId, ReplicaId};

/// The node that leads a partition, as far as heartbeats tell: of those that are up and say so, the one with the newest
/// term. One that was cut off may still believe that it leads.
pub fn leader(status: &ClusterStatus, partition: PartitionId) -> Option<NodeId> {
    let heard = status.nodes.iter().filter_map(|(id, node)| Some((*id, node.last.as_ref()?)));
    let up = heard.filter(|(id, _)| status.map.nodes.get(id).is_some_and(|node| node.up));
    let reports = up.flat_map(|(id, heartbeat)| heartbeat.partitions.iter().map(move |report| (id, report)));
    let leading = reports.filter(|(_, report)| report.id == partition && report.leading);
    leading.max_by_key(|(_, report)| report.term).map(|(id, _)| id)
}

/// A copy of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Where it is.
    pub node: NodeId,
    /// Commands applied to it.
    pub applied: u64,
    /// Commands that its leader has applied and it has not, as far as the last heartbeats tell.
    pub lag: u64,
    /// Its Raft term.
    pub term: u64,
    /// It votes, as the map has it.
    pub votes: bool,
    /// The feature level that it has reached.
    pub level: FeatureLevel,
    /// How often it was started again since its process began.
    pub restarts: u64,
    /// Why it does not serve, or empty.
    pub problem: String,
}

/// The copies of a partition, as their nodes report them.
pub fn replicas(status: &ClusterStatus, partition: PartitionId) -> Vec<ReplicaStatus> {
    let heard = status.nodes.iter().filter_map(|(id, node)| Some((*id, node.last.as_ref()?)));
    let reports: Vec<_> = heard
        .flat_map(|(id, last)| last.partitions.iter().map(move |report| (id, report)))
        .filter(|(_, report)| report.id == partition)
        .collect();
    let leader = leader(status, partition);
    let newest = reports.iter().find(|(id, _)| Some(*id) == leader).map_or(0, |(_, report)| report.applied);
    let replica = |(node, report): &(NodeId, &PartitionReport)| ReplicaStatus {
        node: *node,
        applied: report.applied,
        lag: newest.saturating_sub(report.applied),
        term: report.term,
        votes: status.map.voters(partition).contains(node),
        level: report.level,
        restarts: report.restarts,
        problem: report.problem.clone(),
    };
    reports.iter().map(replica).collect()
}

/// One line per kind of problem, with all partitions that have it.
pub fn problems(status: &ClusterStatus) -> Vec<String> {
    lines(&status.map, |partition| problems_of(status, partition.id))
}

/// Partitions of which not so many voters are up, in one line for each number of them that are.
pub fn without_voters(map: &ClusterMap, want: usize) -> Vec<String> {
    let is_up = |id: &&NodeId| map.nodes.get(id).is_some_and(|node| node.up);
    lines(map, |partition| {
        let found = partition.voters.iter().filter(is_up).count();
        (found < want).then(|| format!("{found} of {want} voters up")).into_iter().collect()
    })
}

fn lines(map: &ClusterMap, problems_of: impl Fn(&Partition) -> Vec<String>) -> Vec<String> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for partition in &map.partitions {
        for problem in problems_of(partition) {
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
    let wanted = wanted(&status.map, partition);
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

/// The replicas that should vote in a partition. Stores are counted from 1: a node that has yet to name one votes
/// nowhere.
fn wanted(map: &ClusterMap, partition: PartitionId) -> BTreeSet<ReplicaId> {
    map.voters(partition).iter().map(|node| map.replica(*node).unwrap_or(ReplicaId::new(*node, 0))).collect()
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
