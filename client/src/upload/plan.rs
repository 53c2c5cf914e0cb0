//! Decides how a local file becomes a version: facts in, steps out.
//!
//! Owns: whether a file travels inline or as chunks, its manifest and the receipts for it, whether it held still while
//! it was read, and whether, against what and at what weight it is committed.
//! Knows nothing of: disks, servers, memory, what runs at the same time.
//! Pure: equal facts in equal order give equal steps.
//!
//! ```text
//! look ─┬─ read inline ─┬─────────────────────┬─ look again ─┬─ commit ── done
//!       │               │ it outgrew inline   │              ├─ done: nothing is new
//!       └───────────────┴─ cut ─── (nodes) ───┘              └─ it changed: from the start
//! ```

mod chunks;
mod tree;

#[cfg(test)]
mod tests;

use std::path::Path as LocalPath;

use bytes::Bytes;
use chunk::manifest::{ChunkRef, Content, Manifest, content_root};
use chunk::split::SplitRule;
use env::Metadata;
use proto::namespace::{Attributes, Done, Expect, NewContent, Op};
use proto::seal::Receipt;
use types::limits::{FILE_SIZE_MAX, INLINE_SIZE_MAX, MANIFEST_INLINE_COUNT_MAX, UPLOAD_TRY_COUNT_MAX};
use types::{ChunkId, Error, Path, Result};

use super::ends::{FileState, Uploaded};
use super::store::StorePlan;
use chunks::ChunkList;
use tree::TreePlan;

/// What has come of a step.
#[derive(Debug)]
pub(super) enum UploadFact {
    /// Answers [`UploadStep::Look`].
    Looked(Metadata),
    /// Answers [`UploadStep::ReadInline`] with all bytes of the file.
    InlineRead(Bytes),
    /// Answers [`UploadStep::Cut`], again and again: the next chunk, of `size` bytes.
    Cut { id: ChunkId, size: u32 },
    /// Answers [`UploadStep::Cut`] for the last time: the file is at its end.
    Ended,
    /// Answers [`UploadStep::StoreChunk`] and [`UploadStep::StoreNode`], in the order in which they were asked for.
    Stored { id: ChunkId, receipt: Receipt },
    /// Answers [`UploadStep::Commit`]; every commit of a file should have a version.
    Committed(Done),
}

/// What to do next.
#[derive(Debug)]
pub(super) enum UploadStep {
    /// Look at the file: size, times, identity.
    Look,
    /// Read the whole file, which is small.
    ReadInline,
    /// Begin to read the file and to cut it by this rule.
    Cut(SplitRule),
    /// Store the chunk that was just cut. Do not wait for it.
    StoreChunk(StorePlan),
    /// Store these bytes as a manifest node.
    StoreNode(StorePlan, Bytes),
    /// Nothing new: the next fact comes from what is under way.
    Wait,
    /// Make the version visible; `weight` is roughly the bytes of `op`.
    Commit { op: Box<Op>, weight: usize },
    /// The file is through. Of its bytes `inline_size` were never part of a chunk.
    Done { uploaded: Uploaded, inline_size: u64 },
}

/// How far an upload is. `before` is the file as it was when this try began.
enum UploadState {
    New,
    Looking,
    ReadingInline {
        before: Metadata,
    },
    Cutting {
        before: Metadata,
        list: ChunkList,
    },
    StoringTree {
        before: Metadata,
        size: u64,
        tree: TreePlan,
    },
    LookingAgain {
        before: Metadata,
        manifest: Manifest,
        receipts: Vec<Receipt>,
    },
    Committing {
        size: u64,
        inline_size: u64,
    },
    /// Done or refused: no fact is expected.
    Over,
}

/// The upload of one file.
pub(super) struct UploadPlan<'a> {
    source: &'a LocalPath,
    target: &'a Path,
    /// What the caller saw at the target.
    seen: &'a FileState,
    tries_left: usize,
    state: UploadState,
}

impl<'a> UploadPlan<'a> {
    /// A plan that stores `source` at `target`, where the caller saw `seen`.
    pub(super) fn new(source: &'a LocalPath, target: &'a Path, seen: &'a FileState) -> Self {
        Self { source, target, seen, tries_left: UPLOAD_TRY_COUNT_MAX, state: UploadState::New }
    }

    /// The first step.
    pub(super) fn begin(&mut self) -> UploadStep {
        assert!(matches!(self.state, UploadState::New), "an upload begins once");
        self.look()
    }

    /// Takes a fact and returns the next step. An error ends the upload: nothing was committed, and what was stored is
    /// found by its pins next time. Panics on a fact that answers no step.
    pub(super) fn step(&mut self, fact: UploadFact) -> Result<UploadStep> {
        match (std::mem::replace(&mut self.state, UploadState::Over), fact) {
            (UploadState::Looking, UploadFact::Looked(before)) => self.choose_form(before),
            (UploadState::ReadingInline { before }, UploadFact::InlineRead(bytes)) => {
                Ok(self.take_inline(before, bytes))
            }
            (UploadState::Cutting { before, mut list }, UploadFact::Cut { id, size }) => {
                list.cut(ChunkRef { id, size });
                self.state = UploadState::Cutting { before, list };
                Ok(UploadStep::StoreChunk(StorePlan::chunk(id)))
            }
            (UploadState::Cutting { before, mut list }, UploadFact::Stored { id, receipt }) => {
                list.stored(id, receipt);
                self.after_chunk(before, list)
            }
            (UploadState::Cutting { before, mut list }, UploadFact::Ended) => {
                list.end();
                self.after_chunk(before, list)
            }
            (UploadState::StoringTree { before, size, mut tree }, UploadFact::Stored { id, receipt }) => {
                tree.stored(id, receipt);
                self.after_node(before, size, tree)
            }
            (UploadState::LookingAgain { before, manifest, receipts }, UploadFact::Looked(after)) => {
                let same = before.stamp == after.stamp && manifest.size == after.size;
                if same { Ok(self.commit_version(before, manifest, receipts)) } else { self.start_over() }
            }
            (UploadState::Committing { size, inline_size }, UploadFact::Committed(done)) => {
                let version =
                    done.version.ok_or_else(|| Error::internal("a commit answered without a version"))?;
                let uploaded = Uploaded { version, size, seq: Some(done.seq) };
                Ok(UploadStep::Done { uploaded, inline_size })
            }
            (_, fact) => panic!("upload of {}: nobody asked for {fact:?}", self.source.display()),
        }
    }

    fn look(&mut self) -> UploadStep {
        self.state = UploadState::Looking;
        UploadStep::Look
    }

    fn choose_form(&mut self, before: Metadata) -> Result<UploadStep> {
        if before.size > FILE_SIZE_MAX {
            let source = self.source.display();
            return Err(Error::invalid(format!("{source} is larger than any file may be")));
        }
        if before.size > INLINE_SIZE_MAX as u64 {
            return Ok(self.cut(before));
        }
        self.state = UploadState::ReadingInline { before };
        Ok(UploadStep::ReadInline)
    }

    fn cut(&mut self, before: Metadata) -> UploadStep {
        self.state = UploadState::Cutting { before, list: ChunkList::default() };
        UploadStep::Cut(SplitRule::for_size(before.size))
    }

    /// A file that has outgrown the inline form since the look is cut at once: where the clock of a file system is
    /// coarse, the second look may find it unchanged.
    fn take_inline(&mut self, before: Metadata, bytes: Bytes) -> UploadStep {
        if bytes.len() > INLINE_SIZE_MAX {
            return self.cut(before);
        }
        self.look_again(before, Manifest::inline(bytes), Vec::new())
    }

    /// When the last chunk is stored: few become a list in the manifest, many a tree.
    fn after_chunk(&mut self, before: Metadata, list: ChunkList) -> Result<UploadStep> {
        if !list.is_complete() {
            self.state = UploadState::Cutting { before, list };
            return Ok(UploadStep::Wait);
        }
        let size = list.size();
        let (chunks, receipts) = list.into_parts();
        if chunks.len() > MANIFEST_INLINE_COUNT_MAX {
            return self.after_node(before, size, TreePlan::new(&chunks, receipts));
        }
        let manifest = self.manifest(&before, size, Content::Chunks(chunks));
        Ok(self.look_again(before, manifest, receipts))
    }

    /// One node after the other; the receipt for the root vouches for all.
    fn after_node(&mut self, before: Metadata, size: u64, mut tree: TreePlan) -> Result<UploadStep> {
        if let Some((node, bytes)) = tree.next_node()? {
            self.state = UploadState::StoringTree { before, size, tree };
            return Ok(UploadStep::StoreNode(node, bytes));
        }
        let (content, receipt) = tree.into_root();
        let manifest = self.manifest(&before, size, content);
        Ok(self.look_again(before, manifest, vec![receipt]))
    }

    fn manifest(&self, before: &Metadata, size: u64, content: Content) -> Manifest {
        Manifest { size, rule: SplitRule::for_size(before.size).id, content }
    }

    /// Only a file that is now as it was before it was read has ever had the content that was read.
    fn look_again(&mut self, before: Metadata, manifest: Manifest, receipts: Vec<Receipt>) -> UploadStep {
        self.state = UploadState::LookingAgain { before, manifest, receipts };
        UploadStep::Look
    }

    fn start_over(&mut self) -> Result<UploadStep> {
        self.tries_left -= 1;
        if self.tries_left == 0 {
            return Err(Error::conflict(format!(
                "{} keeps changing while it is read: nothing was stored, try again when its writer is done",
                self.source.display()
            )));
        }
        Ok(self.look())
    }

    fn commit_version(&mut self, before: Metadata, manifest: Manifest, receipts: Vec<Receipt>) -> UploadStep {
        let (size, inline_size) = (manifest.size, inline_size(&manifest));
        if let FileState::Present(entry) = self.seen
            && entry.content_root == content_root(&manifest)
            && entry.size == size
        {
            let uploaded = Uploaded { version: entry.version, size, seq: None };
            return UploadStep::Done { uploaded, inline_size };
        }
        let weight = receipts.len() * (size_of::<ChunkRef>() + size_of::<Receipt>())
            + self.target.to_string().len()
            + inline_size as usize;
        let op = Op::CommitVersion {
            path: self.target.clone(),
            expect: expect(self.seen),
            content: NewContent::File { manifest, receipts },
            attributes: attributes(&before),
        };
        self.state = UploadState::Committing { size, inline_size };
        UploadStep::Commit { op: Box::new(op), weight }
    }
}

/// What the commit holds against what is there by then (I-CAS).
fn expect(seen: &FileState) -> Expect {
    match seen {
        FileState::Absent => Expect::Absent,
        FileState::Present(entry) => Expect::Version(entry.inode, entry.version),
    }
}

/// What the file system says of a file.
fn attributes(file: &Metadata) -> Attributes {
    let executable = file.mode.is_some_and(|mode| mode & 0o111 != 0);
    Attributes { mode: file.mode, executable, ..Attributes::at(file.modified) }
}

fn inline_size(manifest: &Manifest) -> u64 {
    match &manifest.content {
        Content::Inline(bytes) => bytes.len() as u64,
        Content::Chunks(_) | Content::Tree { .. } | Content::Sealed { .. } => 0,
    }
}
