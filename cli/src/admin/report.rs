//! The status of a cluster as tables and JSON. Pure.

use client::health::{
    Health, Slots, disk_report, disk_trouble, leader, node_disk_problems, node_problem, replicas,
};
use node::config::role_name;
use proto::cluster::{ClusterStatus, Heartbeat};
use proto::index::IndexStats;
use proto::map::{DiskState, Partition, PartitionKind};
use serde_json::{Value, json};
use types::{DiskId, PartitionId};

use crate::exit::Exit;
use crate::output::{Outcome, Table, describe, size};

/// The cluster as a whole; `chunks` is what its index knows, as far as that answers.
pub fn cluster(status: &ClusterStatus, chunks: Option<&IndexStats>) -> Outcome {
    let map = &status.map;
    let mut health = Health::of(status);
    chunks.into_iter().for_each(|chunks| health.judge_chunks(chunks));
    let (state, exit) = if health.is_good() { ("healthy", Exit::Ok) } else { ("degraded", Exit::Degraded) };
    let up = map.nodes.values().filter(|node| node.up).count();
    let writable = map.disks.keys().filter(|id| map.is_live(**id)).count();
    let slots = Slots::of(map);
    let mut text = describe(&[
        ("cluster", map.cluster.to_string()),
        ("state", state.to_owned()),
        ("epoch", map.epoch.to_string()),
        ("profile", map.profile.to_string()),
        ("nodes", format!("{up} of {} up", map.nodes.len())),
        ("disks", format!("{writable} of {} writable", map.disks.len())),
        (
            "slots",
            format!("{} serving, {} being filled, {} offline", slots.serving, slots.syncing, slots.offline),
        ),
    ]);
    text.push_str(&format!("\n{}", partitions(status)));
    health.problems.iter().for_each(|problem| text.push_str(&format!("! {problem}\n")));
    health.notes.iter().for_each(|note| text.push_str(&format!("- {note}\n")));
    let json = json!({
        "cluster": map.cluster.to_string(),
        "state": state,
        "epoch": map.epoch.0,
        "profile": map.profile.to_string(),
        "pg_count": map.pg_count,
        "nodes": map.nodes.len(),
        "nodes_up": up,
        "disks": map.disks.len(),
        "disks_writable": writable,
        "slots": { "serving": slots.serving, "syncing": slots.syncing, "offline": slots.offline },
        "chunks": chunks.map(|chunks| json!({
            "displaced": chunks.displaced,
            "thin": chunks.thin,
            "lost": chunks.lost,
        })),
        "storm": map.is_storm(),
        "has_table": map.table.is_some(),
        "relaxed": map.relaxed_count,
        "partitions": map.partitions.iter().map(|partition| partition_json(status, partition)).collect::<Vec<_>>(),
        "problems": health.problems,
        "notes": health.notes,
    });
    Outcome { text, json, complaints: Vec::new(), exit }
}

fn partition_json(status: &ClusterStatus, partition: &Partition) -> Value {
    let id = partition.id;
    let copies = replicas(status, id);
    let led = leader(status, id);
    let slots = status.map.slots_of(id).into_iter().map(|(first, last)| [first.number(), last.number()]);
    let level = copies.iter().find(|copy| Some(copy.node) == led).map(|copy| copy.level.0);
    let copies = copies.iter().filter(|copy| copy.votes || copy.applied > 0).map(|copy| {
        json!({
            "node": copy.node.0,
            "applied": copy.applied,
            "lag": copy.lag,
            "term": copy.term,
            "level": copy.level.0,
            "votes": copy.votes,
            "restarts": copy.restarts,
            "problem": copy.problem,
        })
    });
    json!({
        "id": id.0,
        "kind": kind_word(partition.kind),
        "slots": slots.collect::<Vec<_>>(),
        "voters": partition.voters.iter().map(|node| node.0).collect::<Vec<_>>(),
        "preferred_leader": partition.preferred_leader().0,
        "leader": led.map(|node| node.0),
        "level": level,
        "replicas": copies.collect::<Vec<_>>(),
    })
}

fn kind_word(kind: PartitionKind) -> &'static str {
    match kind {
        PartitionKind::Root => "root",
        PartitionKind::Tree => "tree",
        PartitionKind::Index => "index",
    }
}

/// Ranges of a partition's slots that are shown in a table.
const SHOWN_RANGE_COUNT_MAX: usize = 3; // Of what the map has.

/// One line per partition: what it holds, who leads, in which term, and how far the copy of each voter is behind.
fn partitions(status: &ClusterStatus) -> String {
    let mut table = Table::new(&["partition", "kind", "slots", "leader", ">term", "behind"]);
    for partition in &status.map.partitions {
        let copies = replicas(status, partition.id);
        let behind =
            partition.voters.iter().map(|node| match copies.iter().find(|copy| copy.node == *node) {
                Some(copy) if copy.problem.is_empty() => format!("{node}:{}", copy.lag),
                _ => format!("{node}:silent"),
            });
        let ranges = status.map.slots_of(partition.id);
        let shown = ranges.iter().take(SHOWN_RANGE_COUNT_MAX).map(|(first, last)| format!("{first}-{last}"));
        let more = ranges.len().checked_sub(SHOWN_RANGE_COUNT_MAX).filter(|more| *more > 0);
        let slots = shown.chain(more.map(|more| format!("{more} more"))).collect::<Vec<_>>();
        table.row([
            partition.id.to_string(),
            kind_word(partition.kind).to_owned(),
            slots.join(", "),
            leader(status, partition.id).map_or("none".to_owned(), |node| node.to_string()),
            copies.iter().map(|copy| copy.term).max().unwrap_or_default().to_string(),
            behind.collect::<Vec<_>>().join(" "),
        ]);
    }
    table.render()
}

/// One line per node.
pub fn nodes(status: &ClusterStatus) -> Outcome {
    let headings =
        ["node", "state", "zone", "roles", "native", ">epoch", ">leads", ">syncing", ">received", ">sent"];
    let mut table = Table::new(&headings);
    let mut values = Vec::new();
    let mut exit = Exit::Ok;
    for (id, node) in &status.map.nodes {
        let known = status.nodes.get(id);
        let last = known.and_then(|n| n.last.as_ref());
        let roles: Vec<&str> = node.roles.iter().map(|role| role_name(*role)).collect();
        let leads = led_by(last);
        let problem = node_problem(status, *id);
        if problem.is_some() {
            exit = Exit::Degraded;
        }
        let number = |value: Option<u64>| value.map(|v| v.to_string()).unwrap_or_default();
        table.row([
            id.to_string(),
            state_word(node.up).to_owned(),
            node.zone.clone(),
            roles.join(","),
            node.native.to_string(),
            number(last.map(|h| h.epoch.0)),
            leads.len().to_string(),
            number(last.map(|h| u64::from(h.syncing_slots))),
            last.map(|h| size(h.bytes_received)).unwrap_or_default(),
            last.map(|h| size(h.bytes_sent)).unwrap_or_default(),
        ]);
        values.push(json!({
            "id": id.0,
            "up": node.up,
            "zone": node.zone,
            "roles": roles,
            "native": node.native.to_string(),
            "control": node.control.to_string(),
            "silent_ms": known.and_then(|n| n.silent_ms),
            "epoch": last.map(|h| h.epoch.0),
            "leads": leads.iter().map(|id| id.0).collect::<Vec<_>>(),
            "syncing_slots": last.map(|h| h.syncing_slots),
            "bytes_received": last.map(|h| h.bytes_received),
            "bytes_sent": last.map(|h| h.bytes_sent),
            "problem": problem,
        }));
    }
    Outcome { text: table.render(), json: Value::Array(values), complaints: Vec::new(), exit }
}

fn led_by(heartbeat: Option<&Heartbeat>) -> Vec<PartitionId> {
    let reports = heartbeat.iter().flat_map(|h| &h.partitions);
    reports.filter(|report| report.leading).map(|report| report.id).collect()
}

/// One line per disk.
pub fn disks(status: &ClusterStatus) -> Outcome {
    let headings = [
        "disk", "node", "zone", "state", ">used", ">free", ">size", ">fill", ">shards", ">slots", ">read",
        "path", "problem",
    ];
    let mut table = Table::new(&headings);
    let mut values = Vec::new();
    let mut exit = Exit::Ok;
    for id in status.map.disks.keys() {
        let (row, value, is_good) = disk(status, *id);
        table.row(row);
        values.push(value);
        if !is_good {
            exit = Exit::Degraded;
        }
    }
    let nodes = status.map.nodes.iter().filter(|(_, node)| node.up).map(|(id, _)| *id);
    let complaints: Vec<String> = nodes.flat_map(|id| node_disk_problems(status, id)).collect();
    if !complaints.is_empty() {
        exit = Exit::Degraded;
    }
    Outcome { text: table.render(), json: Value::Array(values), complaints, exit }
}

fn disk(status: &ClusterStatus, id: DiskId) -> ([String; 13], Value, bool) {
    let map = &status.map;
    let disk = &map.disks[&id];
    let node = map.nodes.get(&disk.node);
    let zone = node.map(|n| n.zone.as_str()).unwrap_or_default();
    let report = disk_report(status, id);
    let is_up = map.is_live(id);
    let state = match node {
        Some(node) if node.up => report.map_or(disk.state, |report| report.state).name(),
        _ => "down",
    };
    let slots = Slots::on_disk(map, id);
    let problem = match node {
        Some(node) if !node.up => format!("node {} is down", disk.node),
        _ => disk_trouble(status, id),
    };
    // Of what the file system has for it: others may use it as well.
    let fill = report.filter(|report| disk.capacity > 0 && report.state.is_readable()).map(|report| {
        100 - (u128::from(report.free_bytes) * 100 / u128::from(disk.capacity)).min(100) as u64
    });
    let path = report.map(|report| report.path.as_str()).unwrap_or_default();
    let row = [
        id.to_string(),
        disk.node.to_string(),
        zone.to_owned(),
        if disk.is_out { format!("{state}, out") } else { state.to_owned() },
        report.map(|r| size(r.used_bytes)).unwrap_or_default(),
        report.map(|r| size(r.free_bytes)).unwrap_or_default(),
        size(disk.capacity),
        fill.map(|fill| format!("{fill}%")).unwrap_or_default(),
        report.map(|r| r.records.to_string()).unwrap_or_default(),
        slots.to_string(),
        report.filter(|r| r.read_micros > 0).map(|r| millis(r.read_micros)).unwrap_or_default(),
        path.to_owned(),
        problem.clone(),
    ];
    let value = json!({
        "id": id.0,
        "node": disk.node.0,
        "zone": zone,
        "uuid": disk.uuid.to_string(),
        "up": is_up,
        "state": state,
        "out": disk.is_out,
        "path": path,
        "used_bytes": report.map(|r| r.used_bytes),
        "free_bytes": report.map(|r| r.free_bytes),
        "capacity": disk.capacity,
        "fill_percent": fill,
        "records": report.map(|r| r.records),
        "slots": slots,
        "read_micros": report.map(|r| r.read_micros),
        "sync_micros": report.map(|r| r.sync_micros),
        "problem": problem,
    });
    (row, value, state == DiskState::Healthy.name() && problem.is_empty())
}

fn millis(micros: u64) -> String {
    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
}

fn state_word(is_up: bool) -> &'static str {
    if is_up { "up" } else { "down" }
}
