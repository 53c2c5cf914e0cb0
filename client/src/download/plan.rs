//! Decides what is read before the bytes of a version can be: facts in, steps out.
//!
//! Owns: the way from a manifest through the nodes of its tree to a layout, and that nothing is laid out before it adds
//! up: every node is what the one above it says, the parts together are what the manifest says.
//! Knows nothing of: servers, files, how many nodes are read at the same time.
//! Pure: equal facts in equal order give equal steps.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path as LocalPath, PathBuf};

use bytes::Bytes;
use chunk::manifest::{ChunkRef, Content, Entry, Manifest, ManifestNode, TREE_HEIGHT_MAX, parse_node};
use proto::seal::Ticket;
use types::{ChunkId, Error, Result};

use super::layout::FileLayout;

/// What a file is called until it is whole.
const PARTIAL_SUFFIX: &str = ".cloudsync-partial";

/// What has come of a step.
#[derive(Debug)]
pub(super) enum DownloadFact {
    /// The version was opened: its manifest, and a ticket for each chunk that the manifest names itself.
    Opened { manifest: Manifest, tickets: Vec<Ticket> },
    /// A node was read: bytes that hash to `id`, and a ticket for each of its entries.
    NodeRead { id: ChunkId, bytes: Bytes, tickets: Vec<Ticket> },
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DownloadStep {
    /// Read these nodes and tell of each, in this order.
    ReadNodes(Vec<(ChunkId, Ticket)>),
    /// Nothing new: there are more nodes to tell of.
    Wait,
    /// The bytes can be read.
    Ready(FileLayout),
}

/// How far the reading of a manifest is.
enum DownloadState {
    /// Which bytes of the file will be asked for.
    Closed(Range<u64>),
    ReadingTree(TreeWalk),
    /// Laid out, or refused: no fact is expected.
    Over,
}

/// The download of one version, up to the layout of its bytes.
pub(super) struct DownloadPlan(DownloadState);

impl DownloadPlan {
    /// A plan that waits for [`DownloadFact::Opened`] and reads no nodes but those of a range of the file.
    pub(super) fn new(range: Range<u64>) -> Self {
        Self(DownloadState::Closed(range))
    }

    /// Takes a fact and returns the next step. An error ends the download: `Corrupt` when the manifest or a node
    /// contradicts itself or what is above it, `Invalid` when a newer version wrote it, `Internal` when tickets are
    /// missing. Panics on a fact that answers no step.
    pub(super) fn step(&mut self, fact: DownloadFact) -> Result<DownloadStep> {
        match (std::mem::replace(&mut self.0, DownloadState::Over), fact) {
            (DownloadState::Closed(range), DownloadFact::Opened { manifest, tickets }) => {
                self.open(manifest, &tickets, range)
            }
            (DownloadState::ReadingTree(mut tree), DownloadFact::NodeRead { id, bytes, tickets }) => {
                tree.read(id, &bytes, tickets)?;
                Ok(self.after_node(tree))
            }
            (_, DownloadFact::Opened { .. }) => panic!("a version is opened once"),
            (_, DownloadFact::NodeRead { id, .. }) => panic!("nobody asked for node {id}"),
        }
    }

    fn open(&mut self, manifest: Manifest, tickets: &[Ticket], range: Range<u64>) -> Result<DownloadStep> {
        let Manifest { size, content, .. } = manifest;
        let mut layout = FileLayout::default();
        match content {
            Content::Tree { root, height, count } => {
                let &[ticket] = tickets else {
                    return Err(wrong_tickets(tickets.len(), "the root of a tree"));
                };
                let wanted = WantedNode { entry: Entry { id: root, size, count }, ticket, offset: 0 };
                let tree = TreeWalk::new(height, wanted, range)?;
                return Ok(self.read_level(tree));
            }
            Content::Inline(bytes) => layout.push_inline(bytes),
            Content::Sealed { .. } => {
                return Err(Error::corrupt(
                    "the content of this version came sealed, and only servers have the key",
                ));
            }
            Content::Chunks(chunks) => {
                if tickets.len() != chunks.len() {
                    return Err(wrong_tickets(tickets.len(), format!("{} chunks", chunks.len())));
                }
                chunks
                    .iter()
                    .zip(tickets)
                    .try_for_each(|(chunk, ticket)| layout.push_chunk(*chunk, *ticket))?;
            }
        }
        if layout.size() != size {
            let found = layout.size();
            return Err(Error::corrupt(format!("the manifest of a file of {size} bytes lists {found}")));
        }
        Ok(DownloadStep::Ready(layout))
    }

    fn read_level(&mut self, tree: TreeWalk) -> DownloadStep {
        let nodes = tree.wanted.iter().map(|wanted| (wanted.entry.id, wanted.ticket)).collect();
        self.0 = DownloadState::ReadingTree(tree);
        DownloadStep::ReadNodes(nodes)
    }

    fn after_node(&mut self, mut tree: TreeWalk) -> DownloadStep {
        if !tree.wanted.is_empty() {
            self.0 = DownloadState::ReadingTree(tree);
            return DownloadStep::Wait;
        }
        if tree.level == 0 || tree.below.is_empty() {
            tree.layout.skip_to(tree.size);
            return DownloadStep::Ready(tree.layout);
        }
        tree.descend();
        self.read_level(tree)
    }
}

/// A node that is to be read, what the one above it (for the root: the manifest) says of it, and the right to read it.
struct WantedNode {
    entry: Entry,
    ticket: Ticket,
    /// Where its first byte is in the file.
    offset: u64,
}

/// A walk through a tree, level by level from the root: tickets flow down.
struct TreeWalk {
    /// Of the nodes that are being read; 0 for those that list chunks.
    level: u8,
    /// Nodes of this level without an answer, in the order of the file.
    wanted: VecDeque<WantedNode>,
    /// Nodes of the level below, so far.
    below: VecDeque<WantedNode>,
    /// Chunks so far.
    layout: FileLayout,
    /// Bytes of the file.
    size: u64,
    /// What is wanted of them.
    range: Range<u64>,
}

impl TreeWalk {
    fn new(height: u8, root: WantedNode, range: Range<u64>) -> Result<Self> {
        if !(1..=TREE_HEIGHT_MAX).contains(&height) {
            return Err(Error::corrupt(format!(
                "the manifest is a tree of height {height}, which cannot be"
            )));
        }
        let (size, wanted) = (root.entry.size, VecDeque::from([root]));
        let (below, layout) = (VecDeque::new(), FileLayout::default());
        Ok(Self { level: height - 1, wanted, below, layout, size, range })
    }

    /// Takes the next node of this level.
    fn read(&mut self, id: ChunkId, bytes: &[u8], tickets: Vec<Ticket>) -> Result<()> {
        let wanted = self.wanted.pop_front().filter(|wanted| wanted.entry.id == id);
        let wanted = wanted.unwrap_or_else(|| panic!("nobody asked for node {id} now"));
        let node = parse_node(bytes).map_err(|e| e.context(format!("node {id}")))?;
        self.check(&node, &wanted.entry)?;
        if tickets.len() != node.entries.len() {
            return Err(wrong_tickets(tickets.len(), format!("node {id} of {} entries", node.entries.len())));
        }
        let mut offset = wanted.offset;
        for (entry, ticket) in node.entries.into_iter().zip(tickets) {
            let start = offset;
            offset += entry.size;
            if offset <= self.range.start || start >= self.range.end {
                continue;
            }
            if self.level > 0 {
                self.below.push_back(WantedNode { entry, ticket, offset: start });
                continue;
            }
            self.layout.skip_to(start);
            let size = u32::try_from(entry.size).expect("parse_node() bounds the size of a chunk");
            self.layout.push_chunk(ChunkRef { id: entry.id, size }, ticket)?;
        }
        Ok(())
    }

    /// The sums of a node that was parsed are far from overflow.
    fn check(&self, node: &ManifestNode, said: &Entry) -> Result<()> {
        let (size, count) = (node.size(), node.count());
        if (node.level, size, count) == (self.level, said.size, said.count) {
            return Ok(());
        }
        Err(Error::corrupt(format!(
            "node {} of level {} holds {size} bytes in {count} chunks; by what is above it, level {}, {} and {}",
            said.id, node.level, self.level, said.size, said.count
        )))
    }

    fn descend(&mut self) {
        assert!(self.level > 0 && !self.below.is_empty(), "a node above the last level has nodes below it");
        self.level -= 1;
        self.wanted = std::mem::take(&mut self.below);
    }
}

fn wrong_tickets(count: usize, what: impl std::fmt::Display) -> Error {
    Error::internal(format!("{count} tickets for {what}"))
}

/// Where a file is written until it is whole: next to `target`, so that a rename puts it there.
pub(super) fn partial_path(target: &LocalPath) -> PathBuf {
    let mut partial = target.as_os_str().to_owned();
    partial.push(PARTIAL_SUFFIX);
    partial.into()
}
