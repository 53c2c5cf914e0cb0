//! A version becomes a local file again: every chunk is checked against its hash, and the file appears under its name
//! only when it is whole.

use std::ops::Range;
use std::path::Path as LocalPath;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use chunk::manifest::{ChunkRef, Content, Manifest, parse_node};
use env::{File, OpenMode};
use futures::stream::{self, StreamExt, TryStreamExt};
use proto::block::ChunkKind;
use proto::namespace::Opened;
use proto::seal::Ticket;
use types::{ChunkId, Error, Result};

use crate::blocks::Blocks;
use crate::upload::{Progress, local, run_blocking};

/// Chunks of one file that are fetched at once: at most 4 MiB each.
const CHUNKS_IN_FLIGHT: usize = 16;
/// What a file is called until it is whole.
const PARTIAL_SUFFIX: &str = ".cloudsync-partial";

/// One chunk of a file, where it belongs, and the right to read it.
#[derive(Clone, Copy, Debug)]
struct Part {
    offset: u64,
    chunk: ChunkRef,
    ticket: Ticket,
}

/// The content of one version, ready to be read.
#[derive(Debug)]
pub struct Download {
    blocks: Arc<Blocks>,
    size: u64,
    inline: Option<Bytes>,
    parts: Vec<Part>,
}

impl Download {
    /// Prepares a version: for long files this reads the nodes of its manifest tree.
    pub async fn open(blocks: Arc<Blocks>, opened: Opened) -> Result<Self> {
        let Opened { manifest, tickets, .. } = opened;
        let size = manifest.size;
        let mut download = Self { blocks, size, inline: None, parts: Vec::new() };
        match manifest {
            Manifest { content: Content::Inline(bytes), .. } => download.inline = Some(bytes),
            Manifest { content: Content::Chunks(chunks), .. } => {
                download.parts = lay_out(chunks.into_iter().zip(tickets));
            }
            Manifest { content: Content::Tree { root, .. }, .. } => {
                let ticket =
                    *tickets.first().ok_or_else(|| Error::internal("a tree was opened without a ticket"))?;
                download.parts = lay_out(download.leaves(root, ticket).await?.into_iter());
            }
        }
        Ok(download)
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes of `range` in order, chunk by chunk; the range is cut to the file.
    pub fn read(&self, range: Range<u64>) -> impl futures::Stream<Item = Result<Bytes>> + '_ {
        let range = range.start.min(self.size)..range.end.min(self.size);
        let inline = self.inline.iter().map({
            let range = range.clone();
            move |bytes| Ok(bytes.slice(range.start as usize..range.end as usize))
        });
        let wanted = self.parts.iter().filter({
            let range = range.clone();
            move |part| part.offset < range.end && part.offset + u64::from(part.chunk.size) > range.start
        });
        let chunks = stream::iter(wanted.copied()).map(move |part| {
            let range = range.clone();
            async move {
                let bytes = self.fetch(part).await?;
                let start = range.start.saturating_sub(part.offset) as usize;
                let end = (range.end - part.offset).min(bytes.len() as u64) as usize;
                Ok(bytes.slice(start..end))
            }
        });
        stream::iter(inline).chain(chunks.buffered(CHUNKS_IN_FLIGHT))
    }

    /// The chunks below a node, in order, each with its ticket: tickets flow down the tree.
    async fn leaves(&self, root: ChunkId, ticket: Ticket) -> Result<Vec<(ChunkRef, Ticket)>> {
        let mut level = vec![(root, ticket)];
        loop {
            let nodes: Vec<_> = stream::iter(level)
                .map(|(id, ticket)| async move {
                    let (bytes, tickets) = self.blocks.get_chunk(id, ChunkKind::ManifestNode, ticket).await?;
                    let node = parse_node(&bytes)?;
                    if tickets.len() != node.entries.len() {
                        return Err(Error::internal(format!("{} tickets for node {id}", tickets.len())));
                    }
                    Ok((node, tickets))
                })
                .buffered(CHUNKS_IN_FLIGHT)
                .try_collect()
                .await?;
            let is_leaf = nodes.iter().all(|(node, _)| node.level == 0);
            let entries = nodes.into_iter().flat_map(|(node, tickets)| node.entries.into_iter().zip(tickets));
            if is_leaf {
                return Ok(entries
                    .map(|(entry, ticket)| (ChunkRef { id: entry.id, size: entry.size as u32 }, ticket))
                    .collect());
            }
            level = entries.map(|(entry, ticket)| (entry.id, ticket)).collect();
        }
    }

    async fn fetch(&self, part: Part) -> Result<Bytes> {
        let (bytes, _) = self.blocks.get_chunk(part.chunk.id, ChunkKind::Data, part.ticket).await?;
        if bytes.len() != part.chunk.size as usize {
            return Err(Error::corrupt(format!(
                "chunk {} is not as long as its manifest says",
                part.chunk.id
            )));
        }
        Ok(bytes)
    }
}

fn lay_out(chunks: impl Iterator<Item = (ChunkRef, Ticket)>) -> Vec<Part> {
    let mut offset = 0;
    chunks
        .map(|(chunk, ticket)| {
            let part = Part { offset, chunk, ticket };
            offset += u64::from(chunk.size);
            part
        })
        .collect()
}

/// Writes a version to a local file. An existing file is replaced when the new one is whole.
pub async fn download_file(
    disk: Arc<dyn env::Disk>,
    blocks: Arc<Blocks>,
    opened: Opened,
    target: &LocalPath,
    progress: &Progress,
) -> Result<u64> {
    let download = Download::open(blocks, opened).await?;
    let mut partial = target.as_os_str().to_owned();
    partial.push(PARTIAL_SUFFIX);
    let partial = std::path::PathBuf::from(partial);
    let file = create(&disk, &partial).await?;
    let mut parts = stream::iter(download.parts.iter().copied())
        .map(|part| {
            let (download, file) = (&download, file.clone());
            async move {
                let bytes = download.fetch(part).await?;
                let count = bytes.len() as u64;
                write(file, bytes, part.offset).await?;
                Ok::<u64, Error>(count)
            }
        })
        .buffer_unordered(CHUNKS_IN_FLIGHT);
    while let Some(count) = parts.next().await {
        progress.bytes_done.fetch_add(count?, Ordering::Relaxed);
    }
    drop(parts);
    if let Some(bytes) = download.inline.clone() {
        progress.bytes_done.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        write(file.clone(), bytes, 0).await?;
    }
    let target = target.to_owned();
    run_blocking(move || {
        drop(file);
        disk.rename(&partial, &target).map_err(|e| local(e, &target))
    })
    .await?;
    progress.files_done.fetch_add(1, Ordering::Relaxed);
    Ok(download.size)
}

/// An empty file; what an earlier attempt left is thrown away.
async fn create(disk: &Arc<dyn env::Disk>, path: &LocalPath) -> Result<Arc<dyn File>> {
    let (disk, path) = (disk.clone(), path.to_owned());
    run_blocking(move || {
        let file = disk.open(&path, OpenMode::Create).map_err(|e| local(e, &path))?;
        file.set_len(0).map_err(|e| local(e, &path))?;
        Ok(file)
    })
    .await
}

async fn write(file: Arc<dyn File>, bytes: Bytes, offset: u64) -> Result<()> {
    run_blocking(move || Ok(file.write_at(&[&bytes], offset)?)).await
}
