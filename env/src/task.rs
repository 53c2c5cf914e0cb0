//! Tasks and threads.

use std::future::Future;

pub use tokio::task::{JoinError, JoinHandle, JoinSet};

/// Starts a task on the current runtime.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

/// Runs blocking work (disk, long computation) off the runtime's threads.
pub fn spawn_blocking<F, T>(work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    tokio::task::spawn_blocking(work)
}

/// Starts a named thread for work that lasts as long as the process, for example a disk's committer.
pub fn thread<F, T>(name: &str, work: F) -> std::thread::JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    std::thread::Builder::new().name(name.to_owned()).spawn(work).expect("the system can start a thread")
}

/// A handle to the runtime, for blocking code that must wait for something asynchronous.
#[derive(Clone, Debug)]
pub struct Runtime(tokio::runtime::Handle);

impl Runtime {
    /// The runtime of the calling task, or of the task that started this blocking work.
    pub fn current() -> Self {
        Self(tokio::runtime::Handle::current())
    }

    /// Waits for `future`. Only from threads that are not the runtime's own.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

/// Starts a runtime with a thread per core, or as many as [`crate::process::THREADS_VARIABLE`] says, and runs a program
/// on it: what a `main` begins with.
pub fn run<F: Future>(program: F) -> F::Output {
    crate::memory::tune();
    crate::process::prefer_throughput();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("the system can start a runtime").block_on(program)
}
