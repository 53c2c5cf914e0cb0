//! Creates a node: the first one of a cluster, or one more.

use client::{ADMIN_FILE, CredentialFile};
use env::Env;
use metaserver::Unlocking;
use net::{Dial, Request, Target, Terms, Transport};
use proto::Call;
use proto::certificates::RenewCertificate;
use proto::cluster::{ConfirmJoin, Join, Joined};
use proto::command::{Bootstrap, FirstCertificate, LEVEL_NEWEST, NewNode};
use proto::map::Role;
use proto::seal::ClusterSecret;
use serde::{Deserialize, Serialize};
use tracing::warn;
use tree::root::{Secrets, found_ring};
use types::limits::{
    JOIN_ATTEMPT_TIMEOUT, JOIN_PAUSE, JOIN_TIMEOUT, NODE_CERTIFICATE_VALIDITY, PERSON_CERTIFICATE_VALIDITY,
};
use types::{ClusterId, Error, Identity, NodeId, Result, Serial, StoreUuid};

use crate::config::NodeConfig;
use crate::home::{Home, Membership};
use crate::platform::Platform;
use crate::repair::StoppedMeta;
use crate::store::StoreRecord;
use crate::token::JoinToken;
use crate::unlock;

/// What goes wrong when the cluster refuses a token.
const DOING: &str = "showing the token to the cluster";
/// Name of the first administrator.
pub const ADMIN: &str = "admin";

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
    let holders = [
        (Identity::Node(node), NODE_CERTIFICATE_VALIDITY),
        (Identity::Admin(ADMIN.to_owned()), PERSON_CERTIFICATE_VALIDITY),
    ];
    let issued = env.clock.wall();
    let certificates = holders.map(|(identity, validity)| {
        let expires = issued.plus(validity.as_millis() as u64);
        FirstCertificate { identity, issued, expires }
    });
    let issue = |number: u64, certificate: &FirstCertificate| {
        let FirstCertificate { identity, expires, .. } = certificate.clone();
        platform.issue(&authority, &Terms { identity, serial: Serial(number), expires })
    };
    let credentials = issue(1, &certificates[0])?;
    let admin = issue(2, &certificates[1])?;
    let bootstrap = Bootstrap {
        cluster,
        profile: config.cluster.profile,
        pg_count: config.cluster.pg_count,
        tree_partitions: config.cluster.tree_partitions,
        index_partitions: config.cluster.index_partitions,
        secrets: Secrets { authority, secret: secret.clone() }.seal(&key),
        keys: found_ring(&key, &mut || env.random.bytes(), env.clock.wall()),
        node: new_node(config, Some(&store)),
        certificates: certificates.into(),
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
    let Joining { key, request, store } = Joining::load(env, platform, &home)?;
    let is_meta = config.roles.contains(&Role::Meta);
    let store = is_meta.then(|| StoreRecord { founded: true, ..StoreRecord::first(store) });
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
    let dial = platform.appear(config, &credentials)?.dial()?;
    let membership = Membership { cluster, node, secret, credentials, bootstrap: None };
    home.prepare(&membership, &map, |home| {
        unlock.iter().try_for_each(|how| unlock::save(env, home, how))?;
        store.iter().try_for_each(|store| store.save(home))
    })?;
    home.remove(JOINING)?;
    // Its first heartbeat says the same: a node that is not confirmed in time is forgotten.
    if let Err(e) = ask(&*dial, token, &ConfirmJoin { node }).await {
        warn!("node {node} has joined and must be started soon, or it is forgotten: {e}");
    }
    Ok(node)
}

/// File in the data directory of a node that is about to join, or to come back.
pub(crate) const JOINING: &str = "joining";

/// What a node comes with that shows a token. Written down first: when it is interrupted, it comes with the same once more, and
/// is given what the same token has given it before.
#[derive(Serialize, Deserialize)]
pub(crate) struct Joining {
    pub(crate) key: String,
    pub(crate) request: String,
    /// Its metadata store, if it is to have one.
    pub(crate) store: StoreUuid,
}

impl Joining {
    fn load(env: &Env, platform: &dyn Platform, home: &Home) -> Result<Self> {
        if home.has(JOINING) {
            return home.load(JOINING);
        }
        let (key, request) = platform.request()?;
        let joining = Self { key, request, store: StoreUuid(env.random.bytes()) };
        home.save(JOINING, &joining)?;
        Ok(joining)
    }
}

/// Gives a stopped node a new certificate, whose own has run out or was revoked: from the cluster, which knows a token
/// for it, or signed by itself, when it has a copy of the root partition. `Exists` while the node runs.
pub async fn renew(
    env: &Env,
    platform: &dyn Platform,
    config: &NodeConfig,
    token: Option<&JoinToken>,
) -> Result<NodeId> {
    let Some(token) = token else {
        let stopped = StoppedMeta::open(env, platform, config)
            .map_err(|e| e.context("without a token a node can only sign its certificate by itself"))?;
        stopped.renew(platform, config)?;
        return Ok(stopped.node());
    };
    let home = Home::lock(env, &config.data)?;
    let node = home.membership()?.node;
    let Joining { key, request, .. } = Joining::load(env, platform, &home)?;
    let question = RenewCertificate { node, request, secret: Some(token.secret) };
    let renewed = ask(&*platform.dial_anonymously(config, &token.authority)?, token, &question).await?;
    home.renew(platform.credentials(&key, &renewed.certificate)?)?;
    home.remove(JOINING)?;
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
                Err(e) if !e.is_transient() => return Err(e.context(DOING)),
                Err(e) => error = e,
            }
        }
        if env::time::now() >= deadline {
            return Err(error.context(DOING));
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
