//! When redundancy is restored, and in which order (I-HEAL).
//!
//! Four things go on side by side, so that none waits for another: slots that were given to a disk are filled, those of
//! the groups that lack most first; parts that the index knows to be elsewhere, or nowhere, are brought home; parts that
//! were found damaged are made again; and slot by slot all that should be here is looked for.
//!
//! Everything may be done twice or stopped at any point: a part that is there is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use env::mutant::Mutant;
use futures::stream::{self, FuturesUnordered, StreamExt, TryStreamExt};
use placement::SlotState;
use proto::cluster::FilledSlot;
use proto::index::{ChunkState, KnownChunk};
use proto::map::ClusterMap;
use segments::DiskStore;
use tracing::{debug, info, warn};
use types::limits::{AUDIT_PAUSE, FILLED_REPORT_PERIOD, HEAL_PERIOD, HEAL_PERIOD_MAX};
use types::{ChunkId, DiskId, PgId, Result};

use crate::reconcile::Reconciled;
use crate::server::Blockserver;
use crate::task::Task;

/// Slots that are filled at once, of all disks and of each: none of them waits for a slow one.
const SLOTS_IN_FLIGHT: usize = 16;
/// See [`SLOTS_IN_FLIGHT`].
const SLOTS_PER_DISK: usize = 2;
/// Damaged parts listed at once.
const PART_COUNT: usize = 256;
/// Of these, what the index knows is asked for so many at once.
const LOOK_UPS_IN_FLIGHT: usize = 16;

/// Restores redundancy on the disks of a server for as long as it lives.
pub fn keep_redundancy(server: &Arc<Blockserver>) {
    let this = Arc::downgrade(server);
    let (filler, bringer, mender, auditor) = (this.clone(), this.clone(), this.clone(), this);
    let mut map = server.map.clone();
    env::task::spawn(async move {
        let mut failed = BTreeSet::new();
        loop {
            let Some(server) = filler.upgrade() else { return };
            failed = server.fill(failed).await;
            drop(server);
            if let Ok(Err(_)) = env::time::timeout(HEAL_PERIOD, map.changed()).await {
                return; // The node ends.
            }
        }
    });
    let mut map = server.map.clone();
    env::task::spawn(async move {
        let mut pause = HEAL_PERIOD;
        loop {
            match env::time::timeout(pause, map.changed()).await {
                Ok(Err(_)) => return,
                // Perhaps somebody has come back.
                Ok(Ok(())) => {
                    pause = HEAL_PERIOD;
                    env::time::sleep(HEAL_PERIOD / 4).await;
                }
                Err(_) => pause = (pause * 2).min(HEAL_PERIOD_MAX),
            }
            let Some(server) = bringer.upgrade() else { return };
            match server.bring_home().await {
                Ok(sum) if sum.made + sum.failed > 0 => pause = HEAL_PERIOD,
                Ok(_) => {}
                Err(e) => debug!("parts that are not at home could not be asked for, trying again: {e}"),
            }
        }
    });
    env::task::spawn(async move {
        loop {
            env::time::sleep(HEAL_PERIOD).await;
            let Some(server) = mender.upgrade() else { return };
            let mended = server.disks.open().into_iter().map(|(id, disk)| {
                let server = &server;
                async move {
                    if let Err(e) = server.mend(id, &disk).await {
                        warn!(disk = %id, "damaged parts could not be rebuilt, trying again later: {e}");
                    }
                }
            });
            futures::future::join_all(mended).await;
        }
    });
    env::task::spawn(async move {
        loop {
            env::time::sleep(AUDIT_PAUSE).await;
            let Some(server) = auditor.upgrade() else { return };
            if !Mutant::Unreconciled.is_planted() {
                server.look_through_doubtful().await;
                server.audit().await;
            }
        }
    });
}

impl Blockserver {
    /// The slots of this node in a state, those of the groups that lack most first.
    fn slots(&self, map: &ClusterMap, state: SlotState) -> Vec<Task> {
        let Some(table) = &map.table else { return Vec::new() };
        let open = self.disks.open();
        let mut tasks = Vec::new();
        for (pg, slots) in table.pgs.iter().enumerate() {
            let is_whole =
                |slot: &placement::PgSlot| slot.state == SlotState::Serving && map.is_readable(slot.disk);
            let whole = slots.iter().filter(|slot| is_whole(slot)).count();
            for (index, slot) in slots.iter().enumerate() {
                if slot.state == state && open.contains_key(&slot.disk) {
                    let (pg, slot, disk, since) = (PgId(pg as u16), index as u8, slot.disk, slot.since);
                    tasks.push((whole, Task { pg, slot, disk, since }));
                }
            }
        }
        tasks.sort();
        tasks.into_iter().map(|(_, task)| task).collect()
    }

    /// Fills slots, the most urgent ones of the newest map first; those that have `failed` before come last. Returns those
    /// that have failed this time.
    async fn fill(&self, failed: BTreeSet<Task>) -> BTreeSet<Task> {
        let mut running = FuturesUnordered::new();
        let mut running_on: BTreeMap<DiskId, usize> = BTreeMap::new();
        let (mut epoch, mut waiting, mut begun) = (None, Vec::new(), BTreeSet::new());
        let (mut still, mut complete) = (BTreeSet::new(), Vec::new());
        let mut reported = env::time::now();
        loop {
            let map = self.current_map();
            if epoch.replace(map.epoch) != Some(map.epoch) {
                waiting = self.slots(&map, SlotState::Syncing);
                let others = self.slots(&map, SlotState::Serving);
                self.progress.plan(env::time::now(), &waiting, &others);
                waiting.sort_by_key(|task| failed.contains(task));
                waiting.retain(|task| !begun.contains(task));
            }
            while running.len() < SLOTS_IN_FLIGHT
                && let Some(next) = waiting.iter().position(|task| is_free(&running_on, task.disk))
            {
                let task = waiting.remove(next);
                begun.insert(task);
                *running_on.entry(task.disk).or_default() += 1;
                running.push(async move { (task, self.reconcile(task).await) });
            }
            match env::time::timeout(FILLED_REPORT_PERIOD, running.next()).await {
                Ok(None) => {
                    self.report(complete).await;
                    return still;
                }
                Ok(Some((task, outcome))) => {
                    running_on.entry(task.disk).and_modify(|count| *count -= 1);
                    let Task { pg, slot, disk, since } = task;
                    match outcome {
                        Ok(Reconciled { failed: 0, .. }) => {
                            complete.push(FilledSlot { pg, slot, disk, since })
                        }
                        outcome => {
                            debug!(pg = pg.0, slot, ?outcome, "not filled yet");
                            still.insert(task);
                        }
                    }
                }
                Err(_) => {}
            }
            // Each report makes a new map.
            let is_due = env::time::now().saturating_duration_since(reported) >= FILLED_REPORT_PERIOD;
            if is_due {
                self.report(std::mem::take(&mut complete)).await;
                reported = env::time::now();
            }
        }
    }

    async fn report(&self, complete: Vec<FilledSlot>) {
        if complete.is_empty() {
            return;
        }
        let slots = complete.len();
        match self.links.finish_sync(complete).await {
            Ok(()) => info!(slots, "slots are complete"),
            Err(e) => warn!("complete slots could not be reported, trying again: {e}"),
        }
    }

    /// Brings home the parts of this node's slots that the index knows to be elsewhere, or nowhere.
    pub(crate) async fn bring_home(&self) -> Result<Reconciled> {
        let everything = (ChunkId([0; 32]), ChunkId([0xff; 32]));
        let (mut sum, mut after) = (Reconciled::default(), None);
        loop {
            let page = self.links.list_chunks(everything, after, true, Default::default()).await?;
            after = page.chunks.last().map(|known| known.stored.chunk);
            let map = self.current_map();
            let mut parts = Vec::new();
            for known in page.chunks {
                parts.extend(self.parts_to_keep(&map, known)?);
            }
            sum.add(self.keep(&map, parts).await);
            if !page.more {
                return Ok(sum);
            }
        }
    }

    /// Of a chunk that is not whole: the parts that are this node's to put right.
    fn parts_to_keep(&self, map: &ClusterMap, known: KnownChunk) -> Result<Vec<(KnownChunk, u8, DiskId)>> {
        let slots = map.slots(map.pg(&known.stored.chunk.id))?;
        let wanted: Vec<u8> = match known.state {
            ChunkState::Lost => (0..known.part_count(map.profile)).collect(),
            _ => known.exceptions.iter().map(|exception| exception.slot).collect(),
        };
        let own = |slot: u8| {
            let disk = slots.get(usize::from(slot))?.disk;
            (map.is_live(disk) && self.disks.get(&disk).is_some()).then(|| (known.clone(), slot, disk))
        };
        Ok(wanted.into_iter().filter_map(own).collect())
    }

    /// Makes again the parts that were found damaged on a disk of this node.
    async fn mend(&self, id: DiskId, disk: &DiskStore) -> Result<()> {
        let mut after = None;
        loop {
            let lost = disk.lost(after, PART_COUNT).await?;
            let Some((last, _)) = lost.last() else { return Ok(()) };
            after = Some(*last);
            let map = self.current_map();
            let mut parts = Vec::new();
            let looked = lost
                .into_iter()
                .map(|(key, _)| async move { self.links.look_up(key.chunk).await.map(|known| (key, known)) });
            let mut looked = stream::iter(looked).buffered(LOOK_UPS_IN_FLIGHT);
            while let Some((key, known)) = looked.try_next().await? {
                let known = known.filter(|known| known.stored.generation == key.generation);
                let slots = map.slots(map.pg(&key.chunk.id))?;
                let is_its = slots.get(usize::from(key.slot)).is_some_and(|slot| slot.disk == id);
                match known {
                    Some(known) if is_its => parts.push((known, key.slot, id)),
                    // Nobody counts on it here.
                    _ => disk.delete(key).await?,
                }
            }
            let sum = self.keep(&map, parts).await;
            if sum.made > 0 {
                info!(parts = sum.made, disk = %id, "damaged parts are replaced");
            }
        }
    }

    /// Looks at once for all that disks should have whose index was lost: of what they cannot read they know nothing.
    async fn look_through_doubtful(&self) {
        for (id, disk) in self.disks.open() {
            // One whose index is being rebuilt comes later.
            let Ok(Some(doubt)) = disk.doubt().await else { continue };
            let mut is_known = true;
            for task in self.slots(&self.current_map(), SlotState::Serving) {
                if task.disk == id {
                    is_known &= self.look_through(task).await;
                }
            }
            if is_known && let Err(e) = disk.trust(doubt).await {
                debug!(disk = %id, "it will be looked through once more: {e}");
            }
        }
    }

    /// Looks for all that one more slot should have.
    async fn audit(&self) {
        let tasks = self.slots(&self.current_map(), SlotState::Serving);
        let next = {
            let mut last = self.audited.lock().expect("no panic while it is held");
            let order = |task: &Task| (task.pg, task.slot, task.disk);
            let after = tasks.iter().filter(|task| last.is_none_or(|last| order(task) > order(&last)));
            let next = after.min_by_key(|task| order(task)).copied();
            *last = next; // `None`: from the beginning.
            next
        };
        if let Some(task) = next {
            self.look_through(task).await;
            if let Err(e) = self.compare_one(task).await {
                debug!(pg = task.pg.0, slot = task.slot, "no chunk could be compared with its parts: {e}");
            }
        }
    }

    /// Looks for all that a slot should have; true when it is there now.
    async fn look_through(&self, task: Task) -> bool {
        let Task { pg, slot, .. } = task;
        match self.reconcile(task).await {
            Ok(sum) => {
                let Reconciled { made, failed, lost } = sum;
                if sum != Reconciled::default() {
                    warn!(pg = pg.0, slot, made, failed, lost, "a disk lacked parts it should have");
                }
                failed == 0
            }
            Err(e) => {
                debug!(pg = pg.0, slot, "a slot could not be looked through: {e}");
                false
            }
        }
    }
}

/// True when one more slot of a disk can be filled.
fn is_free(running_on: &BTreeMap<DiskId, usize>, disk: DiskId) -> bool {
    running_on.get(&disk).is_none_or(|count| *count < SLOTS_PER_DISK)
}
