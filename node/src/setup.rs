//! Creates a node: the first one of a cluster, or one more.

use client::{ADMIN_FILE, CredentialFile};
use env::Env;
use metaserver::Unlocking;
use net::{Dial, Request, Target, Transport};
use proto::Call;
use proto::cluster::{ConfirmJoin, Join, Joined};
use proto::command::{Bootstrap, LEVEL_NEWEST, NewNode};
use proto::map::Role;
use proto::seal::ClusterSecret;
use tracing::warn;
use tree::root::{Secrets, found_ring};
use types::limits::{JOIN_ATTEMPT_TIMEOUT, JOIN_PAUSE, JOIN_TIMEOUT};
use types::{ClusterId, Error, Identity, NodeId, Result, StoreUuid};

use crate::config::NodeConfig;
use crate::home::{Home, Membership};
use crate::platform::Platform;
use crate::store::StoreRecord;
use crate::token::JoinToken;
use crate::unlock;

/// Name of the first administrator.
const ADMIN: &str = "admin";

/// Creates the first node of a new cluster: its id, its authority, its secret, its first keys and how they are unlocked,
/// and credentials for an administrator.
/// Nothing listens until [`crate::Node::start`]. `Exists` when the data directory holds a node or is in use.
pub fn init(env: &Env, platform: &dyn Platform, config: &NodeConfig) -> Result<()> {
    let home = Home::lock(env, &config.data)?;
    let store = StoreRecord::first(StoreUuid(env.random.bytes()));
    let cluster = ClusterId(env.random.bytes());
    let authority = platform.create_authority(cluster)?;
    let secret = ClusterSecret::first(env.random.bytes());
    let Unlocking { key, how } = unlock::create(env, config)?;
    let node = NodeId(1);
    let credentials = platform.issue(&authority, &Identity::Node(node))?;
    let admin = platform.issue(&authority, &Identity::Admin(ADMIN.to_owned()))?;
    let bootstrap = Bootstrap {
        cluster,
        profile: config.cluster.profile,
        pg_count: config.cluster.pg_count,
        tree_partitions: config.cluster.tree_partitions,
        index_partitions: config.cluster.index_partitions,
        secrets: Secrets { authority, secret: secret.clone() }.seal(&key),
        keys: found_ring(&key, &mut || env.random.bytes(), env.clock.wall()),
        node: new_node(config, Some(&store)),
    };
    let map = tree::root::bootstrap_map(&bootstrap);
    let membership = Membership { cluster, node, secret, credentials, bootstrap: Some(bootstrap) };
    home.prepare(&membership, &map, |home| {
        unlock::save(env, home, &how)?;
        store.save(home)
    })?;
    CredentialFile { endpoints: vec![config.native], identity: admin }
        .save(&*env.disk, &home.join(ADMIN_FILE))
}

/// Creates one more node of the cluster that issued the token. `Exists` when the data directory holds a node or is in
/// use, `Denied` when the token is not valid.
pub async fn join(
    env: &Env,
    platform: &dyn Platform,
    config: &NodeConfig,
    token: &JoinToken,
) -> Result<NodeId> {
    let home = Home::lock(env, &config.data)?;
    if home.is_prepared() {
        return Err(Error::exists(format!(
            "{} already belongs to a node of a cluster: choose an empty directory",
            config.data.display()
        )));
    }
    let (key, request) = platform.request()?;
    let is_meta = config.roles.contains(&Role::Meta);
    let store =
        is_meta.then(|| StoreRecord { founded: true, ..StoreRecord::first(StoreUuid(env.random.bytes())) });
    let node = new_node(config, store.as_ref());
    let question = Join {
        secret: token.secret,
        request,
        zone: node.zone,
        roles: node.roles,
        native: node.native,
        control: node.control,
        store: node.store,
        level: LEVEL_NEWEST,
    };
    let joined = ask(&*platform.dial_anonymously(config, &token.authority)?, token, &question).await?;
    let credentials = platform.credentials(&key, &joined.certificate)?;
    let Joined { cluster, node, secret, unlock, map, .. } = joined;
    let dial = platform.dial(config, &credentials)?;
    let membership = Membership { cluster, node, secret, credentials, bootstrap: None };
    home.prepare(&membership, &map, |home| {
        unlock.iter().try_for_each(|how| unlock::save(env, home, how))?;
        store.iter().try_for_each(|store| store.save(home))
    })?;
    // Its first heartbeat says the same: a node that is not confirmed in time is forgotten.
    if let Err(e) = ask(&*dial, token, &ConfirmJoin { node }).await {
        warn!("node {node} has joined and must be started soon, or it is forgotten: {e}");
    }
    Ok(node)
}

/// Asks the meta nodes in turn until the one that leads answers.
async fn ask<Q: Call>(client: &dyn Dial, token: &JoinToken, question: &Q) -> Result<Q::Answer> {
    let deadline = env::time::now() + JOIN_TIMEOUT;
    let mut error = Error::invalid("the join token names no address");
    loop {
        for address in &token.control {
            let target = Target { transport: Transport::Grpc, address: *address, node: None };
            let request = Request::of(question, bytes::Bytes::new());
            match client.call(&target, request, JOIN_ATTEMPT_TIMEOUT).await {
                Ok(reply) => return reply.answer::<Q>(),
                Err(e) if !e.is_transient() => return Err(e.context("joining the cluster")),
                Err(e) => error = e,
            }
        }
        if env::time::now() >= deadline {
            return Err(error.context("joining the cluster"));
        }
        env::time::sleep(JOIN_PAUSE).await;
    }
}

fn new_node(config: &NodeConfig, store: Option<&StoreRecord>) -> NewNode {
    NewNode {
        zone: config.zone.clone(),
        roles: config.roles.clone(),
        native: config.native,
        control: config.control,
        store: store.map(|store| store.uuid),
    }
}
