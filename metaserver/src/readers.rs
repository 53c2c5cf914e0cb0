//! Reads run on worker threads, so many at a time: one that waits for the disk holds up no message of Raft.

use tokio::sync::Semaphore;
use types::limits::{READ_QUEUE_COUNT_MAX, READ_RETRY_MS, READ_THREAD_COUNT_MAX};
use types::{Error, Result};

/// The threads that reads may take.
#[derive(Debug)]
pub struct Readers {
    queue: Semaphore,
    threads: std::sync::Arc<Semaphore>,
}

impl Default for Readers {
    fn default() -> Self {
        let queue = Semaphore::new(READ_QUEUE_COUNT_MAX + READ_THREAD_COUNT_MAX);
        Self { queue, threads: std::sync::Arc::new(Semaphore::new(READ_THREAD_COUNT_MAX)) }
    }
}

impl Readers {
    /// Runs `read` on a thread. `Busy` when too many wait for one.
    pub async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let full = |_| Error::busy("too many reads wait for a thread; try again shortly", READ_RETRY_MS);
        let _queued = self.queue.try_acquire().map_err(full)?;
        let thread = self.threads.clone().acquire_owned().await.expect("never closed");
        env::task::blocking(move || {
            // Held by the read itself, which goes on when its caller has given up.
            let _thread = thread;
            read()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::future::join_all;
    use types::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn reads_take_turns_and_too_many_are_refused() {
        let readers = Arc::new(Readers::default());
        let gate = Arc::new(std::sync::Barrier::new(READ_THREAD_COUNT_MAX));
        let most = READ_QUEUE_COUNT_MAX + READ_THREAD_COUNT_MAX;
        // Goes on when all threads are taken: it would hang with fewer of them.
        let read = |_| {
            let gate = gate.clone();
            readers.run(move || {
                gate.wait();
                Ok(())
            })
        };
        let done = join_all((0..=most).map(read)).await;
        let refused: Vec<_> = done.into_iter().filter_map(Result::err).collect();
        assert_eq!(refused.iter().map(Error::kind).collect::<Vec<_>>(), [ErrorKind::Busy]);
    }
}
