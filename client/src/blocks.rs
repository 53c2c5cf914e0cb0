//! Chunks: asking which are stored, storing, reading.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use net::Request;
use proto::block::{ChunkKind, GetChunk, PutChunk};
use proto::index::{FetchIndexStats, IndexStats, Pin};
use proto::map::PartitionKind;
use proto::namespace::{Freshness, RenewTickets, View};
use proto::seal::{Receipt, Ticket};
use types::limits::{CHUNK_ATTEMPT_TIMEOUT, PIN_COUNT_MAX, TICKET_RENEW_COUNT_MAX};
use types::{
    ChunkId, ChunkKey, Error, ErrorKind, NamespaceId, NodeId, PartitionId, Possession, Result, Scope,
};

use crate::batch::{BatchLimits, Batcher};
use crate::cluster::Cluster;
use crate::under_way::UnderWay;

/// A chunk that may be stored already, and the proof that its bytes are here.
type Shown = (ChunkKey, Possession);

/// What is wanted of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All bytes of a piece of a file.
    Data,
    /// So many bytes of one, from this one on. Who answers has opened the seal of the frames that have them; the name of
    /// the chunk proves nothing of them.
    Excerpt((u32, u32)),
    /// A manifest node, and tickets for its entries.
    Node,
}

/// A ticket, and the chunk that it is for.
type Held = (ChunkId, Ticket);

/// Access to chunks. Pins of many files travel together.
#[derive(Debug)]
pub struct Blocks {
    cluster: Arc<Cluster>,
    pins: BTreeMap<PartitionId, Batcher<Shown, Option<Receipt>>>,
    renewals: BTreeMap<PartitionId, Batcher<Held, Ticket>>,
    pub(crate) under_way: UnderWay,
}

impl Blocks {
    /// Access through a view of the cluster.
    pub fn new(cluster: Arc<Cluster>) -> Self {
        let limits = BatchLimits { count_max: PIN_COUNT_MAX, size_max: usize::MAX, in_flight_max: 2 };
        let batched = |partition| {
            let cluster = cluster.clone();
            (partition, Batcher::start(limits, move |chunks| pin(cluster.clone(), partition, chunks)))
        };
        let pins = cluster.map().of_kind(PartitionKind::Index).map(batched).collect();
        let limits = BatchLimits { count_max: TICKET_RENEW_COUNT_MAX, ..limits };
        let batched = |partition| {
            let cluster = cluster.clone();
            (partition, Batcher::start(limits, move |held| renew(cluster.clone(), partition, held)))
        };
        let renewals = cluster.map().of_kind(PartitionKind::Tree).map(batched).collect();
        Self { cluster, pins, renewals, under_way: UnderWay::default() }
    }

    /// A ticket that lasts longer, for who may still read; `Denied` for others.
    pub async fn renew(&self, chunk: ChunkId, ticket: Ticket) -> Result<Ticket> {
        let partition = self.cluster.map().namespace_partition(ticket.namespace);
        let batcher =
            self.renewals.get(&partition).ok_or_else(|| Error::stale_epoch("the partitions have changed"))?;
        batcher.call((chunk, ticket), size_of::<Held>()).await
    }

    /// A receipt if the chunk is already stored; it cannot be collected before the receipt is too old for a commit.
    pub async fn pin(&self, chunk: ChunkKey, possession: Possession) -> Result<Option<Receipt>> {
        let partition = self.cluster.map().chunk_partition(&chunk.id);
        let batcher =
            self.pins.get(&partition).ok_or_else(|| Error::stale_epoch("the partitions have changed"))?;
        batcher.call((chunk, possession), size_of::<Shown>()).await
    }

    /// Stores a chunk: durable and registered on return.
    pub async fn put_chunk(
        &self,
        chunk: ChunkKey,
        kind: ChunkKind,
        receipts: Vec<Receipt>,
        bytes: Bytes,
    ) -> Result<Receipt> {
        let ChunkKey { id, scope } = chunk;
        let request = Request::of(&PutChunk { scope, id, kind, receipts }, bytes);
        let reply = self.call_holders(&id, request, |reply| reply.answer::<PutChunk>()).await;
        Ok(reply.map_err(|e| e.context(format!("storing chunk {id}")))?.receipt)
    }

    /// Reads a chunk, or a part of it, and checks that it is the one asked for (I-READ). A manifest node comes with its
    /// entries' tickets.
    pub async fn get_chunk(
        &self,
        id: ChunkId,
        wanted: Wanted,
        ticket: Ticket,
    ) -> Result<(Bytes, Vec<Ticket>)> {
        let (kind, range) = match wanted {
            Wanted::Data => (ChunkKind::Data, None),
            Wanted::Excerpt(range) => (ChunkKind::Data, Some(range)),
            Wanted::Node => (ChunkKind::ManifestNode, None),
        };
        let request = Request::of(&GetChunk { id, ticket, kind, range }, Bytes::new());
        let checked = |reply: net::Reply| {
            let found = match wanted {
                Wanted::Data => chunk::chunk_id(&reply.body),
                Wanted::Excerpt(_) => id,
                Wanted::Node => chunk::manifest::node_id(&reply.body),
            };
            if found != id {
                return Err(Error::unavailable(format!("a node answered with {found}")));
            }
            let tickets = reply.answer::<GetChunk>()?.tickets;
            Ok((reply.body, tickets))
        };
        let read = self.call_holders(&id, request, checked).await;
        read.map_err(|e| e.context(format!("reading chunk {id}")))
    }

    /// Sums over all partitions of the index.
    pub async fn stats(&self) -> Result<IndexStats> {
        let mut sum = IndexStats::default();
        for partition in self.cluster.map().of_kind(PartitionKind::Index) {
            let part = self.cluster.ask(partition, &FetchIndexStats { partition }).await?;
            sum = add(sum, part);
        }
        Ok(sum)
    }

    /// Asks the holders of a chunk's slots in turn, the first live one first, over and over until the deadline.
    async fn call_holders<T>(
        &self,
        id: &ChunkId,
        request: Request,
        accept: impl Fn(net::Reply) -> Result<T>,
    ) -> Result<T> {
        let deadline = self.cluster.deadline();
        for attempt in 0.. {
            let mut holder_count = 0;
            let outcome = match self.holders(id) {
                Ok(holders) => {
                    holder_count = holders.len();
                    let node = holders[attempt % holders.len()];
                    let left = deadline.saturating_duration_since(env::time::now());
                    self.cluster
                        .call_node(node, request.clone(), CHUNK_ATTEMPT_TIMEOUT.min(left))
                        .await
                        .and_then(&accept)
                }
                Err(e) => Err(e),
            };
            match outcome {
                Ok(done) => return Ok(done),
                // Perhaps it is the only one: its clock may be wrong.
                Err(e) if e.kind() == ErrorKind::Denied && attempt + 1 < holder_count => {}
                Err(e) => self.cluster.recover(e, attempt, deadline).await?,
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// Nodes that hold slots of the chunk's placement group: those that are up, in slot order; never empty.
    fn holders(&self, id: &ChunkId) -> Result<Vec<NodeId>> {
        let map = self.cluster.map();
        let slots = map.slots(map.pg(id))?;
        let mut holders: Vec<NodeId> = Vec::new();
        for slot in slots.iter().filter(|slot| map.is_live(slot.disk)) {
            if let Some((node, _)) = map.node_of(slot.disk).filter(|(node, _)| !holders.contains(node)) {
                holders.push(node);
            }
        }
        if holders.is_empty() {
            return Err(Error::unavailable(format!("no node that holds chunk {id} is up")));
        }
        Ok(holders)
    }
}

/// The figures of two parts of the index. A server may name any number: what does not fit is the largest.
fn add(a: IndexStats, b: IndexStats) -> IndexStats {
    IndexStats {
        chunks: a.chunks.saturating_add(b.chunks),
        plain_bytes: a.plain_bytes.saturating_add(b.plain_bytes),
        disk_bytes: a.disk_bytes.saturating_add(b.disk_bytes),
        epoch: a.epoch.max(b.epoch),
        displaced: a.displaced.saturating_add(b.displaced),
        thin: a.thin.saturating_add(b.thin),
        lost: a.lost.saturating_add(b.lost),
        filter_negatives: a.filter_negatives.saturating_add(b.filter_negatives),
        filter_positives: a.filter_positives.saturating_add(b.filter_positives),
    }
}

/// The batched request behind [`Blocks::renew`]: one per namespace, so that one that may not be read any more does not
/// stand in the way of others.
async fn renew(
    cluster: Arc<Cluster>,
    partition: PartitionId,
    held: Vec<Held>,
) -> Result<Vec<Result<Ticket>>> {
    let mut renewed: Vec<Result<Ticket>> = held.iter().map(|(_, ticket)| Ok(*ticket)).collect();
    let namespaces: BTreeSet<NamespaceId> = held.iter().map(|(_, ticket)| ticket.namespace).collect();
    for namespace in namespaces {
        let places: Vec<usize> = (0..held.len()).filter(|at| held[*at].1.namespace == namespace).collect();
        let tickets = places.iter().map(|at| held[*at]).collect();
        let view = View { namespace, freshness: Freshness::Linearizable };
        match cluster.ask(partition, &RenewTickets { view, tickets }).await {
            Ok(answer) => {
                places.into_iter().zip(answer.tickets).for_each(|(at, ticket)| renewed[at] = Ok(ticket));
            }
            Err(e) => places.into_iter().for_each(|at| renewed[at] = Err(e.clone())),
        }
    }
    Ok(renewed)
}

/// The batched request behind [`Blocks::pin`]: one per scope.
async fn pin(
    cluster: Arc<Cluster>,
    partition: PartitionId,
    wanted: Vec<Shown>,
) -> Result<Vec<Result<Option<Receipt>>>> {
    let mut receipts = vec![Ok(None); wanted.len()];
    let scopes: BTreeSet<Scope> = wanted.iter().map(|(chunk, _)| chunk.scope).collect();
    for scope in scopes {
        let places: Vec<usize> = (0..wanted.len()).filter(|at| wanted[*at].0.scope == scope).collect();
        let chunks = places.iter().map(|at| (wanted[*at].0.id, wanted[*at].1)).collect();
        let pinned = cluster.ask(partition, &Pin { partition, scope, chunks }).await?;
        places.into_iter().zip(pinned.receipts).for_each(|(at, receipt)| receipts[at] = Ok(receipt));
    }
    Ok(receipts)
}

#[cfg(test)]
mod tests {
    use types::GcEpoch;

    use super::*;

    fn stats(n: u64) -> IndexStats {
        IndexStats {
            chunks: n,
            plain_bytes: n,
            disk_bytes: n,
            epoch: GcEpoch(n as u32),
            displaced: n,
            thin: n,
            lost: n,
            filter_negatives: n,
            filter_positives: n,
        }
    }

    #[test]
    fn figures_add_up_and_do_not_overflow() {
        assert_eq!(add(stats(0), stats(0)), stats(0));
        assert_eq!(add(stats(2), stats(3)), IndexStats { epoch: GcEpoch(3), ..stats(5) });
        assert_eq!(add(stats(3), stats(2)), IndexStats { epoch: GcEpoch(3), ..stats(5) });
        assert_eq!(add(stats(u64::MAX), stats(u64::MAX)), stats(u64::MAX));
    }
}
