//! The list of chunks that is a version of a file.
//!
//! Owns: the forms of content (inline bytes, plain or sealed, a short list, a tree of nodes in the block store), the format of
//! tree nodes (docs/formats/manifest-node.md) and the hash that names a file's content.
//! Knows nothing of: names, versions, where chunks and nodes are stored.

mod content;
mod node;
mod tree;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use types::limits::{CHUNK_SIZE_MAX, FILE_SIZE_MAX, INLINE_SIZE_MAX, MANIFEST_INLINE_COUNT_MAX};
use types::{ChunkId, Error, Result};

pub use content::{ChunkRef, Content, SealedForm};
pub use node::{Entry, ManifestNode, TREE_HEIGHT_MAX, node_id, parse_node};
pub use tree::TreeBuilder;

use crate::chunk_id;
use crate::compress::{compress, decompress};
use crate::sealed::{SealKey, open, seal};
use crate::split::SplitRule;

/// What a version row says about a file's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Bytes of the file.
    pub size: u64,
    /// Number of the [`SplitRule`] it was cut by: the next version is cut by the same, or the two would share no chunk.
    pub rule: u8,
    /// The bytes, or where they are.
    pub content: Content,
}

impl Manifest {
    /// The manifest of a file that is small enough to need no chunk.
    pub fn inline(bytes: Bytes) -> Self {
        let size = bytes.len() as u64;
        Self { size, rule: SplitRule::for_size(size).id, content: Content::Inline(bytes) }
    }

    /// The same with inline bytes sealed by `key`; other forms stay as they are.
    #[must_use]
    pub fn sealed(mut self, key: &SealKey) -> Self {
        if let Content::Inline(bytes) = &self.content {
            let (root, stored) = (chunk_id(bytes), compress(bytes));
            let bytes = seal(key, &root, &stored);
            let form = SealedForm { key: key.id, compressed: stored.compressed, bytes };
            self.content = Content::Sealed { root, form };
        }
        self
    }

    /// Undoes [`Manifest::sealed`] with the key that it names; `Corrupt` when that does not fit.
    pub fn opened(mut self, key: &SealKey) -> Result<Self> {
        if let Content::Sealed { root, form } = &self.content {
            let payload = open(key, root, &form.bytes)?;
            let plain = if form.compressed { decompress(&payload, self.size as usize)? } else { payload };
            self.content = Content::Inline(plain);
        }
        Ok(self)
    }

    /// Checks a manifest from a client: limits hold and sizes add up, else `Invalid`. A tree's nodes are not read.
    pub fn check(&self) -> Result<()> {
        let invalid = |what: String| Err(Error::invalid(format!("manifest: {what}")));
        SplitRule::by_id(self.rule)?;
        if self.size > FILE_SIZE_MAX {
            return invalid(format!("{} bytes are over the limit of {FILE_SIZE_MAX}", self.size));
        }
        match &self.content {
            Content::Inline(bytes) if bytes.len() > INLINE_SIZE_MAX => {
                invalid(format!("{} inline bytes are over the limit of {INLINE_SIZE_MAX}", bytes.len()))
            }
            Content::Inline(bytes) if bytes.len() as u64 != self.size => {
                invalid(format!("{} inline bytes for a file of {}", bytes.len(), self.size))
            }
            Content::Inline(_) => Ok(()),
            Content::Sealed { .. } => invalid("its bytes are sealed: send them as they are".to_owned()),
            Content::Chunks(chunks) if chunks.len() > MANIFEST_INLINE_COUNT_MAX => invalid(format!(
                "{} chunks in the list, {MANIFEST_INLINE_COUNT_MAX} allowed; build a tree",
                chunks.len()
            )),
            Content::Chunks(chunks) => match check_chunks(chunks) {
                Some(size) if size == self.size => Ok(()),
                Some(size) => invalid(format!("chunks hold {size} bytes, the file {}", self.size)),
                None => invalid(format!("a chunk is empty or larger than {CHUNK_SIZE_MAX} bytes")),
            },
            Content::Tree { height, count, .. } => {
                let fits = u64::from(*height) >= 1
                    && *height <= TREE_HEIGHT_MAX
                    && *count > MANIFEST_INLINE_COUNT_MAX as u64
                    && (*count..=count.saturating_mul(CHUNK_SIZE_MAX as u64)).contains(&self.size);
                if fits {
                    Ok(())
                } else {
                    invalid(format!("a tree of {count} chunks and height {height} is impossible"))
                }
            }
        }
    }
}

/// Bytes of all chunks; `None` when one has an impossible size.
fn check_chunks(chunks: &[ChunkRef]) -> Option<u64> {
    let possible = |chunk: &ChunkRef| (1..=CHUNK_SIZE_MAX as u64).contains(&u64::from(chunk.size));
    chunks.iter().all(possible).then(|| chunks.iter().map(|chunk| u64::from(chunk.size)).sum())
}

/// Names a file's content: equal for equal bytes that were cut by the same rule. Up to one chunk it is the BLAKE3 of
/// the bytes, inline or not.
pub fn content_root(manifest: &Manifest) -> ChunkId {
    match &manifest.content {
        Content::Inline(bytes) => chunk_id(bytes),
        Content::Chunks(chunks) => match &chunks[..] {
            [] => chunk_id(b""),
            [only] => only.id,
            chunks => list_root(chunks),
        },
        Content::Tree { root, .. } | Content::Sealed { root, .. } => *root,
    }
}

/// In a domain of its own, so that no list can be crafted to look like a chunk.
fn list_root(chunks: &[ChunkRef]) -> ChunkId {
    let mut hasher = blake3::Hasher::new_derive_key("cloudsync 1 content root of a list of chunks");
    for chunk in chunks {
        hasher.update(&chunk.id.0).update(&chunk.size.to_le_bytes());
    }
    ChunkId(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests;
