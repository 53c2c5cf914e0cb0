//! I-HEAL: after the last fault every chunk that was acknowledged has all its parts again, each on the disk that the map
//! names for it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use env::time;
use net::{Request, Target, Transport};
use oracle::{Invariant, Verdict};
use proto::block::{Layout, ListShards, ShardKey, ShardMeta};
use proto::map::ClusterMap;
use types::limits::{SHARD_LIST_TIMEOUT, SIM_HEAL_PERIOD, SIM_PARTS_TIMEOUT};
use types::{ChunkId, DiskId, Error, Generation, Identity, PgId, Profile, Result};

use crate::world::World;

/// Parts of one incarnation of a chunk that are where they belong, and how many it has when it is whole.
#[derive(Default)]
struct Incarnation {
    found: BTreeSet<u8>,
    whole: usize,
}

type Chunks = BTreeMap<ChunkId, BTreeMap<Generation, Incarnation>>;

/// Looks at all disks until every one of these chunks is whole, or time is up.
pub async fn judge(world: &World, map: &ClusterMap, chunks: &BTreeSet<ChunkId>) -> Verdict {
    let mut verdict = Verdict::new(Invariant::Heal, "every acknowledged chunk has all its parts");
    let deadline = time::now() + SIM_PARTS_TIMEOUT;
    let mut incomplete: BTreeMap<ChunkId, String> =
        chunks.iter().map(|chunk| (*chunk, String::new())).collect();
    while !incomplete.is_empty() && time::now() < deadline {
        match look(world, map, &incomplete).await {
            Ok(found) => incomplete.retain(|chunk, seen| {
                let best = found.get(chunk).and_then(|all| all.values().max_by_key(|one| one.found.len()));
                let (count, whole) = best.map_or((0, 1), |best| (best.found.len(), best.whole));
                *seen = format!("{count} of {whole} parts");
                count < whole
            }),
            Err(e) => incomplete.values_mut().for_each(|seen| *seen = e.to_string()),
        }
        if !incomplete.is_empty() {
            time::sleep(SIM_HEAL_PERIOD).await;
        }
    }
    for chunk in chunks {
        verdict.judge(match incomplete.get(chunk) {
            Some(seen) => Err(format!("chunk {chunk} has {seen}")),
            None => Ok(()),
        });
    }
    verdict
}

async fn look(world: &World, map: &ClusterMap, wanted: &BTreeMap<ChunkId, String>) -> Result<Chunks> {
    let groups: BTreeSet<PgId> = wanted.keys().map(|chunk| map.pg(chunk)).collect();
    let mut chunks = Chunks::new();
    for group in groups {
        for (index, slot) in map.slots(group)?.iter().enumerate() {
            for (key, meta) in list(world, map, slot.disk, group).await? {
                if usize::from(key.slot) == index && wanted.contains_key(&key.chunk.id) {
                    let incarnation =
                        chunks.entry(key.chunk.id).or_default().entry(key.generation).or_default();
                    incarnation.found.insert(key.slot);
                    incarnation.whole = whole(map.profile, meta.layout);
                }
            }
        }
    }
    Ok(chunks)
}

fn whole(profile: Profile, layout: Layout) -> usize {
    match layout {
        Layout::Shard { k, m } => usize::from(k) + usize::from(m),
        Layout::Replica => profile.replicas(),
    }
}

/// Everything a disk holds of a group. Only nodes may ask, so one of them does.
async fn list(
    world: &World,
    map: &ClusterMap,
    disk: DiskId,
    group: PgId,
) -> Result<Vec<(ShardKey, ShardMeta)>> {
    let (node, info) =
        map.node_of(disk).ok_or_else(|| Error::stale_epoch(format!("disk {disk} is not in the map")))?;
    let dial = world.dialer(Identity::Node(node));
    let target = Target { transport: Transport::Quic, address: info.native, node: None };
    let mut all: Vec<(ShardKey, ShardMeta)> = Vec::new();
    loop {
        let after = all.last().map(|(key, _)| *key);
        let request = Request::of(&ListShards { disk, pg: group, after }, Bytes::new());
        let reply = dial
            .call(&target, request, SHARD_LIST_TIMEOUT)
            .await
            .map_err(|e| e.context(format!("node {node}")))?;
        let page = reply.answer::<ListShards>()?;
        all.extend(page.shards);
        if !page.more {
            return Ok(all);
        }
    }
}
