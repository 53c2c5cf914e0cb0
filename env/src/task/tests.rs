//! Goal: a node's tasks start, stand still and die together, in an order that the seed decides.
//! Method: a paused runtime and a few owners.

use std::sync::{Arc, Mutex};

use super::*;
use crate::disk::SimDisk;
use crate::time::{self, Duration};
use crate::{Disk, Random};

type Seen = Arc<Mutex<Vec<String>>>;

fn owner(name: &str) -> Owner {
    Owner::new(name, Random::seeded(1))
}

fn say(seen: &Seen, what: &str) {
    let name = Owner::current().map_or("nobody".to_owned(), |owner| owner.name().to_owned());
    seen.lock().unwrap().push(format!("{name} {what}"));
}

fn said(seen: &Seen) -> Vec<String> {
    std::mem::take(&mut seen.lock().unwrap())
}

async fn ticks(seen: Seen, what: &'static str) {
    loop {
        time::sleep(Duration::from_millis(10)).await;
        say(&seen, what);
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_inherit_their_owner() {
    let seen = Seen::default();
    let inner = seen.clone();
    owner("a")
        .spawn(async move {
            let deeper = inner.clone();
            let mut set = JoinSet::new();
            set.spawn(async move { say(&deeper, "in a set") });
            set.join_next().await;
            let deeper = inner.clone();
            spawn(async move { say(&deeper, "below") }).await.unwrap();
            let deeper = inner.clone();
            blocking(move || {
                say(&deeper, "blocks");
                Ok(())
            })
            .await
            .unwrap();
            say(&inner, "itself");
        })
        .await
        .unwrap();
    say(&seen, "outside");
    assert_eq!(said(&seen), ["a in a set", "a below", "a blocks", "a itself", "nobody outside"]);
}

#[tokio::test(start_paused = true)]
async fn a_killed_owner_runs_no_more() {
    let (seen, owner) = (Seen::default(), owner("a"));
    owner.spawn(ticks(seen.clone(), "one"));
    owner.spawn(ticks(seen.clone(), "two"));
    time::sleep(Duration::from_millis(15)).await;
    assert_eq!((said(&seen).len(), owner.task_count()), (2, 2));
    owner.kill();
    time::sleep(Duration::from_millis(100)).await;
    owner.spawn(ticks(seen.clone(), "three"));
    time::sleep(Duration::from_millis(100)).await;
    assert_eq!((said(&seen), owner.task_count()), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn a_paused_owner_goes_on_later() {
    let (seen, owner) = (Seen::default(), owner("a"));
    owner.spawn(ticks(seen.clone(), "tick"));
    time::sleep(Duration::from_millis(15)).await;
    owner.pause();
    time::sleep(Duration::from_millis(100)).await;
    assert_eq!(said(&seen).len(), 1);
    owner.resume();
    time::sleep(Duration::from_millis(1)).await;
    assert_eq!(said(&seen).len(), 1, "the timer that ran out meanwhile");
    time::sleep(Duration::from_millis(25)).await;
    assert_eq!(said(&seen).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn values_are_dropped_as_their_owner() {
    struct Last(Seen);
    impl Drop for Last {
        fn drop(&mut self) {
            say(&self.0, "dropped");
        }
    }
    let (seen, owner) = (Seen::default(), owner("a"));
    let last = Last(seen.clone());
    owner.spawn(async move {
        let _last = last;
        std::future::pending::<()>().await;
    });
    time::sleep(Duration::from_millis(1)).await;
    owner.kill();
    time::sleep(Duration::from_millis(1)).await;
    assert_eq!(said(&seen), ["a dropped"]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_keeps_the_order_and_dies_with_its_owner() {
    let (seen, owner) = (Seen::default(), owner("a"));
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let (inner, queue_disk) = (seen.clone(), disk.clone());
    owner.spawn(async move {
        let queue = DiskQueue::start("test", &queue_disk);
        for n in 0..5 {
            let seen = inner.clone();
            queue.push(move || say(&seen, &n.to_string()));
        }
        time::sleep(Duration::from_secs(1)).await;
        let seen = inner.clone();
        queue.push(move || say(&seen, "late"));
        std::future::pending::<()>().await;
    });
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(said(&seen), ["a 0", "a 1", "a 2", "a 3", "a 4"]);
    owner.kill();
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(said(&seen), [""; 0]);
}

#[test]
fn a_real_queue_finishes_its_jobs_before_it_is_gone() {
    let seen = Seen::default();
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let queue = DiskQueue::start("test", &disk);
    for n in 0..100 {
        let seen = seen.clone();
        queue.push(move || say(&seen, &n.to_string()));
    }
    drop(queue);
    let want: Vec<String> = (0..100).map(|n| format!("nobody {n}")).collect();
    assert_eq!(said(&seen), want);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_blocking_work_is_an_error() {
    let work = || -> Result<()> { panic!("as asked") };
    assert_eq!(blocking(work).await.unwrap_err().kind(), types::ErrorKind::Internal);
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let owned = owner("a").spawn(async move { disk.submit(|_| -> Result<()> { panic!("as asked") }).await });
    assert_eq!(owned.await.unwrap().unwrap_err().kind(), types::ErrorKind::Internal);
}

#[cfg(tokio_unstable)]
#[test]
fn a_seed_decides_the_order() {
    let order = |seed| {
        let seen = Seen::default();
        let inner = seen.clone();
        run_simulated(seed, async move {
            let mut set = JoinSet::new();
            for n in 0..20 {
                let (seen, owner) = (inner.clone(), Owner::new(n.to_string(), Random::seeded(seed + n)));
                set.spawn_as(&owner, async move {
                    for _ in 0..5 {
                        blocking(|| Ok(())).await.unwrap();
                        say(&seen, "ran");
                    }
                });
            }
            while set.join_next().await.is_some() {}
        });
        said(&seen)
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

/// One disk that hangs: its jobs wait, and what is too much is refused at once; another disk does not notice.
#[test]
fn a_pool_whose_jobs_hang_is_full() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let (hung, other) = (DiskPool::start("hung", &disk, 2, 3), DiskPool::start("other", &disk, 2, 3));
    let (started, is_started) = std::sync::mpsc::channel();
    let gate = Arc::new(Mutex::new(()));
    let held = gate.lock().unwrap();
    let job = || {
        let (gate, started) = (gate.clone(), started.clone());
        move || {
            started.send(()).unwrap();
            drop(gate.lock());
        }
    };
    for _ in 0..2 {
        assert!(hung.try_push(job()));
        is_started.recv().unwrap();
    }
    assert!((0..3).all(|_| hung.try_push(job())));
    assert!(!hung.try_push(job()));
    let (done, is_done) = std::sync::mpsc::channel();
    assert!(other.try_push(|| panic!("one job")));
    assert!(other.try_push(move || done.send(()).unwrap()));
    is_done.recv().unwrap();
    drop(hung);
    drop(held);
    drop(other);
}

/// In a simulation its jobs belong to the node, and run after delays that the seed decides.
#[tokio::test(start_paused = true)]
async fn a_pool_of_a_simulation_dies_with_its_owner() {
    let (seen, owner) = (Seen::default(), owner("a"));
    let inner = seen.clone();
    owner.spawn(async move {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
        let pool = DiskPool::start("test", &disk, 2, 2);
        for n in 0..6 {
            let seen = inner.clone();
            if !pool.try_push(move || say(&seen, "works")) {
                say(&inner, &format!("refused {n}"));
            }
        }
        time::sleep(Duration::from_secs(1)).await;
        let seen = inner.clone();
        assert!(pool.try_push(move || say(&seen, "too late")));
        Owner::current().unwrap().kill();
    });
    time::sleep(Duration::from_secs(2)).await;
    let refused = ["a refused 4", "a refused 5"];
    assert_eq!(said(&seen), [&refused[..], &["a works"; 4]].concat());
}
