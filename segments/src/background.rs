//! Work that a disk does on its own: what nobody waits for.
//!
//! Owns: when it runs. Knows nothing of: what it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use env::task::DiskQueue;

use crate::seal;
use crate::shared::Shared;

/// One thread that works when there is something to do. Dropping it waits for the work in progress.
#[derive(Debug)]
pub(crate) struct Background {
    shared: Arc<Shared>,
    is_scheduled: Arc<AtomicBool>,
    queue: DiskQueue,
}

impl Background {
    pub(crate) fn start(shared: &Arc<Shared>) -> Self {
        let queue = DiskQueue::start("disk-background", &shared.disk);
        let background = Self { shared: shared.clone(), is_scheduled: Arc::default(), queue };
        background.wake();
        background
    }

    /// Does what there is to do, soon.
    pub(crate) fn wake(&self) {
        if !self.shared.unsealed().is_due() || self.is_scheduled.swap(true, SeqCst) {
            return;
        }
        let (shared, is_scheduled) = (self.shared.clone(), self.is_scheduled.clone());
        self.queue.push(move || {
            is_scheduled.store(false, SeqCst);
            seal::seal_all(&shared);
        });
    }
}
