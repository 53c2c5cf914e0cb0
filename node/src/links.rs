//! Connects the rooms of a node to the other nodes, through the client library.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use client::{BatchLimits, Batcher, Cluster};
use env::time::Instant;
use net::{Reply, Request};
use proto::Method;
use proto::cluster::{FilledSlot, FinishSync};
use proto::index::{Amend, Amendment, ChunkList, KnownChunk, ListChunks, LookUp, Register, Registration};
use proto::keys::{FetchKeys, Keys};
use proto::map::{PartitionKind, ROOT};
use proto::seal::Receipt;
use tracing::{info, warn};
use types::limits::{BATCH_OP_COUNT_MAX, LEADER_ATTEMPT_TIMEOUT, LEADER_PATIENCE, LOG_REMINDER_PERIOD};
use types::{ChunkId, ChunkKey, Epoch, Error, ErrorKind, NodeId, PartitionId, Result};

/// Raft messages to other nodes, on connections of their own: a heartbeat does not wait behind shards.
#[derive(Debug)]
pub struct RaftLinks {
    cluster: Arc<Cluster>,
    /// Who answers, by node.
    contacts: Mutex<BTreeMap<NodeId, Contact>>,
}

/// Whether a node answers, as a log tells it: when that changes, and now and then while it does not.
#[derive(Debug, Default)]
struct Contact {
    silent: Option<Silence>,
}

#[derive(Debug)]
struct Silence {
    since: Instant,
    told: Instant,
}

impl Contact {
    /// For how long the node was silent, when that is over.
    fn answered(&mut self, now: Instant) -> Option<Duration> {
        self.silent.take().map(|silence| now.saturating_duration_since(silence.since))
    }

    /// For how long the node has been silent, when that is to be told (again).
    fn failed(&mut self, now: Instant) -> Option<Duration> {
        let is_new = self.silent.is_none();
        let silence = self.silent.get_or_insert(Silence { since: now, told: now });
        if !is_new && now < silence.told + LOG_REMINDER_PERIOD {
            return None;
        }
        silence.told = now;
        Some(now.saturating_duration_since(silence.since))
    }
}

impl RaftLinks {
    /// Links through `cluster`.
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, contacts: Mutex::default() }
    }

    /// All groups speak through here, several times a second each: what they have in common is told once.
    fn note(&self, target: NodeId, answer: &Result<Reply>) {
        let now = env::time::now();
        let mut contacts = self.contacts.lock().expect("no panic while it is held");
        let contact = contacts.entry(target).or_default();
        match answer {
            Err(e) if e.kind() == ErrorKind::Unavailable => {
                if let Some(silent) = contact.failed(now) {
                    warn!(node = %target, silent_s = silent.as_secs(), "a node answers no messages of Raft: {e}");
                }
            }
            _ => {
                if let Some(silent) = contact.answered(now) {
                    info!(node = %target, silent_s = silent.as_secs(), "a node answers messages of Raft again");
                }
            }
        }
    }
}

#[async_trait]
impl raft::Network for RaftLinks {
    async fn send(&self, target: NodeId, message: Bytes, timeout: Duration) -> Result<Bytes> {
        let request = Request { method: Method::Raft as u16, header: Bytes::new(), body: message };
        let answer = self.cluster.call_node(target, request, timeout).await;
        self.note(target, &answer);
        Ok(answer?.body)
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

/// `Corrupt` unless a page goes on after `after`, in order, with chunks of the range, and says `more` for a reason: whoever
/// asks for the next page would not come to an end.
fn check_page(page: &ChunkList, (first, last): (ChunkId, ChunkId), after: Option<ChunkKey>) -> Result<()> {
    let mut before = after;
    for known in &page.chunks {
        let chunk = known.stored.chunk;
        if before >= Some(chunk) || !(first..=last).contains(&chunk.id) {
            return Err(Error::corrupt(format!("a page of the index has {chunk} after {before:?}")));
        }
        before = Some(chunk);
    }
    if page.more && page.chunks.is_empty() {
        return Err(Error::corrupt("an empty page of the index says that there is more"));
    }
    Ok(())
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
        let partition = self.cluster.map().chunk_partition(&chunk.stored.chunk.id);
        let batcher = self.registers.get(&partition);
        let batcher =
            batcher.ok_or_else(|| Error::stale_epoch("the partitions of the index have changed"))?;
        batcher.call(chunk, size_of::<Registration>()).await
    }

    async fn fetch_keys(&self) -> Result<Keys> {
        let (newest, deadline) = (FetchKeys { stale_ok: false }, env::time::now() + LEADER_PATIENCE);
        match self.cluster.ask_until(ROOT, &newest, LEADER_ATTEMPT_TIMEOUT, deadline).await {
            // Without a quorum nothing new is stored, but what is can still be read.
            Err(e) if e.is_transient() => self.cluster.ask_root(&FetchKeys { stale_ok: true }).await,
            answer => answer,
        }
    }

    async fn look_up(&self, chunk: ChunkKey) -> Result<Option<KnownChunk>> {
        let partition = self.cluster.map().chunk_partition(&chunk.id);
        let found = self.cluster.ask(partition, &LookUp { partition, chunks: vec![chunk] }).await?;
        found.chunks.into_iter().next().ok_or_else(|| Error::unavailable("the index has answered nothing"))
    }

    async fn list_chunks(
        &self,
        (first, last): (ChunkId, ChunkId),
        after: Option<ChunkKey>,
        flagged: bool,
        fence: Epoch,
    ) -> Result<ChunkList> {
        // The range may be that of several partitions: a page is of one of them.
        let map = self.cluster.map();
        let from = after.map_or(first, |after| after.id).slot();
        for (partition, end) in map.index.from(from) {
            let is_last = end >= last.slot();
            let last = last.min(ChunkId::last_of(end));
            let question = ListChunks { partition, first, last, after, flagged, fence };
            let page = self.cluster.ask(partition, &question).await?;
            check_page(&page, (first, last), after)?;
            if !page.chunks.is_empty() || is_last {
                return Ok(ChunkList { more: page.more || !is_last, ..page });
            }
        }
        unreachable!("the last range has the last slot")
    }

    async fn amend(&self, amendment: Amendment) -> Result<bool> {
        let partition = self.cluster.map().chunk_partition(&amendment.chunk.id);
        let amended = self.cluster.ask(partition, &Amend { partition, amendments: vec![amendment] }).await?;
        Ok(amended.done == [true])
    }

    async fn finish_sync(&self, slots: Vec<FilledSlot>) -> Result<()> {
        self.cluster.ask_root(&FinishSync { slots }).await
    }

    async fn refresh_map(&self) {
        self.cluster.refresh_map(self.cluster.map().epoch).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_told_when_it_begins_and_ends_and_now_and_then() {
        let (start, mut contact) = (env::time::now(), Contact::default());
        let period = LOG_REMINDER_PERIOD.as_secs();
        let after = |s| Duration::from_secs(s);
        assert_eq!(contact.answered(start), None);
        for (s, want) in [
            (0, Some(0)),
            (1, None),
            (period - 1, None),
            (period, Some(period)),
            (period + 1, None),
            (2 * period + 1, Some(2 * period + 1)),
        ] {
            assert_eq!(contact.failed(start + after(s)), want.map(after), "{s}");
        }
        assert_eq!(contact.answered(start + after(200)), Some(after(200)));
        assert_eq!(contact.answered(start + after(201)), None);
        assert_eq!(contact.failed(start + after(202)), Some(Duration::ZERO));
    }
}
