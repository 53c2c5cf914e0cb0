//! Reading a few bytes of a chunk: of its parts no more than the frames that have them.

use std::ops::Range;

use bytes::Bytes;
use chunk::erasure::shard_size;
use chunk::sealed::Excerpt;
use futures::future::try_join_all;
use proto::block::{GetShard, Layout, ShardKey, ShardMeta};
use proto::map::ClusterMap;
use tracing::debug;
use types::{ChunkKey, DiskId, Error, Profile, Result};

use crate::gather::Found;
use crate::server::Blockserver;
use crate::sources::Sources;

impl Blockserver {
    /// Bytes of a chunk, an offset and a count, when the disks of their slots have them, whole, and soon. Otherwise `None`:
    /// who then reads the whole chunk finds out what is wrong.
    pub(crate) async fn read_excerpt(
        &self,
        map: &ClusterMap,
        chunk: ChunkKey,
        range: (u32, u32),
    ) -> Option<Bytes> {
        match self.try_excerpt(map, chunk, range).await {
            Ok(bytes) => bytes,
            Err(e) => {
                debug!(%chunk, "its frames cannot be read alone: {e}");
                None
            }
        }
    }

    async fn try_excerpt(
        &self,
        map: &ClusterMap,
        chunk: ChunkKey,
        (offset, count): (u32, u32),
    ) -> Result<Option<Bytes>> {
        let sources = Sources::of(map, map.slots(map.pg(&chunk.id))?, None);
        let (key, meta, _) = self.look_at(map, &sources, chunk).await?;
        let excerpt = Excerpt::new(meta.plain_size as usize, offset as usize, count as usize);
        let wanted = excerpt.sealed_range();
        if meta.compressed || wanted.len() >= meta.stored_size as usize / 2 {
            return Ok(None);
        }
        let seal_key = self.keys.named(chunk.scope.tenant(), meta.key).await?;
        let pieces = pieces(meta, wanted).into_iter().map(|(slot, range)| {
            let slot = slot.unwrap_or(key.slot);
            self.read_piece(map, &sources, (ShardKey { slot, ..key }, meta), range)
        });
        let read = try_join_all(pieces).await?;
        excerpt.open(&seal_key, &chunk.id, &read.concat()).map(Some)
    }

    /// What the newest parts of a chunk are, without their bytes.
    async fn look_at(&self, map: &ClusterMap, sources: &Sources, chunk: ChunkKey) -> Result<Found> {
        let mut error = Error::not_found(format!("chunk {chunk} is on none of its disks"));
        let mut disks = self.in_turn(map, sources.all(), |disk| *disk);
        while let Some(disk) = disks.pop() {
            let wanted = GetShard { disk, chunk, slot: None, generation: None, range: Some((0, 0)) };
            match self.in_time(map, wanted).await {
                Err(e) => error = e,
                found => return found,
            }
        }
        Err(error)
    }

    async fn read_piece(
        &self,
        map: &ClusterMap,
        sources: &Sources,
        (key, meta): (ShardKey, ShardMeta),
        range: Range<u32>,
    ) -> Result<Bytes> {
        let disk: DiskId = sources.of_slot(key.slot).first().copied().unwrap_or_default();
        let (slot, generation) = (Some(key.slot), Some(key.generation));
        let range = Some((range.start, range.end - range.start));
        let (_, like, bytes) =
            self.in_time(map, GetShard { disk, chunk: key.chunk, slot, generation, range }).await?;
        match like == meta {
            true => Ok(bytes),
            false => Err(Error::corrupt(format!("the parts of chunk {} differ", key.chunk))),
        }
    }

    /// An answer within the time that most take: the whole chunk can be had without a disk that is slow.
    async fn in_time(&self, map: &ClusterMap, wanted: GetShard) -> Result<Found> {
        let disk = wanted.disk;
        let read = env::time::timeout(self.read_patience(), self.get_shard_from(map, wanted)).await;
        read.unwrap_or_else(|_| Err(Error::unavailable(format!("disk {disk} is slow"))))
    }
}

/// Which bytes of which slots a range of a payload is; without a slot where each has it.
fn pieces(meta: ShardMeta, range: Range<usize>) -> Vec<(Option<u8>, Range<u32>)> {
    let Layout::Shard { k, m } = meta.layout else {
        return vec![(None, range.start as u32..range.end as u32)];
    };
    let size = shard_size(Profile { k, m }, meta.stored_size as usize);
    let piece = |slot: usize| {
        let start = slot * size;
        let (from, to) = (range.start.max(start), range.end.min(start + size));
        (Some(slot as u8), (from - start) as u32..(to - start) as u32)
    };
    (range.start / size..range.end.div_ceil(size)).map(piece).collect()
}

#[cfg(test)]
mod tests {
    use types::KeyId;

    use super::*;

    #[track_caller]
    fn check(layout: Layout, range: Range<usize>, want: &[(Option<u8>, Range<u32>)]) {
        let meta =
            ShardMeta { layout, plain_size: 1000, stored_size: 1000, compressed: false, key: KeyId(1) };
        assert_eq!(pieces(meta, range), want);
    }

    #[test]
    fn a_range_is_cut_at_the_ends_of_shards() {
        let coded = Layout::Shard { k: 4, m: 2 };
        check(Layout::Replica, 10..900, &[(None, 10..900)]);
        check(coded, 0..250, &[(Some(0), 0..250)]);
        check(coded, 10..20, &[(Some(0), 10..20)]);
        check(coded, 249..251, &[(Some(0), 249..250), (Some(1), 0..1)]);
        check(
            coded,
            240..760,
            &[(Some(0), 240..250), (Some(1), 0..250), (Some(2), 0..250), (Some(3), 0..10)],
        );
        check(coded, 750..1000, &[(Some(3), 0..250)]);
    }
}
