//! Storing a chunk: verify, compress, seal, code, scatter, register, and only then acknowledge (I-ACK).
//!
//! A chunk is acknowledged with all its parts durable, each on a disk of its own: `n` shards, or `m + 1` copies in the
//! slots from 0 on. Where fewer disks take parts it is so with less, but never with fewer than `k + 1` shards or two
//! copies, and the index has it that parts are missing.

use access::{Action, authorize};
use bytes::Bytes;
use chunk::compress::compress;
use chunk::erasure::{CodeId, shard_size};
use chunk::manifest::{node_id, parse_node};
use chunk::sealed::{fingerprint, seal};
use env::mutant::Mutant;
use futures::future::FutureExt;
use proto::block::{ChunkKind, ChunkStored, Layout, PutChunk, ShardKey, ShardMeta};
use proto::index::{Locator, Registration, Sizes, StoredChunk};
use proto::map::ClusterMap;
use proto::seal::Receipt;
use types::limits::{CHUNK_SIZE_MAX, STRIPE_SIZE_MIN};
use types::{ChunkKey, DiskId, Error, GcEpoch, Generation, Identity, Possession, Result};

use crate::scatter::Part;
use crate::server::Blockserver;

/// A chunk as it came.
struct Incoming {
    chunk: ChunkKey,
    kind: ChunkKind,
    /// Bytes of the file that it stands for.
    content_size: u64,
    body: Bytes,
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
}

impl Blockserver {
    pub(crate) async fn put_chunk(
        &self,
        identity: &Identity,
        request: PutChunk,
        body: Bytes,
    ) -> Result<ChunkStored> {
        authorize(identity, Action::StoreChunks(request.scope))?;
        let _busy = self.users.serve();
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
        let Plan { meta, possession, parts } = self.plan(&map, incoming).await?;
        let disk = parts.iter().map(|part| part.bytes.len() as u32).sum();
        let stored = StoredChunk {
            chunk,
            generation: parts.first().expect("a chunk has parts").key.generation,
            kind,
            locator: Locator::Slots(meta.layout),
            possession,
            sizes: Sizes { content, plain: meta.plain_size, stored: meta.stored_size, disk },
        };
        let homes: Vec<(u8, DiskId)> = parts.iter().map(|part| (part.key.slot, part.home)).collect();
        let mut durable = self.scatter(&map, meta, parts).await?;
        if Mutant::LostException.is_planted() {
            durable = homes;
        }
        self.links.register(Registration { stored, parts: durable }).await?.ok_or_else(|| {
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
        let fingerprint =
            if Mutant::DrawnGeneration.is_planted() { self.env.random.u64() } else { fingerprint };
        let generation = Generation::new(map.gc_epoch, fingerprint);
        let part = |(slot, bytes): (usize, Bytes)| Part {
            home: slots[slot],
            key: ShardKey { chunk, generation, slot: slot as u8 },
            bytes,
        };
        let copies = |bytes: &Bytes| vec![bytes.clone(); profile.replicas()];
        let bytes = if meta.layout == Layout::Replica { copies(&shards[0]) } else { shards };
        let parts = bytes.into_iter().enumerate().map(part).collect();
        Ok(Plan { meta, possession, parts })
    }
}
