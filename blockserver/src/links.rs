//! What a blockserver needs from the rest of the cluster. Real: the client library. In tests: the other servers directly.

use std::time::Duration;

use async_trait::async_trait;
use net::{Reply, Request};
use proto::index::Registration;
use proto::keys::Keys;
use proto::seal::Receipt;
use types::{DiskId, NodeId, PgId, Result};

/// The rest of the cluster.
#[async_trait]
pub trait Links: Send + Sync + 'static {
    /// Sends one request to another node, once.
    async fn call_node(&self, node: NodeId, request: Request, timeout: Duration) -> Result<Reply>;
    /// Makes a durable chunk known to the index. `None`: its generation is too old, write it again.
    async fn register(&self, chunk: Registration) -> Result<Option<Receipt>>;
    /// The keys of the cluster, from whoever may know them best at the moment.
    async fn fetch_keys(&self) -> Result<Keys>;
    /// Tells the root partition that slots have all their shards.
    async fn finish_sync(&self, slots: Vec<(PgId, u8, DiskId)>) -> Result<()>;
    /// Asks for a newer map; it arrives through the watch.
    async fn refresh_map(&self);
}
