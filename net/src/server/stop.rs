//! Tells everything a server runs that it stops.

use tokio::sync::watch;

/// Becomes true once, when the server stops.
#[derive(Clone)]
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Set when `stopping` is.
    pub(super) fn new(stopping: watch::Receiver<bool>) -> Self {
        Self(stopping)
    }

    /// Waits until the server stops.
    pub(super) async fn wait(&mut self) {
        // An error means that the server was dropped, which is stopping too.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    pub(super) fn is_set(&self) -> bool {
        *self.0.borrow()
    }
}
