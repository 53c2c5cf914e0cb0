//! Requests to the chunk index.

use std::sync::Arc;

use access::{Action, acting_node, authorize};
use net::Caller;
use proto::command::IndexCommand;
use proto::index::{FetchIndexStats, IndexStats, Pin, Pinned, Register, Registered};
use proto::seal::Receipt;
use raft::State;
use tracing::debug;
use tree::Replica;
use tree::index::{IndexMachine, Pinning, Touch, Touched, list_chunks};
use types::limits::{BATCH_OP_COUNT_MAX, FILTER_CHECK_PERIOD, PIN_COUNT_MAX};
use types::{ChunkKey, Error, PartitionId, Possession, Result};

use super::Metaserver;

impl Metaserver {
    /// Answers most pins from the leader's state; only chunks not yet touched in this GC epoch go through the log.
    pub(super) async fn pin(&self, caller: &Caller, request: Pin) -> Result<Pinned> {
        let Pin { partition, scope, chunks } = request;
        authorize(&caller.identity, Action::StoreChunks(scope))?;
        check_count(chunks.len(), PIN_COUNT_MAX)?;
        let (group, index) = (self.group(partition)?, self.index(partition)?);
        let chunks: Arc<[(ChunkKey, Possession)]> =
            chunks.into_iter().map(|(id, shown)| (ChunkKey { id, scope }, shown)).collect();
        let wanted = chunks.clone();
        let look_up = move |state: &State| index.machine().look_up(state, &wanted);
        let found = self.read_newest(&group, look_up).await?;
        assert_eq!(found.len(), chunks.len(), "the index knows something of every chunk");
        let stale = chunks.iter().zip(&found).filter(|(_, pinning)| **pinning == Pinning::Stale);
        let stale: Vec<(ChunkKey, Possession)> = stale.map(|(chunk, _)| *chunk).collect();
        let count = stale.len();
        let touched: Vec<Touched> = if stale.is_empty() {
            Vec::new()
        } else {
            self.propose(partition, IndexCommand::Pin(stale)).await?
        };
        assert_eq!(touched.len(), count, "a receipt goes to the chunk it was asked for (I-GC)");
        let mut touched = touched.into_iter();
        let seal = |((chunk, _), pinning): (&(ChunkKey, Possession), Pinning)| {
            let touch = match pinning {
                Pinning::Absent => None,
                Pinning::Touched(touch) => Some(touch),
                Pinning::Stale => touched.next().expect("counted above"),
            };
            touch.map(|touch| self.receipt(chunk, touch))
        };
        Ok(Pinned { receipts: chunks.iter().zip(found).map(seal).collect() })
    }

    pub(super) async fn register(&self, caller: &Caller, request: Register) -> Result<Registered> {
        self.must_hold_disks(acting_node(&caller.identity)?)?;
        check_count(request.chunks.len(), BATCH_OP_COUNT_MAX)?;
        // A partition of another kind would read the command as one of its own.
        self.group(request.partition)?;
        self.index(request.partition)?;
        let chunks: Vec<ChunkKey> = request.chunks.iter().map(|new| new.chunk).collect();
        let touched: Vec<Touched> =
            self.propose(request.partition, IndexCommand::Register(request.chunks)).await?;
        assert_eq!(touched.len(), chunks.len(), "a receipt goes to the chunk that was registered (I-GC)");
        let seal = |(chunk, touched): (&ChunkKey, Touched)| touched.map(|touch| self.receipt(chunk, touch));
        Ok(Registered { receipts: chunks.iter().zip(touched).map(seal).collect() })
    }

    fn receipt(&self, chunk: &ChunkKey, touch: Touch) -> Receipt {
        self.secret.receipt(chunk, touch.generation, touch.epoch, touch.size)
    }

    /// Makes the filters of the index again where they are missing or full, for as long as this server lives. A page at a
    /// time, between what clients ask.
    pub(super) async fn keep_filters(self: Arc<Self>) {
        while !self.is_retired() {
            let indexes: Vec<_> = self.indexes().iter().map(|(id, index)| (*id, index.clone())).collect();
            for (partition, index) in indexes {
                if !index.machine().filters().is_wanted() {
                    continue;
                }
                if let Err(e) = self.make_filter(partition, &index).await {
                    debug!(%partition, "its filter could not be made, trying again: {e}");
                }
            }
            env::time::sleep(FILTER_CHECK_PERIOD).await;
        }
    }

    async fn make_filter(&self, partition: PartitionId, index: &Arc<Replica<IndexMachine>>) -> Result<()> {
        let group = self.group(partition)?;
        let (filters, counting) = (index.machine().filters(), index.clone());
        let count = self.read(&group, move |state| counting.machine().stats(state)).await?.chunks;
        let round = filters.begin(count);
        let made = async {
            let mut after = None;
            loop {
                let (chunks, next) = self.read(&group, move |state| list_chunks(state, after)).await?;
                if !filters.feed(round, &chunks) {
                    return Ok(()); // The rows are others by now: from the beginning.
                }
                let Some(next) = next else { return Ok(()) };
                after = Some(next);
            }
        }
        .await;
        match made {
            Ok(()) => filters.finish(round),
            Err(_) => filters.abandon(round),
        }
        made
    }

    pub(super) async fn fetch_index_stats(
        &self,
        caller: &Caller,
        request: FetchIndexStats,
    ) -> Result<IndexStats> {
        authorize(&caller.identity, Action::ViewCluster)?;
        let (group, index) = (self.group(request.partition)?, self.index(request.partition)?);
        self.read_newest(&group, move |state| index.machine().stats(state)).await
    }

    fn index(&self, partition: PartitionId) -> Result<Arc<Replica<IndexMachine>>> {
        let index = self.indexes().get(&partition).cloned();
        index.ok_or_else(|| Error::invalid(format!("partition {partition} is not one of the index")))
    }
}

fn check_count(count: usize, max: usize) -> Result<()> {
    if count > max {
        return Err(Error::invalid(format!(
            "{count} chunks in one request, at most {max} are allowed: send it in parts"
        )));
    }
    Ok(())
}
