//! What a file consists of.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use types::{ChunkId, KeyId};

/// One chunk of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChunkRef {
    /// BLAKE3-256 of its plain bytes.
    pub id: ChunkId,
    /// Plain bytes.
    pub size: u32,
}

/// The bytes of a file, or where they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// The bytes themselves, at most `INLINE_SIZE_MAX`.
    Inline(Bytes),
    /// The chunks in order, at most `MANIFEST_INLINE_COUNT_MAX`.
    Chunks(Vec<ChunkRef>),
    /// More chunks: a tree whose nodes are chunks themselves.
    Tree {
        /// Chunk that holds the root node.
        root: ChunkId,
        /// Levels of nodes; the root of a tree of height 1 is a leaf.
        height: u8,
        /// Chunks of the file.
        count: u64,
    },
    /// The bytes themselves as they are kept: metaservers make it of [`Content::Inline`] and give that back.
    Sealed {
        /// BLAKE3-256 of the plain bytes.
        root: ChunkId,
        /// How they are sealed; many forms have the same bytes in them.
        form: SealedForm,
    },
}

/// Bytes of a file, compressed if that pays, and sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedForm {
    /// The key they are sealed with.
    pub key: KeyId,
    /// What is sealed is a zstd frame.
    pub compressed: bool,
    /// The sealed payload.
    pub bytes: Bytes,
}
