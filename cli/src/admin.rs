//! Commands of administrators: health, nodes, disks, tokens, namespaces.

mod report;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use proto::Method;
use proto::cluster::{
    ClusterStatus, CreateNamespace, CreateToken, FetchStatus, NamespaceFound, TokenCreated,
};
use proto::map::{ClusterMap, Role};
use serde_json::json;
use types::{NamespaceName, Result};

pub use report::{cluster, disks, leader, nodes};

use crate::args::{Admin, AdminCluster, AdminDisk, AdminNamespace, AdminNode, AdminToken};
use crate::exit::{self, Exit, Failure};
use crate::output::Outcome;
use crate::session::Session;
use crate::token::JoinToken;

/// Runs a command.
pub async fn run(session: &Session, command: Admin) -> exit::Result<Outcome> {
    match command {
        Admin::Cluster(AdminCluster::Status) => Ok(cluster(&health(session).await?)),
        Admin::Node(AdminNode::List) => Ok(nodes(&health(session).await?)),
        Admin::Disk(AdminDisk::List) => Ok(disks(&health(session).await?)),
        Admin::Token(AdminToken::Create { valid }) => {
            let token = create_token(session, valid).await?.to_text();
            let json = json!({ "token": token, "valid_seconds": valid.as_secs() });
            Ok(Outcome::ok(token, json))
        }
        Admin::Namespace(AdminNamespace::Create { name }) => Ok(create_namespace(session, name).await?),
    }
}

/// What the leader of the root partition knows, for a command that reports health: a cluster without a quorum is not a
/// failure of the command, it is the worst of the answers.
async fn health(session: &Session) -> exit::Result<ClusterStatus> {
    fetch_status(session).await.map_err(|error| match error.is_transient() {
        true => Failure {
            exit: Exit::Degraded,
            error: error.context("the metadata has no quorum: bring voters back; reads go on, writes do not"),
        },
        false => error.into(),
    })
}

/// What the leader of the root partition knows.
pub async fn fetch_status(session: &Session) -> Result<ClusterStatus> {
    session.cluster.ask_root(Method::FetchStatus, &FetchStatus {}).await
}

/// A token with which nodes can join for a while.
pub async fn create_token(session: &Session, valid: Duration) -> Result<JoinToken> {
    let valid_ms = u64::try_from(valid.as_millis()).unwrap_or(u64::MAX);
    let made: TokenCreated = session.cluster.ask_root(Method::CreateToken, &CreateToken { valid_ms }).await?;
    let authority = session.credentials.credentials()?.trust().to_pem();
    Ok(JoinToken { secret: made.secret, control: admitting(&session.cluster.map()), authority })
}

/// Control addresses of the nodes that can admit others: voters first, because one of them leads.
fn admitting(map: &ClusterMap) -> Vec<SocketAddr> {
    let voters = map.voters.iter().filter_map(|id| map.nodes.get(id));
    let others =
        map.nodes.iter().filter(|(id, node)| !map.voters.contains(id) && node.roles.contains(&Role::Meta));
    voters.chain(others.map(|(_, node)| node)).map(|node| node.control).collect()
}

async fn create_namespace(session: &Session, name: NamespaceName) -> Result<Outcome> {
    let made: NamespaceFound =
        session.cluster.ask_root(Method::CreateNamespace, &CreateNamespace { name: name.clone() }).await?;
    let json = json!({ "name": name.as_str(), "namespace": made.namespace.0 });
    Ok(Outcome::ok(format!("namespace {name} is there; use it with --namespace {name}"), json))
}
