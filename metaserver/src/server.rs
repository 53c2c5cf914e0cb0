//! The metaserver: hosts the partitions, answers requests, keeps the map of this node current.
//!
//! Writes become commands and go through the log; reads look at the applied state. What only a leader may answer is
//! refused elsewhere with `StaleEpoch`, and the caller tries the next voter.

mod catalog;
mod change;
mod cluster;
mod digest;
mod disks;
mod entry;
mod groups;
mod handover;
mod index;
mod keys;
mod level;
mod namespace;
mod status;
mod upkeep;
mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use access::acting_node;
use async_trait::async_trait;
use bytes::Bytes;
use env::Env;
use futures::FutureExt;
use net::{Caller, Reply, Request, Routes, Service, Terms};
use proto::Method;
use proto::command::{Bootstrap, Command, Stamped};
use proto::map::{ClusterMap, ROOT, Role};
use proto::seal::ClusterSecret;
use raft::{Group, Host, Trouble};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tree::Replica;
use tree::index::IndexMachine;
use types::limits::COMMAND_SIZE_MAX;
use types::{Error, FeatureLevel, NodeId, PartitionId, Result, Stamp};

use crate::keychain::{Keychain, Unlocking};
use crate::liveness::Liveness;
use crate::polls::Polls;
use crate::readers::Readers;

/// What a metaserver needs to start.
#[derive(Debug)]
pub struct Config {
    /// The store of this node's replicas.
    pub host: Host,
    /// The secret that the cluster's nodes share.
    pub secret: ClusterSecret,
    /// How this node opens the cluster's keys.
    pub unlocking: Unlocking,
    /// On the first node of a cluster: what to begin with, until the cluster exists.
    pub bootstrap: Option<Bootstrap>,
    /// Signs certificates.
    pub signer: Signer,
    /// How long a voter may be away before another takes its place.
    pub down_out: Duration,
    /// How long a leader leads at least before it hands over to the one that the map prefers.
    pub leader_stay: Duration,
    /// The newest feature level that this build knows.
    pub level: FeatureLevel,
}

type Sign = dyn Fn(&str, &str, &Terms) -> Result<String> + Send + Sync;

/// Authority (PEM), certificate request (PEM) and what to certify in, certificate (PEM) out.
#[derive(Clone)]
pub struct Signer(pub Arc<Sign>);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

type Indexes = BTreeMap<PartitionId, Arc<Replica<IndexMachine>>>;

/// A running metaserver.
#[derive(Debug)]
pub struct Metaserver {
    env: Env,
    routes: Routes<Metaserver>,
    node: NodeId,
    secret: ClusterSecret,
    keychain: Keychain,
    signer: Signer,
    host: Host,
    /// The newest feature level that this build knows.
    level: FeatureLevel,
    /// The feature level of the root partition, as far as this node has heard.
    cluster_level: Mutex<FeatureLevel>,
    indexes: Mutex<Indexes>,
    map: watch::Sender<Arc<ClusterMap>>,
    readers: Readers,
    /// Who follows a journal and waits.
    polls: Polls,
    /// What this node has heard while it leads the root partition.
    liveness: Mutex<Option<Liveness>>,
    /// One change of the map is computed and proposed at a time.
    changing: tokio::sync::Mutex<()>,
    /// One digest is computed at a time.
    digesting: tokio::sync::Mutex<()>,
    down_out_ms: u64,
    leader_stay: Duration,
    retired: AtomicBool,
    started: env::time::Instant,
}

impl Metaserver {
    /// Opens this node's copies and starts their upkeep. `map` is where this node's map is published; it is only ever
    /// replaced by newer ones.
    pub async fn start(env: Env, config: Config, map: watch::Sender<Arc<ClusterMap>>) -> Result<Arc<Self>> {
        let server = Arc::new(Self {
            env,
            routes: routes(),
            node: config.host.replica().node(),
            secret: config.secret,
            keychain: Keychain::new(config.unlocking),
            signer: config.signer,
            host: config.host,
            level: config.level,
            cluster_level: Mutex::new(FeatureLevel::FIRST),
            indexes: Mutex::default(),
            map,
            readers: Readers::default(),
            polls: Polls::default(),
            liveness: Mutex::new(None),
            changing: Default::default(),
            digesting: Default::default(),
            down_out_ms: config.down_out.as_millis() as u64,
            leader_stay: config.leader_stay,
            retired: AtomicBool::new(false),
            started: env::time::now(),
        });
        if let Err(e) = server.open(config.bootstrap).await {
            // Whoever opens the store again must find nobody at it.
            server.host.shutdown().await;
            return Err(e);
        }
        server.clone().start_upkeep();
        Ok(server)
    }

    async fn open(&self, bootstrap: Option<Bootstrap>) -> Result<()> {
        self.open_copies().await?;
        self.open_groups().await?;
        self.check_unlocking()?;
        match bootstrap {
            Some(bootstrap) => self.bootstrap(bootstrap).await,
            None => Ok(()),
        }
    }

    /// True while this node's metadata store takes only commands that make room, or not even those.
    pub fn is_short_of_space(&self) -> bool {
        self.host.is_short_of_space()
    }

    /// What this node's metadata store says of itself.
    pub fn stamp(&self) -> Stamp {
        self.host.stamp()
    }

    /// Why this node's metadata store cannot take part any more, once it cannot.
    pub fn trouble(&self) -> watch::Receiver<Option<Trouble>> {
        self.host.trouble()
    }

    /// The cluster does not accept this node's metadata store.
    pub fn refuse(&self, why: String) {
        self.host.refuse(why);
    }

    /// Ends the upkeep: from now on this node decides nothing about others, and keeps nobody waiting.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.polls.wake_all();
    }

    /// Stops the partitions; what they acknowledged is already on disk.
    pub async fn shutdown(&self) {
        self.host.shutdown().await;
    }

    /// Handles a message from another node's Raft host.
    async fn handle_raft(&self, caller: &Caller, request: Request) -> Result<Reply> {
        let sender = acting_node(&caller.identity)?;
        self.must_hold_metadata(sender)?;
        Ok(Reply { header: Bytes::new(), body: self.host.handle(sender, request.body).await? })
    }

    /// `Denied` unless the map says that the node is one of those that hold metadata: its certificate says only which
    /// node it is.
    fn must_hold_metadata(&self, node: NodeId) -> Result<()> {
        match self.map.borrow().nodes.get(&node) {
            Some(info) if info.roles.contains(&Role::Meta) => Ok(()),
            Some(_) => Err(Error::denied(format!("node {node} holds no metadata: it has no say in it"))),
            None => Err(Error::stale_epoch(format!("node {node} is not in the map of node {}", self.node))),
        }
    }

    fn group(&self, partition: PartitionId) -> Result<Arc<Group>> {
        self.host.group(partition).ok_or_else(|| {
            Error::stale_epoch(format!("partition {partition} is not on node {}: refresh the map", self.node))
        })
    }

    /// The root partition; `StaleEpoch` where it is not.
    fn root(&self) -> Result<Arc<Group>> {
        self.group(ROOT)
    }

    /// The parts of the index that are here.
    fn indexes(&self) -> MutexGuard<'_, Indexes> {
        self.indexes.lock().expect("no panic while it is held")
    }

    /// Puts a command through the log and returns what `apply` answered. The one door to the logs: `Invalid` for what the
    /// partition's feature level does not allow yet.
    async fn propose<C: Command, T: DeserializeOwned>(
        &self,
        partition: PartitionId,
        command: C,
    ) -> Result<T> {
        let group = self.group(partition)?;
        let needed = command.level();
        // Every partition is at the first level at least.
        if needed > FeatureLevel::FIRST && needed > group.read(|state| tree::level(state))? {
            return Err(Error::invalid(format!(
                "this needs feature level {needed}, which partition {partition} has not reached: update all meta nodes"
            )));
        }
        let bytes = Stamped { time: self.env.clock.wall(), command }.encode();
        if bytes.len() > COMMAND_SIZE_MAX {
            return Err(Error::invalid(format!(
                "the request becomes a command of {} bytes, at most {COMMAND_SIZE_MAX} are allowed: send it in parts",
                bytes.len()
            )));
        }
        self.put_through(&group, bytes).await
    }

    async fn put_through<T: DeserializeOwned>(&self, group: &Group, logged: Bytes) -> Result<T> {
        tree::decode_answer(&group.propose(logged).await?.reply)
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

/// Every verb a metaserver answers.
fn routes() -> Routes<Metaserver> {
    Routes::new()
        .on_request(Method::Raft, |s: &Metaserver, caller, request| s.handle_raft(caller, request).boxed())
        .on(|s: &Metaserver, _, question| s.join(question).boxed())
        .on(|s: &Metaserver, caller, question| s.heartbeat(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.fetch_status(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.create_token(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.list_tokens(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.revoke_token(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.renew_certificate(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.issue_certificate(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.list_certificates(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.revoke_certificates(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.create_namespace(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.find_namespace(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.register_disks(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.finish_sync(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.renew_tickets(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.list_chunks(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.look_up_chunks(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.amend(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.confirm_join(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.register_store(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.remove_node(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.remove_disk(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.list_lost(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.fetch_digest(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.write_namespace(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.stat(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.list_dir(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.open_version(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.list_versions(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.pull_journal(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.fetch_namespace(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.list_trash(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.set_owner(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.delete_namespace(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.list_namespaces(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.pin(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.register(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.fetch_index_stats(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.fetch_keys(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.list_keys(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.rotate_keys(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.destroy_keys(caller, question).boxed())
}

#[async_trait]
impl Service for Metaserver {
    async fn call(&self, caller: &Caller, request: Request, _deadline: env::time::Instant) -> Result<Reply> {
        self.routes.dispatch(self, caller, request).await
    }
}
