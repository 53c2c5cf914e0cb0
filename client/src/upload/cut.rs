//! Reads a local file on a thread of its own and cuts it into chunks.
//!
//! Owns: how far reading runs ahead of storing, in bytes; that no byte is copied on the way.
//! Knows nothing of: which chunks are stored already, what becomes of them.

use std::path::Path as LocalPath;
use std::sync::Arc;

use bytes::Bytes;
use chunk::split::{SplitRule, Splitter};
use env::{Disk, OpenMode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use types::limits::{UPLOAD_QUEUE_COUNT_MAX, UPLOAD_READ_SIZE};
use types::{ChunkId, Result};

/// A chunk in memory.
#[derive(Debug)]
pub(super) struct Piece {
    /// BLAKE3 of `bytes`.
    pub id: ChunkId,
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
    env::task::spawn_blocking(move || {
        if let Err(e) = cut_file(&*disk, &source, rule, &window, &sender) {
            let _ = sender.blocking_send(Err(e.context(source.display()))); // The upload may have failed already.
        }
    });
    receiver
}

/// Sends the chunks of a file as fast as the window opens.
fn cut_file(
    disk: &dyn Disk,
    source: &LocalPath,
    rule: SplitRule,
    window: &Arc<Semaphore>,
    pieces: &mpsc::Sender<Result<Piece>>,
) -> Result<()> {
    let file = disk.open(source, OpenMode::Read)?;
    let mut splitter = Splitter::new(rule);
    let mut offset = 0;
    let handle = env::task::Runtime::current();
    loop {
        let count = splitter
            .push_with(UPLOAD_READ_SIZE, |buffer| file.read_append(buffer, UPLOAD_READ_SIZE, offset))?;
        offset += count as u64;
        if count == 0 {
            splitter.finish();
        }
        while let Some(bytes) = splitter.next_chunk() {
            let share = bytes.len() as u32;
            let permit = handle.block_on(window.clone().acquire_many_owned(share));
            let permit = permit.expect("the window is never closed");
            let piece = Piece { id: chunk::chunk_id(&bytes), bytes, permit };
            if pieces.blocking_send(Ok(piece)).is_err() {
                return Ok(()); // The upload has failed; its error is on its way.
            }
        }
        if count == 0 {
            return Ok(());
        }
    }
}
