//! Decides in which order the nodes of a long manifest are stored, and which receipts each carries.

use std::collections::VecDeque;

use bytes::Bytes;
use chunk::manifest::{ChunkRef, Content, TreeBuilder, parse_node};
use proto::seal::Receipt;
use types::{ChunkId, Result};

use crate::upload::store::StorePlan;

/// A long list of chunks on its way to be a tree of nodes, children first: a node's receipt vouches for all below it.
pub(super) struct TreePlan {
    builder: TreeBuilder,
    content: Content,
    /// By level: the receipts for what the nodes of that level list and no node has carried yet. The nodes of a level
    /// list the file from its beginning to its end, so each takes the oldest.
    below: Vec<VecDeque<Receipt>>,
    /// The node that is being stored, and its level.
    storing: Option<(ChunkId, usize)>,
}

impl TreePlan {
    /// The tree of these chunks, each with its receipt.
    pub(super) fn new(chunks: &[ChunkRef], receipts: Vec<Receipt>) -> Self {
        assert_eq!(chunks.len(), receipts.len(), "every chunk of a tree has a receipt");
        let mut builder = TreeBuilder::new();
        chunks.iter().for_each(|chunk| builder.push(*chunk));
        let content = builder.finish();
        Self { builder, content, below: vec![receipts.into()], storing: None }
    }

    /// The next node and its bytes, when the one before is stored; `None` when that was the root.
    pub(super) fn next_node(&mut self) -> Result<Option<(StorePlan, Bytes)>> {
        assert!(self.storing.is_none(), "nodes are stored one after the other");
        let Some((id, bytes)) = self.builder.next_node() else { return Ok(None) };
        let node = parse_node(&bytes)?;
        let level = usize::from(node.level);
        let receipts = self.below[level].drain(..node.entries.len()).collect();
        self.storing = Some((id, level));
        Ok(Some((StorePlan::node(id, receipts), bytes)))
    }

    /// The node is stored.
    pub(super) fn stored(&mut self, id: ChunkId, receipt: Receipt) {
        let storing = self.storing.take().filter(|(node, _)| *node == id);
        let (_, level) = storing.unwrap_or_else(|| panic!("nobody asked to store node {id} now"));
        if self.below.len() == level + 1 {
            self.below.push(VecDeque::new());
        }
        self.below[level + 1].push_back(receipt);
    }

    /// What the manifest says, and the receipt for the root.
    pub(super) fn into_root(self) -> (Content, Receipt) {
        let mut left = self.below.into_iter().flatten();
        match (left.next(), left.next()) {
            (Some(receipt), None) => (self.content, receipt),
            _ => panic!("all receipts but the root's are carried by a node"),
        }
    }
}
