//! Reading a chunk: from the data shards when they are there, from any `k` otherwise.

use std::collections::BTreeMap;

use access::{Action, authorize};
use bytes::Bytes;
use chunk::compress::decompress;
use chunk::erasure::shard_size;
use chunk::manifest::parse_node;
use futures::stream::{FuturesUnordered, StreamExt};
use net::Request;
use placement::PgSlot;
use proto::block::{ChunkKind, ChunkRead, GetChunk, GetShard, Layout, ShardKey, ShardMeta, ShardRead};
use proto::map::ClusterMap;
use types::limits::{SHARD_HEDGE_AFTER, SHARD_READ_TIMEOUT};
use types::{ChunkId, DiskId, Error, ErrorKind, Generation, Identity, Profile, Result};

use crate::server::Blockserver;

/// A shard that was read, and the incarnation it belongs to.
struct Found {
    generation: Generation,
    bytes: Bytes,
}

/// Shards by slot.
type Shards = BTreeMap<u8, Found>;

impl Blockserver {
    pub(crate) async fn get_chunk(
        &self,
        identity: &Identity,
        request: GetChunk,
    ) -> Result<(ChunkRead, Bytes)> {
        let (now, reader) = (self.env.clock.wall(), identity.to_string());
        if authorize(identity, Action::ReadAnyChunk).is_err() {
            self.secret.check_ticket(&reader, &request.id, &request.ticket, now)?;
        }
        let bytes = self.read_chunk(request.id).await?;
        let tickets = match request.kind {
            ChunkKind::Data => Vec::new(),
            ChunkKind::ManifestNode => {
                // Only what is named as a node gives access to others: its name is the proof.
                if chunk::manifest::node_id(&bytes) != request.id {
                    return Err(Error::invalid(format!("chunk {} is not a manifest node", request.id)));
                }
                let node = parse_node(&bytes)?;
                node.entries.iter().map(|entry| self.secret.ticket(&reader, &entry.id, now)).collect()
            }
        };
        let bytes = match request.range {
            None => bytes,
            Some((offset, count)) => {
                let start = (offset as usize).min(bytes.len());
                bytes.slice(start..start.saturating_add(count as usize).min(bytes.len()))
            }
        };
        Ok((ChunkRead { tickets }, bytes))
    }

    /// The plain bytes of a chunk.
    async fn read_chunk(&self, id: ChunkId) -> Result<Bytes> {
        let map = self.current_map();
        let (meta, payload) = self.read_payload(&map, id).await?;
        if !meta.compressed {
            return Ok(payload);
        }
        let plain_size = meta.plain_size as usize;
        env::task::blocking(move || decompress(&payload, plain_size)).await
    }

    async fn read_payload(&self, map: &ClusterMap, id: ChunkId) -> Result<(ShardMeta, Bytes)> {
        let slots = map.slots(map.pg(&id))?;
        let (key, meta, bytes) = self.find_any(map, slots, id).await?;
        match meta.layout {
            Layout::Replica => Ok((meta, bytes)),
            Layout::Shard { k, m } => {
                let found = Found { generation: key.generation, bytes };
                let shards = self.gather(map, slots, (key, meta), Profile { k, m }, found).await?;
                let payload = self.join(Profile { k, m }, (key, meta), shards).await?;
                Ok((meta, payload))
            }
        }
    }

    /// Some shard or replica of the chunk: from a local disk if one has it, otherwise from whoever answers first.
    async fn find_any(
        &self,
        map: &ClusterMap,
        slots: &[PgSlot],
        id: ChunkId,
    ) -> Result<(ShardKey, ShardMeta, Bytes)> {
        let (local, remote): (Vec<DiskId>, Vec<DiskId>) =
            holders(slots).into_iter().partition(|disk| self.disks.contains_key(disk));
        let mut error = Error::not_found(format!("chunk {id} is on none of its disks"));
        for disk in local {
            match self.get_shard_from(map, disk, id, None, None).await {
                Ok(found) => return Ok(found),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => error = e,
            }
        }
        let mut reads: FuturesUnordered<_> =
            remote.into_iter().map(|disk| self.get_shard_from(map, disk, id, None, None)).collect();
        let mut absent = 0;
        while let Some(read) = reads.next().await {
            match read {
                Ok(found) => return Ok(found),
                Err(e) if e.kind() == ErrorKind::NotFound => absent += 1,
                Err(e) => error = e,
            }
        }
        // "Not here" is an answer about the chunk only when everybody gives it.
        if error.kind() == ErrorKind::NotFound {
            return Err(error);
        }
        Err(Error::unavailable(format!(
            "no disk that may hold chunk {id} answers ({absent} do not have it): {error}"
        )))
    }

    /// At least `k` shards that fit together. Data shards first; parity when one fails or is slow.
    async fn gather(
        &self,
        map: &ClusterMap,
        slots: &[PgSlot],
        (key, meta): (ShardKey, ShardMeta),
        profile: Profile,
        first: Found,
    ) -> Result<Shards> {
        let k = usize::from(profile.k);
        let mut shards = Shards::from([(key.slot, first)]);
        let mut waiting: Vec<u8> = (0..profile.n() as u8).rev().filter(|slot| *slot != key.slot).collect();
        let mut reads = FuturesUnordered::new();
        let mut error = None;
        let read = |slot: u8| async move {
            (slot, self.read_slot(map, slots, ShardKey { slot, ..key }, meta).await)
        };
        // A parity shard that was found first replaces one data shard only if a data shard cannot be had.
        let data_missing = |shards: &Shards| (0..profile.k).filter(|s| !shards.contains_key(s)).count();
        for _ in 0..data_missing(&shards) {
            reads.push(read(waiting.pop().expect("data shards come first")));
        }
        while data_missing(&shards) > 0 && (shards.len() < k || error.is_none()) {
            match env::time::timeout(SHARD_HEDGE_AFTER, reads.next()).await {
                Ok(Some((slot, Ok(found)))) => {
                    shards.insert(slot, found);
                }
                Ok(Some((_, Err(e)))) => {
                    error = Some(e);
                    waiting.pop().into_iter().for_each(|slot| reads.push(read(slot)));
                }
                Ok(None) => match waiting.pop() {
                    Some(slot) => reads.push(read(slot)),
                    None => break,
                },
                Err(_) if shards.len() >= k => break,
                Err(_) => waiting.pop().into_iter().for_each(|slot| reads.push(read(slot))),
            }
        }
        if shards.len() < k {
            let why = error.map_or_else(String::new, |e| format!(": {e}"));
            let found = shards.len();
            let chunk = key.chunk;
            return Err(Error::unavailable(format!(
                "{found} shards of chunk {chunk} can be read, {k} are needed{why}"
            )));
        }
        Ok(shards)
    }

    /// Reassembles a payload. Shards of different incarnations are interchangeable as long as coding is deterministic;
    /// that they are is checked against the chunk's name.
    async fn join(
        &self,
        profile: Profile,
        (key, meta): (ShardKey, ShardMeta),
        found: Shards,
    ) -> Result<Bytes> {
        let stripe = self.stripe(profile)?;
        let mixed = found.values().any(|shard| shard.generation != key.generation);
        let shards = in_order(profile, found);
        let decode = move || {
            let payload = stripe.decode(&shards, meta.stored_size as usize)?;
            assert_eq!(payload.len(), meta.stored_size as usize, "the padding of a stripe is cut off");
            if mixed && !is_chunk(&key.chunk, meta, &payload)? {
                let chunk = key.chunk;
                return Err(Error::unavailable(format!(
                    "too few shards of one incarnation of chunk {chunk} exist"
                )));
            }
            Ok(payload)
        };
        env::task::blocking(decode).await
    }

    /// Shard `key.slot`, from its holder or the previous one: of this incarnation, or of another coded the same way.
    async fn read_slot(
        &self,
        map: &ClusterMap,
        slots: &[PgSlot],
        key: ShardKey,
        meta: ShardMeta,
    ) -> Result<Found> {
        let mut error = Error::not_found(format!("placement group has no slot {}", key.slot));
        let Some(place) = slots.get(usize::from(key.slot)) else { return Err(error) };
        for disk in std::iter::once(place.disk).chain(place.previous) {
            for generation in [Some(key.generation), None] {
                match self.get_shard_from(map, disk, key.chunk, Some(key.slot), generation).await {
                    Ok((found, like, bytes)) if like == meta => {
                        return Ok(Found { generation: found.generation, bytes });
                    }
                    Ok(_) => {}
                    // That it was here and is damaged says more than that another disk does not have it.
                    Err(e) if e.kind() == ErrorKind::Corrupt => error = e,
                    Err(e) if e.kind() == ErrorKind::NotFound => {
                        if error.kind() == ErrorKind::NotFound {
                            error = e;
                        }
                    }
                    Err(e) => {
                        error = e;
                        break;
                    }
                }
            }
        }
        Err(error)
    }

    /// Reads a shard from a disk, here or elsewhere, and checks it.
    pub(crate) async fn get_shard_from(
        &self,
        map: &ClusterMap,
        disk: DiskId,
        chunk: ChunkId,
        slot: Option<u8>,
        generation: Option<Generation>,
    ) -> Result<(ShardKey, ShardMeta, Bytes)> {
        if let Some(local) = self.disks.get(&disk) {
            let found = local.get_shard(chunk, slot, generation, None).await?;
            check_answer(&found.key, &found.meta, chunk, slot, generation)?;
            return Ok((found.key, found.meta, found.bytes));
        }
        let (node, info) =
            map.node_of(disk).ok_or_else(|| Error::stale_epoch(format!("disk {disk} is not in the map")))?;
        if !info.up {
            return Err(Error::unavailable(format!("node {node} is down")));
        }
        let request = GetShard { disk, chunk, slot, generation };
        let reply =
            self.links.call_node(node, Request::of(&request, Bytes::new()), SHARD_READ_TIMEOUT).await?;
        let read: ShardRead = reply.answer::<GetShard>()?;
        if crc32fast::hash(&reply.body) != read.crc {
            return Err(Error::unavailable(format!("a shard of chunk {chunk} was damaged in transit")));
        }
        check_answer(&read.key, &read.meta, chunk, slot, generation)
            .map_err(|e| e.context(format!("node {node}")))?;
        Ok((read.key, read.meta, reply.body))
    }

    /// Rebuilds shard `key.slot` from the others. `NotFound` when too few exist, `Unavailable` when too few answer.
    pub(crate) async fn rebuild_shard(
        &self,
        map: &ClusterMap,
        key: ShardKey,
        meta: ShardMeta,
    ) -> Result<Bytes> {
        let slots = map.slots(map.pg(&key.chunk))?;
        let Layout::Shard { k, m } = meta.layout else {
            let (_, found, bytes) = self.find_any(map, slots, key.chunk).await?;
            return if found.layout == Layout::Replica {
                Ok(bytes)
            } else {
                Err(Error::not_found(format!("no replica of chunk {} is left", key.chunk)))
            };
        };
        let profile = Profile { k, m };
        let others = (0..profile.n() as u8).filter(|slot| *slot != key.slot);
        let mut reads: FuturesUnordered<_> =
            others
                .map(|slot| async move {
                    (slot, self.read_slot(map, slots, ShardKey { slot, ..key }, meta).await)
                })
                .collect();
        let mut found = Shards::new();
        let mut unreachable = None;
        while found.len() < usize::from(k) {
            match reads.next().await {
                Some((slot, Ok(shard))) => {
                    found.insert(slot, shard);
                }
                Some((_, Err(e))) if e.kind() == ErrorKind::NotFound => {}
                Some((_, Err(e))) => unreachable = Some(e),
                None => {
                    let chunk = key.chunk;
                    let error = |what: &str| format!("too few shards of chunk {chunk} {what} to rebuild one");
                    return Err(match unreachable {
                        Some(e) => Error::unavailable(format!("{}: {e}", error("can be read"))),
                        None => Error::not_found(error("exist")),
                    });
                }
            }
        }
        let stripe = self.stripe(profile)?;
        let mixed = found.values().any(|shard| shard.generation != key.generation);
        let shards = in_order(profile, found);
        let rebuild = move || {
            if mixed && !is_chunk(&key.chunk, meta, &stripe.decode(&shards, meta.stored_size as usize)?)? {
                return Err(Error::not_found(format!(
                    "too few shards of one incarnation of chunk {}",
                    key.chunk
                )));
            }
            let shard = stripe.rebuild(&shards, usize::from(key.slot))?;
            if shard.len() != shard_size(profile, meta.stored_size as usize) {
                return Err(Error::corrupt(format!("the shards of chunk {} are of a wrong size", key.chunk)));
            }
            Ok(shard)
        };
        env::task::blocking(rebuild).await
    }
}

/// Shards by slot, with `None` for those that were not found.
fn in_order(profile: Profile, mut found: Shards) -> Vec<Option<Bytes>> {
    let shards = (0..profile.n() as u8).map(|slot| found.remove(&slot).map(|shard| shard.bytes)).collect();
    assert!(found.is_empty(), "check_answer() refuses slots beyond the stripe");
    shards
}

/// `Corrupt` unless a shard can be, and is what was asked for: its disk or node may say anything.
fn check_answer(
    key: &ShardKey,
    meta: &ShardMeta,
    chunk: ChunkId,
    slot: Option<u8>,
    generation: Option<Generation>,
) -> Result<()> {
    let asked = key.chunk == chunk
        && slot.is_none_or(|slot| key.slot == slot)
        && generation.is_none_or(|generation| key.generation == generation);
    if !asked {
        return Err(Error::corrupt(format!("the answer {key:?} is about another shard of chunk {chunk}")));
    }
    meta.check(key.slot).map_err(|e| Error::corrupt(format!("the answer is no shard of chunk {chunk}: {e}")))
}

/// True when a payload is the chunk of this name, be it file content or a manifest node.
fn is_chunk(chunk: &ChunkId, meta: ShardMeta, payload: &Bytes) -> Result<bool> {
    let plain =
        if meta.compressed { decompress(payload, meta.plain_size as usize)? } else { payload.clone() };
    Ok(chunk::chunk_id(&plain) == *chunk || chunk::manifest::node_id(&plain) == *chunk)
}

/// Disks that may hold parts of a group, each once, in slot order.
fn holders(slots: &[PgSlot]) -> Vec<DiskId> {
    let mut disks = Vec::new();
    for disk in slots.iter().flat_map(|slot| std::iter::once(slot.disk).chain(slot.previous)) {
        if !disks.contains(&disk) {
            disks.push(disk);
        }
    }
    disks
}

#[cfg(test)]
mod tests {
    use placement::SlotState;

    use super::*;

    #[test]
    fn holders_are_named_once_and_in_slot_order() {
        let check = |slots: &[(u32, Option<u32>)], want: &[u32]| {
            let slot = |(disk, previous): &(u32, Option<u32>)| PgSlot {
                disk: DiskId(*disk),
                state: SlotState::Syncing,
                previous: previous.map(DiskId),
                returns: false,
            };
            let slots: Vec<PgSlot> = slots.iter().map(slot).collect();
            assert_eq!(holders(&slots), want.iter().copied().map(DiskId).collect::<Vec<_>>());
        };
        check(&[], &[]);
        check(&[(3, None), (1, None)], &[3, 1]);
        check(&[(3, Some(2)), (1, None)], &[3, 2, 1]);
        check(&[(3, Some(1)), (1, Some(3))], &[3, 1]);
    }
}
