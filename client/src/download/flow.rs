//! Performs the reads and writes of a download. Decides nothing.
//!
//! Owns: what runs at the same time, and the counting of what is done.
//! Knows nothing of: how a manifest is read, which bytes belong where.

use std::ops::Range;
use std::path::Path as LocalPath;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use env::time::Instant;
use env::{Disk, File, OpenMode};
use futures::stream::{self, StreamExt};
use proto::namespace::Opened;
use proto::seal::Ticket;
use types::limits::{
    DOWNLOAD_CHUNK_COUNT_MAX, NODE_HEARTBEAT_PERIOD, TICKET_ATTEMPT_COUNT, TICKET_RENEW_AFTER,
};
use types::{ChunkId, ErrorKind, Result};

use super::Download;
use super::layout::ReadStep;
use super::plan::{DownloadFact, DownloadPlan, DownloadStep, partial_path};
use crate::blocks::{Blocks, Wanted};
use crate::local::local;
use crate::upload::Progress;

impl Download {
    /// Prepares to read a range of a version: for long files this reads the nodes of its manifest tree that the range
    /// needs, one level after the other.
    ///
    /// `Corrupt` when the manifest contradicts itself, `Internal` when it came without the tickets it needs.
    pub async fn open(blocks: Arc<Blocks>, opened: Opened, range: Range<u64>) -> Result<Self> {
        let Opened { manifest, tickets, .. } = opened;
        let since = env::time::now();
        let mut plan = DownloadPlan::new(range.clone());
        let mut step = plan.step(DownloadFact::Opened { manifest, tickets })?;
        loop {
            step = match step {
                DownloadStep::Ready(layout) => return Ok(Self { blocks, layout, range, since }),
                DownloadStep::ReadNodes(nodes) => {
                    let nodes = stream::iter(nodes).map(|(id, ticket)| read_node(&blocks, id, ticket, since));
                    let mut nodes = nodes.buffered(DOWNLOAD_CHUNK_COUNT_MAX);
                    let mut next = DownloadStep::Wait;
                    while let Some(node) = nodes.next().await {
                        next = plan.step(node?)?;
                    }
                    next
                }
                DownloadStep::Wait => unreachable!("the last node of a level leads to the next step"),
            }
        }
    }

    /// The bytes of `range` in order, chunk by chunk. What of the range is beyond the end of the file, or was not opened,
    /// is left out; a range without bytes is a stream without items. Of a chunk that is needed as a whole, or nearly, all
    /// is read and compared with its name; of others no more than is needed.
    pub fn read(&self, range: Range<u64>) -> impl futures::Stream<Item = Result<Bytes>> + '_ {
        let range = range.start.max(self.range.start)..range.end.min(self.range.end);
        let steps = stream::iter(self.layout.read(range));
        steps.map(|step| self.perform(step)).buffered(DOWNLOAD_CHUNK_COUNT_MAX)
    }

    async fn perform(&self, step: ReadStep) -> Result<Bytes> {
        match step {
            ReadStep::Take { bytes, .. } => Ok(bytes),
            ReadStep::Fetch(part) => {
                if let Some(range) = part.excerpt() {
                    let what = Wanted::Excerpt(range);
                    let (bytes, _) =
                        get_chunk(&self.blocks, part.chunk, what, part.ticket, self.since).await?;
                    return part.take_excerpt(bytes);
                }
                let (bytes, _) =
                    get_chunk(&self.blocks, part.chunk, Wanted::Data, part.ticket, self.since).await?;
                part.take(bytes)
            }
        }
    }

    async fn copy(
        &self,
        step: ReadStep,
        disk: &Arc<dyn Disk>,
        target: Arc<dyn File>,
        progress: &Progress,
    ) -> Result<()> {
        let offset = step.offset();
        let bytes = self.perform(step).await?;
        let count = bytes.len() as u64;
        disk.submit(move |_| Ok(target.write_at(&[&bytes], offset)?)).await?;
        progress.bytes_done.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }
}

/// Reads a chunk with a ticket that was handed out at `since` or later; it is renewed when that is a while ago.
async fn get_chunk(
    blocks: &Blocks,
    id: ChunkId,
    what: Wanted,
    ticket: Ticket,
    since: Instant,
) -> Result<(Bytes, Vec<Ticket>)> {
    // By the time that has passed here: this machine's clock may be wrong.
    let is_old = env::time::now().saturating_duration_since(since) > TICKET_RENEW_AFTER;
    let mut ticket = if is_old { blocks.renew(id, ticket).await? } else { ticket };
    for _ in 0..TICKET_ATTEMPT_COUNT {
        match blocks.get_chunk(id, what, ticket).await {
            // Who waits long for others comes late, and nodes hear of a time that was set with their next heartbeats. Who may
            // not read any more is told so by the renewal.
            Err(e) if e.kind() == ErrorKind::Denied => {
                env::time::sleep(NODE_HEARTBEAT_PERIOD).await;
                ticket = blocks.renew(id, ticket).await?;
            }
            read => return read,
        }
    }
    blocks.get_chunk(id, what, ticket).await
}

async fn read_node(blocks: &Blocks, id: ChunkId, ticket: Ticket, since: Instant) -> Result<DownloadFact> {
    let (bytes, tickets) = get_chunk(blocks, id, Wanted::Node, ticket, since).await?;
    Ok(DownloadFact::NodeRead { id, bytes, tickets })
}

/// Writes a version to a local file and returns its bytes. An existing file is replaced when the new one is whole.
pub async fn download_file(
    disk: Arc<dyn Disk>,
    blocks: Arc<Blocks>,
    opened: Opened,
    target: &LocalPath,
    progress: &Progress,
) -> Result<u64> {
    let download = Download::open(blocks, opened, 0..u64::MAX).await?;
    let partial = partial_path(target);
    let file = create(&disk, &partial).await?;
    let steps = stream::iter(download.layout.read(0..download.size()));
    let mut copies = steps
        .map(|step| download.copy(step, &disk, file.clone(), progress))
        .buffer_unordered(DOWNLOAD_CHUNK_COUNT_MAX);
    while let Some(copied) = copies.next().await {
        copied?;
    }
    drop(copies);
    let target = target.to_owned();
    disk.submit(move |disk| {
        drop(file);
        disk.rename(&partial, &target).map_err(|e| local(e, &target))
    })
    .await?;
    progress.files_done.fetch_add(1, Ordering::Relaxed);
    Ok(download.size())
}

/// An empty file; what an earlier attempt left is thrown away.
async fn create(disk: &Arc<dyn Disk>, path: &LocalPath) -> Result<Arc<dyn File>> {
    let path = path.to_owned();
    disk.submit(move |disk| {
        let file = disk.open(&path, OpenMode::Create).map_err(|e| local(e, &path))?;
        file.set_len(0).map_err(|e| local(e, &path))?;
        Ok(file)
    })
    .await
}
