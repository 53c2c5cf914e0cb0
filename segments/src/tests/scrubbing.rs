//! Goal: damage that nobody reads is found, whole passes over the disk, step by step, across restarts.
//! Method: damage in every kind of place, then passes in small steps; every record counts once.

use std::path::{Path, PathBuf};

use types::ErrorKind;

use super::*;
use crate::segment;
use crate::{DiskStore, ScrubProgress};

const COUNT: u64 = 30;

fn segment_path(number: u32) -> PathBuf {
    segment::path(Path::new("/disk"), number)
}

fn store(disk: &FaultyDisk, kv: &MemKv) -> Arc<DiskStore> {
    let kv = kv.clone();
    let config = DiskConfig { segment_size: 6 << 10, ..config() };
    DiskStore::open(&environment(disk), config, move |_| Ok(Arc::new(kv.clone()) as Arc<dyn Kv>)).unwrap()
}

async fn filled() -> (FaultyDisk, MemKv, Vec<(u64, crate::index::Entry)>) {
    let (disk, kv) = (FaultyDisk::new(1), MemKv::new(1));
    let store = store(&disk, &kv);
    for n in 1..=COUNT {
        store.put_shard(key(n), meta(n), payload(n), None, Purpose::Store).await.unwrap();
    }
    store.settled().await;
    drop(store);
    let engine = open(&disk, &kv).unwrap();
    let entries = (1..=COUNT).map(|n| (n, engine.shared.index.tables().entry(&key(n)).unwrap().unwrap()));
    (disk, kv, entries.collect())
}

/// Steps to the end of a pass, with a new process before each of them if asked for.
async fn pass(disk: &FaultyDisk, kv: &MemKv, budget: u64, restarts: bool) -> ScrubProgress {
    let mut store = store(disk, kv);
    let before = store.scrub_progress().await.unwrap().passes;
    for step in 1.. {
        if restarts {
            drop(store);
            store = self::store(disk, kv);
        }
        let progress = store.scrub_step(budget).await.unwrap();
        if progress.passes > before {
            assert!(step > 1 || budget > 1 << 20, "{step} steps of {budget}");
            return progress;
        }
    }
    unreachable!("a pass ends")
}

#[tokio::test]
async fn a_good_disk_passes_in_steps_of_any_size() {
    let (disk, kv, _) = filled().await;
    let total: u64 = (1..=COUNT).map(|n| crate::record::record_size(payload(n).len())).sum();
    for (index, (budget, restarts)) in
        [(1, false), (1, true), (5000, true), (1 << 30, false)].into_iter().enumerate()
    {
        disk.take_uncached();
        let done = pass(&disk, &kv, budget, restarts).await;
        assert_eq!((done.checked, done.found, done.passes), (total, 0, 1 + index as u64), "{budget}");
        assert!(done.last_pass.is_some());
        assert!(!disk.take_uncached().is_empty(), "it reads the medium, not the cache");
        let next = store(&disk, &kv).scrub_progress().await.unwrap();
        assert_eq!((next.segment, next.checked, next.passes), (0, 0, done.passes));
    }
}

#[tokio::test]
async fn what_is_damaged_or_unreadable_is_lost() {
    let (disk, kv, entries) = filled().await;
    let at = |n: u64| {
        let (_, entry) = entries[n as usize - 1];
        (segment_path(entry.segment), u64::from(entry.offset))
    };
    // Payload, header, payload that cannot be read, header that cannot be read, in sealed segments and the last one.
    let bad = [2, 9, 13, 20, COUNT];
    for (n, is_header, is_rot) in
        [(2, false, true), (9, true, true), (13, false, false), (20, true, false), (COUNT, false, true)]
    {
        let (path, offset) = at(n);
        let offset = offset + if is_header { 20 } else { 104 };
        match is_rot {
            true => disk.sim.flip_bit(&path, offset, 1),
            false => disk.make_unreadable(&path, offset..offset + 1),
        }
    }
    let done = pass(&disk, &kv, 3000, true).await;
    assert_eq!(done.found, bad.len() as u64);
    let store = store(&disk, &kv);
    let mut want = bad.map(key);
    want.sort();
    let lost: Vec<ShardKey> = store.lost(None, 99).await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(lost, want);
    let stats = store.stats().unwrap();
    assert_eq!((stats.lost, stats.quarantined, stats.records), (5, 5, COUNT - 5));
    for n in 1..=COUNT {
        assert_eq!(store.has(key(n)).await.unwrap(), !bad.contains(&n), "{n}");
    }
    // Known damage is found again, and counts no more than once on the disk.
    drop(store);
    pass(&disk, &kv, 3000, false).await;
    assert_eq!(self::store(&disk, &kv).stats().unwrap().quarantined, 5);
}

#[tokio::test]
async fn a_footer_that_is_damaged_is_written_again() {
    let (disk, kv, _) = filled().await;
    let len = env::Disk::metadata(&disk.sim, &segment_path(2)).unwrap().size;
    disk.sim.flip_bit(&segment_path(2), len - 50, 1);
    assert_eq!(pass(&disk, &kv, 1 << 30, false).await.found, 0);
    let engine = open(&disk, &kv).unwrap();
    let file = engine.shared.files.get(2).unwrap();
    assert!(segment::footer::read(&*file, engine.shared.place(2)).unwrap().is_some());
}

#[tokio::test]
async fn a_disk_that_is_being_rebuilt_is_verified_later() {
    let (disk, _, _) = filled().await;
    let kv = MemKv::new(7);
    kv.set_faults(kv::KvFaults { flushes: env::disk::When::Always, ..kv::KvFaults::default() });
    let store = store(&disk, &kv);
    assert_eq!(store.scrub_step(1).await.unwrap_err().kind(), ErrorKind::Unavailable);
}
