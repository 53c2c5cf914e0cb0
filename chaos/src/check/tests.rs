//! Goal: every checker finds what it is for. Method: one good history that all checkers accept, and for each planted
//! mutant the checker that must find it, by name and words.

use proto::namespace::{Change, Entry, Kind, Place, Record};
use types::{ChunkId, InodeId, Millis, Name, NodeId, Path, Seq, VersionId};

use super::*;
use crate::history::{Answer, Commit, Digest, Race, Step};

const ROOT: InodeId = InodeId(1);
const DIR: InodeId = InodeId(2);
const FILE: InodeId = InodeId(3);

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn place(dir: InodeId, name: &str) -> Place {
    Place { dir, name: Name::parse(name).unwrap() }
}

fn content(byte: u8) -> Content {
    Content([byte; 32])
}

fn record(seq: u64, inode: InodeId, change: Change) -> Record {
    Record { seq: Seq(seq), time: Millis(0), author: "user/ann".into(), inode, change }
}

fn versioned(seq: u64, inode: InodeId, at: Place, base: Option<u64>) -> Record {
    let (version, base) = (VersionId(seq), base.map(VersionId));
    record(seq, inode, Change::Versioned { at, version, base, size: 5, content_root: ChunkId::default() })
}

fn commit(base: Option<u64>, byte: u8, outcome: Outcome<VersionId>) -> Commit {
    Commit { path: path("/d/f"), base: base.map(VersionId), content: content(byte), outcome }
}

fn kept(version: u64, base: Option<u64>, byte: u8) -> Kept {
    Kept { inode: FILE, version: VersionId(version), base: base.map(VersionId), content: Ok(content(byte)) }
}

fn fresh(known: u64, seq: u64) -> Freshness {
    Freshness { known: Seq(known), seq: Seq(seq), leaderless: false }
}

fn read(text: &str, seq: u64, version: u64, byte: u8) -> Read {
    let (path, version, content) = (path(text), VersionId(version), content(byte));
    Read { path, is_old: false, fresh: fresh(seq, seq), version, content }
}

fn entry(text: &str, inode: InodeId, kind: Kind, version: u64) -> (Path, Entry) {
    let path = path(text);
    let name = path.names().last().unwrap().as_str().to_owned();
    let (modified, version, content_root) = (Millis(0), VersionId(version), ChunkId::default());
    (path, Entry { name, inode, kind, size: 0, modified, version, content_root })
}

fn digest(node: u64, seq: u64, byte: u8) -> Digest {
    Digest { node: NodeId(node), seq: Seq(seq), digest: [byte; 16] }
}

/// A directory, a file with three versions of which one was raced for, a rename, a removal and an undelete.
fn good() -> (History, Survey) {
    let journal = vec![
        record(1, DIR, Change::Added { at: place(ROOT, "d"), kind: Kind::Dir }),
        versioned(2, FILE, place(DIR, "f"), None),
        versioned(3, FILE, place(DIR, "f"), Some(2)),
        versioned(4, FILE, place(DIR, "f"), Some(3)),
        record(5, FILE, Change::Moved { source: place(DIR, "f"), target: place(DIR, "g") }),
        record(6, FILE, Change::Removed { at: place(DIR, "g") }),
        record(7, FILE, Change::Added { at: place(DIR, "g"), kind: Kind::File }),
    ];
    let done = |version| Outcome::Done(VersionId(version));
    let step = |mark, inode| Step { mark, outcome: Outcome::Done(inode) };
    let conflict = Outcome::Refused(ErrorKind::Conflict);
    let history = History {
        commits: vec![
            commit(None, 2, done(2)),
            commit(Some(2), 3, done(3)),
            commit(Some(2), 30, conflict),
            commit(Some(3), 4, Outcome::Unknown),
        ],
        steps: vec![
            step(Mark::Added, DIR),
            step(Mark::Moved, FILE),
            step(Mark::Removed, FILE),
            step(Mark::Added, FILE),
        ],
        reads: vec![
            read("/d/f", 2, 2, 2),
            read("/d/g", 7, 4, 4),
            Read { is_old: true, ..read("/d/f", 3, 2, 2) },
        ],
        looks: vec![Look {
            path: path("/d"),
            fresh: fresh(2, 5),
            entries: vec![("g".into(), FILE, VersionId(4))],
        }],
        races: vec![Race { path: path("/d/f"), outcomes: [done(3), conflict] }],
        tails: journal[..4].to_vec(),
        answers: vec![Answer { what: "put", took_ms: 10, allowed_ms: 10 }],
        ..History::default()
    };
    let survey = Survey {
        root: ROOT,
        early: journal.clone(),
        journal,
        tree: vec![entry("/d", DIR, Kind::Dir, 0), entry("/d/g", FILE, Kind::File, 4)],
        kept: vec![kept(2, None, 2), kept(3, Some(2), 3), kept(4, Some(3), 4)],
        digests: vec![vec![digest(1, 7, 9), digest(2, 7, 9), digest(3, 7, 9)]],
    };
    (history, survey)
}

#[test]
fn a_good_history_is_green_and_exercises_everything() {
    let (history, survey) = good();
    for verdict in all(&history, &survey) {
        assert_eq!(verdict.violations, [""; 0], "{:?}", verdict.promise);
        assert!(verdict.exercised > 0, "{:?}", verdict.promise);
    }
    for verdict in all(&History::default(), &Survey::default()) {
        assert_eq!(
            (verdict.exercised, verdict.violations.len()),
            (0, 0),
            "nothing happened: {:?}",
            verdict.promise
        );
    }
}

/// Plants a mutant; `promise` must be found broken in these words.
#[track_caller]
fn check(promise: Promise, words: &str, plant: impl FnOnce(&mut History, &mut Survey)) {
    let (mut history, mut survey) = good();
    plant(&mut history, &mut survey);
    let verdicts = all(&history, &survey);
    let verdict = verdicts.iter().find(|verdict| verdict.promise == promise).unwrap();
    assert!(verdict.violations.iter().any(|violation| violation.contains(words)), "{verdict:?}");
}

#[test]
fn lost_writes() {
    check(Promise::Ack, "version 3 of /d/f was acknowledged and is gone", |_, s| drop(s.kept.remove(1)));
    check(Promise::Ack, "cannot be read: no shards", |_, s| s.kept[1].content = Err("no shards".into()));
    check(Promise::Ack, "version 3 of /d/f is 030303030303", |h, _| h.commits[1].content = content(99));
    check(Promise::Ack, "1 times was 3 acknowledged as Moved", |_, s| drop(s.early.remove(4)));
    check(Promise::Ack, "acknowledged as Removed, the journal has 1", |h, _| {
        h.steps.push(h.steps[2].clone())
    });
}

#[test]
fn changes_that_nobody_asked_for() {
    check(Promise::Ack, "2 times Added in the journal, asked for at most 1", |h, _| h.steps.truncate(3));
    check(Promise::Ack, "1 times Moved in the journal, asked for at most 0", |h, _| {
        h.steps[1].outcome = Outcome::Refused(ErrorKind::NotFound);
    });
    // What nobody answered may have been done.
    let (mut history, survey) = good();
    history.steps[1].outcome = Outcome::Unknown;
    assert_eq!(acknowledged(&history, &survey).violations, [""; 0]);
}

#[test]
fn wrong_bytes() {
    check(Promise::Read, "version 2 was read as", |h, _| h.reads[0].content = content(3));
    check(Promise::Read, "which nobody wrote", |h, _| h.reads[1].content = content(77));
    check(Promise::Read, "version 3 was read as", |_, s| s.kept[1].content = Ok(content(2)));
    // Refused bytes were written by somebody, but as no version.
    check(Promise::Read, "which nobody wrote", |_, s| s.kept[2].content = Ok(content(30)));
}

#[test]
fn silent_overwrites() {
    check(Promise::Cas, "versions 3 and 4 of 3 both replace 2", |_, s| s.kept[2].base = Some(VersionId(2)));
    check(Promise::Cas, "replaces 2, which is gone", |_, s| drop(s.kept.remove(0)));
    check(Promise::Cas, "made from Some(VersionId(1)), not Some(VersionId(2))", |h, _| {
        h.commits[1].base = Some(VersionId(1));
    });
    check(Promise::Cas, "was refused (conflict), but is there as version 4", |_, s| {
        s.kept[2].content = Ok(content(30));
    });
    check(Promise::Cas, "two writers of /d/f", |h, _| h.races[0].outcomes[1] = Outcome::Done(VersionId(4)));
    check(Promise::Cas, "two writers of /d/f", |h, _| h.races[0].outcomes[0] = h.races[0].outcomes[1]);
    check(Promise::Cas, "two writers of /d/f", |h, _| {
        h.races[0].outcomes[1] = Outcome::Refused(ErrorKind::NotFound);
    });
}

#[test]
fn answers_from_another_tree() {
    check(Promise::Lin, "version 2 was read, 4 was the newest", |h, _| h.reads[1] = read("/d/g", 7, 2, 2));
    check(Promise::Lin, "version 2 was read, but there was nothing", |h, _| {
        h.reads[0] = read("/d/f", 1, 2, 2)
    });
    check(Promise::Lin, "version 4 was read, but there was nothing", |h, _| h.reads[1].path = path("/d/f"));
    check(Promise::Lin, "the listing differs", |h, _| h.looks[0].entries[0].0 = "f".into());
    check(Promise::Lin, "the listing differs", |h, _| h.looks[0].entries.clear());
    check(Promise::Lin, "from position 5 to a reader who had seen 6", |h, _| h.looks[0].fresh.known = Seq(6));
    let (mut history, survey) = good();
    history.looks[0].fresh = Freshness { known: Seq(6), seq: Seq(5), leaderless: true };
    assert_eq!(one_order(&history, &survey).violations, [""; 0]);
}

#[test]
fn journals_that_are_not_whole() {
    check(Promise::Jrn, "position 4 is where 3 should be", |_, s| drop(s.journal.remove(2)));
    check(Promise::Jrn, "position 3 is where 4 should be", |_, s| s.journal.insert(3, s.journal[2].clone()));
    check(Promise::Jrn, "it had 7 records and now has 6", |_, s| drop(s.journal.pop()));
    check(Promise::Jrn, "position 2 has changed", |_, s| s.early[1].author = "user/bob".into());
    check(Promise::Jrn, "a follower saw", |h, _| h.tails[3].time = Millis(1));
    check(Promise::Jrn, "/d/g is Some((InodeId(3), File, VersionId(3)))", |_, s| {
        s.tree[1].1.version = VersionId(3)
    });
    check(Promise::Jrn, "/d/g is None in the tree", |_, s| drop(s.tree.pop()));
    check(Promise::Jrn, "/x is Some", |_, s| s.tree.push(entry("/x", InodeId(9), Kind::Dir, 0)));
    check(Promise::Jrn, "/d/g is Some", |_, s| drop(s.journal.pop()));
}

#[test]
fn trees_that_are_none() {
    check(Promise::Tree, "/d/g is listed twice", |_, s| s.tree.push(s.tree[1].clone()));
    check(Promise::Tree, "3 of /d/h is in the tree twice", |_, s| {
        s.tree.push(entry("/d/h", FILE, Kind::File, 4))
    });
    check(Promise::Tree, "/e/f is in no directory", |_, s| {
        s.tree.push(entry("/e/f", InodeId(9), Kind::File, 1));
    });
}

/// A record that follows the good journal and breaks a rule of the tree.
#[track_caller]
fn check_record(inode: u64, change: Change, words: &str) {
    check(Promise::Tree, words, |_, s| s.journal.push(record(8, InodeId(inode), change)));
}

#[test]
fn records_that_break_a_rule() {
    let versioned = |at, version, base: Option<u64>| Change::Versioned {
        at,
        version: VersionId(version),
        base: base.map(VersionId),
        size: 1,
        content_root: ChunkId::default(),
    };
    let moved = |source, target| Change::Moved { source, target };
    check_record(9, Change::Added { at: place(ROOT, "d"), kind: Kind::Dir }, "\"d\" of 1 is taken by 2");
    check_record(
        9,
        Change::Added { at: place(InodeId(8), "x"), kind: Kind::Dir },
        "8 is not a directory of the tree",
    );
    check_record(
        9,
        Change::Added { at: place(FILE, "x"), kind: Kind::Dir },
        "3 is not a directory of the tree",
    );
    check_record(3, Change::Added { at: place(DIR, "x"), kind: Kind::File }, "3 is added a second time");
    check_record(9, Change::Added { at: place(DIR, "x"), kind: Kind::File }, "added without a version");
    check_record(3, versioned(place(DIR, "g"), 8, Some(3)), "but 4 was the newest");
    check_record(9, versioned(place(DIR, "g"), 8, None), "is taken by 3");
    check_record(3, versioned(place(DIR, "g"), 5, Some(4)), "made at another position");
    check_record(2, moved(place(ROOT, "d"), place(DIR, "x")), "2 moves below itself");
    check_record(2, moved(place(ROOT, "e"), place(ROOT, "x")), "but there is None");
    check_record(9, Change::Removed { at: place(DIR, "g") }, "but there is Some(InodeId(3))");
}

#[test]
fn replicas_that_differ() {
    check(Promise::Det, "different digests", |_, s| s.digests[0][1].digest = [8; 16]);
    check(Promise::Det, "did not come to the same position", |_, s| s.digests[0][2].seq = Seq(6));
}

#[test]
fn operations_that_hang_and_surprises() {
    check(Promise::Answers, "put took 11 ms, at most 10", |h, _| h.answers[0].took_ms = 11);
    check(Promise::Jrn, "out of the blue", |h, _| h.surprises.push((Promise::Jrn, "out of the blue".into())));
}
