//! Reads a local file and cuts it into chunks, off the runtime's threads.
//!
//! Owns: how far reading runs ahead of storing, in bytes; that no byte is copied on the way.
//! Knows nothing of: which chunks are stored already, what becomes of them.

use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chunk::split::{SplitRule, Splitter};
use env::{Disk, File, OpenMode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use types::limits::{UPLOAD_QUEUE_COUNT_MAX, UPLOAD_READ_SIZE};
use types::{ChunkId, Possession, Result};

/// A chunk in memory.
#[derive(Debug)]
pub(super) struct Piece {
    /// BLAKE3 of `bytes`.
    pub id: ChunkId,
    /// Shows that they are here.
    pub possession: Possession,
    /// A part of the buffer that was read into.
    pub bytes: Bytes,
    /// Its share of the window, given back when it is dropped.
    pub permit: OwnedSemaphorePermit,
}

/// Starts to read `source`. The chunks come in the order of the file; an error comes last and names the file.
pub(super) fn read_pieces(
    disk: Arc<dyn Disk>,
    window: Arc<Semaphore>,
    source: &LocalPath,
    rule: SplitRule,
) -> mpsc::Receiver<Result<Piece>> {
    let (sender, receiver) = mpsc::channel(UPLOAD_QUEUE_COUNT_MAX);
    let source = source.to_owned();
    env::task::spawn(async move {
        let cutter = Cutter { source: source.clone(), file: None, splitter: Splitter::new(rule), offset: 0 };
        if let Err(e) = cut_file(&disk, cutter, &window, &sender).await {
            let _ = sender.send(Err(e.context(source.display()))).await; // The upload may have failed already.
        }
    });
    receiver
}

/// Sends the chunks of a file as fast as the window opens, and reads one step ahead meanwhile.
async fn cut_file(
    disk: &Arc<dyn Disk>,
    cutter: Cutter,
    window: &Arc<Semaphore>,
    pieces: &mpsc::Sender<Result<Piece>>,
) -> Result<()> {
    let mut ahead = disk.submit(move |disk| cutter.read(disk)).await?;
    loop {
        ahead = match ahead {
            (None, chunks) => {
                send(chunks, window, pieces).await;
                return Ok(());
            }
            (Some(cutter), chunks) => {
                let next = disk.submit(move |disk| cutter.read(disk));
                let (is_wanted, next) = futures::join!(send(chunks, window, pieces), next);
                if !is_wanted {
                    return Ok(()); // The upload has failed; its error is on its way.
                }
                next?
            }
        }
    }
}

/// False when nobody takes the pieces any more.
async fn send(chunks: Vec<CutChunk>, window: &Arc<Semaphore>, pieces: &mpsc::Sender<Result<Piece>>) -> bool {
    for (id, possession, bytes) in chunks {
        let permit = window.clone().acquire_many_owned(bytes.len() as u32).await;
        let permit = permit.expect("the window is never closed");
        if pieces.send(Ok(Piece { id, possession, bytes, permit })).await.is_err() {
            return false;
        }
    }
    true
}

/// A chunk that waits for its share of the window.
type CutChunk = (ChunkId, Possession, Bytes);

/// A file while it is read.
struct Cutter {
    source: PathBuf,
    /// `None` until the first read.
    file: Option<Arc<dyn File>>,
    splitter: Splitter,
    offset: u64,
}

impl Cutter {
    /// Reads once and returns the chunks whose ends are known by now, and itself unless the file has ended. Blocks.
    fn read(mut self, disk: &dyn Disk) -> Result<(Option<Self>, Vec<CutChunk>)> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => disk.open(&self.source, OpenMode::Read)?,
        };
        let read = |buffer: &mut BytesMut| file.read_append(buffer, UPLOAD_READ_SIZE, self.offset);
        let count = self.splitter.push_with(UPLOAD_READ_SIZE, read)?;
        self.offset += count as u64;
        if count == 0 {
            self.splitter.finish();
        }
        let mut chunks: Vec<CutChunk> = Vec::new();
        while let Some(bytes) = self.splitter.next_chunk() {
            chunks.push((chunk::chunk_id(&bytes), chunk::possession(&bytes), bytes));
        }
        self.file = Some(file);
        Ok(((count > 0).then_some(self), chunks))
    }
}
