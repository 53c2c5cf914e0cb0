//! The commands that become a server: they read their configuration here and are built in `node`.

use std::net::SocketAddr;
use std::path::Path;

use env::Env;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use types::Result;

use crate::config::{NodeConfig, variables};
use crate::credentials::ADMIN_FILE;
use crate::node;
use crate::output::Outcome;
use crate::token::JoinToken;

/// Runs a whole cluster in this process until it is told to stop.
pub async fn up(env: Env, data: &Path, disk_count: u16, listen: SocketAddr) -> Result<Outcome> {
    node::up(env, data, disk_count.into(), listen, told_to_stop()?).await?;
    Ok(Outcome::default())
}

/// Runs a node until it is told to stop.
pub async fn run(env: Env, config: &Path) -> Result<Outcome> {
    let config = load(&env, config)?;
    node::run(env, config, told_to_stop()?).await?;
    Ok(Outcome::default())
}

/// Done at Ctrl-C or when the system wants the process to end. Listens from now on, so that neither comes too early.
fn told_to_stop() -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Makes the first node of a new cluster.
pub async fn init(env: &Env, path: &Path) -> Result<Outcome> {
    let config = load(env, path)?;
    let admin = config.data.join(ADMIN_FILE).display().to_string();
    node::init(env, &config)?;
    let text = format!(
        "the cluster is made; start its first node with\n  cloudsync node --config {}\nand administer it with\n  \
         export CLOUDSYNC_CREDENTIALS={admin}",
        path.display()
    );
    Ok(Outcome::ok(text, json!({ "credentials": admin })))
}

/// Makes a node a part of a cluster.
pub async fn join(env: &Env, path: &Path, token: &str) -> Result<Outcome> {
    let token = JoinToken::parse(token)?;
    let node = node::join(env, &load(env, path)?, &token).await?;
    let text = format!(
        "this is node {node} of the cluster; start it with\n  cloudsync node --config {}",
        path.display()
    );
    Ok(Outcome::ok(text, json!({ "node": node.0 })))
}

fn load(env: &Env, path: &Path) -> Result<NodeConfig> {
    NodeConfig::load(&*env.disk, path, &variables())
}
