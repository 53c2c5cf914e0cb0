//! Goal: the store as its callers see it: what each answer means, and what faults of the disk do to it.

use std::ops::Range;
use std::path::Path;

use types::{DiskId, ErrorKind};

use super::*;
use crate::{DiskState, DiskStore};
use crate::{record, segment};

fn store(disk: &FaultyDisk, kv: &MemKv) -> Arc<DiskStore> {
    store_with(disk, kv, config())
}

fn store_with(disk: &FaultyDisk, kv: &MemKv, config: DiskConfig) -> Arc<DiskStore> {
    let kv = kv.clone();
    DiskStore::open(&environment(disk), config, move |_| Ok(Arc::new(kv.clone()) as Arc<dyn Kv>)).unwrap()
}

fn new_store() -> (FaultyDisk, MemKv, Arc<DiskStore>) {
    let (disk, kv) = (FaultyDisk::new(1), MemKv::new(1));
    let store = store(&disk, &kv);
    (disk, kv, store)
}

async fn put(store: &DiskStore, n: u64) -> Result<()> {
    store.put_shard(key(n), meta(n), payload(n), None, Purpose::Store).await
}

async fn get(store: &DiskStore, n: u64) -> Result<Bytes> {
    let key = key(n);
    store.get_shard(key.chunk, Some(key.slot), Some(key.generation), None).await.map(|found| found.bytes)
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[tokio::test]
async fn puts_gets_and_deletes() {
    let (disk, kv, store) = new_store();
    assert_eq!(kind(get(&store, 1).await), ErrorKind::NotFound);
    assert!(!store.has(key(1)).await.unwrap());
    put(&store, 1).await.unwrap();
    put(&store, 1).await.unwrap();
    assert_eq!(
        kind(store.put_shard(key(1), meta(1), payload(2), None, Purpose::Store).await),
        ErrorKind::Conflict
    );
    assert_eq!(
        kind(store.put_shard(key(1), meta(2), payload(1), None, Purpose::Store).await),
        ErrorKind::Conflict
    );
    assert_eq!(
        kind(store.put_shard(key(2), meta(2), Bytes::new(), None, Purpose::Store).await),
        ErrorKind::Invalid
    );
    let odd = ShardMeta { layout: Layout::Shard { k: 0, m: 2 }, ..meta(2) };
    assert_eq!(
        kind(store.put_shard(key(2), odd, payload(2), None, Purpose::Store).await),
        ErrorKind::Invalid
    );
    let crc = crc32fast::hash(&payload(2));
    let damaged = store.put_shard(key(2), meta(2), payload(3), Some(crc), Purpose::Store).await;
    assert_eq!(kind(damaged), ErrorKind::Unavailable);
    assert!(!store.has(key(2)).await.unwrap());
    store.put_shard(key(2), meta(2), payload(2), Some(crc), Purpose::Store).await.unwrap();
    store.delete(key(2)).await.unwrap();
    assert_eq!(get(&store, 1).await.unwrap(), payload(1));
    assert!(store.has(key(1)).await.unwrap());
    let stats = store.stats().unwrap();
    assert_eq!((stats.records, stats.bytes), (1, payload(1).len() as u64));
    assert_eq!((stats.state, stats.quarantined), (DiskState::Healthy, 0));

    drop(store);
    let store = self::store(&disk, &kv);
    assert_eq!(get(&store, 1).await.unwrap(), payload(1));
    store.delete(key(1)).await.unwrap();
    store.delete(key(1)).await.unwrap();
    assert_eq!(kind(get(&store, 1).await), ErrorKind::NotFound);
    assert_eq!(store.stats().unwrap().records, 0);
    put(&store, 1).await.unwrap();
    assert_eq!(get(&store, 1).await.unwrap(), payload(1));
}

#[tokio::test]
async fn the_newest_generation_is_read_first() {
    let (_, _, store) = new_store();
    // Keys 4 to 7 are generations 0 and 1 of slots 0 and 1 of one chunk.
    for n in 4..7 {
        put(&store, n).await.unwrap();
    }
    let chunk = key(4).chunk;
    let found = async |slot, generation: Option<u64>| {
        store.get_shard(chunk, slot, generation.map(Generation), None).await.map(|found| found.key)
    };
    assert_eq!(found(None, None).await, Ok(key(6)));
    assert_eq!(found(Some(0), None).await, Ok(key(6)));
    assert_eq!(found(Some(1), None).await, Ok(key(5)));
    assert_eq!(found(Some(0), Some(0)).await, Ok(key(4)));
    assert_eq!(found(None, Some(0)).await, Ok(key(5)));
    assert_eq!(kind(found(Some(1), Some(1)).await), ErrorKind::NotFound);
    assert_eq!(kind(found(Some(9), None).await), ErrorKind::NotFound);
    let part = store.get_shard(chunk, Some(0), None, Some(10..20)).await.unwrap();
    assert_eq!((part.bytes, part.size as usize), (payload(6).slice(10..20), payload(6).len()));
}

#[tokio::test]
async fn scans_go_through_all_shards_of_a_range_in_pages() {
    let (_, _, store) = new_store();
    let mut keys: Vec<ShardKey> = (0..40).map(key).collect();
    for n in 0..40 {
        put(&store, n).await.unwrap();
    }
    keys.sort();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.list_shards(ChunkId([0; 32]), ChunkId([0xff; 32]), after, 7).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        found.extend(page.into_iter().map(|(key, _)| key));
    }
    assert_eq!(found, keys);
    let (first, last) = (keys[5].chunk.id, keys[20].chunk.id);
    let part = store.list_shards(first, last, None, 100).await.unwrap();
    let want: Vec<ShardKey> = keys.into_iter().filter(|key| (first..=last).contains(&key.chunk.id)).collect();
    assert_eq!(part.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), want);
}

#[tokio::test]
async fn writers_share_a_sync_and_a_full_queue_says_so() {
    let (disk, _, store) = new_store();
    disk.hold_syncs(true);
    let before = disk.syncs();
    let mut writers: Vec<_> =
        (0..70u64).filter(|n| !n.is_multiple_of(17)).map(|n| Box::pin(put(&store, n))).collect();
    for writer in &mut writers {
        assert!(futures::poll!(writer).is_pending());
    }
    // The queue takes 64 MiB: more than 60 payloads of 1 MiB are too many.
    let large = Bytes::from(vec![1; 1 << 20]);
    let mut others: Vec<_> = (100..170)
        .map(|n| Box::pin(store.put_shard(key(n), meta(n), large.clone(), None, Purpose::Store)))
        .collect();
    let mut refused = 0;
    for other in &mut others {
        if let std::task::Poll::Ready(result) = futures::poll!(other) {
            assert_eq!(kind(result), ErrorKind::Busy);
            refused += 1;
        }
    }
    assert!((5..=10).contains(&refused), "{refused}");
    disk.hold_syncs(false);
    for result in futures::future::join_all(writers).await {
        assert_eq!(result, Ok(()));
    }
    // Small segments: sealing one and creating the next cost two more.
    let syncs = disk.syncs() - before;
    assert!(syncs <= 12, "{syncs} syncs for 65 writers");
    assert_eq!(get(&store, 69).await.unwrap(), payload(69));
}

#[tokio::test]
async fn bulk_that_is_durable_does_not_stay_in_memory() {
    let disk = FaultyDisk::new(1);
    let store = store_with(&disk, &MemKv::new(1), DiskConfig { segment_size: 1 << 20, ..config() });
    store.put_shard(key(1), meta(1), Bytes::from(vec![1; 1000]), None, Purpose::Store).await.unwrap();
    assert_eq!(disk.take_uncached(), [], "small writes stay: they are read again soon, and share pages");
    let mut after = segment::SEGMENT_HEADER_SIZE + record::record_size(1000);
    for n in 2..5 {
        store.put_shard(key(n), meta(n), Bytes::from(vec![1; 100_000]), None, Purpose::Store).await.unwrap();
        let ranges = disk.take_uncached();
        let [Range { start, end }] = ranges[..] else { panic!("{ranges:?}") };
        // The page between two batches is in the later one's range.
        assert!(
            start.is_multiple_of(4096) && (after - 4095..=after).contains(&start),
            "{start} after {after}"
        );
        assert!(end > start + 100_000, "{start}..{end}");
        after = end;
    }
    disk.hold_syncs(true);
    let mut write =
        Box::pin(store.put_shard(key(5), meta(5), Bytes::from(vec![1; 100_000]), None, Purpose::Store));
    assert!(futures::poll!(&mut write).is_pending());
    assert_eq!(disk.take_uncached(), [], "not before it is durable");
    disk.hold_syncs(false);
    write.await.unwrap();
    assert_eq!(disk.take_uncached().len(), 1);
}

#[tokio::test]
async fn a_failed_sync_is_final() {
    let (disk, kv, store) = new_store();
    put(&store, 1).await.unwrap();
    disk.sim.fail_syncs(&segment::path(Path::new("/disk"), 1));
    for n in [2, 3] {
        let error = put(&store, n).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Unavailable && error.message().contains("replace it"), "{error}");
    }
    assert_eq!(kind(store.delete(key(1)).await), ErrorKind::Unavailable);
    assert_eq!(kind(get(&store, 2).await), ErrorKind::NotFound);
    for _ in 0..2 {
        assert_eq!(get(&store, 1).await.unwrap(), payload(1), "reading goes on");
        assert!(matches!(store.stats().unwrap().state, DiskState::ReadOnly(_)));
    }
    drop(store);
    let store = self::store(&disk, &kv);
    assert_eq!(kind(put(&store, 4).await), ErrorKind::Unavailable, "also after a restart");
    assert_eq!(get(&store, 1).await.unwrap(), payload(1));
}

#[tokio::test]
async fn a_write_without_room_leaves_nothing_behind() {
    // A put that does not fit in the segment writes the next segment's header and itself; one that does fit only itself.
    for (n, write) in [(2, 1), (17, 1), (17, 2)] {
        let (disk, kv, store) = new_store();
        put(&store, 1).await.unwrap();
        disk.no_room_at(write);
        assert_eq!(kind(put(&store, n).await), ErrorKind::Busy, "{n} {write}");
        assert_eq!(store.stats().unwrap().state, DiskState::Full);
        put(&store, 3).await.unwrap();
        put(&store, 34).await.expect("the next segment can be created now");
        drop(store);
        for kv in [kv, MemKv::new(2)] {
            let store = self::store(&disk, &kv);
            store.settled().await;
            assert_eq!(get(&store, 1).await.unwrap(), payload(1));
            assert_eq!(kind(get(&store, n).await), ErrorKind::NotFound);
            assert_eq!(get(&store, 3).await.unwrap(), payload(3));
            assert_eq!(get(&store, 34).await.unwrap(), payload(34));
            let stats = store.stats().unwrap();
            assert_eq!((stats.quarantined, stats.state), (0, DiskState::Healthy), "{n} {write}");
        }
    }
}

#[tokio::test]
async fn a_damaged_shard_is_lost_until_it_is_put_again() {
    let (disk, kv, store) = new_store();
    put(&store, 1).await.unwrap();
    disk.sim.flip_bit(&segment::path(Path::new("/disk"), 1), 4096 + 96, 3);
    assert_eq!(kind(get(&store, 1).await), ErrorKind::Corrupt);
    drop(store);
    let store = self::store(&disk, &kv);
    // Not "it was never here": whoever asks must not mistake it for what a failed write left.
    assert_eq!(kind(get(&store, 1).await), ErrorKind::Corrupt);
    assert_eq!(store.lost(None, 9).await.unwrap(), [(key(1), meta(1))]);
    assert_eq!(store.lost(Some(key(1)), 9).await.unwrap(), []);
    let damage = |store: &DiskStore| store.stats().map(|stats| (stats.quarantined, stats.lost)).unwrap();
    assert_eq!(damage(&store), (1, 1));
    put(&store, 1).await.unwrap();
    assert_eq!(get(&store, 1).await.unwrap(), payload(1));
    assert_eq!((damage(&store), store.lost(None, 9).await.unwrap()), ((1, 0), vec![]));
}

#[tokio::test]
async fn a_lost_shard_that_is_deleted_is_not_missed() {
    let (disk, kv, store) = new_store();
    put(&store, 1).await.unwrap();
    disk.sim.flip_bit(&segment::path(Path::new("/disk"), 1), 4096 + 96, 3);
    assert_eq!(kind(get(&store, 1).await), ErrorKind::Corrupt);
    store.delete(key(1)).await.unwrap();
    drop(store);
    let store = self::store(&disk, &kv);
    assert_eq!(kind(get(&store, 1).await), ErrorKind::NotFound);
    assert_eq!(store.stats().unwrap().lost, 0);
}

#[tokio::test]
async fn a_disk_keeps_the_id_it_was_given() {
    let (disk, kv, store) = new_store();
    assert_eq!(store.id(), None);
    store.assign(DiskId(5)).unwrap();
    store.assign(DiskId(5)).unwrap();
    assert_eq!(kind(store.assign(DiskId(6))), ErrorKind::Conflict);
    let uuid = store.uuid();
    drop(store);
    let store = self::store(&disk, &kv);
    assert_eq!((store.id(), store.uuid()), (Some(DiskId(5)), uuid));
}

#[tokio::test]
async fn works_on_a_real_disk_with_a_real_index() {
    let dir = env::testing::temp_dir();
    let open = || {
        let config = DiskConfig { root: dir.join("disk"), ..config() };
        DiskStore::open(&Env::real(), config, |path| {
            Ok(Arc::new(kv::RocksKv::open(path, kv::Options::default())?) as Arc<dyn Kv>)
        })
        .unwrap()
    };
    let store = open();
    if store.stats().unwrap().state == DiskState::Full {
        return; // This machine has no room for it.
    }
    let all = futures::future::join_all((0..100).map(|n| put(&store, n))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    drop(store);
    let store = open();
    for n in 0..100 {
        assert_eq!(get(&store, n).await.unwrap(), payload(n));
    }
    drop(store);
    env::Disk::remove_dir_all(&*Env::real().disk, &dir.join("disk/index")).unwrap();
    let store = open();
    store.settled().await;
    for n in 0..100 {
        assert_eq!(get(&store, n).await.unwrap(), payload(n), "after the index was lost");
    }
}
