//! Commands of administrators: health, nodes, disks, who gets in, namespaces, keys.

mod compare;
mod disk;
mod entry;
mod heal;
mod keys;
mod lost;
mod namespaces;
mod repair;
mod report;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use proto::cluster::{ClusterStatus, RemoveNode};
use serde_json::json;
use types::{DiskId, ErrorKind, NodeId};

pub use entry::{recover as recover_credentials, warning};
pub use repair::{readdress, recover, skip};
pub use report::{cluster, disks, nodes};

use crate::args::{Admin, AdminCluster, AdminDisk, AdminHeal, AdminKey, AdminLost, AdminMeta, AdminNode};
use crate::exit::{self, Exit, Failure};
use crate::output::Outcome;
use crate::session::Session;

/// Runs a command.
pub async fn run(session: &Session, command: Admin) -> exit::Result<Outcome> {
    match command {
        Admin::Cluster(AdminCluster::Status) => {
            let status = health(session).await?;
            // When a partition of the index does not answer, that is one of the problems.
            let chunks = session.blocks().stats().await.ok();
            Ok(cluster(&status, chunks.as_ref()))
        }
        Admin::Node(AdminNode::List) => Ok(nodes(&health(session).await?)),
        Admin::Node(AdminNode::Remove { node, force, yes }) => {
            remove_node(session, NodeId(node), force, yes).await
        }
        Admin::Meta(AdminMeta::Compare { partition }) => compare::compare(session, partition).await,
        Admin::Node(AdminNode::Readdress { .. }) | Admin::Meta(_) => {
            unreachable!("needs no cluster: done without a session")
        }
        Admin::Disk(AdminDisk::List) => Ok(disks(&health(session).await?)),
        Admin::Disk(AdminDisk::Scrub { order, disk }) => disk::scrub(session, order, disk.map(DiskId)).await,
        Admin::Disk(AdminDisk::Adopt { path, node }) => disk::adopt(session, &path, node.map(NodeId)).await,
        Admin::Disk(AdminDisk::RemoveLost { disk, force, yes }) => {
            disk::remove_lost(session, DiskId(disk), force, yes).await
        }
        Admin::Heal(AdminHeal::Status) => heal::status(session, &health(session).await?).await,
        Admin::Lost(AdminLost::List) => lost::list(session).await,
        Admin::Token(command) => Ok(entry::token(session, command).await?),
        Admin::Cert(command) => entry::cert(session, command).await,
        Admin::Namespace(command) => namespaces::run(session, command).await,
        Admin::Key(AdminKey::List) => Ok(keys::list(session).await?),
        Admin::Key(AdminKey::Rotate) => Ok(keys::rotate(session).await?),
        Admin::Key(AdminKey::Destroy { tenant, yes }) => keys::destroy(session, tenant, yes).await,
    }
}

/// What the leader of the root partition knows, for a command that reports health: a cluster without a quorum is not a
/// failure of the command, it is the worst of the answers.
async fn health(session: &Session) -> exit::Result<ClusterStatus> {
    session.cluster.fetch_status().await.map_err(|error| match error.is_transient() {
        true => Failure {
            exit: Exit::Degraded,
            error: error.context("the metadata has no quorum: bring voters back; reads go on, writes do not"),
        },
        false => error.into(),
    })
}

/// Takes a node out, or says what that would mean. The server decides again when it is done.
async fn remove_node(session: &Session, node: NodeId, force: bool, yes: bool) -> exit::Result<Outcome> {
    let question = RemoveNode { node, force, dry_run: !yes };
    let removed = session.cluster.ask_root(&question).await.map_err(|error| match error.kind() {
        ErrorKind::Conflict => Failure { exit: Exit::Unsafe, error },
        _ => error.into(),
    })?;
    let disks = removed.disks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut text = format!("node {node}");
    if !disks.is_empty() {
        let _ = write!(text, ", with disks {disks}");
    }
    if removed.group_count > 0 {
        let _ = write!(text, ", on which {} placement groups still count", removed.group_count);
    }
    if removed.is_voter {
        text.push_str(", which votes: another takes its place if there is one");
    }
    let json = json!({
        "node": node.0,
        "removed": yes,
        "disks": removed.disks.iter().map(|disk| disk.0).collect::<Vec<_>>(),
        "groups": removed.group_count,
        "voter": removed.is_voter,
    });
    match yes {
        true => Ok(Outcome::ok(format!("removed {text}"), json)),
        false => Err(Failure::refused(format!("this would remove {text}: add --yes to do it"))),
    }
}
