//! The commands that prepare or run a node: their configuration is read here, the work is done in `node`.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;

use client::{ADMIN_FILE, CredentialFile};
use env::Env;
use net::ClientConfig;
use node::config::{NodeConfig, variables};
use node::{Embedded, JoinToken, Node, RealPlatform};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;
use types::limits::{NODE_REQUEST_DEADLINE, PERSON_CERTIFICATE_VALIDITY, STOP_TIMEOUT};
use types::{ErrorKind, Result};

use crate::credentials::issue;
use crate::output::{Outcome, write_out};

/// Runs a whole cluster in this process until it is told to stop. Says on standard output what to do next.
pub async fn up(env: Env, data: &Path, disk_count: Option<u16>, listen: SocketAddr) -> Result<Outcome> {
    let (mut stop, platform) = (pin!(told_to_stop()?), RealPlatform(env.clone()));
    let Embedded { config, created } =
        node::prepare_embedded(&env, &platform, data, disk_count.map(usize::from), listen)?;
    let node_env = env.clone();
    if let Some(node) = start(env, Arc::new(platform), config, stop.as_mut()).await? {
        last_longer(&node_env, data).await;
        write_out(greeting(&node, data, created).as_bytes())?;
        stop.await;
        node.stop().await?;
    }
    Ok(Outcome::default())
}

/// Has the cluster issue lasting credentials in place of those that were signed while it was off.
async fn last_longer(env: &Env, data: &Path) {
    let path = data.join(ADMIN_FILE);
    let renew = async {
        let file = CredentialFile::load(&*env.disk, &path)?;
        let own = file.credentials()?;
        if own.serial().is_counted() {
            return Ok(());
        }
        let cluster = file.connect(env, ClientConfig::default(), NODE_REQUEST_DEADLINE).await?.cluster;
        let (identity, life) = (own.identity().clone(), PERSON_CERTIFICATE_VALIDITY);
        issue(&cluster, file.endpoints, identity, life).await?.save(&*env.disk, &path)
    };
    match renew.await {
        // Moved to where they are safe.
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => warn!("the credentials in {} end in a day and could not be renewed: {e}", path.display()),
        Ok(()) => {}
    }
}

/// Starts a node; `None` when it is told to stop before it is up. A start may wait for others for as long as it takes.
async fn start(
    env: Env,
    platform: Arc<RealPlatform>,
    config: NodeConfig,
    stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<Option<Node>> {
    tokio::select! {
        node = Node::start(env, platform, config) => node.map(Some),
        () = stop => Ok(None),
    }
}

fn greeting(node: &Node, data: &Path, created: bool) -> String {
    let map = node.cluster().map();
    let state = if created { "Created" } else { "Found" };
    let program =
        env::process::current_exe().map_or_else(|_| "cloudsync".into(), |path| path.display().to_string());
    let credentials = data.join(ADMIN_FILE);
    let credentials = std::path::absolute(&credentials).unwrap_or(credentials);
    format!(
        "CloudSync is up: one node, {} disks, profile {}, listening on {} (QUIC and TLS).\n\
         {state} cluster {} in {}. Try next, in another shell:\n\n  \
         export CLOUDSYNC_CREDENTIALS={}\n  \
         {program} put README.md /README.md\n  {program} ls -l /\n  {program} cat /README.md\n\n\
         Ctrl-C stops it; starting it again finds everything.\n",
        map.disks.len(),
        map.profile,
        node.native_address(),
        map.cluster,
        data.display(),
        credentials.display()
    )
}

/// Runs a node until it is told to stop.
pub async fn run(env: Env, config: &Path) -> Result<Outcome> {
    let (config, mut stop) = (load(&env, config)?, pin!(told_to_stop()?));
    let platform = Arc::new(RealPlatform(env.clone()));
    if let Some(node) = start(env, platform, config, stop.as_mut()).await? {
        stop.await;
        node.stop().await?;
    }
    Ok(Outcome::default())
}

/// Ready at Ctrl-C or SIGTERM. Listens from this call on, so that neither is missed.
fn told_to_stop() -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // A disk that does not answer keeps whoever waits for it, and no thread can be taken away from it.
        env::process::end_after(
            STOP_TIMEOUT,
            "a disk or a peer does not answer, so it ends without them; what was acknowledged is durable",
        );
    })
}

/// Prepares the first node of a new cluster.
pub async fn init(env: &Env, path: &Path) -> Result<Outcome> {
    let config = load(env, path)?;
    let admin = config.data.join(ADMIN_FILE).display().to_string();
    node::init(env, &RealPlatform(env.clone()), &config)?;
    let text = format!(
        "the cluster is created; start its first node with\n  cloudsync node --config {}\nand administer it with\n  \
         export CLOUDSYNC_CREDENTIALS={admin}",
        path.display()
    );
    Ok(Outcome::ok(text, json!({ "credentials": admin })))
}

/// Prepares one more node of a cluster.
pub async fn join(env: &Env, path: &Path, token: &str) -> Result<Outcome> {
    let token = JoinToken::parse(token)?;
    let node = node::join(env, &RealPlatform(env.clone()), &load(env, path)?, &token).await?;
    let text = format!(
        "this is node {node} of the cluster; start it with\n  cloudsync node --config {}",
        path.display()
    );
    Ok(Outcome::ok(text, json!({ "node": node.0 })))
}

/// Gives a stopped node a new certificate.
pub async fn renew(env: &Env, path: &Path, token: Option<&str>) -> Result<Outcome> {
    let token = token.map(JoinToken::parse).transpose()?;
    let node = node::renew(env, &RealPlatform(env.clone()), &load(env, path)?, token.as_ref()).await?;
    let text = format!(
        "node {node} has a new certificate; start it with\n  cloudsync node --config {}",
        path.display()
    );
    Ok(Outcome::ok(text, json!({ "node": node.0 })))
}

/// The configuration of a node.
pub fn load(env: &Env, path: &Path) -> Result<NodeConfig> {
    NodeConfig::load(&*env.disk, path, &variables())
}
