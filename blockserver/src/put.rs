//! Storing a chunk: verify, compress, seal, code, scatter, register, and only then acknowledge (I-ACK).
//!
//! A stripe is acknowledged with all `n` shards durable, or with `n - 1` and a durable intent to rebuild the last one;
//! never with fewer than `k + 1`. Replicas go to the first `m + 1` live slots and follow the same rule.

use std::future::Future;

use access::{Action, authorize};
use bytes::Bytes;
use chunk::compress::compress;
use chunk::erasure::{CodeId, shard_size};
use chunk::manifest::{node_id, parse_node};
use chunk::sealed::{fingerprint, seal};
use env::mutant::Mutant;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use net::Request;
use proto::block::{ChunkKind, ChunkStored, Layout, PutChunk, PutShard, ShardKey, ShardMeta};
use proto::index::{Locator, Registration, Sizes};
use proto::map::ClusterMap;
use proto::seal::Receipt;
use types::limits::{CHUNK_SIZE_MAX, SHARD_STRAGGLER_TIMEOUT, SHARD_WRITE_TIMEOUT, STRIPE_SIZE_MIN};
use types::{ChunkKey, DiskId, Error, GcEpoch, Generation, Identity, Possession, Profile, Result};

use crate::server::Blockserver;

/// A chunk that is being stored; whoever brings the same chunk meanwhile waits for the same outcome.
pub(crate) type Shared = futures::future::Shared<BoxFuture<'static, Result<Receipt>>>;

/// A chunk as it came.
struct Incoming {
    chunk: ChunkKey,
    kind: ChunkKind,
    /// Bytes of the file that it stands for.
    content_size: u64,
    body: Bytes,
}

/// One shard or replica on its way to a disk.
struct Part {
    disk: DiskId,
    key: ShardKey,
    bytes: Bytes,
}

/// What is proved about the bytes of a chunk.
struct Vouched {
    /// Of a manifest node: the oldest epoch of what it lists.
    oldest: Option<GcEpoch>,
    /// Bytes of the file that it stands for.
    content_size: u64,
}

/// A chunk as its disks will have it.
struct Coded {
    meta: ShardMeta,
    possession: Possession,
    fingerprint: u64,
    /// All shards, or one copy.
    shards: Vec<Bytes>,
}

/// What is to be written for a chunk.
struct Plan {
    meta: ShardMeta,
    possession: Possession,
    parts: Vec<Part>,
    /// Parts that must be durable before an acknowledgement.
    need: usize,
}

impl Blockserver {
    pub(crate) async fn put_chunk(
        &self,
        identity: &Identity,
        request: PutChunk,
        body: Bytes,
    ) -> Result<ChunkStored> {
        authorize(identity, Action::StoreChunks(request.scope))?;
        if body.is_empty() || body.len() > CHUNK_SIZE_MAX {
            return Err(Error::invalid(format!(
                "a chunk has 1 to {CHUNK_SIZE_MAX} bytes, this one has {}",
                body.len()
            )));
        }
        let chunk = ChunkKey { id: request.id, scope: request.scope };
        let Vouched { oldest, content_size } = self.check_content(&request, &body)?;
        let incoming = Incoming { chunk, kind: request.kind, content_size, body };
        let receipt = self.store_once(incoming).await?;
        assert_eq!(receipt.size, content_size, "the bytes of a chunk say how large it is");
        // A node's receipt is no younger than its children's: a commit that needs younger ones asks for all again.
        let receipt = match oldest {
            Some(epoch) if epoch < receipt.epoch => {
                self.secret.receipt(&chunk, receipt.generation, epoch, content_size)
            }
            _ => receipt,
        };
        assert!(
            oldest.is_none_or(|oldest| receipt.epoch <= oldest),
            "a node's receipt is no younger than its children's (I-GC)"
        );
        Ok(ChunkStored { receipt })
    }

    /// Checks that the bytes are what their name says, and that a manifest node's children are stored and as large as
    /// it says.
    fn check_content(&self, request: &PutChunk, body: &Bytes) -> Result<Vouched> {
        let found = match request.kind {
            ChunkKind::Data => chunk::chunk_id(body),
            ChunkKind::ManifestNode => node_id(body),
        };
        if found != request.id {
            return Err(Error::invalid(format!(
                "the bytes sent as chunk {} hash to {found}: send them again",
                request.id
            )));
        }
        if request.kind == ChunkKind::Data {
            return Ok(Vouched { oldest: None, content_size: body.len() as u64 });
        }
        let node = parse_node(body)?;
        if node.entries.len() != request.receipts.len() {
            let (receipts, entries) = (request.receipts.len(), node.entries.len());
            return Err(Error::invalid(format!(
                "{receipts} receipts for a manifest node with {entries} entries"
            )));
        }
        for (entry, receipt) in node.entries.iter().zip(&request.receipts) {
            self.secret.check_receipt(&ChunkKey { id: entry.id, scope: request.scope }, receipt)?;
            if entry.size != receipt.size {
                return Err(Error::invalid(format!(
                    "chunk {} stands for {} bytes, the manifest node says {}",
                    entry.id, receipt.size, entry.size
                )));
            }
        }
        let oldest = request.receipts.iter().map(|receipt| receipt.epoch).min();
        Ok(Vouched { oldest, content_size: node.size() })
    }

    /// Stores a chunk, or waits for the outcome if the same one is being stored right now.
    async fn store_once(&self, incoming: Incoming) -> Result<Receipt> {
        let chunk = incoming.chunk;
        let Some(server) = self.this.upgrade() else {
            return Err(Error::unavailable("the blockserver is stopping"));
        };
        let outcome = {
            let mut writing = self.writing.lock().expect("no panic while it is held");
            match writing.get(&chunk) {
                Some(outcome) => outcome.clone(),
                None => {
                    let task = env::task::spawn(async move {
                        let outcome = server.store(incoming).await;
                        server.writing.lock().expect("no panic while it is held").remove(&chunk);
                        outcome
                    });
                    let outcome = async move {
                        task.await.unwrap_or_else(|e| {
                            Err(Error::internal(format!("storing chunk {chunk} failed: {e}")))
                        })
                    };
                    let outcome = outcome.boxed().shared();
                    writing.insert(chunk, outcome.clone());
                    outcome
                }
            }
        };
        outcome.await
    }

    async fn store(&self, incoming: Incoming) -> Result<Receipt> {
        let map = self.current_map();
        let (chunk, kind, content) = (incoming.chunk, incoming.kind, incoming.content_size);
        let plan = self.plan(&map, incoming).await?;
        let (meta, disk) = (plan.meta, plan.parts.iter().map(|part| part.bytes.len() as u32).sum());
        let registration = Registration {
            chunk,
            generation: plan.parts.first().expect("a chunk has parts").key.generation,
            kind,
            locator: Locator::Slots(meta.layout),
            possession: plan.possession,
            sizes: Sizes { content, plain: meta.plain_size, stored: meta.stored_size, disk },
            exceptions: Vec::new(),
        };
        self.scatter(&map, plan).await?;
        self.links.register(registration).await?.ok_or_else(|| {
            Error::stale_epoch(format!(
                "chunk {chunk} took longer to store than a garbage collection cycle: send it again"
            ))
        })
    }

    /// Seals the chunk, decides the layout and codes it. Long work runs off the runtime's threads.
    async fn plan(&self, map: &ClusterMap, incoming: Incoming) -> Result<Plan> {
        let Incoming { chunk, body, .. } = incoming;
        let profile = map.profile;
        let slots: Vec<DiskId> = map.slots(map.pg(&chunk.id))?.iter().map(|slot| slot.disk).collect();
        let stripe = self.stripe(profile)?;
        let key = self.keys.current(chunk.scope.tenant()).await?;
        let plain_size = body.len() as u32;
        let code = move || -> Result<Coded> {
            let possession = chunk::possession(&body);
            let stored = compress(&body);
            assert!(stored.bytes.len() <= body.len(), "what does not shrink is stored as it is");
            let bytes = seal(&key, &chunk.id, &stored);
            let stored_size = bytes.len() as u32;
            let meta = |layout| ShardMeta {
                layout,
                plain_size,
                stored_size,
                compressed: stored.compressed,
                key: key.id,
            };
            if bytes.len() < STRIPE_SIZE_MIN {
                let fingerprint = fingerprint(&bytes, 0)?;
                return Ok(Coded {
                    meta: meta(Layout::Replica),
                    possession,
                    fingerprint,
                    shards: vec![bytes],
                });
            }
            let fingerprint = fingerprint(&bytes, CodeId::new(profile).number())?;
            let shards = stripe.encode(&bytes)?;
            let size = shard_size(profile, bytes.len());
            assert_eq!(shards.len(), profile.n(), "a shard per slot");
            assert!(
                shards[0].len() == size && shards[profile.n() - 1].len() == size,
                "shards are of one size"
            );
            let layout = Layout::Shard { k: profile.k, m: profile.m };
            Ok(Coded { meta: meta(layout), possession, fingerprint, shards })
        };
        let Coded { meta, possession, fingerprint, shards } =
            if (plain_size as usize) < STRIPE_SIZE_MIN { code()? } else { env::task::blocking(code).await? };
        // The same bytes, the same generation: a second attempt writes what is there already (decision 0007).
        let generation = Generation::new(map.gc_epoch, fingerprint);
        let part = |slot: usize, bytes: Bytes| Part {
            disk: slots[slot],
            key: ShardKey { chunk, generation, slot: slot as u8 },
            bytes,
        };
        let parts: Vec<Part> = match meta.layout {
            Layout::Shard { .. } => {
                shards.into_iter().enumerate().map(|(slot, bytes)| part(slot, bytes)).collect()
            }
            // A copy for which no disk is up is planned as well: what is not written is promised.
            Layout::Replica => {
                let (live, down): (Vec<usize>, Vec<usize>) =
                    (0..slots.len()).partition(|slot| map.is_live(slots[*slot]));
                let chosen = live.into_iter().chain(down).take(profile.replicas());
                chosen.map(|slot| part(slot, shards[0].clone())).collect()
            }
        };
        let need = durable_min(profile, meta.layout);
        assert!(need <= parts.len(), "{need} of {} parts can be durable (I-ACK)", parts.len());
        Ok(Plan { meta, possession, parts, need })
    }

    /// Makes the parts durable on their disks; returns when the rule of this module is met.
    async fn scatter(&self, map: &ClusterMap, plan: Plan) -> Result<()> {
        let Plan { meta, parts, need, .. } = plan;
        let count = parts.len();
        let need = if Mutant::AckAtK.is_planted() { usize::from(map.profile.k) } else { need };
        let mut durable = 0;
        let mut missing: Vec<(ShardKey, DiskId)> = parts.iter().map(|part| (part.key, part.disk)).collect();
        let mut error = None;
        let mut writes: FuturesUnordered<_> =
            parts.into_iter().map(|part| self.write_part(map, meta, part)).collect();
        while !writes.is_empty() {
            if Mutant::AckAtK.is_planted() && durable >= need {
                return Ok(());
            }
            let next = if durable >= need {
                match env::time::timeout(SHARD_STRAGGLER_TIMEOUT, writes.next()).await {
                    Ok(next) => next,
                    Err(_) => break,
                }
            } else {
                writes.next().await
            };
            match next {
                Some((key, Ok(()))) => {
                    durable += 1;
                    missing.retain(|(other, _)| *other != key);
                }
                Some((_, Err(e))) => error = Some(e),
                None => break,
            }
        }
        assert_eq!(durable + missing.len(), count, "a part is durable or missing (I-ACK)");
        if durable < need {
            let error =
                error.unwrap_or_else(|| Error::unavailable("too few disks of the placement group are up"));
            self.links.refresh_map().await;
            return Err(Error::unavailable(format!(
                "{durable} of {count} parts are durable, {need} are needed: {error}"
            )));
        }
        if durable < count && !Mutant::LostIntent.is_planted() {
            self.intents.record(&missing, meta).await?;
        }
        Ok(())
    }

    fn write_part<'a>(
        &'a self,
        map: &'a ClusterMap,
        meta: ShardMeta,
        part: Part,
    ) -> impl Future<Output = (ShardKey, Result<()>)> + 'a {
        let Part { disk, key, bytes } = part;
        async move { (key, self.put_shard_on(map, disk, key, meta, bytes).await) }
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
            return local.put_shard(key, meta, bytes, None, segments::Purpose::Store).await;
        }
        if !map.is_live(disk) {
            return Err(Error::unavailable(format!("disk {disk} is down")));
        }
        let (node, _) =
            map.node_of(disk).ok_or_else(|| Error::stale_epoch(format!("disk {disk} is not in the map")))?;
        let request = PutShard { epoch: map.epoch, disk, key, meta, crc: crc32fast::hash(&bytes) };
        self.links.call_node(node, Request::of(&request, bytes), SHARD_WRITE_TIMEOUT).await.map(|_| ())
    }
}

/// Parts that must be durable before a chunk is acknowledged: all but one, and enough to survive one more loss.
fn durable_min(profile: Profile, layout: Layout) -> usize {
    match layout {
        Layout::Shard { .. } => (profile.n() - 1).max(usize::from(profile.k) + 1),
        Layout::Replica => (profile.replicas() - 1).max(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts of a stripe and copies of a small chunk that must be durable before an acknowledgement.
    #[track_caller]
    fn check(profile: &str, stripe: usize, replica: usize) {
        let profile = Profile::parse(profile).unwrap();
        let Profile { k, m } = profile;
        let found = [Layout::Shard { k, m }, Layout::Replica].map(|layout| durable_min(profile, layout));
        assert_eq!(found, [stripe, replica]);
        assert!(stripe > usize::from(k) && stripe <= profile.n(), "one more may be lost");
        assert!(replica > 1 && replica <= profile.replicas(), "one more may be lost");
    }

    #[test]
    fn what_is_acknowledged_survives_one_more_loss() {
        check("4+2", 5, 2);
        check("8+3", 10, 3);
        check("10+4", 13, 4);
        check("1+1", 2, 2);
        check("1+2", 2, 2);
        check("4+1", 5, 2);
    }
}
