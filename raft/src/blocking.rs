//! Work that may wait for a disk, on a task's thread.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs `work` here, after telling the runtime to move other tasks off this thread. On a single-threaded runtime (the
/// simulation) it simply runs: nothing else may, so the order of events stays the same.
pub fn run<T>(work: impl FnOnce() -> T) -> T {
    if is_single_threaded() { work() } else { tokio::task::block_in_place(work) }
}

/// True under a runtime with one thread.
pub fn is_single_threaded() -> bool {
    Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread
}
