//! Goal: the tree's rules, refusals and journal. Method: a script of changes against the machine over `MemKv`, and one
//! line of text per outcome.

use bytes::Bytes;
use chunk::manifest::Manifest;
use kv::{Durability, Kv, MemKv, Overlay};
use proptest::prelude::*;
use proto::command::{NamespaceCommand, Stamped};
use proto::namespace::{Base, Change, Mode, Op, WriteNamespace, Written};
use types::{Error, Millis, NamespaceId, PartitionId, Path, RequestId, Result, Seq, VersionId};

use super::*;
use crate::{Halt, Replica, answer};

mod rows;

const NS: NamespaceId = NamespaceId(7);

struct Bench {
    kv: MemKv,
    replica: Replica<NamespaceMachine>,
    requests: u8,
    index: u64,
}

impl Bench {
    fn new() -> Self {
        let replica = Replica::new(PartitionId(1), NamespaceMachine::default());
        let mut bench = Self { kv: MemKv::new(0), replica, requests: 0, index: 0 };
        let create = NamespaceCommand::Create { namespace: NS, owner: "user/ann".into() };
        let reply = bench.apply(create, 1);
        answer::decode::<()>(&reply).unwrap();
        bench
    }

    fn apply(&mut self, command: NamespaceCommand, time: u64) -> Bytes {
        self.apply_bytes(&Stamped { time: Millis(time), command }.encode()).unwrap()
    }

    fn apply_bytes(&mut self, bytes: &[u8]) -> Result<Bytes, Halt> {
        self.index += 1;
        let mut overlay = Overlay::new(&self.kv);
        let reply = self.replica.apply(&mut overlay, self.index, bytes);
        let batch = overlay.into_batch();
        self.kv.write(batch, Durability::Buffered).unwrap();
        rows::check(&self.kv, NS);
        reply
    }

    fn write(&mut self, mode: Mode, ops: Vec<Op>) -> Result<Written> {
        self.requests += 1;
        self.write_as(RequestId([self.requests; 16]), mode, ops)
    }

    fn write_as(&mut self, request: RequestId, mode: Mode, ops: Vec<Op>) -> Result<Written> {
        let write = WriteNamespace { namespace: NS, request, mode, ops };
        let reply = self.apply(NamespaceCommand::Write { author: "user/ann".into(), write }, 1000);
        answer::decode(&reply)
    }

    #[track_caller]
    fn ok(&mut self, op: Op) -> Option<VersionId> {
        self.one(op).unwrap().version
    }

    #[track_caller]
    fn refused(&mut self, op: Op, want: &str) {
        let before = self.digest();
        let error = self.one(op).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
        assert_eq!(self.digest(), before, "a refused change leaves no trace");
    }

    fn one(&mut self, op: Op) -> Result<proto::namespace::Done> {
        self.write(Mode::PerItem, vec![op]).unwrap().results.remove(0)
    }

    fn digest(&self) -> proto::namespace::NamespaceStats {
        fetch_namespace(&self.kv, NS).unwrap()
    }

    fn names(&self, path: &str) -> Vec<String> {
        list_dir(&self.kv, NS, &p(path), None, 100).unwrap().entries.into_iter().map(|e| e.name).collect()
    }
}

fn p(path: &str) -> Path {
    Path::parse(path).unwrap()
}

fn mkdir(path: &str) -> Op {
    Op::Mkdir { path: p(path), parents: false }
}

fn save(path: &str, base: Base, content: &'static str) -> Op {
    let manifest = Manifest::inline(Bytes::from_static(content.as_bytes()));
    Op::CommitVersion { path: p(path), base, manifest, receipts: Vec::new(), modified: Millis(5) }
}

fn mv(source: &str, target: &str) -> Op {
    Op::Rename { source: p(source), target: p(target) }
}

fn rm(path: &str, recursive: bool) -> Op {
    Op::Remove { path: p(path), recursive }
}

#[test]
fn directories() {
    let mut bench = Bench::new();
    bench.ok(mkdir("/a"));
    bench.refused(mkdir("/a"), "already exists");
    bench.refused(mkdir("/x/y"), "does not exist");
    bench.refused(mkdir("/"), "already exists");
    bench.ok(Op::Mkdir { path: p("/x/y/z"), parents: true });
    bench.ok(Op::Mkdir { path: p("/x/y/z"), parents: true });
    bench.ok(save("/f", Base::Absent, "1"));
    bench.refused(mkdir("/f/g"), "file, not a directory");
    assert_eq!(bench.names("/"), ["a", "f", "x"]);
    assert_eq!(bench.names("/x/y"), ["z"]);
}

#[test]
fn versions_name_their_base() {
    let mut bench = Bench::new();
    let first = bench.ok(save("/f", Base::Absent, "1")).unwrap();
    bench.refused(save("/f", Base::Absent, "2"), "already exists");
    let second = bench.ok(save("/f", Base::Version(first), "22")).unwrap();
    bench.refused(save("/f", Base::Version(first), "3"), "newer version");
    bench.refused(save("/g", Base::Version(first), "3"), "removed or moved");
    bench.ok(mkdir("/d"));
    bench.refused(save("/d", Base::Any, "3"), "is a directory");
    bench.refused(save("/", Base::Any, "3"), "/ itself");
    let third = bench.ok(Op::RestoreVersion { path: p("/f"), version: first }).unwrap();
    bench.refused(Op::RestoreVersion { path: p("/f"), version: VersionId(999) }, "no version 999");
    let found = list_versions(&bench.kv, NS, &p("/f"), None, 10).unwrap();
    let line = |v: &proto::namespace::Version| (v.id, v.base, v.size);
    assert_eq!(
        found.versions.iter().map(line).collect::<Vec<_>>(),
        [(third, Some(second), 1), (second, Some(first), 2), (first, None, 1)]
    );
    let page = list_versions(&bench.kv, NS, &p("/f"), Some(third), 1).unwrap();
    assert_eq!((page.versions[0].id, page.more), (second, true));
    let (version, manifest) = open_version(&bench.kv, NS, &p("/f"), Some(second)).unwrap();
    assert_eq!((version.size, manifest), (2, Manifest::inline(Bytes::from_static(b"22"))));
}

#[test]
fn moves() {
    let mut bench = Bench::new();
    bench.ok(Op::Mkdir { path: p("/a/b"), parents: true });
    bench.ok(save("/a/b/f", Base::Absent, "1"));
    bench.refused(mv("/a", "/a/b/c"), "into itself");
    bench.refused(mv("/nope", "/x"), "does not exist");
    bench.refused(mv("/a", "/nope/x"), "does not exist");
    bench.ok(mkdir("/t"));
    bench.refused(mv("/a", "/t"), "already exists");
    bench.ok(mv("/a/b", "/t/moved"));
    bench.ok(mv("/t", "/t"));
    assert_eq!(bench.names("/t/moved"), ["f"]);
    assert!(bench.names("/a").is_empty());
    // The directory that a batch looked up before a move is not where it was.
    let ops =
        vec![save("/t/moved/g", Base::Absent, "2"), mv("/t", "/u"), save("/t/moved/h", Base::Absent, "3")];
    let results = bench.write(Mode::PerItem, ops).unwrap().results;
    assert!(results[0].is_ok() && results[1].is_ok() && results[2].is_err());
    assert_eq!(bench.names("/u/moved"), ["f", "g"]);
}

#[test]
fn the_trash_gives_back_what_was_removed_last() {
    let mut bench = Bench::new();
    bench.refused(rm("/f", false), "does not exist");
    for content in ["old", "newer"] {
        bench.ok(save("/f", Base::Absent, content));
        bench.ok(rm("/f", false));
    }
    bench.ok(Op::Undelete { path: p("/f") });
    assert_eq!(stat(&bench.kv, NS, &p("/f")).unwrap().size, 5);
    bench.refused(Op::Undelete { path: p("/f") }, "move it away");
    bench.ok(mv("/f", "/g"));
    bench.ok(Op::Undelete { path: p("/f") });
    assert_eq!(stat(&bench.kv, NS, &p("/f")).unwrap().size, 3);
    bench.ok(rm("/f", false));
    bench.ok(Op::Undelete { path: p("/f") });
    bench.ok(rm("/f", false));
    bench.refused(Op::Undelete { path: p("/ff") }, "nothing that was removed");
    bench.ok(Op::Mkdir { path: p("/d/e"), parents: true });
    bench.refused(rm("/d", false), "not empty");
    bench.ok(rm("/d", true));
    bench.ok(Op::Undelete { path: p("/d") });
    assert_eq!(bench.names("/d"), ["e"]);
}

#[test]
fn an_atomic_batch_is_all_or_nothing() {
    let mut bench = Bench::new();
    let before = bench.digest();
    let ops = vec![mkdir("/a"), save("/a/f", Base::Absent, "1"), rm("/nope", false)];
    let results = bench.write(Mode::Atomic, ops.clone()).unwrap().results;
    assert!(results[0].as_ref().is_err_and(|e| e.message().contains("change 3")));
    assert!(results[2].as_ref().is_err_and(|e| e.message().contains("/nope does not exist")));
    assert_eq!(bench.digest(), before);
    let results = bench.write(Mode::Atomic, ops[..2].to_vec()).unwrap().results;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(bench.names("/a"), ["f"]);
    let results = bench.write(Mode::PerItem, vec![rm("/nope", false), mkdir("/b")]).unwrap().results;
    assert!(results[0].is_err() && results[1].is_ok());
}

#[test]
fn a_repeated_request_is_answered_and_not_done_again() {
    let mut bench = Bench::new();
    let id = RequestId([200; 16]);
    let first = bench.write_as(id, Mode::PerItem, vec![mkdir("/a")]).unwrap();
    let before = bench.digest();
    assert_eq!(bench.write_as(id, Mode::PerItem, vec![mkdir("/a")]).unwrap(), first);
    assert_eq!(bench.digest(), before);
}

#[test]
fn the_journal_is_dense_and_tells_everything() {
    let mut bench = Bench::new();
    bench.ok(mkdir("/a"));
    bench.ok(save("/a/f", Base::Absent, "1"));
    bench.ok(mv("/a/f", "/g"));
    bench.ok(rm("/g", false));
    bench.ok(Op::Undelete { path: p("/g") });
    let journal = pull_journal(&bench.kv, NS, Seq(0), 100).unwrap();
    assert_eq!(journal.records.iter().map(|r| r.seq.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let kinds: Vec<&str> = journal
        .records
        .iter()
        .map(|r| match r.change {
            Change::Added { .. } => "added",
            Change::Versioned { .. } => "versioned",
            Change::Moved { .. } => "moved",
            Change::Removed { .. } => "removed",
        })
        .collect();
    assert_eq!(kinds, ["added", "versioned", "moved", "removed", "added"]);
    let page = pull_journal(&bench.kv, NS, Seq(3), 1).unwrap();
    assert_eq!((page.records[0].seq, page.head), (Seq(4), Seq(5)));
    assert!(pull_journal(&bench.kv, NS, Seq(6), 1).unwrap_err().message().contains("ahead of the journal"));
}

/// I-JRN: a follower hears that a record is missing, and not that there was none.
#[test]
fn a_journal_with_a_gap_is_corrupt() {
    for missing in 1..=4 {
        let mut bench = Bench::new();
        for name in ["/a", "/b", "/c", "/d"] {
            bench.ok(mkdir(name));
        }
        let mut batch = kv::Batch::new();
        batch.delete(&row::journal_key(NS, Seq(missing)));
        bench.kv.write(batch, Durability::Buffered).unwrap();
        for (after, limit) in [(0, 100), (0, 4), (missing - 1, 1)] {
            let error = pull_journal(&bench.kv, NS, Seq(after), limit).unwrap_err();
            assert_eq!(error.kind(), types::ErrorKind::Corrupt, "{error}");
        }
        assert!(pull_journal(&bench.kv, NS, Seq(missing), 100).is_ok(), "what follows is whole");
    }
}

/// A store that scans backwards whatever it is asked.
struct Backwards(MemKv);

impl kv::Read for Backwards {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.0.get(key)
    }

    fn scan(&self, start: &[u8], end: &[u8], _: kv::Order, visit: &mut kv::Visit<'_>) -> Result<()> {
        self.0.scan(start, end, kv::Order::Backward, visit)
    }
}

#[test]
#[should_panic(expected = "a listing is in order")]
fn a_listing_out_of_order_stops_the_reader() {
    let mut bench = Bench::new();
    bench.ok(mkdir("/a"));
    bench.ok(mkdir("/b"));
    let _ = list_dir(&Backwards(bench.kv.clone()), NS, &Path::root(), None, 10);
}

#[test]
#[should_panic(expected = "from newer versions to older ones")]
fn a_history_out_of_order_stops_the_reader() {
    let mut bench = Bench::new();
    let first = bench.ok(save("/f", Base::Absent, "1")).unwrap();
    bench.ok(save("/f", Base::Version(first), "2"));
    let _ = list_versions(&Backwards(bench.kv.clone()), NS, &p("/f"), None, 10);
}

#[test]
fn listings_page_by_name_in_byte_order() {
    let mut bench = Bench::new();
    for name in ["b", "a", "a b", "ab", "a!", "é", "B"] {
        bench.ok(save(&format!("/{name}"), Base::Absent, ""));
    }
    let mut paged = Vec::new();
    let mut after = None;
    loop {
        let page = list_dir(&bench.kv, NS, &Path::root(), after.as_ref(), 2).unwrap();
        paged.extend(page.entries.iter().map(|e| e.name.clone()));
        after = paged.last().map(|name| types::Name::parse(name).unwrap());
        if !page.more {
            break;
        }
    }
    assert_eq!(paged, ["B", "a", "a b", "a!", "ab", "b", "é"]);
    let error = list_dir(&bench.kv, NS, &p("/a"), None, 10).unwrap_err();
    assert!(error.message().contains("is a file"));
}

#[test]
fn the_digest_is_that_of_the_set_of_rows() {
    let mut one = Bench::new();
    let mut two = Bench::new();
    for bench in [&mut one, &mut two] {
        bench.ok(mkdir("/a"));
    }
    assert_eq!(one.digest(), two.digest());
    one.ok(mv("/a", "/b"));
    assert_ne!(one.digest().digest, two.digest().digest);
    one.ok(mv("/b", "/a"));
    assert_eq!(one.digest().digest, two.digest().digest, "the same rows again");
}

#[test]
fn batches_that_are_too_long_and_unknown_namespaces_are_refused() {
    let mut bench = Bench::new();
    let write = WriteNamespace {
        namespace: NamespaceId(8),
        request: RequestId([99; 16]),
        mode: Mode::PerItem,
        ops: vec![],
    };
    let reply = bench.apply(NamespaceCommand::Write { author: "a".into(), write }, 1);
    let error: Result<Written, Error> = answer::decode(&reply);
    assert!(error.unwrap_err().message().contains("does not exist"));
    let many = vec![mkdir("/x"); types::limits::BATCH_OP_COUNT_MAX + 1];
    assert!(bench.write(Mode::PerItem, many).unwrap_err().message().contains("over the limit"));
}

/// What another program may have written to the log: our commands with one byte changed.
fn commands() -> Vec<WriteNamespace> {
    let ops = vec![
        Op::Mkdir { path: p("/a/b"), parents: true },
        save("/a/f", Base::Absent, "one"),
        mv("/a", "/c"),
        save("/c/f", Base::Version(VersionId(3)), "two"),
        rm("/c", true),
        Op::Undelete { path: p("/a") },
        Op::Undelete { path: p("/c") },
        Op::RestoreVersion { path: p("/c/f"), version: VersionId(3) },
        mv("/c/b", "/b"),
    ];
    let write = |id, mode, ops: &[Op]| WriteNamespace {
        namespace: NS,
        request: RequestId([id; 16]),
        mode,
        ops: ops.to_vec(),
    };
    vec![
        write(1, Mode::PerItem, &ops[..4]),
        write(2, Mode::Atomic, &ops),
        write(3, Mode::PerItem, &ops[3..]),
        write(4, Mode::PerItem, &ops),
    ]
}

/// A log with a change of every kind, some of them refused, one repeated.
pub fn log() -> Vec<Bytes> {
    let create = NamespaceCommand::Create { namespace: NS, owner: "user/ann".into() };
    let again = commands().remove(2);
    let writes = commands().into_iter().chain([again]);
    let writes = writes.map(|write| NamespaceCommand::Write { author: "user/ann".into(), write });
    let commands = std::iter::once(create).chain(writes);
    commands.map(|command| Stamped { time: Millis(1000), command }.encode()).collect()
}

proptest! {
    #[test]
    fn no_command_breaks_the_rows(damage in proptest::collection::vec((any::<u8>(), any::<usize>()), 4)) {
        let mut bench = Bench::new();
        for (write, (byte, at)) in commands().into_iter().zip(damage) {
            let command = NamespaceCommand::Write { author: "user/ann".into(), write };
            let mut bytes = Stamped { time: Millis(1000), command }.encode().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            // Carried out, refused, or a halt: in each case the rows still fit each other.
            let _ = bench.apply_bytes(&bytes);
        }
    }
}
