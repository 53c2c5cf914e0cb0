//! A node in a process of its own, as far as a test can have one: when it ends, nothing of it is left.

use std::future::Future;
use std::thread::JoinHandle;

use node::Node;
use tokio::sync::oneshot;
use types::Result;

/// A node that runs until this is dropped, which waits for its end: RocksDB aborts a process that ends while a store in it
/// is closed.
pub struct Process {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Process {
    /// Returns when the node has started, or could not.
    pub async fn start(node: impl Future<Output = Result<Node>> + Send + 'static) -> Result<Self> {
        let (started, outcome) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = env::testing::process("node", async move {
            match node.await {
                Ok(node) => {
                    started.send(Ok(())).unwrap();
                    let _ = stopped.await;
                    node.stop().await.unwrap();
                }
                Err(e) => started.send(Err(e)).unwrap(),
            }
        });
        let process = Self { stop: Some(stop), thread: Some(thread) };
        outcome.await.unwrap().map(|()| process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        let ended = self.thread.take().map(JoinHandle::join);
        // A panic of the node was shown when it happened, and fails the test unless it fails already.
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()), "the node has panicked");
    }
}

/// An address on this machine for a node and, one port up, its control port.
pub fn address(random: &env::Random) -> std::net::SocketAddr {
    std::net::SocketAddr::from(([127, 0, 0, 1], 20_000 + random.below(20_000) as u16))
}
