//! Goal: from a manifest to a layout, and no further than the first contradiction. Method: manifests with the answers to
//! all reads; written down is what the plan asks for. Chunks are numbers.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chunk::manifest::TreeBuilder;
use proto::seal::ClusterSecret;
use types::limits::CHUNK_SIZE_MAX;
use types::{ErrorKind, Millis, Scope};

use super::*;
use crate::download::layout::ReadStep;

/// A chunk's number is the beginning of its id. The rest of the id ends a manifest node of every level that has 64
/// entries.
fn id(n: u64) -> ChunkId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.to_le_bytes());
    ChunkId(id)
}

fn ticket(id: ChunkId) -> Ticket {
    ClusterSecret::first([7; 32]).ticket("reader", types::NamespaceId(1), &id.within(Scope::FIRST), Millis(0))
}

fn tickets(ids: impl IntoIterator<Item = ChunkId>) -> Vec<Ticket> {
    ids.into_iter().map(ticket).collect()
}

/// Chunks 0, 1, 2 … of these sizes.
fn numbered(sizes: impl IntoIterator<Item = u32>) -> Vec<ChunkRef> {
    (0..).zip(sizes).map(|(n, size)| ChunkRef { id: id(n), size }).collect()
}

/// Everything that the reads of one version are answered with.
struct Answers {
    manifest: Manifest,
    tickets: Vec<Ticket>,
    nodes: BTreeMap<ChunkId, (Bytes, Vec<Ticket>)>,
}

fn inline(size: u64, bytes: usize) -> Answers {
    let content = Content::Inline(vec![b'x'; bytes].into());
    Answers { manifest: Manifest { size, rule: 1, content }, tickets: Vec::new(), nodes: BTreeMap::new() }
}

fn list(size: u64, sizes: &[u32]) -> Answers {
    let chunks = numbered(sizes.iter().copied());
    let tickets = tickets(chunks.iter().map(|chunk| chunk.id));
    let manifest = Manifest { size, rule: 1, content: Content::Chunks(chunks) };
    Answers { manifest, tickets, nodes: BTreeMap::new() }
}

/// A tree of `count` chunks of 10 bytes.
fn tree(count: usize) -> Answers {
    tree_of(&numbered(std::iter::repeat_n(10, count)))
}

fn tree_of(chunks: &[ChunkRef]) -> Answers {
    let mut builder = TreeBuilder::new();
    chunks.iter().for_each(|chunk| builder.push(*chunk));
    let content = builder.finish();
    let Content::Tree { root, .. } = content else { panic!("{content:?} is not a tree") };
    let node = |(id, bytes): (ChunkId, Bytes)| {
        let entries = parse_node(&bytes).map(|node| node.entries).unwrap_or_default();
        (id, (bytes, tickets(entries.iter().map(|entry| entry.id))))
    };
    let nodes = std::iter::from_fn(|| builder.next_node()).map(node).collect();
    let size = chunks.iter().map(|chunk| u64::from(chunk.size)).sum();
    Answers { manifest: Manifest { size, rule: 1, content }, tickets: tickets([root]), nodes }
}

impl Answers {
    fn root(&self) -> ChunkId {
        let Content::Tree { root, .. } = self.manifest.content else { panic!("not a tree") };
        root
    }

    /// Changes what the manifest says of its tree.
    fn claim(mut self, change: impl FnOnce(&mut u64, &mut u8, &mut u64)) -> Self {
        let Content::Tree { height, count, .. } = &mut self.manifest.content else { panic!("not a tree") };
        change(&mut self.manifest.size, height, count);
        self
    }

    /// Changes what is answered to the reading of `node`.
    fn answer(mut self, node: ChunkId, change: impl FnOnce(&mut Bytes, &mut Vec<Ticket>)) -> Self {
        let (bytes, tickets) = self.nodes.get_mut(&node).unwrap();
        change(bytes, tickets);
        self
    }

    /// The `index`th child of the root.
    fn child(&self, index: usize) -> ChunkId {
        parse_node(&self.nodes[&self.root()].0).unwrap().entries[index].id
    }
}

/// Opens a version and writes down how many nodes of each level are read; the first error ends it.
fn open(answers: &Answers) -> (String, Result<FileLayout>) {
    open_range(answers, 0..u64::MAX)
}

fn open_range(answers: &Answers, range: Range<u64>) -> (String, Result<FileLayout>) {
    let (mut plan, mut trace) = (DownloadPlan::new(range), String::new());
    let Answers { manifest, tickets, .. } = answers;
    let mut step = plan.step(DownloadFact::Opened { manifest: manifest.clone(), tickets: tickets.clone() });
    loop {
        match step {
            Err(error) => return (trace, Err(error)),
            Ok(DownloadStep::Ready(layout)) => {
                trace += &show(&layout);
                return (trace, Ok(layout));
            }
            Ok(DownloadStep::Wait) => panic!("a level has been read and leads nowhere"),
            Ok(DownloadStep::ReadNodes(nodes)) => {
                trace += &format!("read {} > ", nodes.len());
                step = read_level(&mut plan, answers, &nodes);
            }
        }
    }
}

/// Answers the nodes of a level in order; all but the last lead to waiting.
fn read_level(
    plan: &mut DownloadPlan,
    answers: &Answers,
    nodes: &[(ChunkId, Ticket)],
) -> Result<DownloadStep> {
    let mut step = DownloadStep::Wait;
    for (id, right) in nodes {
        assert_eq!(step, DownloadStep::Wait);
        assert_eq!(*right, ticket(*id), "the ticket of another node");
        let (bytes, tickets) = answers.nodes[id].clone();
        step = plan.step(DownloadFact::NodeRead { id: *id, bytes, tickets })?;
    }
    Ok(step)
}

/// `number@offset` of each part, or of the first and last of many.
fn show(layout: &FileLayout) -> String {
    let show = |step: ReadStep| match step {
        ReadStep::Take { offset, bytes } => format!("inline {}@{offset}", bytes.len()),
        ReadStep::Fetch(part) => {
            assert_eq!(part.ticket, ticket(part.chunk), "the ticket of another chunk");
            let n = u64::from_le_bytes(part.chunk.0[..8].try_into().unwrap());
            format!("{n}@{}", ReadStep::Fetch(part).offset())
        }
    };
    let parts: Vec<String> = layout.read(0..u64::MAX).map(show).collect();
    let shown = match &parts[..] {
        [first, _, _, _, .., last] => format!("{first} … {last} ({})", parts.len()),
        few => few.join(" "),
    };
    format!("{} bytes: {shown}", layout.size())
}

#[track_caller]
fn check(answers: &Answers, want: &str) {
    assert_eq!(open(answers).0, want);
}

/// The version is refused with this kind and a message that says `part`.
#[track_caller]
fn check_refused(answers: &Answers, kind: ErrorKind, part: &str) {
    let (trace, opened) = open(answers);
    let error = opened.expect_err(&trace);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.message().contains(part), "{error}");
}

#[test]
fn files_without_a_tree() {
    check(&inline(0, 0), "0 bytes: ");
    check(&inline(4096, 4096), "4096 bytes: inline 4096@0");
    check(&list(0, &[]), "0 bytes: ");
    check(&list(7, &[7]), "7 bytes: 0@0");
    check(&list(60, &[10, 20, 30]), "60 bytes: 0@0 1@10 2@30");
    check(&list(640, &[10; 64]), "640 bytes: 0@0 … 63@630 (64)");
}

#[test]
fn trees_are_read_level_by_level() {
    check(&tree(64), "read 1 > 640 bytes: 0@0 … 63@630 (64)");
    check(&tree(65), "read 1 > read 2 > 650 bytes: 0@0 … 64@640 (65)");
    check(&tree(64 * 3), "read 1 > read 3 > 1920 bytes: 0@0 … 191@1910 (192)");
    check(&tree(64 * 64 + 1), "read 1 > read 2 > read 65 > 40970 bytes: 0@0 … 4096@40960 (4097)");
}

/// Of 4,097 chunks of 10 bytes, in three levels.
#[track_caller]
fn check_range(range: Range<u64>, want: &str) {
    assert_eq!(open_range(&tree(64 * 64 + 1), range).0, want);
}

#[test]
fn a_range_reads_its_nodes_only() {
    check_range(0..1, "read 1 > read 1 > read 1 > 40970 bytes: 0@0");
    check_range(9..11, "read 1 > read 1 > read 1 > 40970 bytes: 0@0 1@10");
    check_range(639..641, "read 1 > read 1 > read 2 > 40970 bytes: 63@630 64@640");
    check_range(40_959..40_961, "read 1 > read 2 > read 2 > 40970 bytes: 4095@40950 4096@40960");
    check_range(40_969..u64::MAX, "read 1 > read 1 > read 1 > 40970 bytes: 4096@40960");
    check_range(40_970..50_000, "read 1 > 40970 bytes: ");
    check_range(5..5, "read 1 > read 1 > read 1 > 40970 bytes: 0@0");
}

#[test]
fn chunks_and_nodes_may_come_twice() {
    let chunk = ChunkRef { id: id(3), size: 10 };
    check(&tree_of(&[chunk; 64 * 64 * 2]), "read 1 > read 2 > read 128 > 81920 bytes: 3@0 … 3@81910 (8192)");
}

#[test]
fn the_rule_is_the_writer_s() {
    let mut answers = list(7, &[7]);
    answers.manifest.rule = 200;
    assert!(open(&answers).1.is_ok(), "a reader need not know how a file was cut");
}

#[test]
fn tickets_must_be_as_many_as_chunks() {
    for count in [0, 1, 3] {
        let mut answers = list(30, &[10, 20]);
        answers.tickets = vec![ticket(id(0)); count];
        check_refused(&answers, ErrorKind::Internal, &format!("{count} tickets for 2 chunks"));
    }
    for count in [0, 2] {
        let mut answers = tree(65);
        answers.tickets = vec![ticket(answers.root()); count];
        check_refused(&answers, ErrorKind::Internal, &format!("{count} tickets for the root of a tree"));
    }
    for count in [0, 63, 65] {
        let answers = tree(64);
        let root = answers.root();
        let answers = answers.answer(root, |_, tickets| tickets.resize(count, ticket(root)));
        check_refused(&answers, ErrorKind::Internal, &format!("{count} tickets for node"));
    }
}

#[test]
fn parts_must_add_up_to_the_file() {
    for (size, bytes) in [(0, 1), (1, 0), (5, 4), (u64::MAX, 3)] {
        check_refused(&inline(size, bytes), ErrorKind::Corrupt, &format!("{size} bytes lists {bytes}"));
    }
    for size in [0, 29, 31, u64::MAX] {
        check_refused(&list(size, &[10, 20]), ErrorKind::Corrupt, &format!("{size} bytes lists 30"));
    }
    check_refused(&list(1, &[]), ErrorKind::Corrupt, "1 bytes lists 0");
}

#[test]
fn chunks_of_impossible_sizes() {
    let too_large = CHUNK_SIZE_MAX as u32 + 1;
    for bad in [0, too_large, u32::MAX] {
        let size = 10 + u64::from(bad);
        check_refused(&list(size, &[10, bad]), ErrorKind::Corrupt, "a chunk of an impossible size");
        let mut chunks = numbered([10; 64]);
        chunks[40].size = bad;
        check_refused(&tree_of(&chunks), ErrorKind::Corrupt, "an entry of an impossible size");
    }
    check_refused(&list(u64::MAX, &[u32::MAX; 64]), ErrorKind::Corrupt, "a chunk of an impossible size");
}

#[test]
fn heights_that_cannot_be() {
    for bad in [0, TREE_HEIGHT_MAX + 1, 255] {
        let answers = tree(65).claim(|_, height, _| *height = bad);
        check_refused(&answers, ErrorKind::Corrupt, &format!("height {bad}, which cannot be"));
    }
    for (bad, level) in [(1, "level 0"), (3, "level 2"), (6, "level 5")] {
        let answers = tree(65).claim(|_, height, _| *height = bad);
        check_refused(&answers, ErrorKind::Corrupt, &format!("by what is above it, {level}"));
    }
}

#[test]
fn a_root_that_is_not_what_the_manifest_says() {
    for bad in [0, 649, 651, 1 << 50, u64::MAX] {
        let answers = tree(65).claim(|size, _, _| *size = bad);
        check_refused(&answers, ErrorKind::Corrupt, "holds 650 bytes in 65 chunks");
        let answers = tree(65).claim(|_, _, count| *count = bad);
        check_refused(&answers, ErrorKind::Corrupt, "holds 650 bytes in 65 chunks");
    }
}

#[test]
fn a_node_that_is_not_what_the_one_above_says() {
    let answers = tree(65);
    let (root, first, last) = (answers.root(), answers.child(0), answers.child(1));
    let bytes = |id| answers.nodes[&id].0.clone();
    let (root, first, last) = ((root, bytes(root)), (first, bytes(first)), (last, bytes(last)));
    for (at, instead) in [(&first, &last), (&last, &first), (&first, &root), (&root, &first)] {
        let answers = tree(65).answer(at.0, |bytes, _| *bytes = instead.1.clone());
        check_refused(&answers, ErrorKind::Corrupt, &format!("node {}", at.0));
    }
}

#[test]
fn nodes_of_rubbish() {
    let root = tree(64).root();
    let cases: [fn(&mut Bytes); 4] = [
        |bytes| *bytes = Bytes::new(),
        |bytes| *bytes = Bytes::from_static(b"a run of file bytes that is no node"),
        |bytes| *bytes = bytes.slice(..bytes.len() - 1),
        |bytes| *bytes = [&bytes[..], b"x"].concat().into(),
    ];
    for change in cases {
        let answers = tree(64).answer(root, |bytes, _| change(bytes));
        check_refused(&answers, ErrorKind::Corrupt, &format!("node {root}: manifest node"));
    }
    let newer = tree(64).answer(root, |bytes, _| *bytes = [&bytes[..4], &[2], &bytes[5..]].concat().into());
    check_refused(&newer, ErrorKind::Invalid, "update");
}

/// Opens a tree of three leaves and hands over facts until one makes the plan panic with `want`.
#[track_caller]
fn check_broken(facts: &[&str], want: &str) {
    let answers = tree(64 * 3);
    let node = |id: ChunkId| {
        let (bytes, tickets) = answers.nodes[&id].clone();
        DownloadFact::NodeRead { id, bytes, tickets }
    };
    let fact = |word: &str| match word {
        "open" => {
            DownloadFact::Opened { manifest: answers.manifest.clone(), tickets: answers.tickets.clone() }
        }
        "root" => node(answers.root()),
        child => node(answers.child(child.parse().unwrap())),
    };
    let mut plan = DownloadPlan::new(0..u64::MAX);
    let (last, before) = facts.split_last().unwrap();
    before.iter().for_each(|word| drop(plan.step(fact(word)).unwrap()));
    let payload = catch_unwind(AssertUnwindSafe(|| drop(plan.step(fact(last))))).expect_err("a panic");
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).expect("a text");
    assert!(text.contains(want), "{text}");
}

#[test]
fn facts_out_of_turn_stop_the_process() {
    check_broken(&["root"], "nobody asked for node");
    check_broken(&["open", "open"], "a version is opened once");
    check_broken(&["open", "0"], "nobody asked for node");
    check_broken(&["open", "root", "1"], "nobody asked for node");
    check_broken(&["open", "root", "0", "0"], "nobody asked for node");
    check_broken(&["open", "root", "0", "1", "2", "2"], "nobody asked for node");
}

#[test]
fn a_partial_file_is_next_to_its_target() {
    assert_eq!(partial_path(LocalPath::new("/d/a.txt")), LocalPath::new("/d/a.txt.cloudsync-partial"));
    assert_eq!(partial_path(LocalPath::new("a")), LocalPath::new("a.cloudsync-partial"));
}
