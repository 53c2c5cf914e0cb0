//! I-HEAL: after the last fault every chunk that was acknowledged has all its parts again, each on the disk that the map
//! names for it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use client::Cluster;
use env::time;
use net::{Reply, Request, Target, Transport};
use oracle::{Invariant, Verdict};
use proto::Call;
use proto::block::{GetShard, Layout, ListShards, ShardKey, ShardMeta};
use proto::map::ClusterMap;
use types::limits::{SHARD_LIST_TIMEOUT, SIM_HEAL_PERIOD, SIM_PARTS_TIMEOUT};
use types::{
    ChunkId, ChunkKey, DiskId, Error, ErrorKind, Generation, Identity, KeyId, PgId, Profile, Result,
};

use crate::world::World;

/// Parts of one incarnation of a chunk that are where they belong and can be read, and how many it has when it is whole.
#[derive(Default)]
struct Incarnation {
    found: BTreeSet<u8>,
    whole: usize,
}

/// What was seen of chunks.
#[derive(Default)]
struct Seen {
    chunks: BTreeMap<ChunkId, BTreeMap<Generation, Incarnation>>,
    /// The incarnations of what was sealed with the same key.
    attempts: BTreeMap<(ChunkKey, KeyId), BTreeSet<Generation>>,
}

/// Reads all disks until every one of these chunks is whole, or time is up.
pub async fn judge(world: &World, harness: &Cluster, chunks: &BTreeSet<ChunkId>) -> [Verdict; 2] {
    let mut whole = Verdict::new(Invariant::Heal, "every acknowledged chunk has all its parts");
    let mut one =
        Verdict::new(Invariant::Bound, "another attempt to store a chunk leaves no second one behind");
    let deadline = time::now() + SIM_PARTS_TIMEOUT;
    let mut incomplete: BTreeMap<ChunkId, String> =
        chunks.iter().map(|chunk| (*chunk, String::new())).collect();
    while !incomplete.is_empty() && time::now() < deadline {
        harness.refresh_map(harness.map().epoch).await;
        match look(world, &harness.map(), &incomplete).await {
            Ok(seen) => {
                incomplete.retain(|chunk, said| {
                    let all = seen.chunks.get(chunk).into_iter().flat_map(BTreeMap::values);
                    let best = all.max_by_key(|one| one.found.len());
                    let (count, whole) = best.map_or((0, 1), |best| (best.found.len(), best.whole));
                    *said = format!("{count} of {whole} parts");
                    count < whole
                });
                for ((chunk, _), attempts) in seen.attempts {
                    one.judge(match attempts.len() {
                        1 => Ok(()),
                        count => Err(format!("chunk {chunk} was stored {count} times")),
                    });
                }
            }
            Err(e) => incomplete.values_mut().for_each(|said| *said = e.to_string()),
        }
        if !incomplete.is_empty() {
            time::sleep(SIM_HEAL_PERIOD).await;
        }
    }
    for chunk in chunks {
        whole.judge(match incomplete.get(chunk) {
            Some(said) => Err(format!("chunk {chunk} has {said}")),
            None => Ok(()),
        });
    }
    [whole, one]
}

async fn look(world: &World, map: &ClusterMap, wanted: &BTreeMap<ChunkId, String>) -> Result<Seen> {
    let groups: BTreeSet<PgId> = wanted.keys().map(|chunk| map.pg(chunk)).collect();
    let mut seen = Seen::default();
    for group in groups {
        for (index, slot) in map.slots(group)?.iter().enumerate() {
            for (key, meta) in list(world, map, slot.disk, group).await? {
                let chunk = key.chunk.id;
                if usize::from(key.slot) != index || !wanted.contains_key(&chunk) {
                    continue;
                }
                seen.attempts.entry((key.chunk, meta.key)).or_default().insert(key.generation);
                if is_readable(world, map, slot.disk, key).await? {
                    let all = seen.chunks.entry(chunk).or_default();
                    let incarnation = all.entry(key.generation).or_default();
                    incarnation.found.insert(key.slot);
                    incarnation.whole = whole(map.profile, meta.layout);
                }
            }
        }
    }
    Ok(seen)
}

fn whole(profile: Profile, layout: Layout) -> usize {
    match layout {
        Layout::Shard { k, m } => usize::from(k) + usize::from(m),
        Layout::Replica => profile.replicas(),
    }
}

/// Everything a disk holds of a group.
async fn list(
    world: &World,
    map: &ClusterMap,
    disk: DiskId,
    group: PgId,
) -> Result<Vec<(ShardKey, ShardMeta)>> {
    let mut all: Vec<(ShardKey, ShardMeta)> = Vec::new();
    loop {
        let after = all.last().map(|(key, _)| *key);
        let reply = ask(world, map, disk, &ListShards { disk, pg: group, after }).await?;
        let page = reply.answer::<ListShards>()?;
        all.extend(page.shards);
        if !page.more {
            return Ok(all);
        }
    }
}

/// True when the disk gives the bytes of a part, and false when they are damaged or gone.
async fn is_readable(world: &World, map: &ClusterMap, disk: DiskId, key: ShardKey) -> Result<bool> {
    let (slot, generation) = (Some(key.slot), Some(key.generation));
    match ask(world, map, disk, &GetShard { disk, chunk: key.chunk, slot, generation, range: None }).await {
        Ok(_) => Ok(true),
        Err(e) if matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Asks the node of a disk. Only nodes may, so one of them does.
async fn ask<C: Call>(world: &World, map: &ClusterMap, disk: DiskId, call: &C) -> Result<Reply> {
    let (node, info) =
        map.node_of(disk).ok_or_else(|| Error::stale_epoch(format!("disk {disk} is not in the map")))?;
    let target = Target { transport: Transport::Quic, address: info.native, node: None };
    let dial = world.dialer(Identity::Node(node));
    let answered = dial.call(&target, Request::of(call, Bytes::new()), SHARD_LIST_TIMEOUT).await;
    answered.map_err(|e| e.context(format!("node {node}")))
}
