//! When redundancy is restored, and in which order (I-HEAL).
//!
//! Four things go on side by side, so that none waits for another: slots that were given to a disk are filled, those of
//! the groups that lack most first; parts that the index knows to be elsewhere, or nowhere, are brought home; parts that
//! were found damaged are made again; and slot by slot all that should be here is looked for.
//!
//! Everything may be done twice or stopped at any point: a part that is there is left alone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::stream::{FuturesUnordered, StreamExt};
use placement::SlotState;
use proto::cluster::FilledSlot;
use proto::index::{ChunkState, KnownChunk};
use proto::map::ClusterMap;
use tracing::{debug, info, warn};
use types::limits::{AUDIT_PAUSE, HEAL_PERIOD, HEAL_PERIOD_MAX};
use types::{ChunkId, DiskId, PgId, Result};

use crate::reconcile::Reconciled;
use crate::server::Blockserver;
use crate::task::Task;

/// Slots that are filled at once.
const SLOTS_IN_FLIGHT: usize = 8;
/// Damaged parts listed at once.
const PART_COUNT: usize = 256;

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
            if let Err(e) = server.mend().await {
                warn!("damaged parts could not be rebuilt, trying again later: {e}");
            }
        }
    });
    env::task::spawn(async move {
        loop {
            env::time::sleep(AUDIT_PAUSE).await;
            let Some(server) = auditor.upgrade() else { return };
            server.audit().await;
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

    /// Fills slots, and reports each that is complete. Looks at the map anew after each of them: what is most urgent may be
    /// something else by then. Those that have `failed` come last. Returns those that have failed this time.
    async fn fill(&self, failed: BTreeSet<Task>) -> BTreeSet<Task> {
        let mut running = FuturesUnordered::new();
        let mut begun = BTreeSet::new();
        let mut still = BTreeSet::new();
        loop {
            let mut tasks = self.slots(&self.current_map(), SlotState::Syncing);
            self.syncing_slots.store(tasks.len() as u32, Ordering::Relaxed);
            tasks.sort_by_key(|task| failed.contains(task));
            for task in tasks {
                if running.len() < SLOTS_IN_FLIGHT && begun.insert(task) {
                    running.push(async move { (task, self.reconcile(task).await) });
                }
            }
            let Some((task, outcome)) = running.next().await else { return still };
            match outcome {
                Ok(Reconciled { failed: 0, made, .. }) => self.report(task, made).await,
                Ok(sum) => {
                    debug!(pg = task.pg.0, slot = task.slot, failed = sum.failed, "not filled yet");
                    still.insert(task);
                }
                Err(e) => {
                    debug!(pg = task.pg.0, slot = task.slot, "not filled yet: {e}");
                    still.insert(task);
                }
            }
        }
    }

    async fn report(&self, task: Task, made: u64) {
        let Task { pg, slot, disk, since } = task;
        match self.links.finish_sync(vec![FilledSlot { pg, slot, disk, since }]).await {
            Ok(()) => info!(pg = pg.0, slot, %disk, made, "a slot is complete"),
            Err(e) => warn!("a complete slot could not be reported, trying again: {e}"),
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

    /// Makes again the parts that were found damaged on this node's disks.
    async fn mend(&self) -> Result<()> {
        for (id, disk) in self.disks.open() {
            let mut after = None;
            loop {
                let lost = disk.lost(after, PART_COUNT).await?;
                let Some((last, _)) = lost.last() else { break };
                after = Some(*last);
                let map = self.current_map();
                let mut parts = Vec::new();
                for (key, _) in lost {
                    let known = self.links.look_up(key.chunk).await?;
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
        Ok(())
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
        let Some(task) = next else { return };
        match self.reconcile(task).await {
            Ok(sum) if sum != Reconciled::default() => {
                let Reconciled { made, failed, lost } = sum;
                warn!(
                    pg = task.pg.0,
                    slot = task.slot,
                    made,
                    failed,
                    lost,
                    "a disk lacked parts it should have"
                );
            }
            Ok(_) => {}
            Err(e) => debug!(pg = task.pg.0, slot = task.slot, "a slot could not be looked through: {e}"),
        }
    }
}
