//! Making the parts of a chunk durable, each on a disk of its own (I-ACK).
//!
//! A part whose own disk is down, full or slow goes to another: one that breaks no rule of placement, or any. The index
//! is told of it and the owner takes it back. Where no other disk is left the chunk is thin: it lacks the part, and the
//! index is told of that, too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard};

use bytes::Bytes;
use env::mutant::Mutant;
use env::time::Duration;
use futures::stream::{FuturesUnordered, StreamExt};
use net::Request;
use placement::{Candidate, Ladder};
use proto::block::{Layout, PutShard, ShardKey, ShardMeta};
use proto::map::{ClusterMap, DiskState};
use segments::Purpose;
use tracing::debug;
use types::limits::{DISK_SUSPECT_TIME, SHARD_PATIENCE_MIN, SHARD_STRAGGLER_TIMEOUT, SHARD_WRITE_TIMEOUT};
use types::{DiskId, Error, Profile, Result};

use crate::detours::Detours;
use crate::server::Blockserver;

/// One shard or replica, and the disk of its slot.
pub(crate) struct Part {
    pub(crate) home: DiskId,
    pub(crate) key: ShardKey,
    pub(crate) bytes: Bytes,
}

/// Where parts are going, and where they have come.
struct Scatter {
    /// By slot: the disks that were asked, in order.
    asked: BTreeMap<u8, Vec<DiskId>>,
    durable: BTreeMap<u8, DiskId>,
    /// Disks that did not take what they were asked to take.
    failed: BTreeSet<DiskId>,
}

impl Scatter {
    /// Disks that have parts, or may get one yet.
    fn held(&self) -> BTreeSet<DiskId> {
        self.asked.values().flatten().filter(|disk| !self.failed.contains(disk)).copied().collect()
    }

    /// Slots whose part is nowhere yet and still on its way to no other than those that were asked first.
    fn waiting(&self) -> Vec<u8> {
        let is_waiting = |slot: &u8| !self.durable.contains_key(slot) && self.asked[slot].len() < 2;
        self.asked.keys().copied().filter(is_waiting).collect()
    }
}

impl Blockserver {
    /// Makes parts durable. On return it is known for each that is durable on which disk; at least so many as a chunk must
    /// have to be acknowledged.
    pub(crate) async fn scatter(
        &self,
        map: &ClusterMap,
        meta: ShardMeta,
        parts: Vec<Part>,
    ) -> Result<Vec<(u8, DiskId)>> {
        let count = parts.len();
        let need = match Mutant::AckAtK.is_planted() {
            true => usize::from(map.profile.k),
            false => durable_min(map.profile, meta.layout),
        };
        let mut scatter =
            Scatter { asked: BTreeMap::new(), durable: BTreeMap::new(), failed: self.suspects() };
        let homes: BTreeSet<DiskId> = parts.iter().map(|part| part.home).collect();
        let by_slot: BTreeMap<u8, &Part> = parts.iter().map(|part| (part.key.slot, part)).collect();
        let mut writes = FuturesUnordered::new();
        let write = |slot: u8, disk: DiskId| {
            let Part { key, bytes, .. } = by_slot[&slot];
            let begun = env::time::now();
            async move {
                let written = self.put_shard_on(map, disk, *key, meta, bytes.clone()).await;
                (slot, disk, written.map(|()| env::time::now().saturating_duration_since(begun)))
            }
        };
        for part in &parts {
            let slot = part.key.slot;
            let is_up = map.is_live(part.home) && !scatter.failed.contains(&part.home);
            let disk = if is_up { Some(part.home) } else { self.detour(map, &scatter, &homes, part) };
            scatter.asked.insert(slot, disk.into_iter().collect());
            disk.into_iter().for_each(|disk| writes.push(write(slot, disk)));
        }
        let mut error = Error::unavailable("too few disks take new chunks at the moment");
        let mut patience = self.detours().patience.limit(SHARD_PATIENCE_MIN, SHARD_STRAGGLER_TIMEOUT);
        while scatter.durable.len() < count {
            if Mutant::AckAtK.is_planted() && scatter.durable.len() >= need {
                break;
            }
            let slots = match env::time::timeout(patience, writes.next()).await {
                Ok(None) => break,
                Ok(Some((slot, disk, Ok(took)))) => {
                    self.detours().patience.note(took);
                    scatter.durable.entry(slot).or_insert(disk);
                    continue;
                }
                Ok(Some((slot, disk, Err(e)))) => {
                    debug!(%disk, slot, "a part is not durable there: {e}");
                    self.suspect(disk, &e);
                    scatter.failed.insert(disk);
                    error = e;
                    if scatter.durable.contains_key(&slot) { Vec::new() } else { vec![slot] }
                }
                // All the rest is slow: a second disk for some of it.
                Err(_) if patience < SHARD_STRAGGLER_TIMEOUT => {
                    patience = SHARD_STRAGGLER_TIMEOUT;
                    let mut detours = self.detours();
                    scatter.waiting().into_iter().take_while(|_| detours.patience.spend()).collect()
                }
                // Or so slow that its disks may never answer: for all of it.
                Err(_) => {
                    let waiting = scatter.waiting();
                    if waiting.is_empty() && scatter.durable.len() >= need {
                        break;
                    }
                    waiting
                }
            };
            for slot in slots {
                if let Some(disk) = self.detour(map, &scatter, &homes, by_slot[&slot]) {
                    scatter.asked.entry(slot).or_default().push(disk);
                    writes.push(write(slot, disk));
                }
            }
        }
        let durable = scatter.durable.len();
        if durable < need {
            self.links.refresh_map().await;
            return Err(Error::unavailable(format!(
                "{durable} of {count} parts are durable, {need} are needed: {error}"
            )));
        }
        Ok(scatter.durable.into_iter().collect())
    }

    /// Makes one shard durable on a disk, here or elsewhere.
    pub(crate) async fn put_shard_on(
        &self,
        map: &ClusterMap,
        disk: DiskId,
        key: ShardKey,
        meta: ShardMeta,
        bytes: Bytes,
    ) -> Result<()> {
        if let Some(local) = self.disks.get(&disk) {
            return local.put_shard(key, meta, bytes, None, Purpose::Store).await;
        }
        if !map.is_live(disk) {
            return Err(Error::unavailable(format!("disk {disk} is down")));
        }
        let request = PutShard { disk, key, meta, crc: crc32fast::hash(&bytes) };
        self.call_disk(map, disk, Request::of(&request, bytes), SHARD_WRITE_TIMEOUT).await.map(|_| ())
    }

    /// Another disk for a part.
    fn detour(
        &self,
        map: &ClusterMap,
        scatter: &Scatter,
        homes: &BTreeSet<DiskId>,
        part: &Part,
    ) -> Option<DiskId> {
        let ladder = self.ladder(map);
        // The other parts' own disks are theirs, as long as they can be written.
        let others = homes.iter().filter(|disk| map.is_live(**disk) && !scatter.failed.contains(disk));
        let held = scatter.held().into_iter().chain(others.copied()).collect();
        let spare = ladder.next(map.pg(&part.key.chunk.id), part.key.slot, &held, &scatter.failed)?;
        debug!(disk = %spare.disk, is_clean = spare.is_clean, slot = part.key.slot, "a part goes to another disk");
        Some(spare.disk)
    }

    fn detours(&self) -> MutexGuard<'_, Detours> {
        self.detours.lock().expect("no panic while it is held")
    }

    fn ladder(&self, map: &ClusterMap) -> Arc<Ladder> {
        let mut detours = self.detours();
        match &detours.ladder {
            Some((epoch, ladder)) if *epoch == map.epoch => ladder.clone(),
            _ => {
                let ladder = Arc::new(Ladder::new(map.profile, &candidates(map)));
                detours.ladder = Some((map.epoch, ladder.clone()));
                ladder
            }
        }
    }

    /// A disk has not taken a part. When that is for a reason that lasts a moment, it is spared for as long.
    fn suspect(&self, disk: DiskId, error: &Error) {
        if error.is_transient() {
            let until = env::time::now() + DISK_SUSPECT_TIME;
            self.detours().suspects.insert(disk, until);
        }
    }

    fn suspects(&self) -> BTreeSet<DiskId> {
        let now = env::time::now();
        let mut detours = self.detours();
        detours.suspects.retain(|_, until| *until > now);
        detours.suspects.keys().copied().collect()
    }
}

/// Disks as the ladder wants them.
fn candidates(map: &ClusterMap) -> Vec<Candidate> {
    let candidate = |(id, disk): (&DiskId, &proto::map::DiskInfo)| Candidate {
        id: *id,
        node: disk.node,
        zone: map.nodes.get(&disk.node).map(|node| node.zone.clone()).unwrap_or_default(),
        weight: disk.capacity,
        usable: disk.state < DiskState::BackfillFull,
        down: !map.is_live(*id),
    };
    map.disks.iter().map(candidate).collect()
}

/// Parts that must be durable before a chunk is acknowledged, when no more disks take any: enough to survive one loss.
fn durable_min(profile: Profile, layout: Layout) -> usize {
    match layout {
        Layout::Shard { .. } => usize::from(profile.k) + 1,
        Layout::Replica => 2,
    }
}

/// A part is given a second disk before its write runs out of time.
const _: () = assert!(SHARD_STRAGGLER_TIMEOUT.as_millis() < Duration::as_millis(&SHARD_WRITE_TIMEOUT));
