//! What is being stored: whoever brings the same chunk meanwhile sends nothing, and waits for the same receipt.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use futures::future::{BoxFuture, FutureExt, Shared};
use proto::seal::Receipt;
use types::{ChunkKey, Result};

type Outcome = Shared<BoxFuture<'static, Result<Receipt>>>;

/// Chunks that are being stored. When whoever began gives up, those who wait go on with it.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<BTreeMap<ChunkKey, Outcome>>);

impl UnderWay {
    /// The outcome of storing a chunk, which `store` begins unless somebody has.
    pub(crate) async fn once(
        &self,
        chunk: ChunkKey,
        store: impl FnOnce() -> BoxFuture<'static, Result<Receipt>>,
    ) -> Result<Receipt> {
        let outcome = self.all().entry(chunk).or_insert_with(|| store().shared()).clone();
        let receipt = outcome.clone().await;
        let mut all = self.all();
        if all.get(&chunk).is_some_and(|other| other.ptr_eq(&outcome)) {
            all.remove(&chunk);
        }
        receipt
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<ChunkKey, Outcome>> {
        self.0.lock().expect("no panic while it is held")
    }
}
