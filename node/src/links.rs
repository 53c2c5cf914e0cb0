//! Connects the rooms of a node to the other nodes, through the client library.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use client::{BatchLimits, Batcher, Cluster};
use net::{Reply, Request};
use proto::Method;
use proto::cluster::FinishSync;
use proto::index::{Register, Registration};
use proto::map::PartitionKind;
use proto::seal::Receipt;
use types::limits::BATCH_OP_COUNT_MAX;
use types::{DiskId, Error, NodeId, PartitionId, PgId, Result};

/// Raft messages to other nodes, on connections of their own: a heartbeat does not wait behind shards.
#[derive(Debug)]
pub struct RaftLinks(pub Arc<Cluster>);

#[async_trait]
impl raft::Network for RaftLinks {
    async fn send(&self, target: NodeId, message: Bytes, timeout: Duration) -> Result<Bytes> {
        let request = Request { method: Method::Raft as u16, header: Bytes::new(), body: message };
        Ok(self.0.call_node(target, request, timeout).await?.body)
    }
}

/// What the blockserver asks of others. Registrations of many chunks travel together.
#[derive(Debug)]
pub struct BlockLinks {
    cluster: Arc<Cluster>,
    registers: BTreeMap<PartitionId, Batcher<Registration, Option<Receipt>>>,
}

impl BlockLinks {
    /// Links through `cluster`.
    pub fn new(cluster: Arc<Cluster>) -> Self {
        let limits = BatchLimits { count_max: BATCH_OP_COUNT_MAX, size_max: usize::MAX, in_flight_max: 2 };
        let registers = cluster
            .map()
            .of_kind(PartitionKind::Index)
            .map(|partition| {
                let cluster = cluster.clone();
                let send = move |chunks| register(cluster.clone(), partition, chunks);
                (partition, Batcher::start(limits, send))
            })
            .collect();
        Self { cluster, registers }
    }
}

async fn register(
    cluster: Arc<Cluster>,
    partition: PartitionId,
    chunks: Vec<Registration>,
) -> Result<Vec<Result<Option<Receipt>>>> {
    let registered = cluster.ask(partition, &Register { partition, chunks }).await?;
    Ok(registered.receipts.into_iter().map(Ok).collect())
}

#[async_trait]
impl blockserver::Links for BlockLinks {
    async fn call_node(&self, node: NodeId, request: Request, timeout: Duration) -> Result<Reply> {
        self.cluster.call_node(node, request, timeout).await
    }

    async fn register(&self, chunk: Registration) -> Result<Option<Receipt>> {
        let partition = self.cluster.map().index_partition(&chunk.chunk);
        let batcher = self.registers.get(&partition);
        let batcher =
            batcher.ok_or_else(|| Error::stale_epoch("the partitions of the index have changed"))?;
        batcher.call(chunk, size_of::<Registration>()).await
    }

    async fn finish_sync(&self, slots: Vec<(PgId, u8, DiskId)>) -> Result<()> {
        self.cluster.ask_root(&FinishSync { slots }).await
    }

    async fn refresh_map(&self) {
        self.cluster.refresh_map(self.cluster.map().epoch).await;
    }
}
