//! Goal: every fault of the store in memory does what it says and is counted. Method: a small script per fault.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use env::disk::When;
use types::ErrorKind;

use super::*;

fn put(kv: &MemKv, rows: &[(&str, &str)], durability: Durability) -> Result<()> {
    let mut batch = Batch::new();
    rows.iter().for_each(|(key, value)| batch.put(key.as_bytes(), value.as_bytes()));
    kv.write(batch, durability)
}

/// A store with these rows, durable.
fn store(seed: u64, rows: &[(&str, &str)]) -> MemKv {
    let kv = MemKv::new(seed);
    put(&kv, rows, Durability::Buffered).unwrap();
    kv.flush().unwrap();
    kv
}

/// The rows as `a=1 b=2`, and the error that ended the scan.
fn list(read: &dyn Read) -> (String, Option<ErrorKind>) {
    let mut found = Vec::new();
    let result = read.scan(b"", b"", Order::Forward, &mut |key, value| {
        found.push(format!("{}={}", key.escape_ascii(), value.escape_ascii()));
        ControlFlow::Continue(())
    });
    (found.join(" "), result.err().map(|error| error.kind()))
}

fn all(read: &dyn Read) -> String {
    let (rows, error) = list(read);
    assert_eq!(error, None);
    rows
}

fn counted(kv: &MemKv) -> Vec<(&'static str, u64)> {
    kv.counts().rows().into_iter().filter(|(_, count)| *count > 0).collect()
}

#[track_caller]
fn check<T: std::fmt::Debug>(result: Result<T>, want: ErrorKind) {
    assert_eq!(result.unwrap_err().kind(), want);
}

#[test]
fn calls_fail_as_planned() {
    type Call = fn(&MemKv) -> Result<()>;
    let plan = KvFaults::default();
    let next = When::Next(2);
    let calls: [(&str, KvFaults, Call); 6] = [
        ("failed_reads", KvFaults { reads: next, ..plan }, |kv| kv.get(b"a").map(drop)),
        ("failed_reads", KvFaults { reads: next, ..plan }, |kv| kv.snapshot().get(b"a").map(drop)),
        ("failed_scans", KvFaults { scans: next, ..plan }, |kv| {
            kv.scan(b"", b"", Order::Forward, &mut |_, _| ControlFlow::Break(()))
        }),
        ("failed_scans", KvFaults { scans: next, ..plan }, |kv| {
            kv.snapshot().scan(b"", b"", Order::Backward, &mut |_, _| ControlFlow::Continue(()))
        }),
        ("failed_writes", KvFaults { writes: next, ..plan }, |kv| put(kv, &[("x", "1")], Durability::Synced)),
        ("failed_flushes", KvFaults { flushes: next, ..plan }, |kv| kv.flush()),
    ];
    for (name, faults, call) in calls {
        let kv = store(1, &[("a", "1"), ("b", "2")]);
        kv.set_faults(faults);
        check(call(&kv), ErrorKind::Unavailable);
        check(call(&kv), ErrorKind::Unavailable);
        assert_eq!(counted(&kv), [(name, 2)]);
        assert_eq!(all(&kv), "a=1 b=2", "{name} has changed something");
        call(&kv).unwrap();
    }
}

#[test]
fn a_scan_fails_anywhere() {
    let kv = store(1, &[("a", "1"), ("b", "2")]);
    kv.set_faults(KvFaults { scans: When::Always, ..KvFaults::default() });
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let (rows, error) = list(&kv);
        assert_eq!(error, Some(ErrorKind::Unavailable));
        seen.insert(rows);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["", "a=1", "a=1 b=2"]);
}

#[test]
fn a_flush_that_fails_makes_nothing_durable() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..50 {
        let kv = MemKv::new(seed);
        kv.set_faults(KvFaults { flushes: When::Always, ..KvFaults::default() });
        put(&kv, &[("a", "1")], Durability::Buffered).unwrap();
        check(kv.flush(), ErrorKind::Unavailable);
        kv.crash();
        outcomes.insert(all(&kv));
        assert_eq!(kv.counts().crash_lost_batches == 1, all(&kv).is_empty());
    }
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), ["", "a=1"]);
}

#[test]
fn a_rotten_row_is_corrupt_until_it_is_written_again() {
    let kv = store(1, &[("a", "1")]);
    let before = kv.snapshot();
    assert_eq!(kv.rot(3), 1);
    assert_eq!(kv.rot(3), 0, "there is no other");
    check(kv.get(b"a"), ErrorKind::Corrupt);
    assert_eq!(list(&kv), (String::new(), Some(ErrorKind::Corrupt)));
    check(kv.snapshot().get(b"a"), ErrorKind::Corrupt);
    assert_eq!(all(&*before), "a=1");
    put(&kv, &[("b", "2")], Durability::Buffered).unwrap();
    assert_eq!(list(&kv), (String::new(), Some(ErrorKind::Corrupt)));
    assert_eq!(kv.get(b"b").unwrap().unwrap(), "2");
    assert_eq!(counted(&kv), [("rotten_rows", 1), ("rot_reported", 4)]);
    kv.flush().unwrap();
    kv.crash();
    check(kv.get(b"a"), ErrorKind::Corrupt);
    put(&kv, &[("a", "3")], Durability::Synced).unwrap();
    assert_eq!(all(&kv), "a=3 b=2");
}

#[test]
fn rot_does_not_reach_what_is_only_in_memory() {
    let kv = store(1, &[("a", "1")]);
    put(&kv, &[("a", "2")], Durability::Buffered).unwrap();
    assert_eq!(kv.rot(1), 1);
    assert_eq!(all(&kv), "a=2");
    kv.put_back(&kv.image());
    check(kv.get(b"a"), ErrorKind::Corrupt);
    assert_eq!(MemKv::new(1).rot(9), 0);
}

#[test]
fn a_store_is_lost_or_set_back() {
    let kv = store(1, &[("a", "1")]);
    put(&kv, &[("b", "2")], Durability::Synced).unwrap();
    put(&kv, &[("c", "3")], Durability::Buffered).unwrap();
    let image = kv.image();
    kv.flush().unwrap();
    put(&kv, &[("d", "4")], Durability::Synced).unwrap();
    kv.put_back(&image);
    assert_eq!(all(&kv), "a=1 b=2", "what was durable when the image was taken");
    kv.crash();
    assert_eq!(all(&kv), "a=1 b=2");
    kv.lose();
    kv.crash();
    assert_eq!(all(&kv), "");
    assert_eq!(counted(&kv), [("losses", 1), ("rollbacks", 1), ("crashes", 2)]);
}

#[test]
fn old_handles_change_nothing() {
    for crash in [false, true] {
        let kv = store(1, &[("a", "1")]);
        let (old, snapshot) = (kv.clone(), kv.snapshot());
        put(&kv, &[("b", "2")], Durability::Synced).unwrap();
        if crash {
            kv.crash();
        }
        let new = kv.reopen();
        check(put(&old, &[("x", "9")], Durability::Synced), ErrorKind::Unavailable);
        check(old.flush(), ErrorKind::Unavailable);
        check(old.get(b"a"), ErrorKind::Unavailable);
        check(old.approximate_size(b"", b""), ErrorKind::Unavailable);
        check(snapshot.get(b"a"), ErrorKind::Unavailable);
        check(old.snapshot().get(b"a"), ErrorKind::Unavailable);
        assert_eq!(list(&old).1, Some(ErrorKind::Unavailable));
        assert_eq!(all(&new), "a=1 b=2");
        put(&new, &[("c", "3")], Durability::Synced).unwrap();
        assert_eq!(all(&new), "a=1 b=2 c=3");
        assert_eq!(old.counts().stale, 7);
    }
}

#[test]
fn a_seed_replays() {
    let run = |seed| {
        let kv = MemKv::new(seed);
        let often = When::PerMillion(300_000);
        kv.set_faults(KvFaults { reads: often, scans: often, writes: often, flushes: often });
        let mut trace = String::new();
        for index in 0..200u64 {
            let key = format!("{}", index % 7);
            let durability = if index % 3 == 0 { Durability::Synced } else { Durability::Buffered };
            trace += &format!("{:?}", put(&kv, &[(&key, &index.to_string())], durability).is_ok());
            trace += &format!("{:?} {:?}", kv.get(key.as_bytes()).map_err(|error| error.kind()), list(&kv));
            match index % 20 {
                5 => trace += &format!("{}", kv.flush().is_ok()),
                10 => kv.crash(),
                15 => trace += &format!("{}", kv.rot(2)),
                _ => {}
            }
        }
        format!("{trace} {:?}", kv.counts())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
