//! Requests to the chunk index.

use std::sync::Arc;

use access::{Action, acting_node, authorize};
use net::Caller;
use proto::command::IndexCommand;
use proto::index::{FetchIndexStats, IndexStats, Pin, Pinned, Register, Registered};
use raft::State;
use tree::Replica;
use tree::index::{IndexMachine, Pinning, Touched};
use types::limits::{BATCH_OP_COUNT_MAX, PIN_COUNT_MAX};
use types::{ChunkId, Error, PartitionId, Result};

use super::Metaserver;

impl Metaserver {
    /// Answers most pins from the leader's state; only chunks not yet touched in this GC epoch go through the log.
    pub(super) async fn pin(&self, caller: &Caller, request: Pin) -> Result<Pinned> {
        authorize(&caller.identity, Action::StoreChunks)?;
        check_count(request.chunks.len(), PIN_COUNT_MAX)?;
        let (group, index) = (self.group(request.partition)?, self.index(request.partition)?);
        let chunks = request.chunks.clone();
        let look_up = move |state: &State| index.machine().look_up(state, &chunks);
        let found = self.read_newest(&group, look_up).await?;
        assert_eq!(found.len(), request.chunks.len(), "the index knows something of every chunk");
        let stale: Vec<ChunkId> = request
            .chunks
            .iter()
            .zip(&found)
            .filter(|(_, pinning)| **pinning == Pinning::Stale)
            .map(|(chunk, _)| *chunk)
            .collect();
        let count = stale.len();
        let touched: Vec<Touched> = if stale.is_empty() {
            Vec::new()
        } else {
            self.propose(request.partition, IndexCommand::Pin(stale)).await?
        };
        assert_eq!(touched.len(), count, "a receipt goes to the chunk it was asked for (I-GC)");
        let mut touched = touched.into_iter();
        let seal = |(chunk, pinning): (&ChunkId, Pinning)| {
            let incarnation = match pinning {
                Pinning::Absent => None,
                Pinning::Touched(generation, epoch) => Some((generation, epoch)),
                Pinning::Stale => touched.next().expect("counted above"),
            };
            incarnation.map(|(generation, epoch)| self.secret.receipt(chunk, generation, epoch))
        };
        Ok(Pinned { receipts: request.chunks.iter().zip(found).map(seal).collect() })
    }

    pub(super) async fn register(&self, caller: &Caller, request: Register) -> Result<Registered> {
        self.must_hold_disks(acting_node(&caller.identity)?)?;
        check_count(request.chunks.len(), BATCH_OP_COUNT_MAX)?;
        // A partition of another kind would read the command as one of its own.
        self.group(request.partition)?;
        self.index(request.partition)?;
        let chunks: Vec<ChunkId> = request.chunks.iter().map(|new| new.chunk).collect();
        let touched: Vec<Touched> =
            self.propose(request.partition, IndexCommand::Register(request.chunks)).await?;
        assert_eq!(touched.len(), chunks.len(), "a receipt goes to the chunk that was registered (I-GC)");
        let seal = |(chunk, touched): (&ChunkId, Touched)| {
            touched.map(|(generation, epoch)| self.secret.receipt(chunk, generation, epoch))
        };
        Ok(Registered { receipts: chunks.iter().zip(touched).map(seal).collect() })
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
