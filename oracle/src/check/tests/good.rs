//! A history in which nothing went wrong, written by hand: every kind of operation, and what was found afterwards.

use proto::namespace::{Change, Entry, Kind, NamespaceStats, Place, Record, Totals, Version};
use types::{Error, ErrorKind, InodeId, Millis, Name, NodeId, Path, Seq, VersionId};

use crate::content::{Content, Hash, Recipe};
use crate::history::{Asked, Followed, History, Mirrored, Operation, Outcome, Shown, Step, Via};
use crate::survey::{Digest, Kept, Served, Survey};

pub const ROOT: InodeId = InodeId(1);
pub const DIR: InodeId = InodeId(2);
pub const FILE: InodeId = InodeId(3);
pub const OTHER: InodeId = InodeId(4);

pub fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

pub fn place(dir: InodeId, name: &str) -> Place {
    Place { dir, name: Name::parse(name).unwrap() }
}

/// The `number`-th content.
pub fn content(number: u64) -> Content {
    Content::make(Recipe { seed: 1, client: 0, number, lead: 0, size: 20 + number }).1
}

pub fn record(seq: u64, inode: InodeId, path: &str, change: Change) -> Record {
    let (author, path) = ("user/ann".into(), path.into());
    Record { seq: Seq(seq), time: Millis(0), author, inode, path, change }
}

/// The version that the file got at a position.
pub fn made(seq: u64) -> VersionId {
    VersionId(match seq {
        2 => 1,
        3 => 2,
        4 => 3,
        8 => 4,
        _ => seq + 90,
    })
}

pub fn versioned(seq: u64, path: &str, at: Place, base: Option<u64>, content: Content) -> Record {
    let (dir, entry) = (at.dir, file(at.name.as_str(), seq, content));
    let change = match base {
        Some(base) => Change::Versioned { dir, entry, base: made(base) },
        None => Change::Created { dir, entry },
    };
    record(seq, FILE, path, change)
}

pub fn added(seq: u64, inode: InodeId, path: &str, at: Place) -> Record {
    record(seq, inode, path, Change::Created { dir: at.dir, entry: dir(at.name.as_str(), inode) })
}

pub fn returned(seq: u64, path: &str, at: Place) -> Record {
    let entry = file(at.name.as_str(), 4, content(4));
    record(seq, FILE, path, Change::Returned { dir: at.dir, entry, removed: Seq(6) })
}

pub fn removed(seq: u64, inode: InodeId, path: &str, at: Place) -> Record {
    record(seq, inode, path, Change::Removed { dir: at.dir, entry: file(at.name.as_str(), 4, content(4)) })
}

pub fn moved(seq: u64, inode: InodeId, path: &str, source: Place, target: Place) -> Record {
    let (dir, entry) = (target.dir, Entry::new(target.name.as_str(), inode, Kind::Dir));
    record(seq, inode, path, Change::Moved { source, source_path: "/".into(), dir, entry, replaced: None })
}

pub fn dir(name: &str, inode: InodeId) -> Entry {
    Entry::new(name, inode, Kind::Dir)
}

/// The file as it was from a position on.
pub fn file(name: &str, seq: u64, content: Content) -> Entry {
    let (size, version, content_root) = (content.recipe.size, made(seq), content.root);
    Entry { size, version, content_root, ..Entry::new(name, FILE, Kind::File) }
}

/// The version that was made at a position, on that of another.
pub fn version(seq: u64, base: Option<u64>, content: Content) -> Version {
    Version {
        inode: FILE,
        id: made(seq),
        base: base.map(made),
        author: "user/ann".into(),
        committed: Millis(0),
        attributes: Default::default(),
        size: content.recipe.size,
        content_root: content.root,
        target: String::new(),
    }
}

pub fn refused(kind: ErrorKind, seq: Option<u64>) -> Outcome {
    Outcome::Refused(Error::new(kind, "no"), seq.map(Seq))
}

fn changed(inodes: &[InodeId], seq: Option<u64>) -> Outcome {
    Outcome::Done(Shown::Changed(inodes.to_vec()), seq.map(Seq))
}

fn at(shown: Shown, seq: u64) -> Outcome {
    Outcome::Done(shown, Some(Seq(seq)))
}

fn put(base: Option<u64>, number: u64) -> Asked {
    let base = base.map(|seq| (FILE, made(seq)));
    Asked::Write(vec![Step::Commit { path: path("/d/f"), base, content: content(number) }])
}

fn one(step: Step) -> Asked {
    Asked::Write(vec![step])
}

fn rename(source: &str, target: &str) -> Step {
    Step::Rename(path(source), path(target))
}

/// An operation that took from `start_ms` half of the time until the next may begin.
fn operation(client: usize, start_ms: u64, via: Via, asked: Asked, outcome: Outcome) -> Operation {
    let (end_ms, allowed_ms) = (start_ms + 50, 50);
    Operation { client, start_ms, end_ms, allowed_ms, via, asked, outcome }
}

fn journal() -> Vec<Record> {
    let f = || place(DIR, "f");
    vec![
        added(1, DIR, "/d", place(ROOT, "d")),
        versioned(2, "/d/f", f(), None, content(2)),
        versioned(3, "/d/f", f(), Some(2), content(3)),
        versioned(4, "/d/f", f(), Some(3), content(4)),
        moved(5, FILE, "/d/g", f(), place(DIR, "g")),
        removed(6, FILE, "/d/g", place(DIR, "g")),
        returned(7, "/d/g", place(DIR, "g")),
        versioned(8, "/d/g", place(DIR, "g"), Some(4), content(2)),
        added(9, OTHER, "/e", place(ROOT, "e")),
        moved(10, DIR, "/x", place(ROOT, "d"), place(ROOT, "x")),
        moved(11, OTHER, "/d", place(ROOT, "e"), place(ROOT, "d")),
        moved(12, DIR, "/e", place(ROOT, "x"), place(ROOT, "e")),
    ]
}

/// Changes, and reads of what they left.
fn operations() -> Vec<Operation> {
    use Via::{Leader, Session};
    let read = |path_text: &str, version, range| Asked::Read(path(path_text), version, range);
    let shown = |v: Version, hash: Hash, seq| at(Shown::File(v, Ok(hash)), seq);
    let node = Via::Node { node: NodeId(2), shown: Seq(8) };
    let swap = vec![rename("/d", "/x"), rename("/e", "/d"), rename("/x", "/e")];
    vec![
        operation(0, 100, Leader, one(Step::Mkdir(path("/d"))), changed(&[DIR], Some(1))),
        operation(0, 200, Session, put(None, 2), changed(&[], Some(2))),
        operation(
            1,
            300,
            Session,
            read("/d/f", None, None),
            shown(version(2, None, content(2)), content(2).hash, 2),
        ),
        // Two write on the same version at once.
        operation(0, 400, Session, put(Some(2), 3), changed(&[], Some(3))),
        operation(1, 400, Session, put(Some(2), 30), refused(ErrorKind::Conflict, None)),
        operation(1, 500, Session, read("/d/f", Some(made(2)), Some(5..9)), {
            shown(version(2, None, content(2)), content(2).hash_of(&(5..9)), 3)
        }),
        // Nobody knows what became of it.
        operation(2, 600, Session, put(Some(3), 4), Outcome::Unknown),
        operation(0, 700, Session, one(rename("/d/f", "/d/g")), changed(&[FILE], None)),
        operation(
            1,
            800,
            Session,
            Asked::List(path("/d"), None),
            at(Shown::Entries(vec![file("g", 4, content(4))], false), 5),
        ),
        operation(
            0,
            900,
            Session,
            Asked::Stat(path("/d/g")),
            Outcome::Done(Shown::Entry(file("g", 4, content(4))), None),
        ),
        operation(0, 1_000, Leader, one(Step::Remove(path("/d/g"), false)), changed(&[FILE], Some(6))),
        operation(0, 1_100, Session, Asked::Stat(path("/d/g")), refused(ErrorKind::NotFound, None)),
        operation(0, 1_200, Session, one(Step::Undelete(path("/d/g"))), changed(&[FILE], None)),
        operation(0, 1_300, Session, one(Step::Undelete(path("/d/g"))), refused(ErrorKind::Exists, None)),
        operation(
            1,
            1_400,
            Session,
            read("/d/g", None, None),
            shown(version(4, Some(3), content(4)), content(4).hash, 7),
        ),
        operation(0, 1_500, Leader, one(Step::Restore(path("/d/g"), made(2))), changed(&[FILE], Some(8))),
        operation(1, 1_600, Session, Asked::Versions(path("/d/g"), None), {
            let versions = vec![version(8, Some(4), content(2)), version(4, Some(3), content(4))];
            at(Shown::Versions(versions, true), 8)
        }),
        operation(0, 1_700, Session, one(Step::Mkdir(path("/e"))), changed(&[OTHER], None)),
        operation(1, 1_800, Leader, one(Step::Mkdir(path("/d"))), refused(ErrorKind::Exists, Some(9))),
        operation(
            2,
            1_900,
            node,
            Asked::List(path("/"), None),
            at(Shown::Entries(vec![dir("d", DIR)], true), 9),
        ),
        operation(2, 2_000, Leader, Asked::Write(swap), changed(&[DIR, OTHER, DIR], Some(12))),
        operation(1, 2_100, Leader, Asked::Head, at(Shown::Head, 12)),
        operation(1, 2_200, Session, Asked::List(path("/"), Some(Name::parse("d").unwrap())), {
            at(Shown::Entries(vec![dir("e", DIR)], false), 12)
        }),
        operation(3, 2_300, Session, Asked::Pull(Seq(0)), at(Shown::Records(12), 12)),
    ]
}

fn stats(seq: u64) -> NamespaceStats {
    let totals = Totals { digest: [9; 16], ..Totals::default() };
    NamespaceStats { seq: Seq(seq), totals, ..NamespaceStats::default() }
}

fn digest(node: u64, seq: u64) -> Digest {
    Digest { node: NodeId(node), state: Ok(stats(seq)) }
}

fn kept(seq: u64, base: Option<u64>, content: Content) -> Kept {
    Kept { inode: FILE, version: made(seq), base: base.map(made), hash: Ok(content.hash) }
}

/// The whole, and what was found when it was over.
pub fn good() -> (History, Survey) {
    let followed = Followed { client: 3, records: journal(), is_at_end: true };
    let early = vec![(path("/d"), dir("d", DIR)), (path("/d/f"), file("f", 3, content(3)))];
    let mirrored = Mirrored { client: 4, began: Seq(1), seq: Seq(3), tree: early };
    let history = History {
        began: Seq(0),
        operations: operations(),
        followed: vec![followed],
        mirrored: vec![mirrored],
    };
    let tree = vec![
        (path("/d"), dir("d", OTHER)),
        (path("/e"), dir("e", DIR)),
        (path("/e/g"), file("g", 8, content(2))),
    ];
    let served = |node| Served { chunk: content(4).root, node: NodeId(node), outcome: Ok(()) };
    let survey = Survey {
        root: ROOT,
        early: journal(),
        early_tree: tree.clone(),
        journal: journal(),
        tree,
        kept: vec![
            kept(2, None, content(2)),
            kept(3, Some(2), content(3)),
            kept(4, Some(3), content(4)),
            kept(8, Some(4), content(2)),
        ],
        served: vec![served(1), served(2)],
        digests: vec![vec![digest(1, 12), digest(2, 12), digest(3, 12)]],
        strangers: Vec::new(),
    };
    (history, survey)
}
