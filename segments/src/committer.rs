//! Group commit: whatever queues up while the disk is syncing becomes the next batch.
//!
//! Owns: the queue of changes and its bounds, who is told what came of each.
//! Knows nothing of: what a change does to the disk.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use env::task::DiskQueue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use types::limits::{DISK_QUEUE_COUNT_MAX, DISK_QUEUE_RETRY_MS, GROUP_COMMIT_SIZE_MAX};
use types::{Error, Result};

use crate::background::Background;
use crate::change::Change;
use crate::engine::Engine;
use crate::health::{Health, Kind, Operation};

/// Bytes that wait for a group commit: one being written and three after it.
const QUEUE_SIZE_MAX: usize = 4 * GROUP_COMMIT_SIZE_MAX;

/// The one writer of a disk. Dropping it waits until all that was queued is durable.
#[derive(Debug)]
pub(crate) struct Committer {
    shared: Arc<CommitState>,
    root: PathBuf,
    health: Arc<Health>,
    room: Arc<Semaphore>,
    queue: DiskQueue,
}

#[derive(Debug)]
struct CommitState {
    /// Before the engine, which unlocks the disk when it is dropped.
    background: Background,
    engine: Arc<Mutex<Engine>>,
    changes: Mutex<Changes>,
}

#[derive(Debug, Default)]
struct Changes {
    waiting: VecDeque<WaitingChange>,
    /// A job that commits what waits is queued or runs.
    is_scheduled: bool,
}

/// A change in the queue.
#[derive(Debug)]
struct WaitingChange {
    change: Change,
    done: oneshot::Sender<Result<()>>,
    _room: OwnedSemaphorePermit,
    _operation: Operation,
}

impl Committer {
    pub(crate) fn start(engine: Engine) -> Self {
        let queue = DiskQueue::start("disk-committer", &engine.shared.disk);
        let root = engine.shared.root.clone();
        let disk = engine.shared.clone();
        let health = disk.health.clone();
        let engine = Arc::new(Mutex::new(engine));
        let background = Background::start(&disk, &engine);
        let shared = Arc::new(CommitState { background, engine, changes: Mutex::default() });
        Self { shared, root, health, room: Arc::new(Semaphore::new(QUEUE_SIZE_MAX)), queue }
    }

    /// Applies a change; durable on return. `Busy` when too much waits already.
    pub(crate) async fn submit(&self, change: Change) -> Result<()> {
        let answer = self.enqueue(change)?;
        answer.await.map_err(|_| Error::internal("the disk's committer stopped"))?
    }

    /// The same, for whoever does not wait here.
    pub(crate) fn enqueue(&self, change: Change) -> Result<oneshot::Receiver<Result<()>>> {
        let weight =
            u32::try_from(change.weight()).map_err(|_| Error::invalid("a shard of more than 4 GiB"))?;
        let room = self.room.clone().try_acquire_many_owned(weight);
        let room = room.map_err(|_| self.full("too many bytes wait to be written"))?;
        let (done, answer) = oneshot::channel();
        let must_schedule = {
            let mut changes = self.shared.changes();
            if changes.waiting.len() >= DISK_QUEUE_COUNT_MAX {
                return Err(self.full("too many writes wait"));
            }
            let _operation = self.health.begin(Kind::Sync);
            changes.waiting.push_back(WaitingChange { change, done, _room: room, _operation });
            !std::mem::replace(&mut changes.is_scheduled, true)
        };
        if must_schedule {
            let shared = self.shared.clone();
            self.queue.push(move || shared.run());
        }
        Ok(answer)
    }

    /// Sees to it that what there is to do in the background is done.
    pub(crate) fn wake(&self) {
        self.shared.background.wake();
    }

    /// Runs work of minutes where nobody waits for it but the caller.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.shared.background.run(work).await
    }

    /// Waits until that is done.
    pub(crate) async fn idle(&self) {
        self.shared.background.idle().await;
    }

    fn full(&self, what: &str) -> Error {
        Error::busy(format!("disk {}: {what}", self.root.display()), DISK_QUEUE_RETRY_MS)
    }
}

impl CommitState {
    /// Commits until nothing waits.
    fn run(&self) {
        let mut engine = self.engine.lock().expect("a job that panicked ended the disk");
        while let Some(batch) = self.next_batch() {
            let (changes, waiting): (Vec<Change>, Vec<_>) = batch
                .into_iter()
                .map(|WaitingChange { change, done, _room, _operation }| (change, (done, _room, _operation)))
                .unzip();
            let results = engine.commit(&changes);
            assert_eq!(results.len(), waiting.len(), "everybody who waits gets an answer (I-ACK)");
            for (result, (done, _room, operation)) in results.into_iter().zip(waiting) {
                drop(operation);
                // A caller that went away does not want to know.
                let _ = done.send(result);
            }
            self.background.wake();
        }
    }

    /// What waits, up to the size of a batch.
    fn next_batch(&self) -> Option<Vec<WaitingChange>> {
        let mut changes = self.changes();
        let mut batch = Vec::new();
        let mut size = 0;
        while size < GROUP_COMMIT_SIZE_MAX
            && let Some(next) = changes.waiting.pop_front()
        {
            size += next.change.weight();
            batch.push(next);
        }
        changes.is_scheduled = !batch.is_empty();
        (!batch.is_empty()).then_some(batch)
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().expect("no panic while it is held")
    }
}
