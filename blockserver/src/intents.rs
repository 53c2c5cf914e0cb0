//! What this node has promised to repair: parts of acknowledged chunks that are not on their disks yet. Durable before
//! the acknowledgement (I-ACK), gone when done (I-HEAL).

use std::ops::ControlFlow;
use std::sync::Arc;

use kv::{Batch, Durability, Kv, Order};
use proto::block::{ShardKey, ShardMeta};
use types::{DiskId, Result};

/// Promised parts, by shard key.
#[derive(Debug)]
pub struct Intents {
    kv: Arc<dyn Kv>,
}

impl Intents {
    /// The promises kept in `kv`.
    pub fn new(kv: Arc<dyn Kv>) -> Self {
        Self { kv }
    }

    /// Remembers missing parts; durable on return.
    pub async fn record(&self, missing: &[(ShardKey, DiskId)], meta: ShardMeta) -> Result<()> {
        assert!(!missing.is_empty(), "a promise says what is missing (I-ACK)");
        let mut batch = Batch::new();
        for (key, _) in missing {
            batch.put(&encode_key(key), &proto::encode(&meta));
        }
        self.write(batch).await
    }

    /// The parts that are still missing, in a fixed order, after `after`, at most `limit`.
    pub fn list(&self, after: Option<&ShardKey>, limit: usize) -> Result<Vec<(ShardKey, ShardMeta)>> {
        assert!(limit > 0, "a page without room would never be the last");
        let mut found = Vec::new();
        let mut outcome = Ok(());
        // The next key in byte order.
        let start = after.map_or_else(Vec::new, |key| [&encode_key(key)[..], &[0]].concat());
        self.kv.scan(&start, &[], Order::Forward, &mut |key, value| {
            match proto::decode(key).and_then(|key| Ok((key, proto::decode(value)?))) {
                Ok(intent) => found.push(intent),
                Err(e) => outcome = Err(e),
            }
            if found.len() < limit && outcome.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        assert!(found.len() <= limit, "no more than was asked for (I-BOUND)");
        outcome.map(|()| found)
    }

    /// Forgets a part that exists now; durable on return.
    pub async fn done(&self, key: &ShardKey) -> Result<()> {
        let mut batch = Batch::new();
        batch.delete(&encode_key(key));
        self.write(batch).await
    }

    async fn write(&self, batch: Batch) -> Result<()> {
        let kv = self.kv.clone();
        env::task::blocking(move || kv.write(batch, Durability::Synced)).await
    }
}

fn encode_key(key: &ShardKey) -> Vec<u8> {
    proto::encode(key).to_vec()
}
