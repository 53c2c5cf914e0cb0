//! Evidence: what the index says a disk should have, compared with what it has (I-HEAL, I-DISK).
//!
//! The index is what was promised. That a disk does not have something proves nothing but that it must be made; only when
//! everybody who may have a part has answered, and too few do, the chunk is lost, and the index is told: whoever puts the
//! file again heals it.

use std::collections::BTreeSet;

use bytes::Bytes;
use env::mutant::Mutant;
use env::time::Instant;
use futures::stream::{self, StreamExt};
use net::Request;
use proto::block::{DeleteShard, GetShard, ShardKey, ShardMeta};
use proto::index::{Amendment, ChunkState, Holder, KnownChunk, News};
use proto::map::ClusterMap;
use segments::{DiskStore, Purpose};
use tracing::{debug, error, info};
use types::limits::SHARD_READ_TIMEOUT;
use types::{DiskId, Error, ErrorKind, Result};

use crate::progress::Step;
use crate::server::Blockserver;
use crate::sources::Sources;
use crate::task::Task;

/// Parts that are made at once, for one slot.
const PARTS_IN_FLIGHT: usize = 8;

/// What a comparison has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reconciled {
    /// Parts that were missing and are there now.
    pub(crate) made: u64,
    /// Parts that are missing and cannot be made at the moment.
    pub(crate) failed: u64,
    /// Chunks that nobody can read any more.
    pub(crate) lost: u64,
}

impl Reconciled {
    pub(crate) fn add(&mut self, other: Self) {
        self.made += other.made;
        self.failed += other.failed;
        self.lost += other.lost;
    }
}

/// How a part was come by.
enum Obtained {
    Here,
    Made(ShardMeta, Bytes),
    /// Too few parts of the chunk are left, and everybody has said so.
    Gone,
}

impl Blockserver {
    /// Gives a slot all parts that the index says it should have. When none has failed it is complete: what is registered
    /// from now on is so by a map in which this disk has the slot.
    pub(crate) async fn reconcile(&self, task: Task) -> Result<Reconciled> {
        let map = self.current_map();
        let Task { pg, slot, disk, since } = task;
        let store = self.local(&disk)?;
        let range = pg.range(map.pg_count);
        let (mut sum, mut after) = (Reconciled::default(), None);
        let spend = |step, begun: Instant| self.progress.spend(disk, step, begun.elapsed());
        loop {
            let map = self.current_map();
            let slots = map.slots(pg)?;
            if slots.get(usize::from(slot)).is_none_or(|slot| slot.disk != disk) {
                return Err(Error::stale_epoch("the slot has another disk by now"));
            }
            let begun = env::time::now();
            let page = self.links.list_chunks(range, after, false, since).await?;
            spend(Step::Index, begun);
            after = page.chunks.last().map(|known| known.stored.chunk);
            let here = held_by(&store, &page.chunks, slot).await?;
            let is_its = |known: &KnownChunk| slot < known.part_count(map.profile);
            let wanted = page.chunks.into_iter().filter(is_its);
            // One that is here and known to be here needs nothing.
            let wanted = wanted.filter(|known| {
                let is_here = Mutant::AbsenceAsProof.is_planted() || here.contains(&key_of(known, slot));
                !(is_here && known.holder(slot) == Holder::Home && known.state != ChunkState::Lost)
            });
            sum.add(self.keep(&map, wanted.map(|known| (known, slot, disk)).collect()).await);
            if !page.more {
                self.progress.end(task, sum.failed);
                return Ok(sum);
            }
            after.into_iter().for_each(|chunk| self.progress.at(task, range, chunk.id));
        }
    }

    /// Makes sure of parts: each of a slot, on the disk of that slot, which is one of this node's.
    pub(crate) async fn keep(&self, map: &ClusterMap, parts: Vec<(KnownChunk, u8, DiskId)>) -> Reconciled {
        let kept = stream::iter(parts).map(|(known, slot, disk)| async move {
            (self.keep_part(map, &known, slot, disk).await, known.stored.chunk, slot)
        });
        let mut kept = kept.buffer_unordered(PARTS_IN_FLIGHT);
        let mut sum = Reconciled::default();
        while let Some((outcome, chunk, slot)) = kept.next().await {
            match outcome {
                Ok(one) => sum.add(one),
                Err(e) => {
                    debug!(%chunk, slot, "a part is missing and cannot be made yet: {e}");
                    sum.failed += 1;
                }
            }
        }
        sum
    }

    async fn keep_part(
        &self,
        map: &ClusterMap,
        known: &KnownChunk,
        slot: u8,
        disk: DiskId,
    ) -> Result<Reconciled> {
        let store = self.local(&disk)?;
        let (chunk, generation) = (known.stored.chunk, known.stored.generation);
        let say = |news| self.links.amend(Amendment { chunk, generation, news });
        let mut made = 0;
        match self.obtain(map, known, (slot, disk), &store).await? {
            Obtained::Here => {}
            Obtained::Made(meta, bytes) => {
                let (begun, size) = (env::time::now(), bytes.len() as u64);
                store.put_shard(key_of(known, slot), meta, bytes, None, Purpose::Repair).await?;
                self.progress.spend(disk, Step::Write, begun.elapsed());
                self.progress.made(env::time::now(), disk, size);
                made = 1;
            }
            Obtained::Gone => {
                if known.state != ChunkState::Lost && say(News::Lost).await? {
                    error!(%chunk, "too few parts are left to read a chunk: put its files again, or bring back its disks");
                }
                return Ok(Reconciled { lost: 1, ..Reconciled::default() });
            }
        }
        if known.state == ChunkState::Lost && say(News::Found).await? {
            info!(%chunk, "a chunk that was lost can be read again");
        }
        let was = known.holder(slot);
        if was != Holder::Home
            && say(News::Moved { slot, was, now: Holder::Home }).await?
            && let Holder::Disk(guest) = was
            && guest != disk
        {
            // What it keeps is garbage from now on.
            let _ = self.delete_shard_on(map, guest, key_of(known, slot)).await;
        }
        Ok(Reconciled { made, ..Reconciled::default() })
    }

    /// A part that should be on a disk of this node: it is, or somebody has it, or the others make it.
    async fn obtain(
        &self,
        map: &ClusterMap,
        known: &KnownChunk,
        (slot, disk): (u8, DiskId),
        store: &DiskStore,
    ) -> Result<Obtained> {
        let key = key_of(known, slot);
        let was_lost = known.state == ChunkState::Lost;
        let is_here = store.has(key).await?;
        if is_here && !was_lost {
            return Ok(Obtained::Here);
        }
        let size = u64::from(known.stored.sizes.disk) / u64::from(known.part_count(map.profile).max(1));
        self.progress.spend(disk, Step::Users, self.users.make_room(size).await);
        let begun = env::time::now();
        let slots = map.slots(map.pg(&key.chunk.id))?;
        let sources = Sources::of(map, slots, Some(known));
        let everywhere = || {
            let anybody = map.disks.keys().copied().filter(|disk| map.is_readable(*disk));
            sources.clone().and_anywhere(anybody)
        };
        // That this part is left says nothing: it is found when enough of them are.
        if was_lost && self.read_from(map, key.chunk, everywhere()).await.is_err() {
            return Ok(Obtained::Gone);
        }
        let found = match self.obtain_from(map, &sources, key).await {
            Ok(Obtained::Gone) => {
                // Before a chunk is given up everybody is asked who can be.
                self.obtain_from(map, &everywhere(), key).await?
            }
            found => found?,
        };
        self.progress.spend(disk, Step::Sources, begun.elapsed());
        Ok(match found {
            // It was lost, and it is made of the others: they are there again.
            Obtained::Made(..) if is_here => Obtained::Here,
            found => found,
        })
    }

    /// Somebody has it, or the others make it. `Gone` when too few parts exist, and nobody who may have more is silent.
    async fn obtain_from(&self, map: &ClusterMap, sources: &Sources, key: ShardKey) -> Result<Obtained> {
        for &disk in sources.of_slot(key.slot) {
            let (slot, generation) = (Some(key.slot), Some(key.generation));
            let wanted = GetShard { disk, chunk: key.chunk, slot, generation, range: None };
            match self.get_shard_from(map, wanted).await {
                Ok(_) if Mutant::CopyElsewhere.is_planted() => return Ok(Obtained::Here),
                Ok((_, meta, bytes)) => return Ok(Obtained::Made(meta, bytes)),
                Err(e) => debug!(%disk, slot = key.slot, "a part cannot be had from there: {e}"),
            }
        }
        let is_absent = |e: &Error| e.kind() == ErrorKind::NotFound;
        let meta = match self.find_any(map, sources, key.chunk, Some(key.generation)).await {
            Ok((_, meta, _)) => meta,
            Err(e) if is_absent(&e) => return Ok(Obtained::Gone),
            Err(e) => return Err(e),
        };
        match self.rebuild_shard(map, sources, key, meta).await {
            Ok(bytes) => Ok(Obtained::Made(meta, bytes)),
            Err(e) if is_absent(&e) => Ok(Obtained::Gone),
            Err(e) => Err(e),
        }
    }

    async fn delete_shard_on(&self, map: &ClusterMap, disk: DiskId, key: ShardKey) -> Result<()> {
        if let Some(local) = self.disks.get(&disk) {
            return local.delete(key).await;
        }
        let request = Request::of(&DeleteShard { disk, key }, Bytes::new());
        self.call_disk(map, disk, request, SHARD_READ_TIMEOUT).await.map(|_| ())
    }

    fn local(&self, disk: &DiskId) -> Result<std::sync::Arc<DiskStore>> {
        self.disks.get(disk).ok_or_else(|| Error::unavailable(format!("disk {disk} has gone away")))
    }
}

fn key_of(known: &KnownChunk, slot: u8) -> ShardKey {
    ShardKey { chunk: known.stored.chunk, generation: known.stored.generation, slot }
}

/// The parts of a slot that a disk has of the chunks of a page.
async fn held_by(store: &DiskStore, page: &[KnownChunk], slot: u8) -> Result<BTreeSet<ShardKey>> {
    let id = |known: Option<&KnownChunk>| known.map(|known| known.stored.chunk.id);
    let (Some(first), Some(last)) = (id(page.first()), id(page.last())) else { return Ok(BTreeSet::new()) };
    let listed = store.list_shards(first, last, None, usize::MAX).await?;
    Ok(listed.into_iter().map(|(key, _)| key).filter(|key| key.slot == slot).collect())
}
