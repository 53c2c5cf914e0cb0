//! Parts that match their checksums and yet are not of one chunk: found out by sample, before they are needed (I-HEAL).
//!
//! A scrub sees that a disk has what it was given. That it was given the right thing is only seen when all parts are put
//! together: data against parity, copy against copy.

use env::Random;
use tracing::debug;
use types::{ChunkId, Result};

use crate::server::Blockserver;
use crate::task::Task;

impl Blockserver {
    /// Puts together all parts of some chunk of a slot; a disk that has a wrong one is told.
    pub(crate) async fn compare_one(&self, task: Task) -> Result<()> {
        let map = self.current_map();
        let (first, last) = task.pg.range(map.pg_count);
        let from = between(first, last, &self.env.random);
        let page = self.links.list_chunks((from, last), None, false, Default::default()).await?;
        let Some(known) = page.chunks.first() else { return Ok(()) };
        let chunk = known.stored.chunk;
        let found = self.read_payload(&map, chunk).await?;
        self.outvote(&map, found).await?;
        debug!(%chunk, "all its parts were compared");
        Ok(())
    }
}

/// A random id of a range that begins with zeros and ends with ones where its ends differ.
fn between(first: ChunkId, last: ChunkId, random: &Random) -> ChunkId {
    let mut id = ChunkId(random.bytes());
    for ((byte, first), last) in id.0.iter_mut().zip(first.0).zip(last.0) {
        if first != last {
            *byte = first + random.below(u64::from(last - first) + 1) as u8;
            break;
        }
        *byte = first;
    }
    id
}

#[cfg(test)]
mod tests {
    use types::PgId;

    use super::*;

    #[test]
    fn ids_are_drawn_from_all_of_a_group() {
        let random = Random::seeded(1);
        for (pg, pg_count) in [(0, 1), (0, 64), (63, 64), (5, 4096), (65_535, 32_768)] {
            let (first, last) = PgId(pg % pg_count).range(pg_count);
            let drawn: Vec<ChunkId> = (0..200).map(|_| between(first, last, &random)).collect();
            assert!(drawn.iter().all(|id| (first..=last).contains(id)), "{pg} of {pg_count}");
            let half = drawn.iter().filter(|id| id.0[2] >= 128).count();
            assert!((60..140).contains(&half), "{half} of 200 in the upper half");
        }
    }
}
