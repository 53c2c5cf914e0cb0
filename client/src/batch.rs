//! Turns many small requests of many tasks into few large ones, without waiting: whatever queued while the previous
//! batch was under way goes together.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};
use types::{Error, Result};

/// How much goes into one batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Items of one batch.
    pub count_max: usize,
    /// Bytes of one batch, by the caller's measure.
    pub size_max: usize,
    /// Batches under way at once.
    pub in_flight_max: usize,
}

impl BatchLimits {
    /// Items that wait before a caller has to: the next batch, and the one after it.
    fn queue_count(self) -> usize {
        self.count_max * 2
    }
}

type Waiting<T, R> = (T, usize, oneshot::Sender<Result<R>>);
type Batch<T, R> = Vec<Waiting<T, R>>;

/// A queue in front of a batched request.
#[derive(Debug)]
pub struct Batcher<T, R> {
    queue: mpsc::Sender<Waiting<T, R>>,
}

impl<T: Send + 'static, R: Send + 'static> Batcher<T, R> {
    /// Starts the queue. `send` gets the items of a batch and returns a result each, in order; if it fails, all fail.
    pub fn start<F, Fut>(limits: BatchLimits, send: F) -> Self
    where
        F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Result<R>>>> + Send + 'static,
    {
        assert!(limits.count_max > 0 && limits.in_flight_max > 0, "a batch has room and a place: {limits:?}");
        let (queue, items) = mpsc::channel(limits.queue_count());
        env::task::spawn(run(limits, items, Arc::new(send)));
        Self { queue }
    }

    /// Queues one item of `size` bytes and waits for its result. `Unavailable` when the queue was stopped.
    pub async fn call(&self, item: T, size: usize) -> Result<R> {
        let (sender, receiver) = oneshot::channel();
        let stopped = || Error::unavailable("the request queue was stopped");
        self.queue.send((item, size, sender)).await.map_err(|_| stopped())?;
        receiver.await.map_err(|_| stopped())?
    }
}

async fn run<T, R, F, Fut>(limits: BatchLimits, mut items: mpsc::Receiver<Waiting<T, R>>, send: Arc<F>)
where
    T: Send + 'static,
    R: Send + 'static,
    F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Vec<Result<R>>>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.in_flight_max));
    let mut next = items.recv().await;
    while let Some(first) = next.take() {
        // While we wait for a place the queue fills: that is what makes batches large under load and small at rest.
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (batch, left_over) = collect(limits, first, &mut items);
        let send = send.clone();
        env::task::spawn(async move {
            perform(batch, &*send).await;
            drop(place);
        });
        next = match left_over {
            Some(item) => Some(item),
            None => items.recv().await,
        };
    }
}

/// Takes what is waiting, up to the limits. The second value no longer fitted.
fn collect<T, R>(
    limits: BatchLimits,
    first: Waiting<T, R>,
    items: &mut mpsc::Receiver<Waiting<T, R>>,
) -> (Batch<T, R>, Option<Waiting<T, R>>) {
    let mut size = first.1;
    let mut batch = vec![first];
    let mut left_over = None;
    while batch.len() < limits.count_max {
        let Ok(item) = items.try_recv() else { break };
        let total = size.saturating_add(item.1);
        if total > limits.size_max {
            left_over = Some(item);
            break;
        }
        size = total;
        batch.push(item);
    }
    assert!(batch.len() <= limits.count_max, "the server refuses more (I-BOUND)");
    assert!(batch.len() == 1 || size <= limits.size_max, "only a lone item is over the size (I-BOUND)");
    (batch, left_over)
}

async fn perform<T, R, F, Fut>(batch: Batch<T, R>, send: &F)
where
    F: Fn(Vec<T>) -> Fut,
    Fut: Future<Output = Result<Vec<Result<R>>>>,
{
    let (items, waiting): (Vec<T>, Vec<_>) =
        batch.into_iter().map(|(item, _, sender)| (item, sender)).unzip();
    let results = match send(items).await {
        Ok(results) if results.len() == waiting.len() => results,
        Ok(results) => {
            let error = Error::internal(format!("{} answers to a batch of {}", results.len(), waiting.len()));
            waiting.iter().map(|_| Err(error.clone())).collect()
        }
        Err(error) => waiting.iter().map(|_| Err(error.clone())).collect(),
    };
    for (sender, result) in waiting.into_iter().zip(results) {
        let _ = sender.send(result); // The caller may have gone away.
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::future::join_all;

    use super::*;

    const LIMITS: BatchLimits = BatchLimits { count_max: 4, size_max: 100, in_flight_max: 1 };

    type Seen = Arc<Mutex<Vec<Vec<u32>>>>;

    fn doubling(limits: BatchLimits) -> (Batcher<u32, u32>, Seen) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let batcher = Batcher::start(limits, move |items: Vec<u32>| {
            log.lock().unwrap().push(items.clone());
            async move {
                tokio::task::yield_now().await;
                Ok(items
                    .into_iter()
                    .map(|n| if n == 13 { Err(Error::invalid("13")) } else { Ok(n * 2) })
                    .collect())
            }
        });
        (batcher, seen)
    }

    #[tokio::test]
    async fn everybody_gets_their_own_result_and_batches_keep_their_limits() {
        let (batcher, seen) = doubling(LIMITS);
        let results = join_all((0..20).map(|n| batcher.call(n, 1))).await;
        for (n, result) in results.into_iter().enumerate() {
            assert_eq!(result.ok(), (n != 13).then_some(n as u32 * 2));
        }
        let seen = seen.lock().unwrap();
        assert!(seen.iter().all(|batch| batch.len() <= 4) && seen.len() < 20, "{seen:?}");
    }

    #[tokio::test]
    async fn a_large_item_goes_alone() {
        let (batcher, seen) = doubling(LIMITS);
        join_all((0..3).map(|n| batcher.call(n, 80))).await;
        assert!(seen.lock().unwrap().iter().all(|batch| batch.len() == 1));
    }

    /// Sizes come from callers: the largest there is ends nothing.
    #[tokio::test]
    async fn sizes_do_not_overflow() {
        let (batcher, seen) = doubling(BatchLimits { size_max: usize::MAX, ..LIMITS });
        let results = join_all((0..3).map(|n| batcher.call(n, usize::MAX))).await;
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(seen.lock().unwrap().iter().map(Vec::len).sum::<usize>(), 3);
    }

    #[tokio::test]
    #[should_panic(expected = "a batch has room and a place")]
    async fn a_batch_without_room_is_not_started() {
        doubling(BatchLimits { count_max: 0, ..LIMITS });
    }

    #[tokio::test]
    async fn a_failed_batch_fails_all_its_items() {
        let batcher: Batcher<u32, u32> =
            Batcher::start(LIMITS, |_| async { Err(Error::unavailable("no quorum")) });
        for result in join_all((0..3).map(|n| batcher.call(n, 1))).await {
            assert_eq!(result.unwrap_err().message(), "no quorum");
        }
    }
}
