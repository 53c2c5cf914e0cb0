//! Goal: what the medium does not give is lost, never "was not there"; nothing is cut because of it (I-DISK).
//! Method: single bad sectors, or files that are too short or gone, in every kind of place; then what each door says.

use std::path::{Path, PathBuf};

use types::ErrorKind;

use super::faulty::{EIO, EMFILE, Op};
use super::*;
use crate::DiskStore;
use crate::segment;

fn segment_path(number: u32) -> PathBuf {
    segment::path(Path::new("/disk"), number)
}

/// Records 1 to 6, one a batch, in segments as small as given.
fn filled(segment_size: u64) -> (FaultyDisk, MemKv, Engine) {
    let (disk, kv) = (FaultyDisk::new(1), MemKv::new(1));
    let mut engine = open(&disk, &kv).unwrap();
    engine.segment_size = segment_size;
    for n in 1..7 {
        assert_eq!(engine.commit(&[put(n)]), [Ok(())]);
    }
    (disk, kv, engine)
}

fn store(disk: &FaultyDisk, kv: &MemKv) -> Arc<DiskStore> {
    let kv = kv.clone();
    DiskStore::open(&environment(disk), config(), move |_| Ok(Arc::new(kv.clone()) as Arc<dyn Kv>)).unwrap()
}

async fn get(store: &DiskStore, n: u64) -> Result<Bytes> {
    let key = key(n);
    store.get_shard(key.chunk, Some(key.slot), Some(key.generation), None).await.map(|found| found.bytes)
}

/// Every door says that exactly these are lost, and all others are there.
async fn check_lost(store: &DiskStore, lost: &[u64], when: &str) {
    store.settled().await;
    let mut keys: Vec<ShardKey> = lost.iter().map(|n| key(*n)).collect();
    keys.sort();
    for n in 1..7 {
        match lost.contains(&n) {
            true => {
                assert_eq!(get(store, n).await.unwrap_err().kind(), ErrorKind::Corrupt, "{when}: {n}");
                assert!(!store.has(key(n)).await.unwrap(), "{when}: {n}");
            }
            false => {
                assert_eq!(get(store, n).await.unwrap(), payload(n), "{when}: {n}");
                assert!(store.has(key(n)).await.unwrap(), "{when}: {n}");
            }
        }
    }
    let found: Vec<ShardKey> = store.lost(None, 99).await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, keys, "{when}");
    let stats = store.stats().unwrap();
    assert_eq!((stats.lost, stats.records), (lost.len() as u64, 6 - lost.len() as u64), "{when}");
}

#[tokio::test]
async fn a_shard_on_a_bad_sector_is_lost_until_it_is_put_again() {
    let (disk, kv, engine) = filled(1 << 20);
    let entry = engine.shared.index.tables().entry(&key(3)).unwrap().unwrap();
    drop(engine);
    let store = store(&disk, &kv);
    disk.fail_next(Op::Read, &[EIO]);
    assert_eq!(get(&store, 3).await.unwrap(), payload(3), "the second attempt counts");
    disk.fail_next(Op::Read, &[EMFILE]);
    assert_eq!(get(&store, 3).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(store.has(key(3)).await.unwrap(), "that says nothing about the medium");
    disk.make_unreadable(&segment_path(1), u64::from(entry.offset) + 100..u64::from(entry.offset) + 101);
    assert_eq!(get(&store, 3).await.unwrap_err().kind(), ErrorKind::Corrupt);
    check_lost(&store, &[3], "read").await;
    assert_eq!(store.stats().unwrap().failures.unreadable, 1);
    store.put_shard(key(3), meta(3), payload(3), None, Purpose::Store).await.unwrap();
    check_lost(&store, &[], "put again").await;
}

#[tokio::test]
async fn what_a_replay_cannot_read_is_lost_and_nothing_is_cut() {
    for is_header in [true, false] {
        for n in [2, 6] {
            let (disk, kv, engine) = filled(1 << 20);
            let entry = engine.shared.index.tables().entry(&key(n)).unwrap().unwrap();
            let end = engine.active.end;
            drop(engine);
            let at = u64::from(entry.offset) + if is_header { 0 } else { 110 };
            disk.make_unreadable(&segment_path(1), at..at + 1);
            // The index knows all records but not that it does: its checkpoint was set back.
            let mut batch = kv::Batch::new();
            let old = MemKv::new(9);
            drop(open(&FaultyDisk::new(1), &old).unwrap());
            batch.put(b"c", &kv::Read::get(&old, b"c").unwrap().unwrap());
            set_totals(&mut batch, &kv);
            kv::Kv::write(&kv, batch, kv::Durability::Synced).unwrap();
            let when = format!("{n}, header {is_header}");
            let store = store(&disk, &kv);
            check_lost(&store, &[n], &when).await;
            assert!(env::Disk::metadata(&disk.sim, &segment_path(1)).unwrap().size >= end, "{when}");
            store.put_shard(key(n), meta(n), payload(n), None, Purpose::Store).await.unwrap();
            drop(store);
            check_lost(&self::store(&disk, &kv), &[], &when).await;
        }
    }
}

/// The checkpoint in the batch gets the totals of the store's own.
fn set_totals(batch: &mut kv::Batch, kv: &MemKv) {
    let mut now = kv::Read::get(kv, b"c").unwrap().unwrap().to_vec();
    let kv::Op::Put(_, old) = batch.ops().next().unwrap() else { panic!() };
    now[17..29].copy_from_slice(&old[17..29]);
    *batch = kv::Batch::new();
    batch.put(b"c", &now);
}

#[tokio::test]
async fn a_rebuild_knows_whose_damaged_record_it_was_by_its_header() {
    let (disk, _, engine) = filled(1 << 20);
    let entry = engine.shared.index.tables().entry(&key(4)).unwrap().unwrap();
    let last = engine.shared.index.tables().entry(&key(6)).unwrap().unwrap();
    drop(engine);
    disk.sim.flip_bit(&segment_path(1), u64::from(entry.offset) + 104, 0);
    disk.make_unreadable(&segment_path(1), u64::from(last.offset) + 104..u64::from(last.offset) + 105);
    check_lost(&store(&disk, &MemKv::new(2)), &[4, 6], "rebuilt").await;
}

#[tokio::test]
async fn what_a_short_segment_lacks_is_lost() {
    for number in [1, 2] {
        let (disk, kv, engine) = filled(4096 + 900);
        let in_it = |entry: &crate::index::Entry| entry.segment == number;
        let entries: Vec<u64> = (1..7)
            .filter(|n| in_it(&engine.shared.index.tables().entry(&key(*n)).unwrap().unwrap()))
            .collect();
        assert!(engine.active.number == 2 && entries.len() > 1);
        drop(engine);
        let first = entries[0];
        let at = open(&disk, &kv).unwrap().shared.index.tables().entry(&key(first)).unwrap().unwrap().offset;
        if number == 2 {
            let file = env::Disk::open(&disk.sim, &segment_path(2), env::OpenMode::ReadWrite).unwrap();
            file.set_len(at.into()).unwrap();
        } else {
            env::Disk::remove_file(&disk.sim, &segment_path(1)).unwrap();
        }
        for when in ["opened", "opened again"] {
            check_lost(&store(&disk, &kv), &entries, when).await;
        }
        let store = store(&disk, &kv);
        for n in &entries {
            store.put_shard(key(*n), meta(*n), payload(*n), None, Purpose::Store).await.unwrap();
        }
        check_lost(&store, &[], "put again").await;
    }
}

#[tokio::test]
async fn a_distrusted_shard_stays_lost_without_the_index() {
    let (disk, kv, engine) = filled(1 << 20);
    drop(engine);
    let store = store(&disk, &kv);
    store.distrust(key(2)).await.unwrap();
    store.distrust(key(80)).await.unwrap();
    check_lost(&store, &[2], "distrusted").await;
    drop(store);
    let store = self::store(&disk, &MemKv::new(5));
    check_lost(&store, &[2], "rebuilt").await;
    store.put_shard(key(2), meta(2), payload(2), None, Purpose::Store).await.unwrap();
    drop(store);
    check_lost(&self::store(&disk, &MemKv::new(6)), &[], "put again and rebuilt").await;
}

/// A mount point whose file system is gone: nothing is there, and nothing is lost.
#[test]
fn a_disk_that_is_not_there_has_lost_nothing() {
    let (disk, kv, engine) = filled(4096 + 900);
    drop(engine);
    let engine = open(&disk, &kv).unwrap();
    env::Disk::rename(&disk.sim, Path::new("/disk"), Path::new("/elsewhere")).unwrap();
    assert_eq!(read(&engine, 1).unwrap_err().kind(), ErrorKind::Unavailable);
    env::Disk::rename(&disk.sim, Path::new("/elsewhere"), Path::new("/disk")).unwrap();
    assert_eq!(read(&engine, 1).unwrap(), payload(1));
    env::Disk::remove_file(&disk.sim, &segment_path(1)).unwrap();
    engine.shared.files.close(1);
    assert_eq!(read(&engine, 1).unwrap_err().kind(), ErrorKind::Corrupt, "one file of many is gone");
}

/// A file of which not even the inode can be read: what it had is lost, the disk goes on.
#[tokio::test]
async fn a_segment_that_cannot_be_opened_is_lost() {
    for number in [1, 2] {
        let (disk, kv, engine) = filled(4096 + 900);
        let in_it =
            |n: &u64| engine.shared.index.tables().entry(&key(*n)).unwrap().unwrap().segment == number;
        let lost: Vec<u64> = (1..7).filter(in_it).collect();
        drop(engine);
        disk.make_unopenable(&segment_path(number));
        let store = store(&disk, &kv);
        for n in 1..7 {
            let want = if lost.contains(&n) { Err(ErrorKind::Corrupt) } else { Ok(payload(n)) };
            assert_eq!(get(&store, n).await.map_err(|error| error.kind()), want, "{number}: {n}");
        }
        check_lost(&store, &lost, "opened").await;
        for n in &lost {
            store.put_shard(key(*n), meta(*n), payload(*n), None, Purpose::Store).await.unwrap();
        }
        check_lost(&store, &[], "put again").await;
        drop(store);
        let store = self::store(&disk, &MemKv::new(5));
        check_lost(&store, &[], "rebuilt").await;
    }
}
