//! `admin namespace`: namespaces as a whole.

use proto::catalog::NamespaceInfo;
use proto::namespace::{Expect, Op};
use serde_json::{Value, json};
use types::{ErrorKind, Result};

use crate::args::AdminNamespace;
use crate::exit::{self, Failure};
use crate::output::{Outcome, Table, size, time};
use crate::session::Session;

/// Runs a command.
pub async fn run(session: &Session, command: AdminNamespace) -> exit::Result<Outcome> {
    let cluster = &session.cluster;
    match command {
        AdminNamespace::Create { name, owner } => {
            let id = cluster.create_namespace(&name, owner).await?;
            let json = json!({ "name": name.as_str(), "namespace": id.0 });
            Ok(Outcome::ok(format!("namespace {name} is ready; use it with --namespace {name}"), json))
        }
        AdminNamespace::List => Ok(listing(&cluster.list_namespaces().await?)),
        AdminNamespace::Owner { name, owner } => {
            let id = cluster.find_namespace(&name).await?;
            cluster.set_owner(id, owner.clone()).await?;
            let json = json!({ "name": name.as_str(), "namespace": id.0, "owner": owner });
            Ok(Outcome::ok(format!("namespace {name} belongs to {owner}"), json))
        }
        AdminNamespace::Delete { name, yes } => {
            let id = cluster.find_namespace(&name).await?;
            // Without --yes only an empty one, which costs nobody anything.
            cluster.delete_namespace(id, yes).await.map_err(|error| match error.kind() {
                ErrorKind::Conflict => {
                    Failure::refused(format!("{}: add --yes to delete all of it", error.message()))
                }
                _ => error.into(),
            })?;
            let json = json!({ "name": name.as_str(), "namespace": id.0 });
            Ok(Outcome::ok(format!("deleted namespace {name}"), json))
        }
        AdminNamespace::Split { path } => Ok(split(session, path.path).await?),
    }
}

async fn split(session: &Session, path: types::Path) -> Result<Outcome> {
    let namespace = session.namespace().await?;
    let op = Op::Split { path: path.clone(), expect: Expect::Any };
    let done = namespace.apply(op, size_of::<Op>()).await?;
    let id = done.namespace.map_or(0, |id| id.0);
    let json = json!({ "path": path.to_string(), "namespace": id });
    Ok(Outcome::ok(format!("{path} is a namespace of its own; use it with --namespace id:{id}"), json))
}

fn listing(namespaces: &[NamespaceInfo]) -> Outcome {
    let mut table = Table::new(&["name", "owner", "created", ">files", ">dirs", ">size", "id"]);
    for namespace in namespaces {
        table.row([
            namespace.name.clone(),
            namespace.owner.clone(),
            time(namespace.created),
            namespace.files.to_string(),
            namespace.dirs.to_string(),
            size(namespace.bytes),
            namespace.id.to_string(),
        ]);
    }
    Outcome::ok(table.render(), namespaces.iter().map(info_json).collect())
}

fn info_json(namespace: &NamespaceInfo) -> Value {
    json!({
        "namespace": namespace.id.0,
        "name": namespace.name,
        "owner": namespace.owner,
        "created_ms": namespace.created.0,
        "files": namespace.files,
        "dirs": namespace.dirs,
        "bytes": namespace.bytes,
    })
}
