//! Goal: a disk that hangs or is slow holds up nobody: reads are answered in time, the disk says how it does, and goes on
//! when the hanging ends. Method: the simulated disk, whose operations take as long as it is told, on simulated time.

use env::disk::{DiskFaults, SimDisk};
use env::task::Owner;
use env::time::{self, Duration};
use types::ErrorKind;
use types::limits::{DISK_HANG_MAX, DISK_READ_QUEUE_COUNT_MAX, DISK_READ_THREAD_COUNT, DISK_READ_TIMEOUT};

use super::*;
use crate::{DiskState, DiskStore};

/// Runs a test as a node of a simulation.
async fn simulate(test: impl Future<Output = ()> + Send + 'static) {
    Owner::new("node", env::Random::seeded(1)).spawn(test).await.unwrap();
}

fn store(disk: &SimDisk) -> Arc<DiskStore> {
    let environment = Env { disk: Arc::new(disk.clone()), ..Env::simulated(9) };
    DiskStore::open(&environment, config(), |_| Ok(Arc::new(MemKv::new(1)) as Arc<dyn Kv>)).unwrap()
}

async fn put(store: &DiskStore, n: u64) -> Result<()> {
    store.put_shard(key(n), meta(n), payload(n), None, Purpose::Store).await
}

async fn get(store: &DiskStore, n: u64) -> Result<Bytes> {
    let key = key(n);
    store.get_shard(key.chunk, Some(key.slot), Some(key.generation), None).await.map(|found| found.bytes)
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_says_so_and_comes_back() {
    simulate(async {
        let disk = SimDisk::new(1);
        let store = store(&disk);
        put(&store, 1).await.unwrap();
        disk.set_faults(DiskFaults { hung: true, ..DiskFaults::default() });
        let before = time::now();
        assert_eq!(get(&store, 1).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(time::now() - before, DISK_READ_TIMEOUT);
        assert_eq!(store.stats().unwrap().state, DiskState::Healthy, "not for long enough");
        let writing = {
            let store = store.clone();
            env::task::spawn(async move { put(&store, 2).await })
        };
        time::sleep(DISK_HANG_MAX).await;
        let stats = store.stats().unwrap();
        assert!(
            matches!(&stats.state, DiskState::Failed(why) if why.contains("has not answered")),
            "{stats:?}"
        );
        assert_eq!(stats.failures.timeouts, 1);
        // As many as threads hang and as many wait; the others are told at once.
        let most = DISK_READ_THREAD_COUNT + DISK_READ_QUEUE_COUNT_MAX - 1;
        let mut reads: Vec<_> = (0..most).map(|_| Box::pin(get(&store, 1))).collect();
        for read in &mut reads {
            assert!(futures::poll!(read).is_pending());
        }
        assert_eq!(get(&store, 1).await.unwrap_err().kind(), ErrorKind::Busy);
        drop(reads);

        disk.set_faults(DiskFaults::default());
        writing.await.unwrap().unwrap();
        time::sleep(Duration::from_secs(1)).await;
        assert_eq!(store.stats().unwrap().state, DiskState::Healthy);
        assert_eq!(get(&store, 2).await.unwrap(), payload(2));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_disk_shows_it() {
    simulate(async {
        let disks = [1, 2, 3].map(SimDisk::new);
        let stores = disks.each_ref().map(store);
        let slow = Duration::from_millis(200)..Duration::from_millis(300);
        disks[0].set_faults(DiskFaults { delay: slow, ..DiskFaults::default() });
        for n in 1..20 {
            for store in &stores {
                put(store, n).await.unwrap();
                get(store, n).await.unwrap();
            }
        }
        let stats = stores.each_ref().map(|store| store.stats().unwrap());
        let reads = stats.each_ref().map(|stats| stats.read_micros);
        let syncs = stats.each_ref().map(|stats| stats.sync_micros);
        for micros in [reads, syncs] {
            assert!((150_000..350_000).contains(&micros[0]) && micros[1] < 5_000, "{micros:?}");
            assert!(crate::is_slow(micros[0], &micros[1..]));
            assert!(!crate::is_slow(micros[1], &[micros[0], micros[2]]));
        }
    })
    .await;
}

/// Who gave up waiting for a bad sector does not have to come back for the loss to be known.
#[tokio::test(start_paused = true)]
async fn a_loss_is_noted_although_nobody_waits() {
    simulate(async {
        let disk = SimDisk::new(1);
        let store = store(&disk);
        put(&store, 1).await.unwrap();
        disk.flip_bit(&crate::segment::path(std::path::Path::new("/disk"), 1), 4096 + 110, 1);
        disk.set_faults(DiskFaults { hung: true, ..DiskFaults::default() });
        assert_eq!(get(&store, 1).await.unwrap_err().kind(), ErrorKind::Unavailable);
        disk.set_faults(DiskFaults::default());
        time::sleep(Duration::from_secs(1)).await;
        assert_eq!(store.stats().unwrap().lost, 1);
    })
    .await;
}
