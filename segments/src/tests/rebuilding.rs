//! Goal: an index that is lost costs time, never data or truth: what is not known yet is `Unavailable`, what was written
//! meanwhile counts, and in the end every answer and every total is right.
//! Method: the index is lost at open or while the disk is used; the rebuild is stopped before its end by doing its steps
//! one by one on the engine, and by faults of the store.

use env::disk::When;
use kv::KvFaults;
use types::ErrorKind;

use super::*;
use crate::DiskStore;
use crate::index::Known;

fn filled() -> (FaultyDisk, MemKv, Engine) {
    let (disk, kv) = (FaultyDisk::new(1), MemKv::new(1));
    let mut engine = open(&disk, &kv).unwrap();
    engine.segment_size = 5 << 10;
    for n in 1..20 {
        assert_eq!(engine.commit(&[put(n)]), [Ok(())]);
    }
    for n in [3, 4] {
        assert_eq!(engine.commit(&[Change::Delete { key: key(n) }]), [Ok(())]);
    }
    assert_eq!(engine.commit(&[Change::Distrust { key: key(5) }]), [Ok(())]);
    (disk, kv, engine)
}

#[track_caller]
fn check_all(engine: &Engine, absent: &[u64], lost: &[u64], count_of: u64) {
    let tables = engine.shared.index.tables();
    let mut sizes = 0;
    for n in 1..count_of {
        let known = tables.known(&key(n)).unwrap();
        match known {
            Known::Stored(_) => {
                assert_eq!(read(engine, n).unwrap(), payload(n));
                sizes += payload(n).len() as u64;
            }
            Known::Lost(found) => assert!(found == meta(n) && lost.contains(&n), "{n} is lost"),
            Known::Absent => assert!(absent.contains(&n), "{n} is absent"),
            Known::Unknown => panic!("{n} is not known"),
        }
    }
    let status = engine.shared.status().clone();
    let records = count_of - 1 - (absent.len() + lost.len()) as u64;
    assert_eq!((status.totals.records, status.totals.bytes), (records, sizes));
    assert_eq!(status.damage.lost, lost.len() as u64);
    assert_eq!(count(engine), records);
}

/// Everything that can happen to a shard happens to one from before, while nothing is known of it.
#[test]
fn what_happens_during_a_rebuild_comes_last() {
    for crash in [false, true] {
        let (disk, _, engine) = filled();
        drop(engine);
        let kv = MemKv::new(2);
        let mut engine = open_unready(&disk, &kv).unwrap();
        let changes = [
            put(1),
            put(3),
            put(5),
            put(30),
            Change::Delete { key: key(6) },
            Change::Delete { key: key(31) },
            put(32),
            Change::Delete { key: key(32) },
        ];
        assert_eq!(engine.commit(&changes), vec![Ok(()); changes.len()]);
        let refused = engine.commit(&[Change::Distrust { key: key(7) }]);
        assert_eq!(refused[0].as_ref().unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(engine.commit(&[Change::Distrust { key: key(30) }]), [Ok(())]);
        assert_eq!(engine.commit(&[put(30), put(30)]), [Ok(()), Ok(())]);
        let other = Change::Put {
            key: key(30),
            meta: meta(30),
            payload: payload(31),
            crc: None,
            purpose: Purpose::Store,
        };
        assert_eq!(engine.commit(&[other])[0].as_ref().unwrap_err().kind(), ErrorKind::Conflict);
        if crash {
            // Half an index is none: the next process begins anew.
            drop(engine);
            kv::Kv::flush(&kv).unwrap();
            disk.restart();
            engine = open_unready(&disk, &kv).unwrap();
        }
        restore(&mut engine).unwrap();
        let absent: Vec<u64> = [4, 6].into_iter().chain(20..30).chain([31, 32]).collect();
        check_all(&engine, &absent, &[], 33);
        drop(engine);
        check_all(&open(&disk, &kv).unwrap(), &absent, &[], 33);
    }
}

#[test]
fn a_rebuild_finds_what_was_there() {
    let (disk, kv, engine) = filled();
    check_all(&engine, &[3, 4], &[5], 20);
    seal::seal_all(&engine.shared);
    drop(engine);
    for kv in [MemKv::new(2), MemKv::new(3), kv] {
        let engine = open(&disk, &kv).unwrap();
        check_all(&engine, &[3, 4], &[5], 20);
        assert_eq!(engine.shared.status().damage.quarantined, 0);
    }
}

fn store(disk: &FaultyDisk, kv: &MemKv) -> Arc<DiskStore> {
    let kv = kv.clone();
    DiskStore::open(&environment(disk), config(), move |_| Ok(Arc::new(kv.clone()) as Arc<dyn Kv>)).unwrap()
}

async fn get(store: &DiskStore, n: u64, exact: bool) -> Result<Bytes, ErrorKind> {
    let key = key(n);
    let generation = exact.then_some(key.generation);
    let found = store.get_shard(key.chunk, Some(key.slot), generation, None).await;
    found.map(|found| found.bytes).map_err(|error| error.kind())
}

/// A store that cannot write for a while: nobody is told that what was stored is not there.
#[tokio::test]
async fn what_is_not_known_is_unavailable() {
    let (disk, kv, engine) = filled();
    drop(engine);
    let store = store(&disk, &kv);
    kv.set_faults(KvFaults { writes: When::Always, ..KvFaults::default() });
    let error = store.put_shard(key(40), meta(40), payload(40), None, Purpose::Store).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "it is in no index");
    store.settled().await;
    for exact in [true, false] {
        assert_eq!(get(&store, 1, exact).await, Err(ErrorKind::Unavailable));
    }
    assert_eq!(store.has(key(1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.lost(None, 9).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let all = (ChunkId([0; 32]), ChunkId([0xff; 32]));
    let listed = store.list_shards(all.0, all.1, None, 9).await;
    assert_eq!(listed.unwrap_err().kind(), ErrorKind::Unavailable);
    let stats = store.stats().unwrap();
    assert!(stats.is_rebuilding && stats.state == crate::DiskState::Healthy, "{stats:?}");
    kv.set_faults(KvFaults::default());
    drop(store);
    let store = self::store(&disk, &kv);
    store.settled().await;
    assert_eq!(get(&store, 1, false).await, Ok(payload(1)));
    assert_eq!(get(&store, 40, true).await, Err(ErrorKind::NotFound));
}

/// A row that rots is noticed by whoever reads it; the index is rebuilt while the disk goes on.
#[tokio::test]
async fn an_index_that_rots_is_rebuilt() {
    let (disk, kv, engine) = filled();
    drop(engine);
    let store = store(&disk, &kv);
    kv::Kv::flush(&kv).unwrap();
    assert!(kv.rot(100) > 10);
    let mut met = 0;
    for n in [1, 2, 6, 7, 8, 9, 10] {
        met += u64::from(get(&store, n, true).await == Err(ErrorKind::Unavailable));
        store.settled().await;
    }
    assert!(met > 0);
    for n in (1..20).filter(|n| ![3, 4, 5].contains(n)) {
        assert_eq!(get(&store, n, true).await, Ok(payload(n)), "{n}");
    }
    assert_eq!(get(&store, 3, true).await, Err(ErrorKind::NotFound));
    assert_eq!(get(&store, 5, true).await, Err(ErrorKind::Corrupt));
    let stats = store.stats().unwrap();
    assert_eq!((stats.records, stats.lost, stats.is_rebuilding), (16, 1, false));
    // And at open: a row that the replay needs.
    drop(store);
    kv::Kv::flush(&kv).unwrap();
    kv.rot(1000);
    let store = self::store(&disk, &kv);
    store.settled().await;
    assert_eq!(get(&store, 1, true).await, Ok(payload(1)));
}

/// Whatever began it anew, and for as long as nobody has compared it with what should be there.
#[tokio::test]
async fn an_index_that_may_lack_something_is_in_doubt() {
    let (disk, kv, engine) = filled();
    drop(engine);
    let trust = async |kv: &MemKv, want: bool| {
        let store = store(&disk, kv);
        store.settled().await;
        let doubt = store.doubt().await.unwrap();
        assert_eq!(doubt.is_some(), want);
        if let Some(doubt) = doubt {
            drop(store);
            assert!(self::store(&disk, kv).doubt().await.unwrap().is_some(), "not by a restart");
            let store = self::store(&disk, kv);
            store.trust(doubt).await.unwrap();
            assert!(store.doubt().await.unwrap().is_none());
        }
    };
    trust(&kv, true).await;
    trust(&kv, false).await;
    trust(&MemKv::new(9), true).await;
    let first = crate::segment::path(std::path::Path::new("/disk"), 1);
    env::Disk::remove_file(&disk, &first).unwrap();
    trust(&kv, true).await;
    trust(&kv, false).await;
}

#[tokio::test]
async fn a_read_only_disk_gets_its_index_back() {
    let (disk, kv, mut engine) = filled();
    disk.fail_next(faulty::Op::Sync, &[faulty::EIO]);
    assert!(engine.commit(&[put(33)])[0].is_err());
    drop(engine);
    for kv in [kv, MemKv::new(2)] {
        let store = store(&disk, &kv);
        store.settled().await;
        assert_eq!(get(&store, 1, true).await, Ok(payload(1)));
        assert_eq!(get(&store, 3, true).await, Err(ErrorKind::NotFound));
        assert!(matches!(store.stats().unwrap().state, crate::DiskState::ReadOnly(_)));
    }
}
