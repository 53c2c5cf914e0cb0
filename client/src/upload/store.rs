//! Decides how one chunk, or one manifest node, comes to be stored: what is there already is not sent.

use proto::block::ChunkKind;
use proto::seal::Receipt;
use types::ChunkId;

/// A chunk that is to be stored. Whoever has pinned it asks [`StorePlan::pinned`] what is left to do.
#[derive(Debug)]
pub(super) struct StorePlan {
    id: ChunkId,
    kind: ChunkKind,
    receipts: Vec<Receipt>,
}

/// What is left to do after the pin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StoreStep {
    /// Nothing: it is stored, and this is the receipt.
    Keep(Receipt),
    /// Put it with these receipts: for a node one per entry, in order; otherwise none.
    Put { kind: ChunkKind, receipts: Vec<Receipt> },
}

impl StorePlan {
    /// A chunk of the file.
    pub(super) fn chunk(id: ChunkId) -> Self {
        Self { id, kind: ChunkKind::Data, receipts: Vec::new() }
    }

    /// A manifest node, with the receipts of its entries in order.
    pub(super) fn node(id: ChunkId, receipts: Vec<Receipt>) -> Self {
        Self { id, kind: ChunkKind::ManifestNode, receipts }
    }

    /// The chunk to pin.
    pub(super) fn id(&self) -> ChunkId {
        self.id
    }

    /// Takes the answer to the pin: a receipt for what is stored.
    pub(super) fn pinned(self, answer: Option<Receipt>) -> StoreStep {
        match answer {
            Some(receipt) => StoreStep::Keep(receipt),
            None => StoreStep::Put { kind: self.kind, receipts: self.receipts },
        }
    }
}
