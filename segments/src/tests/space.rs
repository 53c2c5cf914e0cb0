//! Goal: a disk that fills keeps what it must, says so, and goes on by itself when there is room again.
//! Method: a disk of a few MiB, filled by one purpose after the other.

use types::ErrorKind;

use super::*;
use crate::{DiskState, DiskStore};

const SIZE: usize = 10_000;

async fn put(store: &DiskStore, n: u64, purpose: Purpose) -> Result<(), ErrorKind> {
    let bytes = Bytes::from(vec![n as u8; SIZE]);
    store.put_shard(key(n), meta(n), bytes, None, purpose).await.map_err(|error| error.kind())
}

fn used_percent(store: &DiskStore) -> u64 {
    let stats = store.stats().unwrap();
    (stats.total - stats.free) * 100 / stats.total
}

#[tokio::test]
async fn a_small_disk_fills_in_steps() {
    let (disk, kv) = (FaultyDisk::new(1), MemKv::new(1));
    disk.sim.set_capacity(4 << 20);
    let config = DiskConfig { segment_size: 1 << 30, ..config() };
    let store =
        DiskStore::open(&environment(&disk), config, move |_| Ok(Arc::new(kv.clone()) as Arc<dyn Kv>))
            .unwrap();
    let state = || store.stats().unwrap().state;
    let (mut n, mut states) = (1, vec![state()]);
    while put(&store, n, Purpose::Store).await == Ok(()) {
        if states.last() != Some(&state()) {
            states.push(state());
        }
        n += 1;
    }
    assert!((94..=95).contains(&used_percent(&store)), "{}", used_percent(&store));
    assert!(states.starts_with(&[DiskState::Healthy, DiskState::BackfillFull]), "{states:?}");
    let stored = n;
    assert_eq!(put(&store, n, Purpose::Store).await, Err(ErrorKind::Busy));
    assert_eq!(put(&store, 1, Purpose::Store).await, Ok(()), "it is there already");
    while put(&store, n, Purpose::Repair).await == Ok(()) {
        n += 1;
    }
    assert!(n > stored && (97..=98).contains(&used_percent(&store)), "{}", used_percent(&store));
    assert_eq!(state(), DiskState::Full);
    store.delete(key(1)).await.unwrap();
    store.distrust(key(2)).await.unwrap();
    // Room comes from elsewhere: nobody has to write for it to be seen.
    disk.sim.set_capacity(8 << 20);
    assert_eq!(state(), DiskState::Healthy);
    assert_eq!(put(&store, 1, Purpose::Store).await, Ok(()));
    assert_eq!(put(&store, 2, Purpose::Repair).await, Ok(()));
    store.set_slow(true);
    assert_eq!(state(), DiskState::Slow);
}
