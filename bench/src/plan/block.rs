//! How much of disks and chunks is measured. Pure.

use std::time::Duration;

use types::limits::{GIB, MIB};

/// Sizes and counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockPlan {
    /// Bytes that are coded.
    pub code_size: usize,
    /// Who appends at the same time, one measurement each.
    pub append_writers: Vec<usize>,
    /// How long they append.
    pub append_time: Duration,
    /// Bytes of all shards of a size that are read.
    pub read_size: usize,
    /// The most of them.
    pub read_count_max: usize,
    /// Records of the index that is rebuilt. To write ten million takes minutes: who wants that asks for it.
    pub record_count: usize,
    /// Chunks in a filter.
    pub filter_count: u64,
    /// Chunks that one question is about.
    pub have_count: usize,
    /// How often it is asked.
    pub have_times: usize,
    /// Bytes of the file whose chunks are read and repaired.
    pub file_size: u64,
    /// Chunks that are put, and got, in a round.
    pub chunk_count: usize,
}

/// Bytes on disk of a record without a payload worth mentioning: itself, its row of the index, and that row once more
/// while the index is rebuilt.
const RECORD_SPACE: u64 = 600;
/// Bytes that a disk may take in a second at most.
const APPEND_SPACE: u64 = 2 * GIB;

impl BlockPlan {
    /// What `make bench` measures.
    pub fn full() -> Self {
        Self {
            code_size: 64 * MIB,
            append_writers: vec![1, 16, 256],
            append_time: Duration::from_secs(2),
            read_size: 256 * MIB,
            read_count_max: 2_000,
            record_count: 2_000_000,
            filter_count: 10_000_000,
            have_count: 4_096,
            have_times: 200,
            file_size: GIB,
            chunk_count: 400,
        }
    }

    /// Everything once, in seconds.
    pub fn smoke() -> Self {
        Self {
            code_size: 4 * MIB,
            append_writers: vec![1, 8],
            append_time: Duration::from_millis(50),
            read_size: 4 * MIB,
            read_count_max: 20,
            record_count: 5_000,
            filter_count: 10_000,
            have_count: 64,
            have_times: 3,
            file_size: 8 * MIB as u64,
            chunk_count: 5,
        }
    }

    /// Bytes on disk at once, at most, with so many runs: the parts come one after the other.
    pub fn space_needed(&self, runs: usize) -> u64 {
        let append = APPEND_SPACE * self.append_time.as_secs().max(1);
        let records = RECORD_SPACE * self.record_count as u64;
        // Each run puts two rounds of chunks, and repairs or fills a quarter of all twice.
        let (chunks, runs) = ((3 * self.chunk_count * MIB) as u64, runs as u64);
        append.max(records).max(3 * self.file_size + runs * (chunks + self.file_size)) + GIB
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_part_decides() {
        let plan = BlockPlan::full();
        assert_eq!(plan.space_needed(1), (4 * GIB + 1200 * MIB as u64) + GIB);
        let many = BlockPlan { record_count: 10_000_000, ..plan.clone() };
        assert_eq!(many.space_needed(1), 6_000_000_000 + GIB);
        assert!(plan.space_needed(9) > plan.space_needed(3));
    }
}
