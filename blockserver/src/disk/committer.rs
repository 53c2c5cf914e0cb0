//! The committer: the thread that gives a disk its batches.
//!
//! Owns: what becomes one batch, and when a batch waits for more.
//! Knows nothing of: how a batch is written.

use std::time::Duration;

use env::{task, time};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use types::Result;
use types::limits::{GROUP_COMMIT_SIZE_MAX, KIB, MIB};

use super::engine::{Change, Engine};

/// A change of this weight is bulk: whoever sends it cares for the rate, not for a few milliseconds.
const BULK_SIZE_MIN: usize = 64 * KIB;
/// A batch with so many bytes does not wait for more.
const BULK_BATCH_SIZE: usize = MIB;
/// How long bulk waits for more of it, in steps: fewer and longer writes, fewer syncs (decision 0010).
const BULK_PAUSES: u32 = 3;
const BULK_PAUSE: Duration = Duration::from_millis(1);
/// A disk that has been idle for so long is not busy with bulk: what comes then is written at once.
const IDLE_MIN: Duration = Duration::from_millis(20);

/// A change in the queue.
#[derive(Debug)]
pub(crate) struct Waiting {
    change: Change,
    done: oneshot::Sender<Result<()>>,
    _room: OwnedSemaphorePermit,
}

impl Waiting {
    /// `room` is given back when the change is done.
    pub(crate) fn new(change: Change, done: oneshot::Sender<Result<()>>, room: OwnedSemaphorePermit) -> Self {
        Self { change, done, _room: room }
    }
}

/// Commits until the queue is closed: everything that queued up while the disk was syncing becomes the next batch.
pub(crate) fn run(mut engine: Engine, mut queue: mpsc::Receiver<Waiting>) {
    let mut last_end = None;
    while let Some(first) = queue.blocking_recv() {
        let idle = last_end.map(|end| time::now().saturating_duration_since(end));
        let mut batch = Batch::new(first);
        batch.take(&mut queue);
        for _ in 0..pauses(batch.largest, batch.size, idle) {
            task::pause(BULK_PAUSE);
            batch.take(&mut queue);
            if batch.size >= BULK_BATCH_SIZE {
                break;
            }
        }
        let (changes, waiting): (Vec<Change>, Vec<_>) =
            batch.waiting.into_iter().map(|Waiting { change, done, _room }| (change, (done, _room))).unzip();
        for (result, (done, _room)) in engine.commit(&changes).into_iter().zip(waiting) {
            // A caller that went away does not want to know.
            let _ = done.send(result);
        }
        last_end = Some(time::now());
    }
}

/// Changes that share a sync.
struct Batch {
    waiting: Vec<Waiting>,
    /// Weight of all changes.
    size: usize,
    /// Weight of the heaviest.
    largest: usize,
}

impl Batch {
    fn new(first: Waiting) -> Self {
        let size = first.change.weight();
        Self { waiting: vec![first], size, largest: size }
    }

    /// Adds what is in the queue.
    fn take(&mut self, queue: &mut mpsc::Receiver<Waiting>) {
        while self.size < GROUP_COMMIT_SIZE_MAX
            && let Ok(next) = queue.try_recv()
        {
            let size = next.change.weight();
            self.size += size;
            self.largest = self.largest.max(size);
            self.waiting.push(next);
        }
    }
}

/// How often a batch of `size` bytes, whose largest change has `largest`, is held back for more, on a disk that was idle
/// for `idle` before it (`None`: since its start).
fn pauses(largest: usize, size: usize, idle: Option<Duration>) -> u32 {
    let is_busy = idle.is_some_and(|idle| idle < IDLE_MIN);
    if is_busy && largest >= BULK_SIZE_MIN && size < BULK_BATCH_SIZE { BULK_PAUSES } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bulk_on_a_busy_disk_is_held_back() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let bulk = BULK_SIZE_MIN;
        for (largest, size, idle, want) in [
            (KIB, KIB, ms(0), 0),
            // Many small changes are not bulk: each of them is waited for.
            (4 * KIB, 16 * bulk - 1, ms(0), 0),
            (bulk, bulk, ms(0), BULK_PAUSES),
            (bulk, BULK_BATCH_SIZE - 1, ms(19), BULK_PAUSES),
            (bulk, BULK_BATCH_SIZE, ms(0), 0),
            (bulk, bulk, ms(20), 0),
            (bulk, bulk, None, 0),
        ] {
            assert_eq!(pauses(largest, size, idle), want, "{largest} of {size} bytes after {idle:?}");
        }
    }
}
