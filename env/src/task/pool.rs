//! Threads of one disk, so that one that hangs holds up nobody but who asks it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};

use tokio::sync::Semaphore;

use super::queue::{Job, wait_for};
use super::{Owner, thread};
use crate::Disk;

/// Runs jobs of one disk, several at a time: on threads of their own, or in a simulation each after a delay. Dropping it
/// waits for threads that have nothing to do; one that hangs is left behind.
pub struct DiskPool(Workers);

enum Workers {
    Threads {
        jobs: Option<mpsc::SyncSender<Job>>,
        threads: Vec<std::thread::JoinHandle<()>>,
        /// Jobs that run.
        busy: Arc<AtomicUsize>,
    },
    Simulated {
        owner: Owner,
        disk: Arc<dyn Disk>,
        room: Arc<Semaphore>,
    },
}

impl DiskPool {
    /// Starts `count` threads for `disk`, for which at most `waiting_max` jobs wait.
    pub fn start(name: &str, disk: &Arc<dyn Disk>, count: usize, waiting_max: usize) -> Self {
        if let Some(owner) = Owner::current() {
            let room = Arc::new(Semaphore::new(count + waiting_max));
            return Self(Workers::Simulated { owner, disk: disk.clone(), room });
        }
        let (jobs, queued) = mpsc::sync_channel::<Job>(waiting_max);
        let (queued, busy) = (Arc::new(Mutex::new(queued)), Arc::new(AtomicUsize::new(0)));
        let start = || {
            let (queued, busy) = (queued.clone(), busy.clone());
            thread(name, move || run(&queued, &busy))
        };
        let threads = std::iter::repeat_with(start).take(count).collect();
        Self(Workers::Threads { jobs: Some(jobs), threads, busy })
    }

    /// Queues a job; false, without it, when too many wait. It runs to its end whoever gives up meanwhile.
    #[must_use]
    pub fn try_push(&self, job: impl FnOnce() + Send + 'static) -> bool {
        match &self.0 {
            Workers::Threads { jobs, .. } => {
                let jobs = jobs.as_ref().expect("only drop() takes it");
                jobs.try_send(Box::new(job)).is_ok()
            }
            Workers::Simulated { owner, disk, room } => {
                let Ok(place) = room.clone().try_acquire_owned() else { return false };
                let (inner, disk) = (owner.clone(), disk.clone());
                owner.spawn(async move {
                    wait_for(&inner, &*disk).await;
                    job();
                    drop(place);
                });
                true
            }
        }
    }
}

fn run(queued: &Mutex<mpsc::Receiver<Job>>, busy: &AtomicUsize) {
    loop {
        let next = queued.lock().expect("no panic while it is held").recv();
        let Ok(job) = next else { return };
        busy.fetch_add(1, SeqCst);
        // Shown when it happens; who waits finds out because no answer comes. The others still have their disk.
        let _ = catch_unwind(AssertUnwindSafe(job));
        busy.fetch_sub(1, SeqCst);
    }
}

impl Drop for DiskPool {
    fn drop(&mut self) {
        if let Workers::Threads { jobs, threads, busy } = &mut self.0 {
            *jobs = None;
            if busy.load(SeqCst) == 0 {
                threads.drain(..).for_each(|thread| drop(thread.join()));
            }
        }
    }
}

impl fmt::Debug for DiskPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DiskPool")
    }
}
