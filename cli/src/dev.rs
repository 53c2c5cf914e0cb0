//! `dev cluster`: the commands for a cluster of real processes on this machine.
//!
//! Owns: what these commands print and refuse.
//! Knows nothing of: how such a cluster is started and stopped (`node::dev`).

use std::io::Write;
use std::path::Path;

use env::Env;
use node::config::{overriding_variables, variables};
use node::dev::{DevCluster, Shape, Started};
use serde_json::{Value, json};
use types::{Error, Result, counted};

use crate::admin;
use crate::args::{DevCommand, Global, NamespaceRef};
use crate::exit::{Exit, Failure};
use crate::output::{Outcome, Table};

/// Runs a command on the cluster in `dir`.
pub async fn run(env: &Env, global: &Global, dir: &Path, command: DevCommand) -> Result<Outcome, Failure> {
    let cluster = DevCluster::at(env, dir, env::process::current_exe().map_err(Error::from)?)?;
    Ok(match command {
        DevCommand::Up { nodes, zones, profile } => up(&cluster, Shape { nodes, zones, profile }).await?,
        DevCommand::Status => status(&cluster).await?,
        DevCommand::Env => variables_of(&cluster)?,
        DevCommand::Leader => leader(&cluster, &global.namespace).await?,
        DevCommand::Kill { nodes } => {
            let killed = cluster.kill(&nodes).await?;
            Outcome::ok(format!("killed {}", list(&killed)), json!({ "killed": killed }))
        }
        DevCommand::Restart { nodes } => {
            cluster.restart(&nodes).await?;
            Outcome::ok(format!("started {}", list(&nodes)), json!({ "started": nodes }))
        }
        DevCommand::Down => {
            let count = cluster.down().await?;
            let stopped = counted(count as u64, "node");
            let text = format!("stopped {stopped}; the data stays in {}", cluster.dir().display());
            Outcome::ok(text, json!({ "stopped": count }))
        }
    })
}

async fn up(cluster: &DevCluster, shape: Shape) -> Result<Outcome, Failure> {
    if let Some(name) = overriding_variables(&variables()).first() {
        return Err(Failure::usage(Error::invalid(format!(
            "{name} is set: it would override the configuration of every node; unset it"
        ))));
    }
    shape.check().map_err(Failure::usage)?;
    if cluster.is_foreign()? {
        return Err(Failure::refused(format!(
            "{} is not empty and not a cluster: choose another directory",
            cluster.dir().display()
        )));
    }
    // Nobody is left to be told when standard error is closed.
    let say = |waiting: &str| drop(writeln!(std::io::stderr(), "waiting: {waiting}"));
    let Started { connection, nodes, was_up } = cluster.up(shape, &say).await?;
    let text = format!(
        "{} {}, cluster {}; to use it:\n{}",
        counted(nodes as u64, "node"),
        if was_up { "already up" } else { "up" },
        connection.cluster.map().cluster,
        variables_of(cluster)?.text
    );
    let credentials = cluster.credentials().display().to_string();
    Ok(Outcome::ok(text, json!({ "nodes": nodes, "was_up": was_up, "credentials": credentials })))
}

/// Shows the processes, then the health as the cluster itself sees it.
async fn status(cluster: &DevCluster) -> Result<Outcome> {
    let mut table = Table::new(&["node", ">pid", "process", "zone", "roles", "native"]);
    let mut values = Vec::new();
    for node in &cluster.layout()?.nodes {
        let pid = cluster.running(node);
        let state = if pid.is_some() { "running" } else { "stopped" };
        table.row([
            node.number.to_string(),
            pid.map(|pid| pid.to_string()).unwrap_or_default(),
            state.to_owned(),
            node.zone.clone(),
            if node.is_meta { "meta,block" } else { "block" }.to_owned(),
            node.native.to_string(),
        ]);
        values.push(
            json!({ "node": node.number, "pid": pid, "native": node.native.to_string(), "zone": node.zone }),
        );
    }
    Ok(match cluster.fetch_status().await {
        Ok(status) => {
            let health = admin::cluster(&status, None);
            let text = format!("{}\n{}", table.render(), health.text);
            Outcome { text, json: json!({ "processes": values, "cluster": health.json }), ..health }
        }
        Err(e) => Outcome {
            text: table.render(),
            json: json!({ "processes": values, "cluster": Value::Null }),
            complaints: vec![format!("the cluster does not answer: {}", e.message())],
            exit: Exit::Error,
        },
    })
}

/// The variable that points a shell's commands at this cluster.
fn variables_of(cluster: &DevCluster) -> Result<Outcome> {
    cluster.layout()?;
    let file = cluster.credentials().display().to_string();
    let text = format!("export CLOUDSYNC_CREDENTIALS='{}'", file.replace('\'', r"'\''"));
    Ok(Outcome::ok(text, json!({ "CLOUDSYNC_CREDENTIALS": file })))
}

/// Shows the number of the node that leads the namespace's partition.
async fn leader(cluster: &DevCluster, name: &NamespaceRef) -> Result<Outcome> {
    cluster.layout()?;
    let client = cluster.connect().await?.cluster;
    let id = match name {
        NamespaceRef::Name(name) => client.find_namespace(name).await?,
        NamespaceRef::Id(id) => *id,
    };
    let partition = client.map().namespace_partition(id);
    let node = cluster.leader(partition).await?;
    Ok(Outcome::ok(node.to_string(), json!({ "node": node, "partition": partition.0 })))
}

fn list(numbers: &[u64]) -> String {
    if numbers.is_empty() {
        return "nothing: none of them was running".to_owned();
    }
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    format!("node {}", numbers.join(", "))
}
