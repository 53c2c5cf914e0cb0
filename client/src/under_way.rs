//! What is being stored: whoever brings the same chunk meanwhile sends nothing, and waits for the same receipt.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use futures::future::{BoxFuture, FutureExt, Shared};
use proto::seal::Receipt;
use types::{ChunkKey, Result};

type Outcome = Shared<BoxFuture<'static, Result<Receipt>>>;

/// Chunks that are being stored, and how many wait for each. When whoever began gives up, the others go on with it; when
/// all have given up it ends, and is forgotten.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<BTreeMap<ChunkKey, (Outcome, usize)>>);

impl UnderWay {
    /// The outcome of storing a chunk, which `store` begins unless somebody has.
    pub(crate) async fn once(
        &self,
        chunk: ChunkKey,
        store: impl FnOnce() -> BoxFuture<'static, Result<Receipt>>,
    ) -> Result<Receipt> {
        let outcome = {
            let mut all = self.all();
            let (outcome, waiting) = all.entry(chunk).or_insert_with(|| (store().shared(), 0));
            *waiting += 1;
            outcome.clone()
        };
        let _waiter = Waiter { under_way: self, chunk };
        outcome.await
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<ChunkKey, (Outcome, usize)>> {
        self.0.lock().expect("no panic while it is held")
    }
}

struct Waiter<'a> {
    under_way: &'a UnderWay,
    chunk: ChunkKey,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut all = self.under_way.all();
        let (_, waiting) = all.get_mut(&self.chunk).expect("it is there as long as somebody waits");
        *waiting -= 1;
        let forgotten = if *waiting == 0 { all.remove(&self.chunk) } else { None };
        drop(all);
        drop(forgotten); // Not under the lock: it may hold anything.
    }
}
