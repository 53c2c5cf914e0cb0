//! The metaserver: hosts the partitions, answers requests, keeps the map of this node current.
//!
//! Writes become commands and go through the log; reads look at the applied state. What only a leader may answer is
//! refused elsewhere with `StaleEpoch`, and the caller tries the next voter.

mod cluster;
mod index;
mod namespace;
mod status;
mod upkeep;
mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use access::{Action, authorize};
use async_trait::async_trait;
use bytes::Bytes;
use env::Env;
use futures::FutureExt;
use net::{Caller, Reply, Request, Routes, Service};
use proto::Method;
use proto::command::{Bootstrap, Stamped};
use proto::map::{ClusterMap, PartitionKind, ROOT};
use proto::seal::ClusterSecret;
use raft::{Group, Host, HostConfig, Network};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tree::index::IndexMachine;
use tree::namespace::NamespaceMachine;
use tree::root::RootMachine;
use types::limits::COMMAND_SIZE_MAX;
use types::{Error, Identity, NodeId, PartitionId, Result};

use crate::liveness::Liveness;
use crate::machine::{Followed, Replicated};
use crate::polls::Polls;
use crate::readers::Readers;

/// What a metaserver needs to start.
#[derive(Debug)]
pub struct Config {
    /// The node it runs on.
    pub node: NodeId,
    /// Directory of the Raft log.
    pub log_dir: PathBuf,
    /// The secret that the cluster's nodes share.
    pub secret: ClusterSecret,
    /// The newest map this node has seen: says which partitions there are.
    pub map: ClusterMap,
    /// On the first node of a cluster: what to begin with, until the cluster exists.
    pub bootstrap: Option<Bootstrap>,
    /// Signs the certificates of nodes that join.
    pub signer: Signer,
    /// How long a voter may be away before another takes its place.
    pub down_out: Duration,
}

type Sign = dyn Fn(&str, &str, &Identity) -> Result<String> + Send + Sync;

/// Authority (PEM), certificate request (PEM) and the identity to certify in, certificate (PEM) out.
#[derive(Clone)]
pub struct Signer(pub Arc<Sign>);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

/// A running metaserver.
#[derive(Debug)]
pub struct Metaserver {
    env: Env,
    routes: Routes<Metaserver>,
    node: NodeId,
    secret: ClusterSecret,
    signer: Signer,
    host: Host,
    groups: BTreeMap<PartitionId, Arc<Group>>,
    indexes: BTreeMap<PartitionId, Arc<IndexMachine>>,
    map: watch::Sender<Arc<ClusterMap>>,
    readers: Readers,
    /// Who follows a journal and waits.
    polls: Polls,
    /// What this node has heard while it leads the root partition.
    liveness: Mutex<Option<Liveness>>,
    down_out_ms: u64,
    retired: AtomicBool,
    started: env::time::Instant,
}

impl Metaserver {
    /// Opens all partitions and starts their upkeep. `map` is where this node's map is published; it is only ever
    /// replaced by newer ones.
    pub async fn start(
        env: Env,
        config: Config,
        kv: Arc<dyn kv::Kv>,
        network: Arc<dyn Network>,
        map: watch::Sender<Arc<ClusterMap>>,
    ) -> Result<Arc<Self>> {
        let host = Host::open(env.clone(), HostConfig::new(config.node, config.log_dir.clone()), kv, network)
            .await?;
        let mut groups = BTreeMap::new();
        let mut indexes = BTreeMap::new();
        let polls = Polls::default();
        for partition in &config.map.partitions {
            let machine: Arc<dyn raft::StateMachine> = match partition.kind {
                PartitionKind::Root => Arc::new(Replicated(Arc::new(RootMachine))),
                PartitionKind::Namespace => {
                    Arc::new(Followed::new(NamespaceMachine::new(partition.id), polls.clone()))
                }
                PartitionKind::Index => {
                    let machine = Arc::new(IndexMachine::default());
                    indexes.insert(partition.id, machine.clone());
                    Arc::new(Replicated(machine))
                }
            };
            groups.insert(partition.id, host.open_group(partition.id, machine).await?);
        }
        assert!(groups.contains_key(&ROOT), "every map that can be read has a root partition");
        let server = Arc::new(Self {
            env,
            routes: routes(),
            node: config.node,
            secret: config.secret,
            signer: config.signer,
            host,
            groups,
            indexes,
            map,
            readers: Readers::default(),
            polls,
            liveness: Mutex::new(None),
            down_out_ms: config.down_out.as_millis() as u64,
            retired: AtomicBool::new(false),
            started: env::time::now(),
        });
        if let Some(bootstrap) = config.bootstrap {
            server.bootstrap(bootstrap).await?;
        }
        server.clone().start_upkeep();
        Ok(server)
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
        authorize(&caller.identity, Action::ActAsNode)?;
        Ok(Reply { header: Bytes::new(), body: self.host.handle(request.body).await? })
    }

    fn group(&self, partition: PartitionId) -> Result<&Arc<Group>> {
        self.groups.get(&partition).ok_or_else(|| {
            Error::stale_epoch(format!("partition {partition} is not on node {}: refresh the map", self.node))
        })
    }

    fn root(&self) -> &Arc<Group> {
        &self.groups[&ROOT]
    }

    /// Puts a command through the log and returns what `apply` answered.
    async fn propose<C: Serialize, T: DeserializeOwned>(
        &self,
        partition: PartitionId,
        command: C,
    ) -> Result<T> {
        let bytes = proto::encode(&Stamped { time: self.env.clock.wall(), command });
        if bytes.len() > COMMAND_SIZE_MAX {
            return Err(Error::invalid(format!(
                "the request becomes a command of {} bytes, at most {COMMAND_SIZE_MAX} are allowed: send it in parts",
                bytes.len()
            )));
        }
        let applied = self.group(partition)?.propose(bytes).await?;
        tree::decode_answer(&applied.reply)
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
        .on(|s: &Metaserver, caller, question| s.create_namespace(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.find_namespace(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.register_disks(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.finish_sync(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.write_namespace(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.stat(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.list_dir(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.open_version(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.list_versions(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.pull_journal(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.fetch_namespace(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.pin(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.register(caller, question).boxed())
        .on(|s: &Metaserver, caller, question| s.fetch_index_stats(caller, question).boxed())
}

#[async_trait]
impl Service for Metaserver {
    async fn call(&self, caller: &Caller, request: Request, _deadline: env::time::Instant) -> Result<Reply> {
        self.routes.dispatch(self, caller, request).await
    }
}
