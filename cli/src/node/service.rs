//! Sends each request to the room that answers it.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use blockserver::Blockserver;
use bytes::Bytes;
use metaserver::Metaserver;
use net::{Caller, Identity, Reply, Request, Service};
use proto::Method;
use proto::cluster::{FetchMap, MapFetched};
use proto::map::ClusterMap;
use tokio::sync::watch;
use types::{Error, Result};

/// The rooms of a node; those that are still starting answer `Unavailable`.
#[derive(Debug)]
pub struct NodeService {
    /// The map of this node.
    pub map: watch::Sender<Arc<ClusterMap>>,
    /// Set when the metaserver has started, if the node has that role.
    pub meta: OnceLock<Arc<Metaserver>>,
    /// Set when the blockserver has started, if the node has that role.
    pub block: OnceLock<Arc<Blockserver>>,
}

#[async_trait]
impl Service for NodeService {
    async fn call(&self, caller: &Caller, request: Request, deadline: env::time::Instant) -> Result<Reply> {
        match Method::from_number(request.method) {
            Some(Method::FetchMap) => self.fetch_map(caller, &request),
            Some(
                Method::PutChunk
                | Method::GetChunk
                | Method::PutShard
                | Method::GetShard
                | Method::ListShards,
            ) => match self.block.get() {
                Some(block) => block.call(caller, request, deadline).await,
                None => Err(Error::unavailable("this node holds no disks, or is still opening them")),
            },
            Some(_) => match self.meta.get() {
                Some(meta) => meta.call(caller, request, deadline).await,
                // Not the room's fault: the caller has an old map, or the node is just starting.
                None => Err(Error::stale_epoch("this node holds no metadata, or is still opening it")),
            },
            None => Err(Error::invalid(format!(
                "unknown method {}: the caller is newer than this node",
                request.method
            ))),
        }
    }
}

impl NodeService {
    fn fetch_map(&self, caller: &Caller, request: &Request) -> Result<Reply> {
        if caller.identity == Identity::Anonymous {
            return Err(Error::denied("present a certificate of this cluster to see its map"));
        }
        let FetchMap { have } = proto::decode(&request.header)?;
        let map = self.map.borrow();
        let map = (map.epoch > have).then(|| ClusterMap::clone(&map));
        Ok(Reply { header: proto::encode(&MapFetched { map }), body: Bytes::new() })
    }
}
