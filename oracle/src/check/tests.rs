//! Goal: every checker finds what it is for. Method: one good history that all checkers accept, and for each planted
//! violation the checker that must find it, by promise and words.

mod good;

use proto::namespace::Record;
use types::{Error, ErrorKind, InodeId, Seq, VersionId};

use super::*;
use crate::content::Content;
use crate::history::{Asked, Operation, Outcome, Shown, Step};
use crate::verdict::{Color, Invariant};
use good::*;

fn judged(history: &History, survey: Survey) -> Vec<Verdict> {
    check(history, &Ok(survey))
}

#[test]
fn a_good_history_is_green_and_exercises_everything() {
    let (history, survey) = good();
    for verdict in judged(&history, survey) {
        assert_eq!((verdict.color(), &verdict.violations[..]), (Color::Green, &[][..]), "{}", verdict.claim);
    }
    for verdict in judged(&History::default(), Survey::default()) {
        assert_eq!(verdict.color(), Color::Grey, "nothing happened: {}", verdict.claim);
    }
}

/// Plants a violation; `invariant` must be found broken in these words.
#[track_caller]
fn plant(invariant: Invariant, words: &str, violate: impl FnOnce(&mut History, &mut Survey)) {
    let (mut history, mut survey) = good();
    violate(&mut history, &mut survey);
    let verdicts = judged(&history, survey);
    let broken: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.color() == Color::Red).collect();
    let is_found = |verdict: &&Verdict| {
        verdict.invariant == invariant && verdict.violations.iter().any(|found| found.contains(words))
    };
    assert!(broken.iter().any(is_found), "{broken:#?}");
}

/// Changes something; all must stay green.
#[track_caller]
fn allow(change: impl FnOnce(&mut History, &mut Survey)) {
    let (mut history, mut survey) = good();
    change(&mut history, &mut survey);
    let verdicts = judged(&history, survey);
    let broken: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.color() == Color::Red).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The only operation that asks for this, or its first.
fn find<'a>(history: &'a mut History, asked: &str) -> &'a mut Operation {
    let found = history.operations.iter_mut().find(|operation| operation.asked.to_string() == asked);
    found.unwrap_or_else(|| panic!("nobody asks for {asked}"))
}

fn set_seq(operation: &mut Operation, seq: u64) {
    match &mut operation.outcome {
        Outcome::Done(_, at) | Outcome::Refused(_, at) => *at = Some(Seq(seq)),
        Outcome::Unknown => panic!("it has no position"),
    }
}

#[test]
fn lost_changes() {
    use Invariant::Ack;
    plant(Ack, "mkdir /d (100 to 150 ms) was acknowledged at position 1, which is", |_, s| {
        s.early[0] = added(1, DIR, "/z", place(ROOT, "z"));
    });
    plant(Ack, "acknowledged at position 13, the journal ends at 12", |h, _| {
        set_seq(find(h, "mkdir /d"), 13)
    });
    plant(Ack, "rename /d/f to /d/g (700 to 750 ms) was acknowledged and is not", |h, _| {
        let again = find(h, "rename /d/f to /d/g").clone();
        h.operations.push(again);
    });
    plant(Ack, "of Some(InodeId(2)), the client was told Some(InodeId(3))", |h, _| {
        let swap = find(h, "rename /d to /x, rename /e to /d, rename /x to /e");
        swap.outcome = Outcome::Done(Shown::Changed(vec![FILE, OTHER, DIR]), Some(Seq(12)));
    });
    // The last records are gone, as when a node founded the cluster again (M5).
    plant(Ack, "the journal ends at 5", |_, s| {
        s.early.truncate(5);
        s.journal.truncate(5);
    });
}

#[test]
fn lost_blobs() {
    use Invariant::Ack;
    plant(Ack, "put /d/f on version 1 of 3 (400 to 450 ms) became version 2 of 3, which is gone", |_, s| {
        drop(s.kept.remove(1));
    });
    plant(Ack, "which cannot be read: unavailable: no shards", |_, s| {
        s.kept[1].hash = Err(Error::unavailable("no shards"));
    });
    plant(Ack, "became version 4 of 3, which is", |_, s| s.kept[3].hash = Ok(content(4).hash));
    plant(Ack, "node 2 cannot serve chunk", |_, s| {
        s.served[1].outcome = Err(Error::not_found("no disk has it"));
    });
    plant(Ack, "version 3 is lost: not found: no disk has it", |h, _| {
        let lost = Err(Error::not_found("no disk has it"));
        find(h, "read /d/g").outcome =
            Outcome::Done(Shown::File(version(4, Some(3), content(4)), lost), Some(Seq(7)));
    });
    plant(Ack, "came back as 9", |_, s| s.strangers.push("/d/g came back as 9".into()));
}

#[test]
fn changes_that_nobody_asked_for() {
    use Invariant::Lin;
    plant(Lin, "nobody asked for position 6: Removed", |h, _| {
        h.operations.retain(|operation| operation.asked.to_string() != "remove /d/g");
    });
    plant(Lin, "remove /d/g (1000 to 1050 ms) was refused, but is there at position 6", |h, _| {
        find(h, "remove /d/g").outcome = refused(ErrorKind::NotFound, None);
    });
    // A repeated request that was done twice: the second undelete is nobody's.
    plant(Lin, "nobody asked for position 14: Added", |_, s| {
        s.early.push(removed(13, FILE, "/e/g", place(DIR, "g")));
        s.early.push(returned(14, "/e/g", place(DIR, "g")));
    });
    // A batch of which the end is missing, though nobody was told that it was done.
    plant(Lin, "is half done, the journal ends at 11", |h, s| {
        find(h, "rename /d to /x, rename /e to /d, rename /x to /e").outcome = Outcome::Unknown;
        s.early.truncate(11);
    });
    // What nobody answered may have been done.
    allow(|h, _| find(h, "remove /d/g").outcome = Outcome::Unknown);
    allow(|h, _| find(h, "rename /d to /x, rename /e to /d, rename /x to /e").outcome = Outcome::Unknown);
    // What was there before the run is nobody's.
    allow(|h, _| {
        h.began = Seq(1);
        h.operations.remove(0);
    });
}

#[test]
fn changes_out_of_order() {
    use Invariant::Lin;
    plant(Lin, "is at position 1, but 2 had been told before it began", |h, _| {
        let mkdir = find(h, "mkdir /d");
        (mkdir.start_ms, mkdir.end_ms) = (260, 290);
    });
    plant(Lin, "is at position 12, but 6 began after it had ended", |h, _| {
        let swap = find(h, "rename /d to /x, rename /e to /d, rename /x to /e");
        (swap.start_ms, swap.end_ms) = (760, 790);
    });
    plant(Lin, "are both at position 6", |h, _| {
        set_seq(find(h, "mkdir /e"), 6);
    });
}

#[test]
fn wrong_bytes() {
    use Invariant::Read;
    let showing = |id, content: Content, hash| Shown::File(version(id, None, content), Ok(hash));
    plant(Read, "version 1 was read as", |h, _| {
        find(h, "read /d/f").outcome = Outcome::Done(showing(2, content(2), content(3).hash), Some(Seq(2)));
    });
    // The right bytes of another place.
    plant(Read, "bytes 5..9 (500 to 550 ms): version 1 was read as", |h, _| {
        find(h, "read /d/f at version 1, bytes 5..9").outcome =
            Outcome::Done(showing(2, content(2), content(2).hash_of(&(6..10))), Some(Seq(3)));
    });
    plant(Read, "version 2 of 3 was read as", |_, s| s.kept[1].hash = Ok(content(2).hash));
    // Refused bytes were written by somebody, but as no version.
    plant(Read, "version 99 of 3 was read as", |_, s| {
        s.kept[3] =
            crate::survey::Kept { version: VersionId(99), hash: Ok(content(30).hash), ..s.kept[3].clone() };
    });
}

#[test]
fn silent_overwrites() {
    use Invariant::Cas;
    // The loser of a race is told that it has won.
    plant(Cas, "which is Versioned", |h, s| {
        let put =
            h.operations.iter_mut().filter(|o| o.asked.to_string() == "put /d/f on version 1 of 3").nth(1);
        put.unwrap().outcome = Outcome::Done(Shown::Changed(Vec::new()), Some(Seq(4)));
        s.early[3] = versioned(4, "/d/f", place(DIR, "f"), Some(3), content(30));
    });
    // It was refused, and done.
    plant(Cas, "was refused, but is there at position 3", |h, _| {
        find(h, "put /d/f on version 1 of 3").outcome = refused(ErrorKind::Conflict, None);
    });
    // Both were refused, though one was not too late.
    plant(Cas, "put /d/g on version 4 of 3 (1620 to 1670 ms), at position 8: refused", |h, _| {
        let step = Step::Commit { path: path("/d/g"), base: Some((FILE, made(8))), content: content(31) };
        let mut put = find(h, "put /d/f on version 1 of 3").clone();
        (put.start_ms, put.end_ms) = (1_620, 1_670);
        put.asked = Asked::Write(vec![step]);
        put.outcome = refused(ErrorKind::Conflict, None);
        h.operations.push(put);
    });
    plant(Cas, "refused (already exists: no), expected Some(Conflict)", |h, _| {
        let put =
            h.operations.iter_mut().filter(|o| o.asked.to_string() == "put /d/f on version 1 of 3").nth(1);
        put.unwrap().outcome = refused(ErrorKind::Exists, None);
    });
}

#[test]
fn answers_from_another_tree() {
    use Invariant::Lin;
    plant(Lin, "version 1 was read as", |h, _| {
        let old = Shown::File(version(2, None, content(2)), Ok(content(2).hash));
        find(h, "read /d/g").outcome = Outcome::Done(old, Some(Seq(7)));
    });
    // A position, and the data of the next (M6).
    plant(Lin, "list /d (800 to 850 ms), at position 4: the listing shows", |h, _| {
        set_seq(find(h, "list /d"), 4)
    });
    plant(Lin, "it was shown, but the tree says: not found", |h, _| {
        find(h, "read /d/g").asked = Asked::Read(path("/d/f"), None, None);
    });
    plant(Lin, "the listing ends (false) before Some", |h, _| {
        find(h, "list /d").outcome = Outcome::Done(Shown::Entries(Vec::new(), false), Some(Seq(5)));
    });
    plant(Lin, "the listing ends (true) before None", |h, _| {
        find(h, "list / after d").outcome =
            Outcome::Done(Shown::Entries(vec![dir("e", DIR)], true), Some(Seq(12)));
    });
    plant(Lin, "the history shows", |h, _| {
        let versions = vec![version(8, Some(3), content(2))];
        find(h, "history /d/g").outcome = Outcome::Done(Shown::Versions(versions, true), Some(Seq(8)));
    });
    plant(Lin, "the history has another end", |h, _| {
        let versions = vec![version(8, Some(4), content(2))];
        find(h, "history /d/g").outcome = Outcome::Done(Shown::Versions(versions, false), Some(Seq(8)));
    });
    plant(Lin, "was answered from position 13, the journal ends at 12", |h, _| set_seq(find(h, "head"), 13));
    plant(Lin, "stat /d/g (900 to 950 ms), at position 5: Entry", |h, _| {
        let shown = Shown::Entry(file("g", 3, content(3)));
        find(h, "stat /d/g").outcome = Outcome::Done(shown, None);
    });
}

#[test]
fn refusals_for_no_reason() {
    use Invariant::Lin;
    plant(Lin, "stat /d/g (900 to 950 ms), at position 5: refused (not found: no), expected None", |h, _| {
        find(h, "stat /d/g").outcome = refused(ErrorKind::NotFound, None);
    });
    plant(
        Lin,
        "mkdir /d (1800 to 1850 ms), at position 9: refused (not found: no), expected Some(Exists)",
        |h, _| {
            h.operations.iter_mut().filter(|o| o.asked.to_string() == "mkdir /d").nth(1).unwrap().outcome =
                refused(ErrorKind::NotFound, Some(9));
        },
    );
    // Exchanging what is there is no reason, however it is asked for.
    plant(Lin, "expected None", |h, s| {
        find(h, "rename /d to /x, rename /e to /d, rename /x to /e").outcome =
            refused(ErrorKind::Exists, Some(9));
        s.early.truncate(9);
    });
    allow(|h, _| {
        let mut swap = find(h, "rename /d to /x, rename /e to /d, rename /x to /e").clone();
        (swap.start_ms, swap.end_ms) = (2_060, 2_090);
        let steps = [("/d", "/y"), ("/e", "/d"), ("/e", "/z")];
        let steps = steps.map(|(source, target)| Step::Rename(path(source), path(target)));
        (swap.asked, swap.outcome) = (Asked::Write(steps.into()), refused(ErrorKind::NotFound, None));
        h.operations.push(swap);
    });
}

#[test]
fn readers_who_are_taken_back() {
    use Invariant::Lin;
    // The session had seen position 5.
    plant(Lin, "was answered from position 3 to a client that knew 5", |h, _| {
        let old = Shown::File(version(3, Some(2), content(3)), Ok(content(3).hash));
        *find(h, "read /d/g") = Operation {
            asked: Asked::Read(path("/d/f"), None, None),
            outcome: Outcome::Done(old, Some(Seq(3))),
            ..find(h, "read /d/g").clone()
        };
    });
    // A node was shown a position (M7, M5).
    plant(Lin, "which was shown position 8, (1900 to 1950 ms) was answered from position 1", |h, _| {
        find(h, "list /").outcome = Outcome::Done(Shown::Entries(vec![dir("d", DIR)], false), Some(Seq(1)));
    });
    plant(Lin, "at node 2, which was shown position 8, (1900 to 1950 ms), at position 9: refused", |h, _| {
        find(h, "list /").outcome = Outcome::Refused(Error::invalid("position 8 is ahead"), None);
    });
    // The leader must have known.
    plant(Lin, "was answered from position 9, but 12 had been told before it began", |h, _| {
        set_seq(find(h, "head"), 9)
    });
    plant(Lin, "was answered from position 12, but 6 began after it had ended", |h, _| {
        let head = find(h, "head");
        (head.start_ms, head.end_ms) = (760, 790);
    });
}

/// The exception of I-LIN is granted to sessions without a leader, while it is granted at all (M7).
#[test]
fn mirrors_that_are_not_the_tree() {
    use Invariant::Jrn;
    let words = "follower 4 from 1, at position 3: /d/f is";
    plant(Jrn, words, |h, _| h.mirrored[0].tree[1].1.version = made(2));
    plant(Jrn, words, |h, _| drop(h.mirrored[0].tree.pop()));
    plant(Jrn, "at position 5: /d/f is listed", |h, _| h.mirrored[0].seq = Seq(5));
}

#[test]
fn journals_that_are_not_whole() {
    use Invariant::Jrn;
    plant(Jrn, "position 4 is where 3 should be", |_, s| drop(s.journal.remove(2)));
    plant(Jrn, "position 3 is where 4 should be", |_, s| s.journal.insert(3, s.journal[2].clone()));
    plant(Jrn, "it had 12 records and now has 11", |_, s| drop(s.journal.pop()));
    plant(Jrn, "position 2 has changed", |_, s| s.early[1].author = "user/bob".into());
    plant(Jrn, "/e/g is listed as", |_, s| s.tree[2].1.version = made(3));
    plant(Jrn, "/e/g is listed as", |_, s| s.early_tree[2].1.size = 1);
    plant(Jrn, "/e/g is not listed", |_, s| drop(s.tree.pop()));
    plant(Jrn, "/x is listed as", |_, s| s.tree.push((path("/x"), dir("x", InodeId(9)))));
}

#[test]
fn followers_who_are_misled() {
    use Invariant::Jrn;
    plant(Jrn, "follower 3: position 4 is where 3 should be", |h, _| drop(h.followed[0].records.remove(2)));
    plant(Jrn, "position 3 is where 4 should be", |h, _| {
        let records = &mut h.followed[0].records;
        records.insert(3, records[2].clone());
    });
    plant(Jrn, "was given", |h, _| h.followed[0].records[3].author = "user/bob".into());
    plant(Jrn, "was told that 11 is the end", |h, _| drop(h.followed[0].records.pop()));
    allow(|h, _| {
        h.followed[0].records.truncate(5);
        h.followed[0].is_at_end = false;
    });
}

#[test]
fn trees_that_are_none() {
    use Invariant::Tree;
    plant(Tree, "/e/g is listed twice", |_, s| s.tree.push(s.tree[2].clone()));
    plant(Tree, "3 of /e/h is in the tree twice", |_, s| {
        s.early_tree.push((path("/e/h"), file("h", 8, content(2))));
    });
    plant(Tree, "/z/f is in no directory", |_, s| {
        s.tree.push((path("/z/f"), dir("f", InodeId(9))));
    });
    // Half of an exchange was seen.
    plant(Tree, "answered from position 11, half a change", |h, _| set_seq(find(h, "list / after d"), 11));
}

/// A record that follows the good journal and breaks a rule of the tree.
#[track_caller]
fn plant_record(record: Record, words: &str) {
    plant(Invariant::Tree, words, |_, s| s.journal.push(record.clone()));
}

#[test]
fn records_that_break_a_rule() {
    let new = |inode, at| added(13, InodeId(inode), "/x", at);
    plant_record(new(9, place(ROOT, "d")), "\"d\" of 1 is taken by 4");
    plant_record(new(9, place(InodeId(8), "x")), "8 is not a directory of the tree");
    plant_record(new(9, place(FILE, "x")), "3 is not a directory of the tree");
    plant_record(new(4, place(DIR, "x")), "4 is added a second time");
    plant_record(new(9, place(ROOT, "y")), "9 is at /y, not at /x");
    let file = |seq: u64, inode, name, base| {
        let record = versioned(seq, "/e/g", place(DIR, name), base, content(2));
        Record { seq: Seq(13), inode: InodeId(inode), ..record }
    };
    plant_record(Record { inode: InodeId(9), ..returned(13, "/e/x", place(DIR, "x")) }, "without a version");
    plant_record(file(8, 3, "g", Some(4)), "but 4 was the newest");
    plant_record(file(2, 9, "g", None), "is taken by 3");
    plant_record(file(5, 3, "g", Some(8)), "version 95 of 3 should be 5");
    let to = |inode, source, target| moved(13, InodeId(inode), "/x", source, target);
    plant_record(to(2, place(ROOT, "e"), place(DIR, "x")), "2 moves below itself");
    plant_record(to(2, place(ROOT, "f"), place(ROOT, "x")), "but there is None");
    plant_record(removed(13, InodeId(9), "/e/g", place(DIR, "g")), "but there is Some(InodeId(3))");
    plant_record(to(3, place(InodeId(9), "g"), place(ROOT, "x")), "where nobody can reach it");
}

#[test]
fn replicas_that_differ_or_are_missing() {
    let stats = |s: &mut Survey, at: usize, change: fn(&mut proto::namespace::NamespaceStats)| {
        change(s.digests[0][at].state.as_mut().unwrap());
    };
    plant(Invariant::Det, "at position 12 the voters differ", |_, s| {
        stats(s, 1, |stats| stats.totals.digest = [8; 16])
    });
    plant(Invariant::Heal, "voter 3 is at position 11, another at Some(Seq(12))", |_, s| {
        stats(s, 2, |stats| stats.seq = Seq(11));
    });
    // A voter that was never started, or is dead for good (M8).
    plant(Invariant::Heal, "voter 3 does not answer", |_, s| {
        s.digests[0][2].state = Err(Error::unavailable("refused"));
    });
}

#[test]
fn operations_that_hang_and_errors_of_ours() {
    use Invariant::Bound;
    plant(Bound, "mkdir /d (100 to 151 ms) took 51 ms, at most 50", |h, _| find(h, "mkdir /d").end_ms += 1);
    plant(Bound, "head (2100 to 2150 ms): internal error: no", |h, _| {
        find(h, "head").outcome = refused(ErrorKind::Internal, None);
    });
    plant(Bound, "denied: a ticket", |h, _| {
        let denied = Err(Error::denied("a ticket"));
        find(h, "read /d/g").outcome =
            Outcome::Done(Shown::File(version(4, Some(3), content(4)), denied), Some(Seq(7)));
    });
}

#[test]
fn leaks_are_counted() {
    let before = Inventory { permits: 5, tasks: 7, requests: 0 };
    for less in [before, Inventory { permits: 0, tasks: 6, requests: 0 }] {
        assert_eq!(leaks(before, less).color(), Color::Green);
    }
    for (after, words) in [
        (Inventory { permits: 6, ..before }, "5 permits before and 6 after"),
        (Inventory { tasks: 8, ..before }, "7 tasks before and 8 after"),
        (Inventory { requests: 1, ..before }, "0 open requests before and 1 after"),
    ] {
        assert_eq!(leaks(before, after).violations, [words]);
    }
}

#[test]
fn what_cannot_be_looked_at_counts_as_lost() {
    let (history, _) = good();
    let verdicts = check(&history, &Err(Error::unavailable("no leader")));
    let (green, red): (Vec<_>, Vec<_>) = verdicts.iter().partition(|v| v.color() == Color::Green);
    assert_eq!((green.len(), green[0].invariant), (1, Invariant::Bound), "this needs no looking at");
    assert!(red.iter().all(|verdict| verdict.violations == ["looking at it failed: unavailable: no leader"]));
}
