//! The metaserver: hosts the partitions, answers requests, keeps the map of this node current.
//!
//! Writes become commands and go through the log; reads look at the applied state. What only a leader may answer is
//! refused elsewhere with `StaleEpoch`, and the caller tries the next voter.

mod cluster;
mod index;
mod namespace;
mod upkeep;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use env::Env;
use net::{Caller, Reply, Request, Service};
use proto::Method;
use proto::command::{Bootstrap, Stamped};
use proto::map::{ClusterMap, PartitionKind, ROOT};
use proto::seal::ClusterSecret;
use raft::{Group, Host, HostConfig, Network};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use types::limits::COMMAND_SIZE_MAX;
use types::{Error, NodeId, PartitionId, Result};

use crate::index::IndexMachine;
use crate::liveness::Liveness;
use crate::namespace::NamespaceMachine;
use crate::reply;
use crate::root::RootMachine;

/// What a metaserver needs to start.
#[derive(Debug)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// Directory of the Raft log.
    pub log_dir: PathBuf,
    /// The secret of the cluster's nodes.
    pub secret: ClusterSecret,
    /// The newest map this node has seen: says which partitions there are.
    pub map: ClusterMap,
    /// On the first node of a cluster: what to begin with, until the cluster exists.
    pub bootstrap: Option<Bootstrap>,
}

/// A running metaserver.
#[derive(Debug)]
pub struct Metaserver {
    env: Env,
    node: NodeId,
    secret: ClusterSecret,
    host: Host,
    groups: BTreeMap<PartitionId, Arc<Group>>,
    indexes: BTreeMap<PartitionId, Arc<IndexMachine>>,
    map: watch::Sender<Arc<ClusterMap>>,
    /// What this node has heard while it leads the root partition.
    liveness: Mutex<Option<Liveness>>,
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
        for partition in &config.map.partitions {
            let machine: Arc<dyn raft::StateMachine> = match partition.kind {
                PartitionKind::Root => Arc::new(RootMachine),
                PartitionKind::Namespace => Arc::new(NamespaceMachine::new(partition.id)),
                PartitionKind::Index => {
                    let machine = Arc::new(IndexMachine::default());
                    indexes.insert(partition.id, machine.clone());
                    machine
                }
            };
            groups.insert(partition.id, host.open_group(partition.id, machine).await?);
        }
        let server = Arc::new(Self {
            env,
            node: config.node,
            secret: config.secret,
            host,
            groups,
            indexes,
            map,
            liveness: Mutex::new(None),
            retired: AtomicBool::new(false),
            started: env::time::now(),
        });
        if let Some(bootstrap) = config.bootstrap {
            server.bootstrap(bootstrap).await?;
        }
        server.clone().start_upkeep();
        Ok(server)
    }

    /// Ends the upkeep: from now on this node decides nothing about others.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Stops the partitions; what they acknowledged is on disk already.
    pub async fn shutdown(&self) {
        self.host.shutdown().await;
    }

    /// Handles a message from another node's Raft host.
    pub async fn handle_raft(&self, message: Bytes) -> Result<Bytes> {
        self.host.handle(message).await
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
                "the request makes a command of {} bytes, {COMMAND_SIZE_MAX} are allowed: send it in parts",
                bytes.len()
            )));
        }
        let applied = self.group(partition)?.propose(bytes).await?;
        reply::decode(&applied.reply)
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

#[async_trait]
impl Service for Metaserver {
    async fn call(&self, caller: &Caller, request: Request, _deadline: env::time::Instant) -> Result<Reply> {
        let method = Method::from_number(request.method)
            .ok_or_else(|| Error::invalid(format!("unknown method {}: update this node", request.method)))?;
        let header = &request.header;
        match method {
            Method::Raft => {
                crate::authorize(&caller.identity, crate::access::Action::ActAsNode)?;
                Ok(Reply { header: Bytes::new(), body: self.handle_raft(request.body).await? })
            }
            Method::Join => answer(self.join(proto::decode(header)?).await),
            Method::Heartbeat => answer(self.heartbeat(caller, proto::decode(header)?).await),
            Method::FetchStatus => answer(self.fetch_status(caller).await),
            Method::CreateToken => answer(self.create_token(caller, proto::decode(header)?).await),
            Method::CreateNamespace => answer(self.create_namespace(caller, proto::decode(header)?).await),
            Method::FindNamespace => answer(self.find_namespace(caller, proto::decode(header)?).await),
            Method::RegisterDisks => answer(self.register_disks(caller, proto::decode(header)?).await),
            Method::FinishSync => answer(self.finish_sync(caller, proto::decode(header)?).await),
            Method::WriteNamespace => answer(self.write_namespace(caller, proto::decode(header)?).await),
            Method::Stat => answer(self.stat(caller, proto::decode(header)?).await),
            Method::ListDir => answer(self.list_dir(caller, proto::decode(header)?).await),
            Method::OpenVersion => answer(self.open_version(caller, proto::decode(header)?).await),
            Method::History => answer(self.history(caller, proto::decode(header)?).await),
            Method::PullJournal => answer(self.pull_journal(caller, proto::decode(header)?).await),
            Method::FetchNamespace => answer(self.fetch_namespace(caller, proto::decode(header)?).await),
            Method::Pin => answer(self.pin(caller, proto::decode(header)?).await),
            Method::Register => answer(self.register(caller, proto::decode(header)?).await),
            Method::FetchIndexStats => answer(self.fetch_index_stats(caller, proto::decode(header)?).await),
            Method::FetchMap
            | Method::PutChunk
            | Method::GetChunk
            | Method::PutShard
            | Method::GetShard
            | Method::ListShards => {
                Err(Error::invalid(format!("{method:?} is not for a metaserver: send it to a block node")))
            }
        }
    }
}

fn answer<T: Serialize>(result: Result<T>) -> Result<Reply> {
    Ok(Reply { header: proto::encode(&result?), body: Bytes::new() })
}
