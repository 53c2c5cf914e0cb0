//! The chunks of a file while they are cut and stored.

use chunk::manifest::ChunkRef;
use proto::seal::Receipt;
use types::ChunkId;
use types::limits::CHUNK_SIZE_MAX;

/// The chunks so far, in the order of the file. The first `receipts.len()` of them are stored.
#[derive(Default)]
pub(super) struct ChunkList {
    chunks: Vec<ChunkRef>,
    receipts: Vec<Receipt>,
    ended: bool,
}

impl ChunkList {
    /// Appends the next chunk.
    pub(super) fn cut(&mut self, chunk: ChunkRef) {
        assert!(!self.ended, "chunk {} was cut after the end of the file", chunk.id);
        assert!(
            (1..=CHUNK_SIZE_MAX).contains(&(chunk.size as usize)),
            "chunk {} was cut to {} bytes",
            chunk.id,
            chunk.size
        );
        self.chunks.push(chunk);
    }

    /// No chunk comes after those that were cut.
    pub(super) fn end(&mut self) {
        assert!(!self.ended, "a file ends once");
        self.ended = true;
    }

    /// The first chunk without a receipt has one now.
    pub(super) fn stored(&mut self, id: ChunkId, receipt: Receipt) {
        let next = self.chunks.get(self.receipts.len());
        assert!(next.is_some_and(|chunk| chunk.id == id), "nobody asked to store chunk {id} now");
        self.receipts.push(receipt);
    }

    /// The file is at its end and all of it is stored.
    pub(super) fn is_complete(&self) -> bool {
        self.ended && self.receipts.len() == self.chunks.len()
    }

    /// Bytes of all chunks.
    pub(super) fn size(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.size)).sum()
    }

    /// The chunks and their receipts, as many and in the same order.
    pub(super) fn into_parts(self) -> (Vec<ChunkRef>, Vec<Receipt>) {
        assert!(self.is_complete(), "a chunk without a receipt is not part of any version");
        (self.chunks, self.receipts)
    }
}
