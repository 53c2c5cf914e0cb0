//! Reading parts: from whoever may have them, and what is missing from the others.

use std::collections::BTreeMap;

use bytes::Bytes;
use chunk::erasure::shard_size;
use env::time::Duration;
use futures::stream::{FuturesUnordered, StreamExt};
use net::Request;
use proto::block::{GetShard, Layout, ShardKey, ShardMeta, ShardRead};
use proto::map::{ClusterMap, DiskState};
use types::limits::{SHARD_HEDGE_AFTER, SHARD_HEDGE_MIN, SHARD_READ_TIMEOUT};
use types::{ChunkKey, DiskId, Error, ErrorKind, Generation, Profile, Result};

use crate::server::Blockserver;
use crate::sources::Sources;

/// A shard or replica that was read.
pub(crate) type Found = (ShardKey, ShardMeta, Bytes);

/// Shards of one stripe by slot.
pub(crate) type Shards = BTreeMap<u8, Bytes>;

impl Blockserver {
    /// Some shard or replica of the chunk, of the newest incarnation or of this one: from a local disk if one has it,
    /// otherwise from whoever answers first.
    pub(crate) async fn find_any(
        &self,
        map: &ClusterMap,
        sources: &Sources,
        chunk: ChunkKey,
        generation: Option<Generation>,
    ) -> Result<Found> {
        let mut waiting = self.in_turn(map, sources.all(), |disk| *disk);
        let mut error = Error::not_found(format!("chunk {chunk} is on none of its disks"));
        let mut reads = FuturesUnordered::new();
        let mut absent = 0;
        loop {
            if let Some(disk) = waiting.pop() {
                reads.push(
                    self.get_shard_from(map, GetShard { disk, chunk, slot: None, generation, range: None }),
                );
            }
            match env::time::timeout(self.read_patience(), reads.next()).await {
                Ok(Some(Ok(found))) => return Ok(found),
                Ok(Some(Err(e))) if is_gone(&e) => absent += 1,
                Ok(Some(Err(e))) => error = e,
                Ok(None) => break,
                // One more beside those that are slow.
                Err(_) => {}
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
    pub(crate) async fn gather(
        &self,
        map: &ClusterMap,
        sources: &Sources,
        (key, meta): (ShardKey, ShardMeta),
        profile: Profile,
        first: Bytes,
    ) -> Result<Shards, (Error, Vec<Found>)> {
        let k = usize::from(profile.k);
        let mut shards = Shards::from([(key.slot, first)]);
        let slots: Vec<u8> = (0..profile.n() as u8).filter(|slot| *slot != key.slot).collect();
        // Data shards come first: with all of them nothing needs to be computed.
        let holder = |slot: &u8| sources.of_slot(*slot).first().copied().unwrap_or_default();
        let mut waiting = self.in_turn(map, slots, holder);
        let mut reads = FuturesUnordered::new();
        let (mut error, mut others) = (None, Vec::new());
        let read = |slot: u8| async move {
            (slot, self.read_slot(map, sources, ShardKey { slot, ..key }, meta).await)
        };
        for _ in 1..k {
            reads.extend(waiting.pop().map(read));
        }
        while shards.len() < k {
            match env::time::timeout(self.read_patience(), reads.next()).await {
                Ok(Some((slot, Ok(found)))) => {
                    shards.insert(slot, found);
                }
                Ok(Some((_, Err((e, other))))) => {
                    error = Some(e);
                    others.extend(other);
                    reads.extend(waiting.pop().map(read));
                }
                Ok(None) => match waiting.pop() {
                    Some(slot) => reads.push(read(slot)),
                    None => break,
                },
                Err(_) => reads.extend(waiting.pop().map(read)),
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

    /// Whom to ask, from the last to the first: disks of this node come first, slow ones and those that do not answer at
    /// last; otherwise in their order.
    pub(crate) fn in_turn<T>(&self, map: &ClusterMap, mut of: Vec<T>, disk: impl Fn(&T) -> DiskId) -> Vec<T> {
        let rank = |disk: DiskId| match map.state(disk) {
            Some(DiskState::Slow) => 2,
            Some(state) if !state.is_readable() => 3,
            None => 3,
            Some(_) => u8::from(self.disks.get(&disk).is_none()),
        };
        of.sort_by_key(|one| rank(disk(one)));
        of.reverse();
        of
    }

    /// How long to wait for a part before one more is asked for.
    pub(crate) fn read_patience(&self) -> Duration {
        self.reads.lock().expect("no panic while it is held").limit(SHARD_HEDGE_MIN, SHARD_HEDGE_AFTER)
    }

    /// Reassembles a payload.
    pub(crate) async fn join(&self, profile: Profile, meta: ShardMeta, found: Shards) -> Result<Bytes> {
        self.join_parts(profile, meta, in_order(profile, found)).await
    }

    /// The same, of shards by slot.
    pub(crate) async fn join_parts(
        &self,
        profile: Profile,
        meta: ShardMeta,
        shards: Vec<Option<Bytes>>,
    ) -> Result<Bytes> {
        let stripe = self.stripe(profile)?;
        let decode = move || {
            let payload = stripe.decode(&shards, meta.stored_size as usize)?;
            assert_eq!(payload.len(), meta.stored_size as usize, "the padding of a stripe is cut off");
            Ok(payload)
        };
        env::task::blocking(decode).await
    }

    /// Shard `key.slot`, from its holder or the previous one: of this incarnation, or of another with the same bytes.
    /// The error comes with a part of other bytes if there is one.
    pub(crate) async fn read_slot(
        &self,
        map: &ClusterMap,
        sources: &Sources,
        key: ShardKey,
        meta: ShardMeta,
    ) -> Result<Bytes, (Error, Option<Found>)> {
        let mut error = Error::not_found(format!("nobody has slot {} of chunk {}", key.slot, key.chunk));
        let mut other = None;
        for &disk in sources.of_slot(key.slot) {
            for generation in [Some(key.generation), None] {
                let (chunk, slot) = (key.chunk, Some(key.slot));
                let wanted = GetShard { disk, chunk, slot, generation, range: None };
                match self.get_shard_from(map, wanted).await {
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
    pub(crate) async fn get_shard_from(&self, map: &ClusterMap, wanted: GetShard) -> Result<Found> {
        let GetShard { disk, chunk, slot, generation, .. } = wanted;
        let begun = env::time::now();
        let note = || {
            let took = env::time::now().saturating_duration_since(begun);
            self.reads.lock().expect("no panic while it is held").note(took);
        };
        if let Some(local) = self.disks.get(&disk) {
            let found = local.get_shard(chunk, slot, generation, wanted.bytes()).await?;
            note();
            check_answer(&found.key, &found.meta, chunk, slot, generation)?;
            return Ok((found.key, found.meta, found.bytes));
        }
        if !map.is_readable(disk) {
            return Err(Error::unavailable(format!("disk {disk} cannot be read at the moment")));
        }
        let request = Request::of(&wanted, Bytes::new());
        let reply = self.call_disk(map, disk, request, SHARD_READ_TIMEOUT).await?;
        let read: ShardRead = reply.answer::<GetShard>()?;
        note();
        if crc32fast::hash(&reply.body) != read.crc {
            return Err(Error::unavailable(format!("a shard of chunk {chunk} was damaged in transit")));
        }
        check_answer(&read.key, &read.meta, chunk, slot, generation)
            .map_err(|e| e.context(format!("disk {disk}")))?;
        Ok((read.key, read.meta, reply.body))
    }

    /// A copy of this incarnation, or of another with the same bytes.
    async fn find_copy(
        &self,
        map: &ClusterMap,
        sources: &Sources,
        key: ShardKey,
        meta: ShardMeta,
    ) -> Result<Bytes> {
        let mut error = Error::not_found(format!("no replica of chunk {} is left", key.chunk));
        for generation in [Some(key.generation), None] {
            match self.find_any(map, sources, key.chunk, generation).await {
                Ok((found, like, bytes)) if is_like((key, meta), (found, like)) => return Ok(bytes),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => error = e,
            }
        }
        Err(error)
    }

    /// Rebuilds shard `key.slot` from the others. `NotFound` when too few exist and everybody has answered, `Unavailable`
    /// when too few answer.
    pub(crate) async fn rebuild_shard(
        &self,
        map: &ClusterMap,
        sources: &Sources,
        key: ShardKey,
        meta: ShardMeta,
    ) -> Result<Bytes> {
        let Layout::Shard { k, m } = meta.layout else {
            return self.find_copy(map, sources, key, meta).await;
        };
        let profile = Profile { k, m };
        let others = (0..profile.n() as u8).filter(|slot| *slot != key.slot);
        let mut reads: FuturesUnordered<_> =
            others
                .map(|slot| async move {
                    (slot, self.read_slot(map, sources, ShardKey { slot, ..key }, meta).await)
                })
                .collect();
        let mut found = Shards::new();
        let mut unreachable = None;
        while found.len() < usize::from(k) {
            match reads.next().await {
                Some((slot, Ok(shard))) => {
                    found.insert(slot, shard);
                }
                Some((_, Err((e, _)))) if is_gone(&e) => {}
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

/// True when it is known of a part that its disk does not have it, or not any more.
pub(crate) fn is_gone(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt)
}

/// True when both parts are of the same stored bytes, coded in the same way: then one stripe may have both.
pub(crate) fn is_like((key, meta): (ShardKey, ShardMeta), (other, like): (ShardKey, ShardMeta)) -> bool {
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
