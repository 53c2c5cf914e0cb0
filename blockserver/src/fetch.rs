//! Reading a chunk: from the data shards when they are there, from any `k` otherwise.

use std::collections::{BTreeMap, BTreeSet};

use access::{Action, authorize};
use bytes::Bytes;
use chunk::compress::decompress;
use chunk::erasure::shard_size;
use chunk::manifest::parse_node;
use chunk::sealed::{open, open_range};
use futures::stream::{FuturesUnordered, StreamExt};
use net::Request;
use placement::PgSlot;
use proto::block::{ChunkKind, ChunkRead, GetChunk, GetShard, Layout, ShardKey, ShardMeta, ShardRead};
use proto::map::ClusterMap;
use types::limits::{SHARD_HEDGE_AFTER, SHARD_READ_TIMEOUT, STRIPE_SIZE_MIN};
use types::{ChunkKey, DiskId, Error, ErrorKind, Generation, Identity, Profile, Result};

use crate::server::Blockserver;

/// A shard or replica that was read.
type Found = (ShardKey, ShardMeta, Bytes);

/// Shards of one stripe by slot.
type Shards = BTreeMap<u8, Bytes>;

impl Blockserver {
    pub(crate) async fn get_chunk(
        &self,
        identity: &Identity,
        request: GetChunk,
    ) -> Result<(ChunkRead, Bytes)> {
        let (now, reader) = (self.env.clock.wall(), identity.to_string());
        let scope = request.ticket.scope;
        let chunk = ChunkKey { id: request.id, scope };
        if authorize(identity, Action::ReadAnyChunk).is_err() {
            self.secret.check_ticket(&reader, &chunk, &request.ticket, now)?;
        }
        // Of a node all is needed: its name must be that of its bytes.
        let range = request.range.filter(|_| request.kind == ChunkKind::Data);
        let bytes = self.read_chunk(chunk, range).await?;
        let tickets = match request.kind {
            ChunkKind::Data => Vec::new(),
            ChunkKind::ManifestNode => {
                // Only what is named as a node gives access to others: its name is the proof.
                if chunk::manifest::node_id(&bytes) != request.id {
                    return Err(Error::invalid(format!("chunk {} is not a manifest node", request.id)));
                }
                let node = parse_node(&bytes)?;
                let ticket = |id| self.secret.ticket(&reader, &ChunkKey { id, scope }, now);
                node.entries.iter().map(|entry| ticket(entry.id)).collect()
            }
        };
        let bytes = match request.range {
            Some(wanted) if range.is_none() => cut(&bytes, wanted),
            _ => bytes,
        };
        Ok((ChunkRead { tickets }, bytes))
    }

    /// The plain bytes of a chunk, or the range of them (offset and count) that is wanted.
    async fn read_chunk(&self, chunk: ChunkKey, range: Option<(u32, u32)>) -> Result<Bytes> {
        let map = self.current_map();
        let (meta, sealed) = self.read_payload(&map, chunk).await?;
        let key = self.keys.of(&sealed).await?;
        let plain_size = meta.plain_size as usize;
        let open = move || match range {
            Some((offset, count)) if !meta.compressed => {
                open_range(&key, &chunk.id, &sealed, offset as usize, count as usize)
            }
            _ => {
                let payload = open(&key, &chunk.id, &sealed)?;
                let plain = if meta.compressed { decompress(&payload, plain_size)? } else { payload };
                Ok(range.map_or_else(|| plain.clone(), |wanted| cut(&plain, wanted)))
            }
        };
        if plain_size < STRIPE_SIZE_MIN { open() } else { env::task::blocking(open).await }
    }

    /// What the disks have of a chunk, put together: sealed.
    async fn read_payload(&self, map: &ClusterMap, chunk: ChunkKey) -> Result<(ShardMeta, Bytes)> {
        let slots = map.slots(map.pg(&chunk.id))?;
        let (mut tried, mut error) = (BTreeSet::new(), None);
        let mut part = self.find_any(map, slots, chunk, None).await?;
        loop {
            let (key, meta, bytes) = part;
            let Layout::Shard { k, m } = meta.layout else { return Ok((meta, bytes)) };
            tried.insert(key.generation);
            match self.gather(map, slots, (key, meta), Profile { k, m }, bytes).await {
                Ok(shards) => return Ok((meta, self.join(Profile { k, m }, meta, shards).await?)),
                // What was found first may be what is left of a write that was never finished.
                Err((e, others)) => {
                    let error = error.get_or_insert(e);
                    let next = others.into_iter().find(|(key, ..)| !tried.contains(&key.generation));
                    part = next.ok_or_else(|| error.clone())?;
                }
            }
        }
    }

    /// Some shard or replica of the chunk, of the newest incarnation or of this one: from a local disk if one has it,
    /// otherwise from whoever answers first.
    async fn find_any(
        &self,
        map: &ClusterMap,
        slots: &[PgSlot],
        chunk: ChunkKey,
        generation: Option<Generation>,
    ) -> Result<Found> {
        let (local, remote): (Vec<DiskId>, Vec<DiskId>) =
            holders(slots).into_iter().partition(|disk| self.disks.contains_key(disk));
        let mut error = Error::not_found(format!("chunk {chunk} is on none of its disks"));
        for disk in local {
            match self.get_shard_from(map, disk, chunk, None, generation).await {
                Ok(found) => return Ok(found),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => error = e,
            }
        }
        let mut reads: FuturesUnordered<_> =
            remote.into_iter().map(|disk| self.get_shard_from(map, disk, chunk, None, generation)).collect();
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
            "no disk that may hold chunk {chunk} answers ({absent} do not have it): {error}"
        )))
    }

    /// At least `k` shards that fit together. Data shards first; parity when one fails or is slow. With too few of them
    /// the error comes with the parts of other incarnations that were met.
    async fn gather(
        &self,
        map: &ClusterMap,
        slots: &[PgSlot],
        (key, meta): (ShardKey, ShardMeta),
        profile: Profile,
        first: Bytes,
    ) -> Result<Shards, (Error, Vec<Found>)> {
        let k = usize::from(profile.k);
        let mut shards = Shards::from([(key.slot, first)]);
        let mut waiting: Vec<u8> = (0..profile.n() as u8).rev().filter(|slot| *slot != key.slot).collect();
        let mut reads = FuturesUnordered::new();
        let (mut error, mut others) = (None, Vec::new());
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
                Ok(Some((_, Err((e, other))))) => {
                    error = Some(e);
                    others.extend(other);
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
            let error = format!("{found} shards of chunk {chunk} can be read, {k} are needed{why}");
            return Err((Error::unavailable(error), others));
        }
        Ok(shards)
    }

    /// Reassembles a payload.
    async fn join(&self, profile: Profile, meta: ShardMeta, found: Shards) -> Result<Bytes> {
        let stripe = self.stripe(profile)?;
        let shards = in_order(profile, found);
        let decode = move || {
            let payload = stripe.decode(&shards, meta.stored_size as usize)?;
            assert_eq!(payload.len(), meta.stored_size as usize, "the padding of a stripe is cut off");
            Ok(payload)
        };
        env::task::blocking(decode).await
    }

    /// Shard `key.slot`, from its holder or the previous one: of this incarnation, or of another with the same bytes.
    /// The error comes with a part of other bytes if there is one.
    async fn read_slot(
        &self,
        map: &ClusterMap,
        slots: &[PgSlot],
        key: ShardKey,
        meta: ShardMeta,
    ) -> Result<Bytes, (Error, Option<Found>)> {
        let mut error = Error::not_found(format!("placement group has no slot {}", key.slot));
        let mut other = None;
        let Some(place) = slots.get(usize::from(key.slot)) else { return Err((error, other)) };
        for disk in std::iter::once(place.disk).chain(place.previous) {
            for generation in [Some(key.generation), None] {
                match self.get_shard_from(map, disk, key.chunk, Some(key.slot), generation).await {
                    Ok((found, like, bytes)) if is_like((key, meta), (found, like)) => return Ok(bytes),
                    Ok(part) => other = Some(part),
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
        Err((error, other))
    }

    /// Reads a shard from a disk, here or elsewhere, and checks it.
    pub(crate) async fn get_shard_from(
        &self,
        map: &ClusterMap,
        disk: DiskId,
        chunk: ChunkKey,
        slot: Option<u8>,
        generation: Option<Generation>,
    ) -> Result<Found> {
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

    /// A copy of this incarnation, or of another with the same bytes.
    async fn find_copy(
        &self,
        map: &ClusterMap,
        slots: &[PgSlot],
        key: ShardKey,
        meta: ShardMeta,
    ) -> Result<Bytes> {
        let mut error = Error::not_found(format!("no replica of chunk {} is left", key.chunk));
        for generation in [Some(key.generation), None] {
            match self.find_any(map, slots, key.chunk, generation).await {
                Ok((found, like, bytes)) if is_like((key, meta), (found, like)) => return Ok(bytes),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => error = e,
            }
        }
        Err(error)
    }

    /// Rebuilds shard `key.slot` from the others. `NotFound` when too few exist, `Unavailable` when too few answer.
    pub(crate) async fn rebuild_shard(
        &self,
        map: &ClusterMap,
        key: ShardKey,
        meta: ShardMeta,
    ) -> Result<Bytes> {
        let slots = map.slots(map.pg(&key.chunk.id))?;
        let Layout::Shard { k, m } = meta.layout else {
            return self.find_copy(map, slots, key, meta).await;
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
                Some((_, Err((e, _)))) if e.kind() == ErrorKind::NotFound => {}
                Some((_, Err((e, _)))) => unreachable = Some(e),
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
        let shards = in_order(profile, found);
        let rebuild = move || {
            let shard = stripe.rebuild(&shards, usize::from(key.slot))?;
            if shard.len() != shard_size(profile, meta.stored_size as usize) {
                return Err(Error::corrupt(format!("the shards of chunk {} are of a wrong size", key.chunk)));
            }
            Ok(shard)
        };
        env::task::blocking(rebuild).await
    }
}

/// True when both parts are of the same stored bytes, coded in the same way: then one stripe may have both.
fn is_like((key, meta): (ShardKey, ShardMeta), (other, like): (ShardKey, ShardMeta)) -> bool {
    key.generation.is_like(other.generation) && meta == like
}

/// Shards by slot, with `None` for those that were not found.
fn in_order(profile: Profile, mut found: Shards) -> Vec<Option<Bytes>> {
    let shards = (0..profile.n() as u8).map(|slot| found.remove(&slot)).collect();
    assert!(found.is_empty(), "check_answer() refuses slots beyond the stripe");
    shards
}

/// `Corrupt` unless a shard can be, and is what was asked for: its disk or node may say anything.
fn check_answer(
    key: &ShardKey,
    meta: &ShardMeta,
    chunk: ChunkKey,
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

/// Bytes of a chunk from an offset on, so many of them, cut at its end.
fn cut(bytes: &Bytes, (offset, count): (u32, u32)) -> Bytes {
    let start = (offset as usize).min(bytes.len());
    bytes.slice(start..start.saturating_add(count as usize).min(bytes.len()))
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
