//! What is wrong with disks, and how long they are waited for.

use std::collections::BTreeSet;

use proto::cluster::{ClusterStatus, DiskReport};
use proto::map::{ClusterMap, DiskState};
use types::{DiskId, NodeId, counted};

/// What its node said last of a disk; `None` when it has said nothing.
pub fn disk_report(status: &ClusterStatus, id: DiskId) -> Option<&DiskReport> {
    let disk = status.map.disks.get(&id)?;
    status.nodes.get(&disk.node)?.last.as_ref()?.disks.get(&id)
}

/// Why a disk is not healthy; `None` when it is. That its node is down is the node's problem.
pub fn disk_problem(status: &ClusterStatus, id: DiskId) -> Option<String> {
    let disk = status.map.disks.get(&id)?;
    let report = disk_report(status, id);
    let trouble = disk_trouble(status, id);
    let state = report.map_or(disk.state, |report| report.state.max(disk.state));
    let what = match (state, trouble.is_empty()) {
        (DiskState::Healthy, true) => return None,
        (DiskState::Healthy, false) => trouble,
        (state, true) => format!("is {}", state.name()),
        (state, false) => format!("is {}: {trouble}", state.name()),
    };
    let path = report.map(|report| report.path.as_str()).filter(|path| !path.is_empty());
    let path = path.map(|path| format!(" in {path}")).unwrap_or_default();
    Some(format!("disk {id} of node {}{path} {what}", disk.node))
}

/// What can be said of a disk beside its state: why it has that, and what comes of it. Empty when there is nothing to say.
pub fn disk_trouble(status: &ClusterStatus, id: DiskId) -> String {
    let said = disk_report(status, id).map(|report| report.problem.clone()).filter(|said| !said.is_empty());
    let node = status.map.disks.get(&id).and_then(|disk| status.map.nodes.get(&disk.node));
    let waiting = waiting(status, id).filter(|_| node.is_some_and(|node| node.up));
    said.into_iter().chain(waiting).collect::<Vec<_>>().join("; ")
}

/// What is wrong with the disks of a node beside what it says of each.
pub fn node_disk_problems(status: &ClusterStatus, id: NodeId) -> Vec<String> {
    let is_up = status.map.nodes.get(&id).is_some_and(|node| node.up);
    let last = status.nodes.get(&id).and_then(|node| node.last.as_ref()).filter(|_| is_up);
    let problems = last.iter().flat_map(|last| &last.disk_problems);
    problems.map(|problem| format!("node {id}: {problem}")).collect()
}

/// Repair waits when more is away than failures explain.
pub fn storm(map: &ClusterMap) -> Option<String> {
    if !map.is_storm() {
        return None;
    }
    let away: Vec<_> = map.disks.iter().filter(|(id, _)| map.will_not_write(**id)).collect();
    let nodes: BTreeSet<NodeId> = away.iter().map(|(_, disk)| disk.node).collect();
    Some(format!(
        "repair waits: {} in {} are away at once, which looks like a mistake; bring them back, or take those that are gone \
         for good out with `cloudsync admin disk remove-lost` or `cloudsync admin node remove`",
        counted(away.len() as u64, "disk"),
        counted(nodes.len() as u64, "node")
    ))
}

/// How long the disks of a node that is down are waited for: the one that has the most time left.
pub(super) fn waiting_of(status: &ClusterStatus, id: NodeId) -> Option<String> {
    let disks = status.map.disks.iter().filter(|(_, disk)| disk.node == id).map(|(id, _)| *id);
    let last = disks.max_by_key(|id| (!status.map.disks[id].is_out, status.waits_ms.get(id).copied()));
    waiting(status, last?)
}

/// Whether a disk that is away is waited for; `None` for one that is there, and while nobody knows.
fn waiting(status: &ClusterStatus, id: DiskId) -> Option<String> {
    let map = &status.map;
    let disk = map.disks.get(&id).filter(|_| map.will_not_write(id))?;
    if disk.is_out {
        return Some("out: what it had goes to others".to_owned());
    }
    if map.is_storm() {
        return Some("waited for".to_owned());
    }
    let seconds = status.waits_ms.get(&id)?.div_ceil(1000);
    Some(match seconds {
        0..120 => format!("waited for {seconds} s more"),
        _ => format!("waited for {} min more", seconds.div_ceil(60)),
    })
}
