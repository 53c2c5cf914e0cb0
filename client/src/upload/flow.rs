//! Performs the steps of an upload and tells the plan what came of them. Decides nothing.
//!
//! Owns: what runs at the same time, and the counting of what is done.
//! Knows nothing of: why a step comes after another; that is `plan`'s.

#[cfg(test)]
mod tests;

use std::path::Path as LocalPath;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use chunk::split::SplitRule;
use env::Disk;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesOrdered, StreamExt};
use proto::namespace::Op;
use tokio::sync::mpsc;
use types::{ChunkKey, Possession, Result};

use super::cut::{Piece, read_pieces};
use super::plan::{UploadFact, UploadPlan, UploadStep};
use super::store::{StorePlan, StoreStep};
use super::{Uploaded, Uploader};
use crate::local::local;

impl Uploader {
    /// Follows the plan to its end. Many chunks are stored at once, as many bytes as the window holds; their answers
    /// reach the plan in the order of the file.
    pub(super) async fn perform(&self, source: &LocalPath, mut plan: UploadPlan<'_>) -> Result<Uploaded> {
        let mut under_way: FuturesOrdered<BoxFuture<'_, Result<UploadFact>>> = FuturesOrdered::new();
        let mut pieces: Option<mpsc::Receiver<Result<Piece>>> = None;
        let mut cut: Option<Piece> = None;
        let mut step = plan.begin();
        loop {
            match step {
                UploadStep::Wait => {}
                UploadStep::Look => under_way.push_back(self.look(source).boxed()),
                UploadStep::ReadInline => under_way.push_back(self.read_inline(source).boxed()),
                UploadStep::Cut(rule) => pieces = Some(self.read(source, rule)),
                UploadStep::StoreChunk(chunk) => {
                    let piece = cut.take().expect("a chunk is stored right after it was cut");
                    under_way.push_back(self.store_piece(chunk, piece).boxed());
                }
                UploadStep::StoreNode(node, bytes) => {
                    under_way.push_back(self.store_node(node, bytes).boxed())
                }
                UploadStep::Commit { op, weight } => {
                    under_way.push_back(self.commit_version(*op, weight).boxed())
                }
                UploadStep::Done { uploaded, inline_size } => {
                    self.count(&uploaded, inline_size);
                    return Ok(uploaded);
                }
            }
            let fact = tokio::select! {
                piece = next_piece(&mut pieces), if pieces.is_some() => match piece.transpose()? {
                    Some(piece) => cut.insert(piece).fact(),
                    None => {
                        pieces = None;
                        UploadFact::Ended
                    }
                },
                Some(fact) = under_way.next() => fact?,
                else => unreachable!("the plan waits only for what is under way"),
            };
            step = plan.step(fact)?;
        }
    }

    async fn look(&self, source: &LocalPath) -> Result<UploadFact> {
        let source = source.to_owned();
        let look = move |disk: &dyn Disk| disk.metadata(&source).map_err(|e| local(e, &source));
        self.cluster.env.disk.submit(look).await.map(UploadFact::Looked)
    }

    async fn read_inline(&self, source: &LocalPath) -> Result<UploadFact> {
        let source = source.to_owned();
        let read = move |disk: &dyn Disk| disk.read(&source).map(Bytes::from).map_err(|e| local(e, &source));
        self.cluster.env.disk.submit(read).await.map(UploadFact::InlineRead)
    }

    fn read(&self, source: &LocalPath, rule: SplitRule) -> mpsc::Receiver<Result<Piece>> {
        read_pieces(self.cluster.env.disk.clone(), self.window.clone(), source, rule)
    }

    async fn store_piece(&self, chunk: StorePlan, piece: Piece) -> Result<UploadFact> {
        let Piece { bytes, possession, permit, .. } = piece;
        let size = bytes.len() as u64;
        let stored = self.store(chunk, possession, bytes).await?;
        drop(permit); // The reader may go on.
        self.progress.bytes_done.fetch_add(size, Ordering::Relaxed);
        Ok(stored)
    }

    async fn store_node(&self, node: StorePlan, bytes: Bytes) -> Result<UploadFact> {
        self.store(node, chunk::possession(&bytes), bytes).await
    }

    async fn store(&self, plan: StorePlan, possession: Possession, bytes: Bytes) -> Result<UploadFact> {
        let id = plan.id();
        let chunk = ChunkKey { id, scope: self.namespace.scope().await? };
        let blocks = self.blocks.clone();
        let store = async move {
            match plan.pinned(blocks.pin(chunk, possession).await?) {
                StoreStep::Keep(receipt) => Ok(receipt),
                StoreStep::Put { kind, receipts } => blocks.put_chunk(chunk, kind, receipts, bytes).await,
            }
        };
        let receipt = self.blocks.under_way.once(chunk, || store.boxed()).await?;
        Ok(UploadFact::Stored { id, receipt })
    }

    async fn commit_version(&self, op: Op, weight: usize) -> Result<UploadFact> {
        self.namespace.apply(op, weight).await.map(UploadFact::Committed)
    }

    fn count(&self, uploaded: &Uploaded, inline_size: u64) {
        self.progress.bytes_done.fetch_add(inline_size, Ordering::Relaxed);
        self.progress.files_unchanged.fetch_add(u64::from(uploaded.seq.is_none()), Ordering::Relaxed);
        self.progress.files_done.fetch_add(1, Ordering::Relaxed);
    }
}

impl Piece {
    fn fact(&self) -> UploadFact {
        UploadFact::Cut { id: self.id, size: self.bytes.len() as u32 }
    }
}

/// The next piece of a file that is being read; `None` after its last.
async fn next_piece(pieces: &mut Option<mpsc::Receiver<Result<Piece>>>) -> Option<Result<Piece>> {
    pieces.as_mut().expect("asked for only while the file is read").recv().await
}
