//! Restores redundancy (I-HEAL): fills slots that have a new holder, and rebuilds parts that were promised or found
//! damaged.
//!
//! Everything here may be done twice or stopped at any point: a part that already exists is left alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use net::Request;
use placement::{PgSlot, SlotState};
use proto::block::{Layout, ListShards, ShardKey, ShardList, ShardMeta};
use proto::map::ClusterMap;
use segments::Purpose;
use tracing::{debug, info, warn};
use types::limits::{HEAL_PERIOD, SHARD_LIST_TIMEOUT, SLOT_SETTLE_TIME};
use types::{ChunkId, DiskId, Error, ErrorKind, PgId, Result};

use crate::server::Blockserver;

/// Placement groups that are filled at once.
const GROUPS_IN_FLIGHT: usize = 8;
/// Promised or damaged parts listed at once.
const PART_COUNT: usize = 256;
/// Single parts that are rebuilt at once.
const PARTS_IN_FLIGHT: usize = 8;

/// A slot of this node that lacks older shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Task {
    pub(crate) pg: PgId,
    pub(crate) slot: u8,
    pub(crate) disk: DiskId,
}

/// Starts healing for as long as the server lives.
pub fn start(server: &Arc<Blockserver>) {
    let this = Arc::downgrade(server);
    let mut map = server.map.clone();
    env::task::spawn(async move {
        loop {
            if let Ok(Err(_)) = env::time::timeout(HEAL_PERIOD, map.changed()).await {
                return; // The node ends.
            }
            let Some(server) = this.upgrade() else { return };
            let tasks = server.syncing();
            server.syncing_slots.store(tasks.len() as u32, Ordering::Relaxed);
            if !tasks.is_empty() {
                env::time::sleep(SLOT_SETTLE_TIME).await;
                server.fill(tasks).await;
            }
            if let Err(e) = server.keep_promises().await {
                warn!("promised parts could not be rebuilt, trying again: {e}");
            }
            if let Err(e) = server.replace_lost().await {
                warn!("damaged parts could not be rebuilt, trying again later: {e}");
            }
        }
    });
}

impl Blockserver {
    fn syncing(&self) -> Vec<Task> {
        let map = self.map.borrow();
        let Some(table) = &map.table else { return Vec::new() };
        let mut tasks = Vec::new();
        for (pg, slots) in table.pgs.iter().enumerate() {
            for (index, slot) in slots.iter().enumerate() {
                if slot.state == SlotState::Syncing && self.disks.contains_key(&slot.disk) {
                    tasks.push(Task { pg: PgId(pg as u16), slot: index as u8, disk: slot.disk });
                }
            }
        }
        tasks
    }

    /// Fills slots and reports those that are complete in one request.
    async fn fill(&self, tasks: Vec<Task>) {
        let map = self.current_map();
        let filled: Vec<(Task, Result<u64>)> = stream::iter(tasks)
            .map(|task| {
                let map = &map;
                async move { (task, self.fill_slot(map, task).await) }
            })
            .buffer_unordered(GROUPS_IN_FLIGHT)
            .collect()
            .await;
        let mut complete = Vec::new();
        let mut parts = 0;
        for (task, outcome) in filled {
            match outcome {
                Ok(count) => {
                    parts += count;
                    complete.push((task.pg, task.slot, task.disk));
                }
                Err(e) => debug!(pg = task.pg.0, slot = task.slot, "not filled yet: {e}"),
            }
        }
        if complete.is_empty() {
            return;
        }
        let slots = complete.len();
        match self.links.finish_sync(complete).await {
            Ok(()) => info!(slots, parts, "slots are complete"),
            Err(e) => warn!("complete slots could not be reported, trying again: {e}"),
        }
    }

    /// Gives one slot all parts it should have. Returns how many were missing.
    pub(crate) async fn fill_slot(&self, map: &ClusterMap, task: Task) -> Result<u64> {
        assert!(
            self.disks.contains_key(&task.disk),
            "a slot is filled on a disk of this node (I-HEAL): {task:?}"
        );
        let slots = map.slots(task.pg)?;
        if slots.get(usize::from(task.slot)).is_none_or(|slot| slot.disk != task.disk) {
            return Err(Error::stale_epoch("the slot has another holder by now"));
        }
        let mut made = 0;
        for (key, meta) in self.wanted(map, slots, task).await? {
            if self.disks[&task.disk].has(key).await? {
                continue;
            }
            let bytes = match self.read_previous(map, slots, key).await {
                Some(bytes) => bytes,
                None => match self.rebuild_shard(map, key, meta).await {
                    Ok(bytes) => bytes,
                    // What is left of a write that was never acknowledged: nothing refers to it.
                    Err(e) if e.kind() == ErrorKind::NotFound => continue,
                    Err(e) => return Err(e),
                },
            };
            self.disks[&task.disk].put_shard(key, meta, bytes, None, Purpose::Repair).await?;
            made += 1;
        }
        Ok(made)
    }

    /// The parts a slot should have, by what the other holders of its group have.
    async fn wanted(
        &self,
        map: &ClusterMap,
        slots: &[PgSlot],
        task: Task,
    ) -> Result<BTreeMap<ShardKey, ShardMeta>> {
        let mut wanted = BTreeMap::new();
        let mut replicas: BTreeMap<_, (usize, ShardMeta)> = BTreeMap::new();
        let previous = slots[usize::from(task.slot)].previous;
        let others: Vec<DiskId> =
            slots.iter().map(|slot| slot.disk).filter(|disk| *disk != task.disk).collect();
        let mut silent = 0;
        for disk in others.iter().copied().chain(previous) {
            let listed = match self.list_shards_on(map, disk, task.pg).await {
                Ok(listed) => listed,
                // Every chunk was acknowledged on enough disks that one of the others names it.
                Err(_) if !others.contains(&disk) => continue,
                Err(_) if silent + 1 < usize::from(map.profile.m) => {
                    silent += 1;
                    continue;
                }
                Err(e) => {
                    return Err(e.context("too few holders of the group answer to know what is missing"));
                }
            };
            for (key, meta) in listed {
                let own = ShardKey { slot: task.slot, ..key };
                match meta.layout {
                    Layout::Shard { .. } => {
                        wanted.insert(own, meta);
                    }
                    Layout::Replica => replicas.entry(own).or_insert((0, meta)).0 += 1,
                }
            }
        }
        // Which slots a replica went to depended on who was up; what counts is that there are enough.
        let short = replicas.into_iter().filter(|(_, (count, _))| *count < map.profile.replicas());
        wanted.extend(short.map(|(key, (_, meta))| (key, meta)));
        Ok(wanted)
    }

    async fn read_previous(&self, map: &ClusterMap, slots: &[PgSlot], key: ShardKey) -> Option<Bytes> {
        let previous = slots[usize::from(key.slot)].previous.filter(|disk| map.is_live(*disk))?;
        let read = self.get_shard_from(map, previous, key.chunk, Some(key.slot), Some(key.generation)).await;
        read.ok().map(|(_, _, bytes)| bytes)
    }

    /// Everything a disk holds of a group.
    async fn list_shards_on(
        &self,
        map: &ClusterMap,
        disk: DiskId,
        pg: PgId,
    ) -> Result<Vec<(ShardKey, ShardMeta)>> {
        if let Some(local) = self.disks.get(&disk) {
            let (first, last) = pg.range(map.pg_count);
            return local.list_shards(first, last, None, usize::MAX).await;
        }
        let (node, _) =
            map.node_of(disk).ok_or_else(|| Error::stale_epoch(format!("disk {disk} is not in the map")))?;
        let range = pg.range(map.pg_count);
        let mut all: Vec<(ShardKey, ShardMeta)> = Vec::new();
        loop {
            let after = all.last().map(|(key, _)| *key);
            let request = Request::of(&ListShards { disk, pg, after }, Bytes::new());
            let reply = self.links.call_node(node, request, SHARD_LIST_TIMEOUT).await?;
            let page: ShardList = reply.answer::<ListShards>()?;
            check_page(&page, range, after).map_err(|e| e.context(format!("node {node}, group {pg}")))?;
            all.extend(page.shards);
            if !page.more {
                return Ok(all);
            }
        }
    }

    /// Rebuilds the parts this node promised when it acknowledged without them.
    async fn keep_promises(&self) -> Result<()> {
        let map = &self.current_map();
        let mut after = None;
        loop {
            let promised = self.intents.list(after.as_ref(), PART_COUNT)?;
            let Some((last, _)) = promised.last() else { return Ok(()) };
            after = Some(*last);
            let kept = stream::iter(promised)
                .map(|(key, meta)| async move { (key, self.keep_promise(map, key, meta).await) });
            let mut kept = kept.buffer_unordered(PARTS_IN_FLIGHT);
            while let Some((key, outcome)) = kept.next().await {
                match outcome {
                    Ok(()) => self.intents.done(&key).await?,
                    Err(e) => {
                        debug!(chunk = %key.chunk, slot = key.slot, "a promised part does not exist yet: {e}");
                    }
                }
            }
        }
    }

    async fn keep_promise(&self, map: &ClusterMap, key: ShardKey, meta: ShardMeta) -> Result<()> {
        let slot = map.slots(map.pg(&key.chunk.id))?.get(usize::from(key.slot));
        let disk = slot.map(|slot| slot.disk).filter(|disk| map.is_live(*disk));
        let disk = disk.ok_or_else(|| Error::unavailable("the slot's disk is down"))?;
        if self.get_shard_from(map, disk, key.chunk, Some(key.slot), Some(key.generation)).await.is_ok() {
            return Ok(());
        }
        let bytes = self.rebuild_shard(map, key, meta).await?;
        self.put_shard_on(map, disk, key, meta, bytes).await
    }

    /// Rebuilds the parts that were found damaged on this node's disks.
    async fn replace_lost(&self) -> Result<()> {
        let map = &self.current_map();
        for (&id, disk) in &self.disks {
            let mut after = None;
            loop {
                let lost = disk.lost(after, PART_COUNT).await?;
                let Some((last, _)) = lost.last() else { break };
                after = Some(*last);
                let replaced = stream::iter(lost)
                    .map(|(key, meta)| async move { (key, self.replace_part(map, id, key, meta).await) });
                let mut replaced = replaced.buffer_unordered(PARTS_IN_FLIGHT);
                while let Some((key, outcome)) = replaced.next().await {
                    let (chunk, slot) = (key.chunk, key.slot);
                    match outcome {
                        Ok(()) => info!(%chunk, slot, disk = id.0, "a damaged part is replaced"),
                        Err(e) => {
                            debug!(%chunk, slot, disk = id.0, "a damaged part is not replaced yet: {e}")
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn replace_part(&self, map: &ClusterMap, id: DiskId, key: ShardKey, meta: ShardMeta) -> Result<()> {
        let disk = &self.disks[&id];
        let slot = map.slots(map.pg(&key.chunk.id))?.get(usize::from(key.slot));
        if slot.is_none_or(|slot| slot.disk != id && slot.previous != Some(id)) {
            // Another disk holds the slot, and was filled from the parts that are left.
            return disk.delete(key).await;
        }
        let bytes = self.rebuild_shard(map, key, meta).await?;
        disk.put_shard(key, meta, bytes, None, Purpose::Repair).await
    }
}

/// `Corrupt` unless a page goes on after `after`, in order, with shards of the range, and says `more` for a reason:
/// whoever asks for the next page would not come to an end.
fn check_page(page: &ShardList, (first, last): (ChunkId, ChunkId), after: Option<ShardKey>) -> Result<()> {
    let mut before = after;
    for (key, meta) in &page.shards {
        let is_next = before < Some(*key) && (first..=last).contains(&key.chunk.id);
        if !is_next || meta.check(key.slot).is_err() {
            return Err(Error::corrupt(format!("a list of shards has {key:?} after {before:?}")));
        }
        before = Some(*key);
    }
    if page.more && page.shards.is_empty() {
        return Err(Error::corrupt("an empty list of shards says that there is more"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use types::{ChunkKey, Generation, KeyId, Scope};

    use super::*;

    const FIRST: u8 = 10;
    const LAST: u8 = 19;

    /// A page with a shard of slot 0 of each of these chunks, which follows chunk `after`.
    #[track_caller]
    fn check(after: Option<u8>, chunks: &[u8], more: bool, want: bool) {
        let key = |chunk: u8| ShardKey {
            chunk: ChunkKey { id: ChunkId([chunk; 32]), scope: Scope::FIRST },
            generation: Generation(1),
            slot: 0,
        };
        let layout = Layout::Shard { k: 4, m: 2 };
        let meta = ShardMeta { layout, plain_size: 9, stored_size: 9, compressed: false, key: KeyId(1) };
        let page = ShardList { shards: chunks.iter().map(|chunk| (key(*chunk), meta)).collect(), more };
        let range = (ChunkId([FIRST; 32]), ChunkId([LAST; 32]));
        assert_eq!(check_page(&page, range, after.map(key)).is_ok(), want, "{chunks:?} after {after:?}");
    }

    #[test]
    fn pages_go_on_and_come_to_an_end() {
        check(None, &[], false, true);
        check(None, &[], true, false);
        check(None, &[FIRST, 11, LAST], true, true);
        check(None, &[9], false, false);
        check(None, &[20], false, false);
        check(None, &[11, 11], false, false);
        check(None, &[12, 11], false, false);
        check(Some(11), &[12], true, true);
        check(Some(11), &[11], true, false);
        check(Some(11), &[10], false, false);
        check(Some(11), &[], false, true);
    }
}
