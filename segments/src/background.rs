//! Work that a disk does on its own: what nobody waits for.
//!
//! Owns: when it runs. Knows nothing of: what it does.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use env::task::DiskQueue;
use env::time;
use tokio::sync::oneshot;
use types::limits::REBUILD_PAUSE;
use types::{Error, Result};

use crate::engine::Engine;
use crate::index::Mode;
use crate::shared::Shared;
use crate::{rebuild, seal};

/// One thread that works when there is something to do. Dropping it waits for the work in progress.
#[derive(Debug)]
pub(crate) struct Background {
    work: Arc<Work>,
    queue: DiskQueue,
}

#[derive(Debug)]
struct Work {
    shared: Arc<Shared>,
    engine: Arc<Mutex<Engine>>,
    is_scheduled: AtomicBool,
    /// Not to rebuild before.
    rebuild_after: Mutex<time::Instant>,
}

impl Background {
    pub(crate) fn start(shared: &Arc<Shared>, engine: &Arc<Mutex<Engine>>) -> Self {
        let queue = DiskQueue::start("disk-background", &shared.disk);
        let (shared, engine) = (shared.clone(), engine.clone());
        let rebuild_after = Mutex::new(time::now());
        let work = Arc::new(Work { shared, engine, is_scheduled: AtomicBool::new(false), rebuild_after });
        let background = Self { work, queue };
        background.wake();
        background
    }

    /// Does what there is to do, soon.
    pub(crate) fn wake(&self) {
        if self.work.is_due() && !self.work.is_scheduled.swap(true, SeqCst) {
            let work = self.work.clone();
            self.queue.push(move || work.run());
        }
    }
}

impl Background {
    /// Waits for all that was to do when it was called.
    pub(crate) async fn idle(&self) {
        self.wake();
        // The queue of a node that was killed drops its jobs.
        let _ = self.run(|| Ok(())).await;
    }

    /// Runs other work of that kind.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (done, is_done) = oneshot::channel();
        self.queue.push(move || {
            let _ = done.send(work());
        });
        is_done.await.map_err(|_| Error::internal("the disk's background stopped"))?
    }
}

impl Work {
    fn is_due(&self) -> bool {
        self.shared.unsealed().is_due() || self.must_rebuild()
    }

    fn must_rebuild(&self) -> bool {
        let after = *self.rebuild_after.lock().expect("never poisoned: no panic inside");
        self.shared.index.mode() != Mode::Ready && after <= time::now()
    }

    fn run(&self) {
        self.is_scheduled.store(false, SeqCst);
        if self.must_rebuild()
            && let Err(error) = rebuild::restore(&self.shared, &self.engine)
        {
            tracing::error!("disk {}: the index was not rebuilt: {error}", self.shared.root.display());
            let next = time::now() + REBUILD_PAUSE;
            *self.rebuild_after.lock().expect("never poisoned: no panic inside") = next;
        }
        seal::seal_all(&self.shared);
    }
}
