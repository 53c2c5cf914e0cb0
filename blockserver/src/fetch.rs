//! Reading a chunk: from the data shards when they are there, from any `k` otherwise.

use std::collections::BTreeSet;

use access::{Action, authorize};
use bytes::Bytes;
use chunk::compress::decompress;
use chunk::manifest::parse_node;
use chunk::sealed::{SealKey, open, open_range};
use proto::block::{ChunkKind, ChunkRead, GetChunk, Layout, ShardKey, ShardMeta};
use proto::index::ChunkState;
use proto::map::ClusterMap;
use tracing::{debug, warn};
use types::limits::STRIPE_SIZE_MIN;
use types::{ChunkKey, Error, ErrorKind, Identity, Profile, Result};

use crate::server::Blockserver;
use crate::sources::Sources;

/// The payload of a chunk as its disks have it, sealed.
pub(crate) struct Sealed {
    /// The part that it was found by.
    pub(crate) key: ShardKey,
    pub(crate) meta: ShardMeta,
    pub(crate) bytes: Bytes,
    /// Where the parts were looked for.
    pub(crate) sources: Sources,
}

impl Blockserver {
    pub(crate) async fn get_chunk(
        &self,
        identity: &Identity,
        request: GetChunk,
    ) -> Result<(ChunkRead, Bytes)> {
        let _busy = self.users.serve();
        let (now, reader) = (self.env.clock.agreed(), identity.to_string());
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
                let ticket =
                    |id| self.secret.ticket(&reader, request.ticket.namespace, &ChunkKey { id, scope }, now);
                node.entries.iter().map(|entry| ticket(entry.id)).collect()
            }
        };
        let bytes = match request.range {
            Some(wanted) if range.is_none() => cut(&bytes, wanted),
            _ => bytes,
        };
        Ok((ChunkRead { tickets }, bytes))
    }

    /// The plain bytes of a chunk, or the range of them (offset and count) that is wanted. Shards that are wrong, whatever
    /// their checksums say, are found out and done without.
    async fn read_chunk(&self, chunk: ChunkKey, range: Option<(u32, u32)>) -> Result<Bytes> {
        let map = self.current_map();
        if let Some(range) = range
            && let Some(bytes) = self.read_excerpt(&map, chunk, range).await
        {
            return Ok(bytes);
        }
        let found = self.read_payload(&map, chunk).await?;
        let meta = found.meta;
        let error = match self.keys.of(&found.bytes).await {
            Ok(key) => match unseal(chunk, meta, key, found.bytes.clone(), range).await {
                Err(e) if e.kind() == ErrorKind::Corrupt => e,
                done => return done,
            },
            // Not even who sealed it can be read.
            Err(e) if matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::Invalid) => e,
            Err(e) => return Err(e),
        };
        warn!(%chunk, "what its disks have does not fit together: {error}");
        let (key, bytes) = self.outvote(&map, found).await.map_err(|e| e.context(error.message()))?;
        unseal(chunk, meta, key, bytes, range).await
    }

    /// What the disks have of a chunk, put together: sealed. When they do not have it where it is expected, the index is
    /// asked where it is.
    pub(crate) async fn read_payload(&self, map: &ClusterMap, chunk: ChunkKey) -> Result<Sealed> {
        let slots = map.slots(map.pg(&chunk.id))?;
        let error = match self.read_from(map, chunk, Sources::of(map, slots, None)).await {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Unavailable) => e,
            done => return done,
        };
        let known = match self.links.look_up(chunk).await {
            Ok(Some(known)) => known,
            Ok(None) if error.kind() == ErrorKind::NotFound => return Err(error),
            Ok(None) => return Err(error.context("the index does not have it")),
            Err(e) => {
                debug!(%chunk, "the index could not be asked where it is: {e}");
                return Err(error);
            }
        };
        let read = self.read_from(map, chunk, Sources::of(map, slots, Some(&known))).await;
        match read {
            Err(_) if known.state == ChunkState::Lost => Err(Error::corrupt(format!(
                "chunk {chunk} is lost: too few of its parts are left. Put the file again, or bring back its disks"
            ))),
            // It was acknowledged: that nobody has it is an outage.
            Err(e) if e.kind() == ErrorKind::NotFound => Err(Error::unavailable(e.message().to_owned())),
            read => read,
        }
    }

    /// The same, from these disks only.
    pub(crate) async fn read_from(
        &self,
        map: &ClusterMap,
        chunk: ChunkKey,
        sources: Sources,
    ) -> Result<Sealed> {
        let (mut tried, mut error) = (BTreeSet::new(), None);
        let mut part = self.find_any(map, &sources, chunk, None).await?;
        loop {
            let (key, meta, bytes) = part;
            let Layout::Shard { k, m } = meta.layout else { return Ok(Sealed { key, meta, bytes, sources }) };
            tried.insert(key.generation);
            match self.gather(map, &sources, (key, meta), Profile { k, m }, bytes).await {
                Ok(shards) => {
                    let bytes = self.join(Profile { k, m }, meta, shards).await?;
                    return Ok(Sealed { key, meta, bytes, sources });
                }
                // What was found first may be what is left of a write that was never finished.
                Err((e, others)) => {
                    let error = error.get_or_insert(e);
                    let next = others.into_iter().find(|(key, ..)| !tried.contains(&key.generation));
                    part = next.ok_or_else(|| error.clone())?;
                }
            }
        }
    }
}

/// Opens a payload. Long work runs off the runtime's threads.
async fn unseal(
    chunk: ChunkKey,
    meta: ShardMeta,
    key: SealKey,
    sealed: Bytes,
    range: Option<(u32, u32)>,
) -> Result<Bytes> {
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

/// Bytes of a chunk from an offset on, so many of them, cut at its end.
fn cut(bytes: &Bytes, (offset, count): (u32, u32)) -> Bytes {
    let start = (offset as usize).min(bytes.len());
    bytes.slice(start..start.saturating_add(count as usize).min(bytes.len()))
}
