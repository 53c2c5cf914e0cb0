//! The embedded default: a cluster of one process with one command.

use std::net::SocketAddr;
use std::path::Path;

use env::Env;
use types::Result;

use super::home::Home;
use super::run::Node;
use super::setup::init;
use crate::config::NodeConfig;
use crate::credentials::ADMIN_FILE;

/// Starts the cluster in `data`, making it the first time, and says what to do next. Runs until `stop` is done.
pub async fn up(
    env: Env,
    data: &Path,
    disk_count: usize,
    listen: SocketAddr,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let config = NodeConfig {
        data: data.to_owned(),
        native: listen,
        control: SocketAddr::new(listen.ip(), listen.port().checked_add(1).unwrap_or(listen.port() - 1)),
        disks: (1..=disk_count).map(|n| data.join(format!("disk{n}"))).collect(),
        ..NodeConfig::default()
    };
    // The lock is given back in between; a second `up` that slips in finds the node prepared and the other running.
    let prepared = Home::lock(&env, data)?.is_prepared();
    if !prepared {
        init(&env, &config)?;
    }
    let node = Node::start(env, config).await?;
    greet(&node, data, prepared);
    stop.await;
    node.stop().await
}

#[allow(clippy::print_stdout)] // This is what the command is for.
fn greet(node: &Node, data: &Path, prepared: bool) {
    let map = node.cluster().map();
    println!(
        "CloudSync is up: one node, {} disks, profile {}, listening on {} (QUIC and TLS).",
        map.disks.len(),
        map.profile,
        node.native_address()
    );
    let state = if prepared { "Found" } else { "Made" };
    let credentials = data.join(ADMIN_FILE);
    println!("{state} cluster {} in {}. Try next, in another shell:\n", map.cluster, data.display());
    let program =
        env::process::current_exe().map_or_else(|_| "cloudsync".into(), |path| path.display().to_string());
    let credentials = std::path::absolute(&credentials).unwrap_or(credentials);
    println!("  export CLOUDSYNC_CREDENTIALS={}", credentials.display());
    println!("  {program} put README.md /README.md");
    println!("  {program} ls -l /");
    println!("  {program} cat /README.md\n\nCtrl-C stops it; starting it again finds everything.");
}
