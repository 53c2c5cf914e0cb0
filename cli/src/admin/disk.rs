//! `admin disk`: disks that come, and disks that do not come back.

use std::path::Path;

use proto::disks::{ControlScrub, DiskAdopted, RemoveDisk, ScrubMode, ScrubStatus};
use proto::map::Role;
use serde_json::json;
use types::{DiskId, Error, ErrorKind, NodeId};

use crate::args::ScrubOrder;
use crate::exit::{self, Exit, Failure};
use crate::output::{Outcome, Table, size};
use crate::session::Session;

/// Gives a node a directory.
pub async fn adopt(session: &Session, path: &Path, node: Option<NodeId>) -> exit::Result<Outcome> {
    let node = match node {
        Some(node) => node,
        None => only_node(session)?,
    };
    let text = path.to_str().filter(|_| path.is_absolute()).ok_or_else(|| {
        Failure::usage(Error::invalid(
            "the directory must be an absolute path, as the machine of the node has it",
        ))
    })?;
    let DiskAdopted { uuid, disk, is_open, from } = session.cluster.adopt_disk(node, text.to_owned()).await?;
    let name = disk.map_or("the disk".to_owned(), |disk| format!("disk {disk}"));
    let from_text = from.map(|from| format!(", which was of node {from},")).unwrap_or_default();
    let text = match is_open {
        true => format!("{name}{from_text} serves in node {node}"),
        false => format!("{name}{from_text} is being opened by node {node}: see `cloudsync admin disk list`"),
    };
    let json = json!({
        "node": node.0,
        "disk": disk.map(|disk| disk.0),
        "uuid": uuid.map(|uuid| uuid.to_string()),
        "open": is_open,
        "from": from.map(|from| from.0),
    });
    Ok(Outcome::ok(text, json))
}

fn only_node(session: &Session) -> exit::Result<NodeId> {
    let map = session.cluster.map();
    let mut nodes = map.nodes.iter().filter(|(_, node)| node.roles.contains(&Role::Block)).map(|(id, _)| *id);
    match (nodes.next(), nodes.next()) {
        (Some(node), None) => Ok(node),
        _ => Err(Failure::usage(Error::invalid("say with --node which node: the cluster has several"))),
    }
}

/// Takes a disk out, or says what that would mean. The server decides again when it is done.
pub async fn remove_lost(session: &Session, disk: DiskId, force: bool, yes: bool) -> exit::Result<Outcome> {
    let question = RemoveDisk { disk, force, dry_run: !yes };
    let removed = session.cluster.ask_root(&question).await.map_err(|error| match error.kind() {
        ErrorKind::Conflict => Failure { exit: Exit::Unsafe, error },
        _ => error.into(),
    })?;
    let mut text = format!("disk {disk} of node {}", removed.node);
    if removed.group_count > 0 {
        text.push_str(&format!(", on which {} placement groups still count", removed.group_count));
    }
    let json = json!({
        "disk": disk.0,
        "node": removed.node.0,
        "removed": yes,
        "groups": removed.group_count,
    });
    match yes {
        true => Ok(Outcome::ok(format!("removed {text}"), json)),
        false => Err(Failure::refused(format!("this would remove {text}: add --yes to do it"))),
    }
}

/// Says how disks are verified, after telling their nodes what to do.
pub async fn scrub(session: &Session, order: ScrubOrder, disk: Option<DiskId>) -> exit::Result<Outcome> {
    let mode = match order {
        ScrubOrder::Status => None,
        ScrubOrder::Start => Some(ScrubMode::Now),
        ScrubOrder::Pause => Some(ScrubMode::Paused),
        ScrubOrder::Resume => Some(ScrubMode::Scheduled),
    };
    let map = session.cluster.map();
    let is_asked = |node: &NodeId| {
        let info = &map.nodes[node];
        let has_it = disk.is_none_or(|disk| map.disks.get(&disk).is_some_and(|disk| disk.node == *node));
        info.roles.contains(&Role::Block) && info.up && has_it
    };
    if let Some(disk) = disk.filter(|disk| !map.disks.contains_key(disk)) {
        return Err(Error::not_found(format!("there is no disk {disk} in the cluster")).into());
    }
    let mut table = Table::new(&["disk", "node", "verified", ">this pass", ">found", ">passes", "last pass"]);
    let mut values = Vec::new();
    for node in map.nodes.keys().copied().filter(is_asked) {
        for (id, status) in session.cluster.control_scrub(node, ControlScrub { disk, mode }).await?.disks {
            let ScrubStatus { mode, checked, found, passes, last_pass } = status;
            let mode = match mode {
                ScrubMode::Scheduled => "by and by",
                ScrubMode::Now => "now",
                ScrubMode::Paused => "not now",
            };
            let last = last_pass.map_or("-".to_owned(), |time| time.to_string());
            table.row([
                id.to_string(),
                node.to_string(),
                mode.to_owned(),
                size(checked),
                found.to_string(),
                passes.to_string(),
                last,
            ]);
            values.push(json!({
                "disk": id.0,
                "node": node.0,
                "mode": mode,
                "checked": checked,
                "found": found,
                "passes": passes,
                "last_pass": last_pass.map(|time| time.0),
            }));
        }
    }
    let (text, json) = (table.render(), serde_json::Value::Array(values));
    Ok(Outcome { text, json, complaints: Vec::new(), exit: Exit::Ok })
}
