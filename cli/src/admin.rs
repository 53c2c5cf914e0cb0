//! Commands of administrators: health, nodes, disks, tokens, namespaces.

mod report;
#[cfg(test)]
mod tests;

use node::JoinToken;
use proto::cluster::{ClusterStatus, CreateNamespace};
use serde_json::json;
use types::{NamespaceName, Result};

pub use report::{cluster, disks, nodes};

use crate::args::{Admin, AdminCluster, AdminDisk, AdminNamespace, AdminNode, AdminToken};
use crate::exit::{self, Exit, Failure};
use crate::output::Outcome;
use crate::session::Session;

/// Runs a command.
pub async fn run(session: &Session, command: Admin) -> exit::Result<Outcome> {
    match command {
        Admin::Cluster(AdminCluster::Status) => Ok(cluster(&health(session).await?)),
        Admin::Node(AdminNode::List) => Ok(nodes(&health(session).await?)),
        Admin::Disk(AdminDisk::List) => Ok(disks(&health(session).await?)),
        Admin::Token(AdminToken::Create { valid }) => {
            let token = JoinToken::create(&session.cluster, &session.credentials, valid).await?.to_text();
            let json = json!({ "token": token, "valid_seconds": valid.as_secs() });
            Ok(Outcome::ok(token, json))
        }
        Admin::Namespace(AdminNamespace::Create { name }) => Ok(create_namespace(session, name).await?),
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

async fn create_namespace(session: &Session, name: NamespaceName) -> Result<Outcome> {
    let created = session.cluster.ask_root(&CreateNamespace { name: name.clone() }).await?;
    let json = json!({ "name": name.as_str(), "namespace": created.namespace.0 });
    Ok(Outcome::ok(format!("namespace {name} is ready; use it with --namespace {name}"), json))
}
