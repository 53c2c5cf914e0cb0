//! openraft's own suite for storage, run on our log and state.

use std::sync::Arc;

use bytes::Bytes;
use env::Env;
use env::task::DiskQueue;
use kv::{MemKv, Overlay};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use types::PartitionId;

use crate::StateMachine;
use crate::engine::TypeConfig;
use crate::log::Log;
use crate::log_store::LogStore;
use crate::machine::Machine;
use crate::state::StateStore;

struct Nothing;

impl StateMachine for Nothing {
    fn apply(&self, _state: &mut Overlay<'_>, _index: u64, _command: &[u8]) -> types::Result<Bytes> {
        Ok(Bytes::new())
    }
}

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Machine> for Builder {
    async fn build(&self) -> Result<((), LogStore, Machine), StorageError<TypeConfig>> {
        let group = PartitionId(7);
        let log = Log::open(&Env::simulated(1), "/log".into(), DiskQueue::inline()).unwrap();
        let store = StateStore::open(Arc::new(MemKv::new(1)), group).unwrap();
        let machine = Machine::new(
            Arc::new(store),
            Arc::new(Nothing),
            Default::default(),
            tokio::sync::watch::channel(0).0,
            None,
        );
        Ok(((), LogStore::new(Arc::new(log), group), machine))
    }
}

#[tokio::test(start_paused = true)]
async fn suite() {
    Suite::test_all(Builder).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn snapshots_are_transferred() {
    Suite::<_, _, _, Builder, ()>::transfer_snapshot(&Builder).await.unwrap();
}
