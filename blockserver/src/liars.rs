//! Shards that are wrong although they match their checksums: found out by the seal of their chunk (I-READ).
//!
//! A disk or a node may return any bytes. What is put together from them does not open then, and nobody can see in the
//! shards which of them it was. But any `k` of them make the whole: so it is tried without each of them, then without two.

use bytes::Bytes;
use chunk::sealed::{SealKey, open};
use futures::stream::{FuturesUnordered, StreamExt};
use net::Request;
use proto::block::{DistrustShard, GetShard, Layout, ShardKey, ShardMeta};
use proto::map::ClusterMap;
use tracing::{error, warn};
use types::limits::SHARD_READ_TIMEOUT;
use types::{ChunkId, DiskId, Error, Profile, Result};

use crate::fetch::Sealed;
use crate::gather::is_like;
use crate::server::Blockserver;

/// A part of a chunk, and who has said that it is this.
struct Testimony {
    disk: DiskId,
    key: ShardKey,
    bytes: Bytes,
}

impl Blockserver {
    /// The payload of a chunk of which some parts are wrong, and the key that opens it. Whoever has a wrong one is told.
    /// `Corrupt` when too many of them are.
    pub(crate) async fn outvote(&self, map: &ClusterMap, found: Sealed) -> Result<(SealKey, Bytes)> {
        let Sealed { key, meta, sources, .. } = &found;
        let mut reads = FuturesUnordered::new();
        for slot in 0..map.profile.n().max(usize::from(key.slot) + 1) as u8 {
            for &disk in sources.of_slot(slot) {
                reads.push(async move {
                    let (chunk, slot) = (key.chunk, Some(slot));
                    let wanted = GetShard { disk, chunk, slot, generation: None, range: None };
                    let (read_key, like, bytes) = self.get_shard_from(map, wanted).await.ok()?;
                    let is_like = is_like((*key, *meta), (read_key, like));
                    is_like.then_some(Testimony { disk, key: read_key, bytes })
                });
            }
        }
        let mut said: Vec<Testimony> = Vec::new();
        while let Some(read) = reads.next().await {
            said.extend(read);
        }
        drop(reads);
        said.sort_by_key(|said| (said.key.slot, said.disk));
        let (key, bytes, liars) = match meta.layout {
            Layout::Replica => self.outvote_copies(key.chunk.id, &said).await?,
            Layout::Shard { k, m } => {
                self.outvote_shards(key.chunk.id, *meta, Profile { k, m }, &said).await?
            }
        };
        for liar in liars {
            let Testimony { disk, key, .. } = &said[liar];
            error!(chunk = %key.chunk, slot = key.slot, %disk, "a disk has returned wrong bytes under a right checksum");
            if let Err(e) = self.distrust(map, *disk, *key).await {
                warn!(%disk, "it could not be told: {e}");
            }
        }
        Ok((key, bytes))
    }

    async fn outvote_copies(&self, id: ChunkId, said: &[Testimony]) -> Result<(SealKey, Bytes, Vec<usize>)> {
        let mut right = None;
        let mut liars = Vec::new();
        for (at, copy) in said.iter().enumerate() {
            match self.opens(id, copy.bytes.clone()).await {
                Some(key) => right = Some((key, copy.bytes.clone())),
                None => liars.push(at),
            }
        }
        let (key, bytes) = right.ok_or_else(|| Error::corrupt("no copy is right"))?;
        Ok((key, bytes, liars))
    }

    async fn outvote_shards(
        &self,
        id: ChunkId,
        meta: ShardMeta,
        profile: Profile,
        said: &[Testimony],
    ) -> Result<(SealKey, Bytes, Vec<usize>)> {
        for without in exclusions(said.len(), profile) {
            let mut shards = vec![None; profile.n()];
            let trusted = said.iter().enumerate().filter(|(at, _)| !without.contains(at));
            trusted.for_each(|(_, said)| shards[usize::from(said.key.slot)] = Some(said.bytes.clone()));
            let Ok(bytes) = self.join_parts(profile, meta, shards).await else { continue };
            let Some(key) = self.opens(id, bytes.clone()).await else { continue };
            let (stripe, payload) = (self.stripe(profile)?, bytes.clone());
            let truth = env::task::blocking(move || stripe.encode(&payload)).await?;
            let is_wrong = |(_, said): &(usize, &Testimony)| truth[usize::from(said.key.slot)] != said.bytes;
            let liars = said.iter().enumerate().filter(is_wrong).map(|(at, _)| at).collect();
            return Ok((key, bytes, liars));
        }
        Err(Error::corrupt("more of its parts are wrong than can be found out"))
    }

    /// The key that a payload opens with; `None` when it is not what it should be.
    async fn opens(&self, id: ChunkId, bytes: Bytes) -> Option<SealKey> {
        let key = self.keys.of(&bytes).await.ok()?;
        let opened = env::task::blocking(move || open(&key, &id, &bytes).map(|_| key)).await;
        opened.ok()
    }

    async fn distrust(&self, map: &ClusterMap, disk: DiskId, key: ShardKey) -> Result<()> {
        if let Some(local) = self.disks.get(&disk) {
            return local.distrust(key).await;
        }
        let request = Request::of(&DistrustShard { disk, key }, Bytes::new());
        self.call_disk(map, disk, request, SHARD_READ_TIMEOUT).await.map(|_| ())
    }
}

/// Which parts to leave out: each alone, then each two, as long as enough remain and more than a guess is left.
fn exclusions(count: usize, profile: Profile) -> Vec<Vec<usize>> {
    let spare = count.saturating_sub(profile.k.into());
    let one = (0..count).map(|one| vec![one]);
    let two = (0..count).flat_map(|one| (one + 1..count).map(move |two| vec![one, two]));
    one.chain(two).filter(|without| without.len() <= spare).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_left_out_as_can_be_spared() {
        let check = |count: usize, want: usize| {
            let found = exclusions(count, Profile { k: 4, m: 2 });
            assert_eq!(found.len(), want, "{found:?}");
        };
        check(0, 0);
        check(4, 0);
        check(5, 5);
        check(6, 6 + 15);
    }
}
