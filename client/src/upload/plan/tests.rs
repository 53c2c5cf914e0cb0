//! Goal: every decision of an upload, without a disk or a server. Method: scripts of facts; each is printed with the
//! step that it leads to. Chunks are numbers, and so are receipts: that of chunk 7 is 7 when it was sent and 507 when it
//! was there; that of the first node is 9000.

mod broken;
mod changes;
mod forms;
mod trees;

use std::ops::Range;

use expect_test::Expect;
use proto::block::ChunkKind;
use proto::namespace::{Entry, Kind};
use proto::seal::ClusterSecret;
use types::{GcEpoch, Generation, InodeId, Nanos, Scope, Seq, VersionId};

use super::*;
use crate::upload::store::StoreStep;

const SECRET: ClusterSecret = ClusterSecret::first([7; 32]);
/// What is added to the number of a chunk that was there already.
const PINNED_RECEIPT: u64 = 500;
/// The receipt of the first node that is stored.
const NODE_RECEIPT: u64 = 9000;

/// A chunk's number is the beginning of its id. The rest of the id never ends a manifest node.
fn id(n: u64) -> ChunkId {
    let mut id = [0xff; 32];
    id[..8].copy_from_slice(&n.to_le_bytes());
    ChunkId(id)
}

fn number(id: ChunkId) -> u64 {
    u64::from_le_bytes(id.0[..8].try_into().unwrap())
}

fn receipt(n: u64) -> Receipt {
    SECRET.receipt(&id(n).within(Scope::FIRST), Generation(n), GcEpoch(1), 1)
}

/// Version 4 of a file, with this content.
fn present(content_root: ChunkId, size: u64) -> FileState {
    let entry = Entry::new("t", InodeId(1), Kind::File);
    FileState::Present(Entry { size, version: VersionId(4), content_root, ..entry })
}

/// `5000@2`: size and stamp. The file was changed at the time of its stamp.
fn metadata(text: &str) -> Metadata {
    let (size, stamp) = text.split_once('@').unwrap();
    let stamp: u64 = stamp.parse().unwrap();
    Metadata {
        is_file: true,
        is_dir: false,
        size: size.parse().unwrap(),
        modified: Nanos(stamp as i64),
        mode: None,
        stamp: (stamp, 1),
    }
}

/// `3` or `3..5`.
fn numbers(text: &str) -> Range<u64> {
    let number = |text: &str| text.parse::<u64>().unwrap();
    text.split_once("..")
        .map_or_else(|| number(text)..number(text) + 1, |(first, end)| number(first)..number(end))
}

/// A plan that is fed with words.
struct Script<'a> {
    plan: UploadPlan<'a>,
    /// The node that was to be stored last, and how many there were.
    node: (Option<ChunkId>, u64),
}

impl<'a> Script<'a> {
    fn new(target: &'a Path, seen: &'a FileState) -> Self {
        let mut plan = UploadPlan::new(LocalPath::new("f"), target, seen);
        assert!(matches!(plan.begin(), UploadStep::Look));
        Self { plan, node: (None, 0) }
    }

    /// Performs the storing of a chunk whose pin has this answer.
    fn store(&mut self, n: u64, answer: Option<u64>) -> Result<UploadStep> {
        let receipt = match StorePlan::chunk(id(n)).pinned(answer.map(receipt)) {
            StoreStep::Keep(receipt) => receipt,
            StoreStep::Put { .. } => receipt(n),
        };
        self.plan.step(UploadFact::Stored { id: id(n), receipt })
    }

    /// Feeds what the line says and returns the last step. A range of chunks is many facts.
    fn feed(&mut self, line: &str) -> Result<UploadStep> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "look" => self.plan.step(UploadFact::Looked(metadata(rest))),
            "read" => {
                let size: usize = rest.parse().unwrap();
                self.plan.step(UploadFact::InlineRead(vec![b'x'; size].into()))
            }
            "cut" => {
                let (chunks, size) = rest.split_once(':').unwrap();
                let size = size.parse().unwrap();
                let fact = |n| UploadFact::Cut { id: id(n), size };
                numbers(chunks).map(|n| self.plan.step(fact(n))).last().unwrap()
            }
            "end" => self.plan.step(UploadFact::Ended),
            "stored" if rest == "node" => {
                let node = self.node.0.expect("a node was to be stored");
                let receipt = receipt(NODE_RECEIPT + self.node.1 - 1);
                self.plan.step(UploadFact::Stored { id: node, receipt })
            }
            "stored" => numbers(rest).map(|n| self.store(n, None)).last().unwrap(),
            "pinned" => numbers(rest).map(|n| self.store(n, Some(n + PINNED_RECEIPT))).last().unwrap(),
            "committed" => self.plan.step(UploadFact::Committed(Done {
                inode: InodeId(1),
                version: rest.parse().ok().map(VersionId),
                seq: Seq(9),
                namespace: None,
            })),
            _ => panic!("what is {line:?}?"),
        }
        .inspect(|step| {
            if let UploadStep::StoreNode(node, _) = step {
                self.node = (Some(node.id()), self.node.1 + 1);
            }
        })
    }
}

/// Feeds a script, facts with `; ` between them, to an upload to `/t`, where the caller saw `seen`.
#[track_caller]
fn check(seen: &FileState, script: &str, want: Expect) {
    let target = Path::parse("/t").unwrap();
    let mut feeder = Script::new(&target, seen);
    let mut trace = String::new();
    for line in script.split("; ") {
        let step = feeder.feed(line).map_or_else(|e| format!("refuse: {e}"), |step| show(&step));
        trace += &format!("{line:<22} -> {step}\n");
    }
    want.assert_eq(&trace);
}

fn show(step: &UploadStep) -> String {
    match step {
        UploadStep::Look => "look".to_owned(),
        UploadStep::ReadInline => "read inline".to_owned(),
        UploadStep::Cut(rule) => format!("cut by rule {}", rule.id),
        UploadStep::StoreChunk(chunk) => format!("store chunk {}", number(chunk.id())),
        UploadStep::StoreNode(..) => "store a node".to_owned(),
        UploadStep::Wait => "wait".to_owned(),
        UploadStep::Commit { op, weight } => format!("commit {}, weight {weight}", show_op(op)),
        UploadStep::Done { uploaded: Uploaded { version, size, seq }, inline_size } => {
            let changed = if seq.is_some() { "new" } else { "old" };
            format!("done: {changed} version {version} of {size} bytes, {inline_size} inline")
        }
    }
}

fn show_op(op: &Op) -> String {
    let Op::CommitVersion { path, expect, content, attributes } = op else { panic!("{op:?}") };
    let NewContent::File { manifest, receipts } = content else { panic!("{content:?}") };
    let (base, modified) = (show_expect(expect), attributes.modified.0);
    assert_eq!(manifest.check(), Ok(()), "a server would refuse this");
    let Manifest { size, rule, content } = manifest;
    let content = match content {
        Content::Inline(bytes) => format!("{} bytes inline", bytes.len()),
        Content::Chunks(chunks) => format!("chunks {}", row(chunks.iter().map(|c| number(c.id)))),
        Content::Tree { height, count, .. } => format!("a tree of {count} chunks and height {height}"),
        Content::Sealed { .. } => panic!("a server would refuse this"),
    };
    let receipts = row(receipts.iter().map(|receipt| receipt.generation.0));
    format!(
        "{path} on {base} changed at {modified}: {size} bytes by rule {rule}, {content}, receipts {receipts}"
    )
}

fn show_expect(expect: &proto::namespace::Expect) -> String {
    match expect {
        proto::namespace::Expect::Version(InodeId(1), version) => format!("Version(VersionId({version}))"),
        other => format!("{other:?}"),
    }
}

/// Numbers, or the first and last of many.
fn row(numbers: impl ExactSizeIterator<Item = u64>) -> String {
    let numbers: Vec<u64> = numbers.collect();
    match &numbers[..] {
        [first, _, _, _, _, .., last] => format!("[{first} … {last}] ({})", numbers.len()),
        few => format!("{few:?}"),
    }
}

#[test]
fn what_is_pinned_is_not_sent() {
    let (chunk, node) = (|| StorePlan::chunk(id(1)), || StorePlan::node(id(2), vec![receipt(5), receipt(6)]));
    assert_eq!((chunk().id(), node().id()), (id(1), id(2)));
    assert_eq!(chunk().pinned(Some(receipt(1))), StoreStep::Keep(receipt(1)));
    assert_eq!(chunk().pinned(None), StoreStep::Put { kind: ChunkKind::Data, receipts: vec![] });
    assert_eq!(node().pinned(Some(receipt(2))), StoreStep::Keep(receipt(2)));
    let receipts = vec![receipt(5), receipt(6)];
    assert_eq!(node().pinned(None), StoreStep::Put { kind: ChunkKind::ManifestNode, receipts });
}
