//! Tasks, threads, and blocking work.
//!
//! In a simulation every task belongs to an [`Owner`], a node: tasks inherit it from the task that starts them, and a
//! crash or pause holds all tasks of a node. Blocking work then runs on the one thread there is, after a delay drawn
//! from the owner's seed, so that a seed decides every order.

mod owner;
mod pool;
mod queue;

#[cfg(test)]
mod tests;

use std::future::Future;

use types::{Error, Result};

pub use owner::Owner;
pub use pool::DiskPool;
pub use queue::DiskQueue;
pub use tokio::task::{AbortHandle, JoinError, JoinHandle};

/// Starts a task on the current runtime. It belongs to whom the calling task belongs to.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match Owner::current() {
        Some(owner) => owner.spawn(future),
        None => tokio::spawn(future),
    }
}

/// Runs blocking work (a store, a long computation) off the runtime's threads and returns its result. The work runs to
/// its end even when the caller gives up. `Internal` when it panicked.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let task = match Owner::current() {
        Some(owner) => owner.spawn_delayed(owner.draw_delay(), work),
        None => tokio::task::spawn_blocking(work),
    };
    task.await.map_err(|e| Error::internal(format!("a worker thread failed: {e}")))?
}

/// Starts a named thread for work that lasts as long as the process and is no part of a simulation.
pub fn thread<F, T>(name: &str, work: F) -> std::thread::JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    std::thread::Builder::new().name(name.to_owned()).spawn(work).expect("the system can start a thread")
}

/// Tasks that are waited for together, and aborted when the set is dropped.
#[derive(Debug)]
pub struct JoinSet<T>(tokio::task::JoinSet<T>);

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        Self(tokio::task::JoinSet::new())
    }
}

impl<T: Send + 'static> JoinSet<T> {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task in the set, as [`spawn`] does.
    #[track_caller]
    pub fn spawn(&mut self, future: impl Future<Output = T> + Send + 'static) {
        match Owner::current() {
            Some(owner) => self.spawn_as(&owner, future),
            None => drop(self.0.spawn(future)),
        }
    }

    /// Starts a task in the set that belongs to `owner`.
    #[track_caller]
    pub fn spawn_as(&mut self, owner: &Owner, future: impl Future<Output = T> + Send + 'static) {
        let (id, task) = owner.own(future);
        owner.remember(id, self.0.spawn(task));
    }

    /// Waits for the next task that ends; `None` when there is none left.
    pub async fn join_next(&mut self) -> Option<std::result::Result<T, JoinError>> {
        self.0.join_next().await
    }

    /// A task that has ended; `None` when none has.
    pub fn try_join_next(&mut self) -> Option<std::result::Result<T, JoinError>> {
        self.0.try_join_next()
    }

    /// Asks all tasks to stop where they are.
    pub fn abort_all(&mut self) {
        self.0.abort_all();
    }

    /// Asks all tasks to stop where they are, and waits until they have.
    pub async fn shutdown(&mut self) {
        self.0.shutdown().await;
    }

    /// Number of tasks that have not been joined.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when all tasks have been joined.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Starts a runtime with a thread per core, or as many as [`crate::process::THREADS_VARIABLE`] says, and runs a program
/// on it: what a `main` begins with.
pub fn run<F: Future>(program: F) -> F::Output {
    crate::memory::tune();
    crate::process::prefer_throughput();
    // Without more of them a node with many disks and clients answers "busy" early: no reason not to start.
    let _ = crate::process::raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("the system can start a runtime").block_on(program)
}

/// Starts a runtime for a simulation: one thread, a clock that jumps to the next event when nothing can run, and every
/// choice of the runtime drawn from `seed`. What belongs to no other owner belongs to the simulation.
#[cfg(tokio_unstable)]
pub fn run_simulated<F: Future>(seed: u64, program: F) -> F::Output {
    crate::memory::tune();
    let owner = Owner::new("simulation", crate::Random::seeded(seed));
    let seed = tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).rng_seed(seed).build();
    runtime.expect("the system can start a runtime").block_on(owner.own(program).1)
}
