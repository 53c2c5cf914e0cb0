//! Blocking jobs of one disk, in order.

use std::sync::{Arc, mpsc as thread_mpsc};

use tokio::sync::mpsc::{self, error::TrySendError};
use types::limits::{DISK_JOB_COUNT_MAX, SIM_HUNG_DISK_PERIOD};

use super::{Owner, thread};
use crate::Disk;
use crate::time;

pub(super) type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs one at a time, in the order in which they came: on a thread of their own, or in a simulation each after a
/// delay. Dropping it waits for the jobs in the queue; in a simulation nobody waits.
#[derive(Debug)]
pub struct DiskQueue(Inner);

#[derive(Debug)]
enum Inner {
    Thread { jobs: Option<thread_mpsc::SyncSender<Job>>, thread: Option<std::thread::JoinHandle<()>> },
    Simulated(mpsc::Sender<Job>),
    Inline,
}

impl DiskQueue {
    /// Starts the queue of `disk`.
    pub fn start(name: &str, disk: &Arc<dyn Disk>) -> Self {
        if let Some(owner) = Owner::current() {
            let (jobs, queued) = mpsc::channel(DISK_JOB_COUNT_MAX);
            owner.spawn(run_simulated(owner.clone(), disk.clone(), queued));
            return Self(Inner::Simulated(jobs));
        }
        let (jobs, queued) = thread_mpsc::sync_channel::<Job>(DISK_JOB_COUNT_MAX);
        let thread = thread(name, move || queued.into_iter().for_each(|job| job()));
        Self(Inner::Thread { jobs: Some(jobs), thread: Some(thread) })
    }

    /// A queue whose jobs run at once, on the thread that brings them: for tests that need neither threads nor delays.
    pub fn inline() -> Self {
        Self(Inner::Inline)
    }

    /// Queues a job. Users have few jobs in the queue at a time, far below its bound: one job does what has come up
    /// since the one before.
    pub fn push(&self, job: impl FnOnce() + Send + 'static) {
        match &self.0 {
            Inner::Inline => job(),
            Inner::Thread { jobs, .. } => {
                let jobs = jobs.as_ref().expect("only drop() takes it");
                jobs.send(Box::new(job)).expect("a job that panicked ended the queue");
            }
            Inner::Simulated(jobs) => match jobs.try_send(Box::new(job)) {
                Err(TrySendError::Full(_)) => panic!("users of a disk's queue wait for its jobs"),
                // A killed node has no use for it.
                Ok(()) | Err(TrySendError::Closed(_)) => {}
            },
        }
    }
}

impl Drop for DiskQueue {
    fn drop(&mut self) {
        if let Inner::Thread { jobs, thread } = &mut self.0 {
            *jobs = None;
            // A panic of a job was shown when it happened.
            thread.take().into_iter().for_each(|thread| drop(thread.join()));
        }
    }
}

async fn run_simulated(owner: Owner, disk: Arc<dyn Disk>, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.recv().await {
        wait_for(&owner, &*disk).await;
        job();
    }
}

/// What the next operation of a simulated disk has to wait for.
pub(super) async fn wait_for(owner: &Owner, disk: &dyn Disk) {
    time::sleep(owner.draw_delay()).await;
    loop {
        match disk.delay() {
            Some(delay) => return time::sleep(delay).await,
            None => time::sleep(SIM_HUNG_DISK_PERIOD).await,
        }
    }
}

impl dyn Disk {
    /// Runs a blocking operation on this disk off the runtime's threads and returns its result. It runs to its end even
    /// when the caller gives up. `Internal` when it panicked.
    pub async fn submit<T: Send + 'static>(
        self: &Arc<Self>,
        operation: impl FnOnce(&dyn Disk) -> types::Result<T> + Send + 'static,
    ) -> types::Result<T> {
        let disk = self.clone();
        let task = match Owner::current() {
            Some(owner) => owner.clone().spawn(async move {
                wait_for(&owner, &*disk).await;
                operation(&*disk)
            }),
            None => tokio::task::spawn_blocking(move || operation(&*disk)),
        };
        task.await.map_err(|e| types::Error::internal(format!("a disk's thread failed: {e}")))?
    }
}
