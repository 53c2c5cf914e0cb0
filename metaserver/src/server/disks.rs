//! Requests about disks: which there are, which go for ever, and what was lost with them.

use access::{Action, authorize};
use net::Caller;
use proto::cluster::{DisksRegistered, RegisterDisks};
use proto::command::MapChange;
use proto::disks::{DiskRemoved, ListLost, LostPage, RemoveDisk};
use proto::index::ChunkState;
use raft::State;
use tree::{index, root};
use types::{ChunkId, Result};

use super::Metaserver;

impl Metaserver {
    pub(super) async fn register_disks(
        &self,
        caller: &Caller,
        request: RegisterDisks,
    ) -> Result<DisksRegistered> {
        authorize(&caller.identity, Action::ActFor(request.node))?;
        let RegisterDisks { node, disks } = request;
        let registered = self.change_map(MapChange::RegisterDisks { node, disks }).await?;
        Ok(DisksRegistered { ids: registered.disks, epoch: self.current_map()?.epoch })
    }

    pub(super) async fn remove_disk(&self, caller: &Caller, request: RemoveDisk) -> Result<DiskRemoved> {
        let RemoveDisk { disk, force, dry_run } = request;
        authorize(&caller.identity, Action::AdministerCluster)?;
        self.root()?.linearize().await?;
        let map = self.current_map()?;
        let group_count = root::check_disk_removal(&map, disk, force)?;
        let planned = DiskRemoved { node: map.disks[&disk].node, group_count };
        if dry_run {
            return Ok(planned);
        }
        self.change_map(MapChange::RemoveDisk { disk, force }).await.map(|_| planned)
    }

    pub(super) async fn list_lost(&self, caller: &Caller, request: ListLost) -> Result<LostPage> {
        authorize(&caller.identity, Action::AdministerCluster)?;
        let ListLost { partition, after } = request;
        let group = self.group(partition)?;
        self.index(partition)?;
        let range = (ChunkId([0; 32]), ChunkId([0xff; 32]));
        let list = move |state: &State| index::list_known(state, range, after, true);
        let (flagged, more) = self.read_newest(&group, list).await?;
        let next = flagged.last().filter(|_| more).map(|last| last.stored.chunk);
        let lost = flagged.iter().filter(|known| known.state == ChunkState::Lost);
        Ok(LostPage { chunks: lost.map(|known| known.stored.chunk).collect(), next })
    }
}
