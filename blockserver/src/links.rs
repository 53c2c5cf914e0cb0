//! What a blockserver needs from the rest of the cluster. Real: the client library. In tests: the other servers directly.

use std::time::Duration;

use async_trait::async_trait;
use net::{Reply, Request};
use proto::cluster::FilledSlot;
use proto::index::{Amendment, ChunkList, KnownChunk, Registration};
use proto::keys::Keys;
use proto::seal::Receipt;
use types::{ChunkId, ChunkKey, Epoch, NodeId, Result};

/// The rest of the cluster.
#[async_trait]
pub trait Links: Send + Sync + 'static {
    /// Sends one request to another node, once.
    async fn call_node(&self, node: NodeId, request: Request, timeout: Duration) -> Result<Reply>;
    /// Makes a durable chunk known to the index. `None`: its generation is too old, write it again.
    async fn register(&self, chunk: Registration) -> Result<Option<Receipt>>;
    /// The keys of the cluster, from whoever may know them best at the moment.
    async fn fetch_keys(&self) -> Result<Keys>;
    /// What the index knows of a chunk; `None` when it does not have it.
    async fn look_up(&self, chunk: ChunkKey) -> Result<Option<KnownChunk>>;
    /// A page of the chunks from one id to another, both included, in their order, after `after`: all, or only those that
    /// are not whole. None that is registered later may be so by a map older than `fence`.
    async fn list_chunks(
        &self,
        range: (ChunkId, ChunkId),
        after: Option<ChunkKey>,
        flagged: bool,
        fence: Epoch,
    ) -> Result<ChunkList>;
    /// Tells the index what has become of a chunk. False when that is not how it is any more.
    async fn amend(&self, amendment: Amendment) -> Result<bool>;
    /// Tells the root partition that slots have all their shards.
    async fn finish_sync(&self, slots: Vec<FilledSlot>) -> Result<()>;
    /// Asks for a newer map; it arrives through the watch.
    async fn refresh_map(&self);
}
