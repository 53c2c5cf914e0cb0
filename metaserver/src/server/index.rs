//! Requests to the chunk index.

use std::sync::Arc;

use access::{Action, acting_node, authorize};
use net::Caller;
use proto::block::Layout;
use proto::command::IndexCommand;
use proto::index::{
    Amend, Amended, ChunkList, Exception, FetchIndexStats, IndexStats, ListChunks, Locator, LookUp, LookedUp,
    Pin, Pinned, Register, Registered, Registration,
};
use proto::map::ClusterMap;
use proto::seal::Receipt;
use raft::State;
use tracing::debug;
use tree::Replica;
use tree::index::{self, IndexMachine, Pinning, Touch, Touched, list_chunks};
use types::limits::{BATCH_OP_COUNT_MAX, FILTER_CHECK_PERIOD, PIN_COUNT_MAX};
use types::{ChunkKey, Epoch, Error, PartitionId, Possession, Result};

use super::Metaserver;

impl Metaserver {
    /// Answers most pins from the leader's state; only chunks not yet touched in this GC epoch go through the log.
    pub(super) async fn pin(&self, caller: &Caller, request: Pin) -> Result<Pinned> {
        let Pin { partition, scope, chunks } = request;
        authorize(&caller.identity, Action::StoreChunks(scope))?;
        check_count(chunks.len(), PIN_COUNT_MAX)?;
        let (group, rows) = (self.group(partition)?, self.index(partition)?);
        let chunks: Arc<[(ChunkKey, Possession)]> =
            chunks.into_iter().map(|(id, shown)| (ChunkKey { id, scope }, shown)).collect();
        let wanted = chunks.clone();
        let look_up = move |state: &State| rows.machine().look_up(state, &wanted);
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
        let map = self.map.borrow().clone();
        let keys: Vec<ChunkKey> = request.chunks.iter().map(|new| new.stored.chunk).collect();
        let placed = request.chunks.into_iter().map(|new| Ok((new.stored, exceptions(&map, &new)?)));
        let chunks = placed.collect::<Result<Vec<_>>>()?;
        let command = IndexCommand::Register { epoch: map.epoch, chunks };
        let touched: Vec<Touched> = self.propose(request.partition, command).await?;
        assert_eq!(touched.len(), keys.len(), "a receipt goes to the chunk that was registered (I-GC)");
        let seal = |(chunk, touched): (&ChunkKey, Touched)| touched.map(|touch| self.receipt(chunk, touch));
        Ok(Registered { receipts: keys.iter().zip(touched).map(seal).collect() })
    }

    /// What disks should have. With a fence it is also what they will be held to: who finds a disk complete after that may
    /// say so.
    pub(super) async fn list_chunks(&self, caller: &Caller, request: ListChunks) -> Result<ChunkList> {
        self.must_hold_disks(acting_node(&caller.identity)?)?;
        let ListChunks { partition, first, last, after, flagged, fence } = request;
        let group = self.group(partition)?;
        self.index(partition)?;
        if self.map.borrow().epoch < fence {
            return Err(Error::stale_epoch(format!("this node has no map of epoch {fence} yet: ask again")));
        }
        let is_fenced = fence == Epoch::default()
            || self.read_newest(&group, |state| index::fence(state)).await? >= fence;
        if !is_fenced {
            let () = self.propose(partition, IndexCommand::Fence(fence)).await?;
        }
        let list = move |state: &State| index::list_known(state, (first, last), after, flagged);
        let (chunks, more) = self.read_newest(&group, list).await?;
        Ok(ChunkList { chunks, more })
    }

    pub(super) async fn look_up_chunks(&self, caller: &Caller, request: LookUp) -> Result<LookedUp> {
        self.must_hold_disks(acting_node(&caller.identity)?)?;
        let LookUp { partition, chunks } = request;
        check_count(chunks.len(), BATCH_OP_COUNT_MAX)?;
        let group = self.group(partition)?;
        self.index(partition)?;
        let look_up = move |state: &State| index::look_up_known(state, &chunks);
        Ok(LookedUp { chunks: self.read_newest(&group, look_up).await? })
    }

    pub(super) async fn amend(&self, caller: &Caller, request: Amend) -> Result<Amended> {
        self.must_hold_disks(acting_node(&caller.identity)?)?;
        let Amend { partition, amendments } = request;
        check_count(amendments.len(), BATCH_OP_COUNT_MAX)?;
        self.group(partition)?;
        self.index(partition)?;
        Ok(Amended { done: self.propose(partition, IndexCommand::Amend(amendments)).await? })
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

    pub(super) fn index(&self, partition: PartitionId) -> Result<Arc<Replica<IndexMachine>>> {
        let index = self.indexes().get(&partition).cloned();
        index.ok_or_else(|| Error::invalid(format!("partition {partition} is not one of the index")))
    }
}

/// The parts of a chunk that are not on the disks of their slots. `Invalid` when it has too few to be read.
fn exceptions(map: &ClusterMap, new: &Registration) -> Result<Vec<Exception>> {
    let slots = map.slots(map.pg(&new.stored.chunk.id))?;
    let (count, need) = match new.stored.locator {
        Locator::Slots(Layout::Shard { k, m }) => (k + m, k),
        Locator::Slots(Layout::Replica) => (map.profile.replicas() as u8, 1),
    };
    if usize::from(count) > slots.len() || new.parts.len() < need.into() {
        return Err(Error::invalid(format!(
            "{} parts of a chunk with {count}, of which {need} are needed, in {} slots",
            new.parts.len(),
            slots.len()
        )));
    }
    let holder = |slot: u8| new.parts.iter().find(|(part, _)| *part == slot).map(|(_, disk)| *disk);
    let parts = (0..count).map(|slot| Exception { slot, disk: holder(slot) });
    Ok(parts.filter(|part| part.disk != Some(slots[usize::from(part.slot)].disk)).collect())
}

fn check_count(count: usize, max: usize) -> Result<()> {
    if count > max {
        return Err(Error::invalid(format!(
            "{count} chunks in one request, at most {max} are allowed: send it in parts"
        )));
    }
    Ok(())
}
