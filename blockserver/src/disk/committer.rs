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
/// A disk that has rested for so long is not busy with bulk: what comes then is written at once.
const BULK_REST: Duration = Duration::from_millis(20);

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

/// The committer: everything that queued up while the disk was syncing becomes the next batch.
pub(crate) fn run(mut engine: Engine, mut queue: mpsc::Receiver<Waiting>) {
    let mut last_end = None;
    while let Some(first) = queue.blocking_recv() {
        let rest = last_end.map(|end| time::now().saturating_duration_since(end));
        let mut batch = Batch { size: first.change.weight(), waiting: vec![first] };
        batch.take(&mut queue);
        for _ in 0..pauses(batch.size, rest) {
            task::rest(BULK_PAUSE);
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
    size: usize,
}

impl Batch {
    /// Adds what is in the queue.
    fn take(&mut self, queue: &mut mpsc::Receiver<Waiting>) {
        while self.size < GROUP_COMMIT_SIZE_MAX
            && let Ok(next) = queue.try_recv()
        {
            self.size += next.change.weight();
            self.waiting.push(next);
        }
    }
}

/// How often a batch of `size` bytes is held back for more, on a disk that has rested for `rest` (`None`: since its
/// start) before it.
fn pauses(size: usize, rest: Option<Duration>) -> u32 {
    let is_busy = rest.is_some_and(|rest| rest < BULK_REST);
    if is_busy && (BULK_SIZE_MIN..BULK_BATCH_SIZE).contains(&size) { BULK_PAUSES } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bulk_on_a_busy_disk_is_held_back() {
        let ms = |ms| Some(Duration::from_millis(ms));
        for (size, rest, want) in [
            (KIB, ms(0), 0),
            (BULK_SIZE_MIN, ms(0), BULK_PAUSES),
            (BULK_BATCH_SIZE - 1, ms(19), BULK_PAUSES),
            (BULK_BATCH_SIZE, ms(0), 0),
            (BULK_SIZE_MIN, ms(20), 0),
            (BULK_SIZE_MIN, None, 0),
        ] {
            assert_eq!(pauses(size, rest), want, "{size} bytes after {rest:?}");
        }
    }
}
