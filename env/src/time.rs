//! Durations and waiting. Under a paused tokio runtime this is simulated time.

use std::future::Future;
pub use std::time::Duration;

use crate::task::Owner;

/// A point on the monotonic clock.
pub use tokio::time::Instant;

/// The monotonic time now. It stands still while the machine is suspended, as Linux' own does.
pub fn now() -> Instant {
    Instant::now() - Owner::time_missed()
}

/// The time of a simulated world, which no suspension of a machine stops: for what is between machines.
pub fn world_now() -> Instant {
    Instant::now()
}

/// Waits until `deadline`, which is one of [`world_now`].
pub async fn sleep_until_world(deadline: Instant) {
    tokio::time::sleep_until(deadline).await;
}

/// Waits for `duration`.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits until `deadline`.
pub async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(deadline + Owner::time_missed()).await;
}

/// The deadline passed before the future was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// Runs `future` for at most `duration`, then drops it.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout(duration, future).await.map_err(|_| Elapsed)
}

/// Runs `future` until `deadline`, then drops it.
pub async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout_at(deadline + Owner::time_missed(), future).await.map_err(|_| Elapsed)
}
