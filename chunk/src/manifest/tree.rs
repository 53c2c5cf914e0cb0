//! Builds the tree of a long file.

use std::collections::VecDeque;

use bytes::Bytes;
use types::ChunkId;
use types::limits::MANIFEST_NODE_COUNT_MAX;

use super::content::{ChunkRef, Content};
use super::node::{Entry, ManifestNode, node_id};

/// A node that is not the last of its level has at least this many entries, so that chosen hashes cannot make a
/// tree deep. With a cut in one of 256 positions after that, the average is 320.
const NODE_COUNT_MIN: usize = 64;

/// Turns a file's chunks into nodes, bottom-up. A node ends where the hash of its last chunk says so: an edit changes
/// one leaf and the nodes above it, and equal stretches of two files share their nodes.
///
/// Push all chunks, taking nodes out with [`TreeBuilder::next_node`] on the way; then [`TreeBuilder::finish`], and take
/// out the rest. Nodes come after all their children, so whoever stores them in this order never stores a dangling one.
#[derive(Debug, Default)]
pub struct TreeBuilder {
    /// The unfinished node of each level.
    levels: Vec<Vec<Entry>>,
    ready: VecDeque<(ChunkId, Bytes)>,
    count: u64,
}

impl TreeBuilder {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the next chunk of the file.
    pub fn push(&mut self, chunk: ChunkRef) {
        self.count += 1;
        let mut entry = Entry { id: chunk.id, size: chunk.size.into(), count: 1 };
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(entry);
            if !is_cut(level, &chunk.id, self.levels[level].len()) {
                return;
            }
            entry = self.close(level);
        }
    }

    /// A finished node to be stored as a chunk under this id; `None` until there is another.
    pub fn next_node(&mut self) -> Option<(ChunkId, Bytes)> {
        self.ready.pop_front()
    }

    /// Ends the file: closes what is open, up to the root, and returns what the manifest says.
    pub fn finish(&mut self) -> Content {
        assert!(self.count > 0, "an empty file is inline, not a tree");
        let mut level = 0;
        loop {
            let is_top = level + 1 >= self.levels.len();
            // The top holds more than one entry, or is a leaf, or the node below it is already the root.
            if is_top && level > 0 && self.levels[level].len() == 1 {
                return self.root(self.levels[level][0].id, level);
            }
            if !self.levels[level].is_empty() {
                let entry = self.close(level);
                if is_top {
                    return self.root(entry.id, level + 1);
                }
                self.levels[level + 1].push(entry);
            }
            level += 1;
        }
    }

    fn root(&self, root: ChunkId, height: usize) -> Content {
        let height = u8::try_from(height).expect("NODE_COUNT_MIN bounds the height");
        Content::Tree { root, height, count: self.count }
    }

    fn close(&mut self, level: usize) -> Entry {
        let node = ManifestNode {
            level: u8::try_from(level).expect("NODE_COUNT_MIN bounds the height"),
            entries: std::mem::take(&mut self.levels[level]),
        };
        let bytes = node.to_bytes();
        let entry = Entry { id: node_id(&bytes), size: node.size(), count: node.count() };
        self.ready.push_back((entry.id, bytes));
        entry
    }
}

/// Each level looks at another byte of the last chunk's id: one that ends a leaf says nothing about the level above.
fn is_cut(level: usize, last: &ChunkId, count: usize) -> bool {
    count >= MANIFEST_NODE_COUNT_MAX || (count >= NODE_COUNT_MIN && last.0[31 - level] == 0)
}
