//! One suite for every implementation of [`crate::Kv`] and [`crate::Read`], and what the two stores promise at a crash.
#![cfg(test)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use env::disk::{Disk, RealDisk};
use env::testing::temp_dir;
use proptest::prelude::*;
use types::ErrorKind;

use crate::{Batch, Durability, Keyspace, Kv, MemKv, Options, Order, Overlay, Read, RocksKv, prefix_end};

fn batch(ops: &[(&str, Option<&str>)]) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in ops {
        match value {
            Some(value) => batch.put(key.as_bytes(), value.as_bytes()),
            None => batch.delete(key.as_bytes()),
        }
    }
    batch
}

/// The entries of a range as `k=v k=v`.
fn list(read: &dyn Read, start: &str, end: &str, order: Order) -> String {
    let mut found = Vec::new();
    read.scan(start.as_bytes(), end.as_bytes(), order, &mut |key, value| {
        found.push(format!("{}={}", String::from_utf8_lossy(key), String::from_utf8_lossy(value)));
        ControlFlow::Continue(())
    })
    .unwrap();
    found.join(" ")
}

fn all(read: &dyn Read) -> String {
    list(read, "", "", Order::Forward)
}

#[test]
fn rocks() {
    let dir = temp_dir();
    suite(&RocksKv::open(dir.path(), Options::default()).unwrap());
}

#[test]
fn memory() {
    suite(&MemKv::new(0));
}

fn suite(kv: &dyn Kv) {
    kv.write(
        batch(&[("b", Some("1")), ("a", Some("2")), ("c", Some("")), ("a", Some("3"))]),
        Durability::Buffered,
    )
    .unwrap();
    kv.write(batch(&[("d\u{1}", Some("4"))]), Durability::Synced).unwrap();
    assert_eq!(all(kv), "a=3 b=1 c= d\u{1}=4");
    ranges(kv);
    assert_eq!(kv.get(b"c").unwrap(), Some(Bytes::new()));
    assert_eq!(kv.get(b"x").unwrap(), None);

    let before = kv.snapshot();
    kv.write(batch(&[("a", None), ("e", Some("5")), ("missing", None)]), Durability::Buffered).unwrap();
    let mut delete = Batch::new();
    delete.delete_range(b"b", b"d");
    delete.put(b"bb", b"6");
    kv.write(delete, Durability::Buffered).unwrap();
    assert_eq!(all(kv), "bb=6 d\u{1}=4 e=5");
    assert_eq!(all(&*before), "a=3 b=1 c= d\u{1}=4");
    assert_eq!(before.get(b"a").unwrap().unwrap(), "3");
    kv.flush().unwrap();
    assert_eq!(all(kv), "bb=6 d\u{1}=4 e=5");
    ranges(&*before);

    // A visitor may read the store, and a scan sees one state.
    kv.scan(b"", b"", Order::Forward, &mut |key, value| {
        assert_eq!(kv.get(key).unwrap().unwrap(), value);
        kv.write(batch(&[("zz", Some("late"))]), Durability::Buffered).unwrap();
        assert_ne!(key, b"zz");
        ControlFlow::Continue(())
    })
    .unwrap();
    kv.write(Batch::new(), Durability::Synced).unwrap();

    ingest(kv);
    for count in 0..1000u32 {
        let mut batch = Batch::new();
        batch.put(&count.to_be_bytes(), &[7; 100]);
        kv.write(batch, Durability::Buffered).unwrap();
    }
    kv.flush().unwrap();
    assert!(kv.approximate_size(&[0], &[1]).unwrap() > 1000);
    assert!(kv.approximate_size(b"", b"").unwrap() >= kv.approximate_size(&[0], &[1]).unwrap());
    assert_eq!(kv.approximate_size(&[1], &[0]).unwrap(), 0);
}

/// Later changes win, however they came.
fn ingest(kv: &dyn Kv) {
    kv.write(batch(&[("ia", Some("1")), ("ib", Some("1")), ("ic", Some("1"))]), Durability::Buffered)
        .unwrap();
    let before = kv.snapshot();
    kv.ingest(batch(&[("ia", Some("2")), ("ib", None), ("id", Some("2"))])).unwrap();
    kv.ingest(batch(&[("ic", None), ("id", Some("3"))])).unwrap();
    kv.ingest(Batch::new()).unwrap();
    assert_eq!(list(kv, "i", "j", Order::Forward), "ia=2 id=3");
    assert_eq!(list(&*before, "i", "j", Order::Forward), "ia=1 ib=1 ic=1");
    kv.write(batch(&[("ia", None), ("ib", Some("4"))]), Durability::Buffered).unwrap();
    assert_eq!(list(kv, "i", "j", Order::Backward), "id=3 ib=4");
    assert_eq!(kv.get(b"ia").unwrap(), None);
    kv.write(batch(&[("ib", None), ("id", None)]), Durability::Buffered).unwrap();
    for bad in [&[("b", Some("")), ("a", Some(""))], &[("a", Some("")), ("a", None)]] {
        let bad = batch(bad);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| kv.ingest(bad))).is_err());
    }
}

/// Every kind of range over `a=3 b=1 c= d\u{1}=4`.
fn ranges(read: &dyn Read) {
    for (start, end, forward) in [
        ("", "", "a=3 b=1 c= d\u{1}=4"),
        ("b", "", "b=1 c= d\u{1}=4"),
        ("b", "d", "b=1 c="),
        ("bb", "c", ""),
        ("a", "a", ""),
        ("c", "a", ""),
        ("d", "e", "d\u{1}=4"),
        ("x", "", ""),
    ] {
        let backward: Vec<&str> = forward.split_terminator(' ').rev().collect();
        assert_eq!(list(read, start, end, Order::Forward), forward, "{start:?}..{end:?}");
        assert_eq!(list(read, start, end, Order::Backward), backward.join(" "), "{start:?}..{end:?}");
    }
    let mut seen = Vec::new();
    read.scan(b"a", b"", Order::Backward, &mut |key, _| {
        seen.push(key.to_vec());
        if seen.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    assert_eq!(seen, [b"d\x01".to_vec(), b"c".to_vec()]);
}

#[test]
fn views_see_their_part() {
    let kv = MemKv::new(0);
    let rows = [("g1a", "3"), ("g1b", "1"), ("g1c", ""), ("g1d\u{1}", "4"), ("g0z", "x"), ("g2", "y")];
    kv.write(batch(&rows.map(|(key, value)| (key, Some(value)))), Durability::Buffered).unwrap();
    let group = Keyspace::new(&kv, *b"g1");
    ranges(&group);
    assert_eq!(group.get(b"a").unwrap().unwrap(), "3");

    let snapshot = kv.snapshot();
    let group = Keyspace::new(snapshot, *b"g1");
    let mut overlay = Overlay::new(&group);
    ranges(&overlay);
    overlay.put("b", "9");
    overlay.delete("c");
    overlay.put("e", "5");
    overlay.delete("missing");
    assert_eq!(all(&overlay), "a=3 b=9 d\u{1}=4 e=5");
    assert_eq!(overlay.get(b"c").unwrap(), None);
    let mut changes = Batch::new();
    overlay.write_into(group.prefix(), &mut changes);
    kv.write(changes, Durability::Buffered).unwrap();
    assert_eq!(all(&kv), "g0z=x g1a=3 g1b=9 g1d\u{1}=4 g1e=5 g2=y");
}

proptest! {
    /// An overlay reads like the store it will be written to, also when the visitor stops early.
    #[test]
    fn overlay_is_the_future_store(
        base in proptest::collection::btree_map("[a-d]{1,2}", "[0-9]", 0..12),
        changes in proptest::collection::btree_map("[a-d]{1,2}", proptest::option::of("[0-9]"), 0..12),
        start in "[a-d]{0,2}", end in "[a-d]{0,2}", stop in 1usize..8,
    ) {
        let rows = |rows: &BTreeMap<String, Option<String>>| {
            batch(&rows.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect::<Vec<_>>())
        };
        let kv = MemKv::new(0);
        kv.write(rows(&base.into_iter().map(|(k, v)| (k, Some(v))).collect()), Durability::Buffered).unwrap();
        let before = kv.snapshot();
        let mut overlay = Overlay::new(&*before);
        for (key, change) in &changes {
            match change {
                Some(value) => overlay.put(key.clone(), value.clone()),
                None => overlay.delete(key.clone()),
            }
        }
        kv.write(rows(&changes), Durability::Buffered).unwrap();
        for order in [Order::Forward, Order::Backward] {
            prop_assert_eq!(list(&overlay, &start, &end, order), list(&kv, &start, &end, order));
            let first = |read: &dyn Read| {
                let mut keys = Vec::new();
                read.scan(start.as_bytes(), end.as_bytes(), order, &mut |key, _| {
                    keys.push(key.to_vec());
                    if keys.len() == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                }).unwrap();
                keys
            };
            prop_assert_eq!(first(&overlay), first(&kv));
        }
        let copy = MemKv::new(0);
        let mut whole = Batch::new();
        before.scan(b"", b"", Order::Forward, &mut |k, v| { whole.put(k, v); ControlFlow::Continue(()) }).unwrap();
        copy.write(whole, Durability::Buffered).unwrap();
        copy.write(overlay.into_batch(), Durability::Buffered).unwrap();
        prop_assert_eq!(all(&copy), all(&kv));
    }
}

/// A crash of the memory store keeps what was synced or flushed and a prefix of the rest, and every prefix happens.
#[test]
fn a_crash_keeps_a_prefix() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..64 {
        let kv = MemKv::new(seed);
        kv.write(batch(&[("a", Some("1"))]), Durability::Buffered).unwrap();
        kv.flush().unwrap();
        kv.write(batch(&[("b", Some("1")), ("c", Some("1"))]), Durability::Buffered).unwrap();
        kv.write(batch(&[("b", None)]), Durability::Buffered).unwrap();
        kv.write(batch(&[("s", Some("1"))]), Durability::Synced).unwrap();
        kv.crash();
        seen.insert(all(&kv));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["a=1 b=1 c=1 s=1", "a=1 c=1 s=1", "a=1 s=1"]);
}

/// Reopening finds what was flushed or synced; a store copied while open (what a kill leaves) holds a prefix.
#[test]
fn rocks_comes_back() {
    let dir = temp_dir();
    let small = Options { write_buffer_size: 64 << 10, ..Options::default() };
    let kv = RocksKv::open(&dir.join("a"), small).unwrap();
    let write = |count: u64, durability| {
        let mut batch = Batch::new();
        batch.put(&count.to_be_bytes(), &[3; 1000]);
        batch.put(b"last", &count.to_be_bytes());
        kv.write(batch, durability).unwrap();
    };
    (0..500).for_each(|count| write(count, Durability::Buffered));
    // A kill happens at one moment; so does a copy, if the store wrote nothing meanwhile.
    let mut before = Vec::new();
    while before.is_empty() || listing(&dir.join("a")) != before {
        before = listing(&dir.join("a"));
        let _ = RealDisk.remove_dir_all(&dir.join("killed"));
        copy_dir(&dir.join("a"), &dir.join("killed"));
    }
    kv.flush().unwrap();
    write(500, Durability::Synced);
    let path = kv.path();
    drop(kv);
    let count = |path: &std::path::Path| {
        let kv = RocksKv::open(path, small).unwrap();
        let last = kv.get(b"last").unwrap().map(|last| u64::from_be_bytes(last[..].try_into().unwrap()));
        let mut next = 0u64;
        kv.scan(&[0], &[1], Order::Forward, &mut |key, _| {
            assert_eq!(key, next.to_be_bytes(), "a hole in {}", path.display());
            next += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(last.map_or(0, |last| last + 1), next, "batches are whole");
        next
    };
    assert_eq!(count(&path), 501);
    assert!(count(&dir.join("killed")) <= 500);
}

/// Names and sizes of the files in a directory.
fn listing(path: &std::path::Path) -> Vec<(std::ffi::OsString, u64)> {
    let size = |name: &std::ffi::OsString| RealDisk.metadata(&path.join(name)).map_or(0, |found| found.size);
    RealDisk.read_dir(path).unwrap().into_iter().map(|name| (name.clone(), size(&name))).collect()
}

fn copy_dir(source: &std::path::Path, target: &std::path::Path) {
    let disk = env::Env::real().disk;
    disk.create_dir_all(target).unwrap();
    let mut names = disk.read_dir(source).unwrap();
    // CURRENT and MANIFEST first: files they name exist by then and may grow later, never the other way round.
    names.sort_by_key(|name| !name.to_string_lossy().contains("MANIFEST") && name != "CURRENT");
    for name in names.iter().filter(|name| *name != "LOCK") {
        if let Ok(bytes) = disk.read(&source.join(name)) {
            disk.write_atomic(&target.join(name), &bytes).unwrap();
        }
    }
}

#[test]
fn a_store_in_use_or_damaged_says_so() {
    let dir = temp_dir();
    let kv = RocksKv::open(dir.path(), Options::default()).unwrap();
    let error = RocksKv::open(dir.path(), Options::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    kv.write(batch(&[("a", Some("1"))]), Durability::Buffered).unwrap();
    kv.flush().unwrap();
    drop(kv);
    let disk = env::Env::real().disk;
    disk.write_atomic(&dir.join("CURRENT"), b"MANIFEST-9\n").unwrap();
    let error = RocksKv::open(dir.path(), Options::default()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unavailable), "{error}");
    assert!(error.message().contains(&dir.path().display().to_string()), "{error}");
}

#[test]
fn prefix_end_bounds_the_prefix() {
    let kv = MemKv::new(0);
    kv.write(batch(&[("a", Some("1")), ("ab", Some("2")), ("b", Some("3"))]), Durability::Buffered).unwrap();
    let end = String::from_utf8(prefix_end(b"a")).unwrap();
    assert_eq!(list(&kv, "a", &end, Order::Forward), "a=1 ab=2");
}
