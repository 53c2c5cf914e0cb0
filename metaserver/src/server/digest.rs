//! The digest of what this node has of a partition, for whoever compares replicas (I-DET).

use access::{Action, authorize};
use net::Caller;
use proto::cluster::{FetchDigest, PartitionDigest};
use proto::map::PartitionKind;
use raft::State;
use tree::index::IndexMachine;
use tree::namespace::NamespaceMachine;
use tree::root::RootMachine;
use tree::{Halt, digest_of};
use types::{Error, Result};

use super::Metaserver;

impl Metaserver {
    /// Reads all rows of one snapshot; `Busy` while another digest is computed.
    pub(super) async fn fetch_digest(
        &self,
        caller: &Caller,
        request: FetchDigest,
    ) -> Result<PartitionDigest> {
        authorize(&caller.identity, Action::AdministerCluster)?;
        let group = self.group(request.partition)?;
        let kind = self.map.borrow().partition(request.partition)?.kind;
        let busy = |_| Error::busy("another digest is computed on this node", 100);
        let _one = self.digesting.try_lock().map_err(busy)?;
        let compute = move |state: &State, applied| {
            let digest = match kind {
                PartitionKind::Root => digest_of::<RootMachine>(state),
                PartitionKind::Tree => digest_of::<NamespaceMachine>(state),
                PartitionKind::Index => digest_of::<IndexMachine>(state),
            };
            Ok(PartitionDigest { applied, digest: digest.map_err(Halt::into_error)?.to_bytes() })
        };
        env::task::blocking(move || group.read_snapshot(compute)).await
    }
}
