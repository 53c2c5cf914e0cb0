//! Goal: the tree's rules, refusals and journal. Method: a script of changes against the machine over `MemKv`, and one
//! line of text per outcome.

use bytes::Bytes;
use chunk::manifest::Manifest;
use kv::{Durability, Kv, MemKv, Overlay};
use proptest::prelude::*;
use proto::command::{NamespaceCommand, Stamped};
use proto::namespace::{
    Attributes, Change, Contents, DirRef, Expect, Freshness, Kind, ListDir, Mode, NewContent, Op, OrderBy,
    View, WriteNamespace, Written,
};
use types::{
    Error, InodeId, Millis, NamespaceId, NamespaceName, Nanos, PartitionId, Path, RequestId, Result, Seq,
    TenantId, VersionId,
};

use super::*;
use crate::namespace::key;
use crate::{Halt, Replica, answer};

mod catalog;
mod changes;
mod journal;
mod listing;
mod rows;

/// The namespace `ns`.
pub const NS: NamespaceId = NamespaceId(0x3d9b_0000_0000_0001);

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
        assert_eq!(bench.create("ns", "user/ann"), Ok(NS));
        bench
    }

    fn create(&mut self, name: &str, owner: &str) -> Result<NamespaceId> {
        let name = NamespaceName::parse(name).unwrap();
        self.ask(NamespaceCommand::Create { name, owner: owner.into(), tenant: TenantId::FIRST })
    }

    fn ask<T: serde::de::DeserializeOwned>(&mut self, command: NamespaceCommand) -> Result<T> {
        answer::decode(&self.apply(command, 1))
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

    /// Creates a namespace in another slot: the rows of this one are looked at alone.
    fn apply_unchecked(&mut self, name: &str, owner: &str) -> Bytes {
        let create = NamespaceCommand::Create {
            name: NamespaceName::parse(name).unwrap(),
            owner: owner.into(),
            tenant: TenantId::FIRST,
        };
        let mut overlay = Overlay::new(&self.kv);
        let command = Stamped { time: Millis(1), command: create }.encode();
        let reply = self.replica.apply(&mut overlay, self.index, &command).unwrap();
        self.kv.write(overlay.into_batch(), Durability::Buffered).unwrap();
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
        self.list(path).unwrap().entries.into_iter().map(|e| e.name).collect()
    }

    fn list(&self, path: &str) -> Result<proto::namespace::Listing> {
        list_dir(&self.kv, &question(path))
    }

    fn entry(&self, path: &str) -> proto::namespace::Entry {
        stat(&self.kv, NS, &p(path)).unwrap().0
    }

    /// What must be there is what is there.
    fn seen(&self, path: &str) -> Expect {
        let entry = self.entry(path);
        Expect::Version(entry.inode, entry.version)
    }
}

fn p(path: &str) -> Path {
    Path::parse(path).unwrap()
}

/// The first page of a directory by name.
fn question(path: &str) -> ListDir {
    let view = View { namespace: NS, freshness: Freshness::Linearizable };
    let order = OrderBy::Name;
    ListDir { view, dir: DirRef::Path(p(path)), order, descending: false, after: None, limit: 100 }
}

fn mkdir(path: &str) -> Op {
    Op::Mkdir { path: p(path), parents: false, attributes: Attributes::default() }
}

fn mkdirs(path: &str) -> Op {
    Op::Mkdir { path: p(path), parents: true, attributes: Attributes::default() }
}

fn save(path: &str, expect: Expect, content: &'static str) -> Op {
    let manifest = Manifest::inline(Bytes::from_static(content.as_bytes()));
    let content = NewContent::File { manifest, receipts: Vec::new() };
    Op::CommitVersion { path: p(path), expect, content, attributes: Attributes::at(Nanos(5)) }
}

fn link(path: &str, expect: Expect, target: &str) -> Op {
    let content = NewContent::Symlink { target: target.into() };
    Op::CommitVersion { path: p(path), expect, content, attributes: Attributes::at(Nanos(5)) }
}

fn mv(source: &str, target: &str) -> Op {
    replace(source, target, Expect::Absent)
}

fn replace(source: &str, target: &str, replace: Expect) -> Op {
    Op::Rename { source: p(source), expect: Expect::Any, target: p(target), replace }
}

fn rm(path: &str, recursive: bool) -> Op {
    Op::Remove { path: p(path), expect: Expect::Any, recursive }
}

fn restore(path: &str, version: u64) -> Op {
    Op::RestoreVersion { path: p(path), expect: Expect::Any, version: VersionId(version) }
}

#[test]
fn directories() {
    let mut bench = Bench::new();
    bench.ok(mkdir("/a"));
    bench.refused(mkdir("/a"), "already exists");
    bench.refused(mkdir("/x/y"), "does not exist");
    bench.refused(mkdir("/"), "already exists");
    bench.ok(mkdirs("/x/y/z"));
    bench.ok(mkdirs("/x/y/z"));
    bench.ok(save("/f", Expect::Absent, "1"));
    bench.refused(mkdir("/f/g"), "file, not a directory");
    assert_eq!(bench.names("/"), ["a", "f", "x"]);
    assert_eq!(bench.names("/x/y"), ["z"]);
}

#[test]
fn versions_are_counted_and_name_what_they_replace() {
    let mut bench = Bench::new();
    assert_eq!(bench.ok(save("/f", Expect::Absent, "1")), Some(VersionId(1)));
    let first = bench.seen("/f");
    bench.refused(save("/f", Expect::Absent, "2"), "already exists");
    assert_eq!(bench.ok(save("/f", first, "22")), Some(VersionId(2)));
    bench.refused(save("/f", first, "3"), "newer version 2 than the 1");
    bench.refused(save("/g", first, "3"), "removed or moved");
    bench.ok(mkdir("/d"));
    bench.refused(save("/d", Expect::Any, "3"), "is a directory");
    bench.refused(save("/", Expect::Any, "3"), "/ itself");
    assert_eq!(bench.ok(restore("/f", 1)), Some(VersionId(3)));
    bench.refused(restore("/f", 999), "no version 999");
    bench.refused(restore("/d", 1), "has no versions");
    let found = list_versions(&bench.kv, NS, &p("/f"), None, 10).unwrap();
    let line = |v: &proto::namespace::Version| (v.id.0, v.base.map(|base| base.0), v.size);
    assert_eq!(
        found.versions.iter().map(line).collect::<Vec<_>>(),
        [(3, Some(2), 1), (2, Some(1), 2), (1, None, 1)]
    );
    let page = list_versions(&bench.kv, NS, &p("/f"), Some(VersionId(3)), 1).unwrap();
    assert_eq!((page.versions[0].id, page.more), (VersionId(2), true));
    let (version, manifest) = open_version(&bench.kv, NS, &p("/f"), Some(VersionId(2))).unwrap();
    assert_eq!((version.size, manifest), (2, Manifest::inline(Bytes::from_static(b"22"))));
    // Another file at the same path is another file, whatever its version.
    bench.ok(rm("/f", false));
    bench.ok(save("/f", Expect::Absent, "new"));
    bench.refused(save("/f", first, "4"), "not what this change is based on");
}

#[test]
fn moves() {
    let mut bench = Bench::new();
    bench.ok(mkdirs("/a/b"));
    bench.ok(save("/a/b/f", Expect::Absent, "1"));
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
    let ops = vec![
        save("/t/moved/g", Expect::Absent, "2"),
        mv("/t", "/u"),
        save("/t/moved/h", Expect::Absent, "3"),
    ];
    let results = bench.write(Mode::PerItem, ops).unwrap().results;
    assert!(results[0].is_ok() && results[1].is_ok() && results[2].is_err());
    assert_eq!(bench.names("/u/moved"), ["f", "g"]);
}

#[test]
fn the_trash_gives_back_what_was_removed_last() {
    let mut bench = Bench::new();
    bench.refused(rm("/f", false), "does not exist");
    for content in ["old", "newer"] {
        bench.ok(save("/f", Expect::Absent, content));
        bench.ok(rm("/f", false));
    }
    bench.ok(Op::Undelete { path: p("/f") });
    assert_eq!(bench.entry("/f").size, 5);
    bench.refused(Op::Undelete { path: p("/f") }, "move it away");
    bench.ok(mv("/f", "/g"));
    bench.ok(Op::Undelete { path: p("/f") });
    assert_eq!(bench.entry("/f").size, 3);
    bench.ok(rm("/f", false));
    bench.ok(Op::Undelete { path: p("/f") });
    bench.ok(rm("/f", false));
    bench.refused(Op::Undelete { path: p("/ff") }, "nothing that was removed");
    bench.ok(mkdirs("/d/e"));
    bench.refused(rm("/d", false), "not empty");
    bench.ok(rm("/d", true));
    bench.ok(Op::Undelete { path: p("/d") });
    assert_eq!(bench.names("/d"), ["e"]);
}

#[test]
fn an_atomic_batch_is_all_or_nothing() {
    let mut bench = Bench::new();
    let before = bench.digest();
    let ops = vec![mkdir("/a"), save("/a/f", Expect::Absent, "1"), rm("/nope", false)];
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

/// I-JRN: a follower hears that a record is missing, and not that there was none.
#[test]
fn a_journal_with_a_gap_is_corrupt() {
    for missing in 1..=4 {
        let mut bench = Bench::new();
        for name in ["/a", "/b", "/c", "/d"] {
            bench.ok(mkdir(name));
        }
        let mut batch = kv::Batch::new();
        batch.delete(&key::of_record(NS, Seq(missing)));
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
    let _ = list_dir(&Backwards(bench.kv.clone()), &question("/"));
}

#[test]
#[should_panic(expected = "from newer versions to older ones")]
fn a_history_out_of_order_stops_the_reader() {
    let mut bench = Bench::new();
    bench.ok(save("/f", Expect::Absent, "1"));
    bench.ok(save("/f", Expect::Any, "2"));
    let _ = list_versions(&Backwards(bench.kv.clone()), NS, &p("/f"), None, 10);
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
    assert_ne!(one.digest().totals, two.digest().totals);
    one.ok(mv("/b", "/a"));
    assert_eq!(one.digest().totals, two.digest().totals, "the same rows again");
}

#[test]
fn batches_that_are_too_long_and_unknown_namespaces_are_refused() {
    let mut bench = Bench::new();
    let write = WriteNamespace {
        namespace: NamespaceId(NS.0 + 1),
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
        mkdirs("/a/b"),
        save("/a/f", Expect::Absent, "one"),
        mv("/a", "/c"),
        save("/c/f", Expect::Any, "two"),
        rm("/c", true),
        Op::Undelete { path: p("/a") },
        Op::Undelete { path: p("/c") },
        restore("/c/f", 1),
        mv("/c/b", "/b"),
        link("/l", Expect::Any, "c/f"),
        Op::Copy { source: p("/c/f"), version: None, target: p("/b/g"), expect: Expect::Any },
        Op::SetAttributes { path: p("/b"), expect: Expect::Any, attributes: Attributes::at(Nanos(-1)) },
        replace("/b/g", "/l", Expect::Any),
        rm("/l", false),
        Op::RestoreRemoved { removed: Seq(5), target: None },
        Op::Split { path: p("/b"), expect: Expect::Any },
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
    let name = NamespaceName::parse("ns").unwrap();
    let create =
        NamespaceCommand::Create { name: name.clone(), owner: "user/ann".into(), tenant: TenantId::FIRST };
    let refused = NamespaceCommand::Create { name, owner: "user/bob".into(), tenant: TenantId::FIRST };
    let given = NamespaceCommand::SetOwner { namespace: NS, owner: "user/bob".into() };
    let deleted = [false, true].map(|force| NamespaceCommand::Delete { namespace: NS, force });
    let again = commands().remove(2);
    let writes = commands().into_iter().chain([again]);
    let writes = writes.map(|write| NamespaceCommand::Write { author: "user/ann".into(), write });
    let commands = std::iter::once(create).chain(writes).chain([refused, given]).chain(deleted);
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
