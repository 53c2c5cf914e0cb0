//! How much of everything is measured. Pure.

mod block;

use std::time::Duration;

use types::limits::{GIB, KIB, MIB};

use crate::figure::Goal;
pub use block::BlockPlan;

/// A part that can be measured on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Disk, network and arithmetic without CloudSync
    Limits,
    /// Eight nodes, 4+2
    Cluster,
    /// One process, six disks, 4+2
    Embedded,
    /// Metadata on three nodes, beside etcd and PostgreSQL
    Meta,
    /// Disks and chunks: coding, one disk through its engine, faults and repair on eight nodes
    Block,
}

/// Sizes and counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How often everything is measured.
    pub runs: usize,
    /// Bytes that a probe of the network moves.
    pub probe_size: u64,
    /// Bytes that a computation is measured on.
    pub kernel_size: usize,
    /// Bytes of the large file.
    pub file_size: u64,
    /// Number of small files.
    pub small_count: usize,
    /// Bytes of a small file.
    pub small_size: usize,
    /// Clients that commit at the same time, one measurement each.
    pub commit_clients: Vec<usize>,
    /// How long they commit.
    pub commit_time: Duration,
    /// How long clients write before and after the leader is killed.
    pub failover_time: (Duration, Duration),
    /// Files in the store when listing, memory and restart of the metadata are measured.
    pub meta_files: usize,
    /// Files in each of its directories.
    pub meta_dir_count: usize,
    /// Whether etcd and PostgreSQL are measured, too.
    pub peers: bool,
    /// How much of disks and chunks.
    pub block: BlockPlan,
    /// True when the sizes are those that the goals are about.
    is_judged: bool,
    parts: Vec<Part>,
}

const ALL: [Part; 5] = [Part::Limits, Part::Cluster, Part::Embedded, Part::Meta, Part::Block];
/// Bytes on disk of a file's metadata, of all copies that three systems have, with their logs.
const META_SPACE: u64 = 10 * KIB as u64;

impl Plan {
    /// What `make bench` measures.
    pub fn full(runs: usize) -> Self {
        Self {
            runs,
            probe_size: GIB / 2,
            kernel_size: 64 * MIB,
            file_size: GIB,
            small_count: 10_000,
            small_size: 4 * KIB,
            commit_clients: vec![1, 64, 256],
            commit_time: Duration::from_secs(3),
            failover_time: (Duration::from_secs(1), Duration::from_secs(8)),
            meta_files: 1_000_000,
            meta_dir_count: 10_000,
            peers: true,
            block: BlockPlan::full(),
            is_judged: true,
            parts: ALL.to_vec(),
        }
    }

    /// Everything once, in seconds.
    pub fn smoke() -> Self {
        Self {
            runs: 1,
            probe_size: 8 * MIB as u64,
            kernel_size: 4 * MIB,
            file_size: 20 * MIB as u64,
            small_count: 100,
            small_size: 4 * KIB,
            commit_clients: vec![1, 8],
            commit_time: Duration::from_millis(200),
            failover_time: (Duration::from_millis(100), Duration::from_secs(3)),
            meta_files: 1_000,
            meta_dir_count: 600,
            peers: false,
            block: BlockPlan::smoke(),
            is_judged: false,
            parts: ALL.to_vec(),
        }
    }

    /// With these parts only; all when none is named.
    #[must_use]
    pub fn only(mut self, parts: &[Part]) -> Self {
        if !parts.is_empty() {
            self.parts = parts.to_vec();
        }
        self
    }

    /// With so many files of metadata.
    #[must_use]
    pub fn with_meta_files(mut self, count: Option<usize>) -> Self {
        self.meta_files = count.unwrap_or(self.meta_files);
        self
    }

    /// With so many records in the index that is rebuilt.
    #[must_use]
    pub fn with_block_records(mut self, count: Option<usize>) -> Self {
        self.block.record_count = count.unwrap_or(self.block.record_count);
        self
    }

    /// The goal, if it is about a plan of this size: what is tiny says nothing about speed.
    pub fn goal(&self, goal: Goal) -> Option<Goal> {
        self.is_judged.then_some(goal)
    }

    /// True when a part is wanted.
    pub fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// Bytes on disk at once, at most. Of files: what the runs write stays until a cluster is removed, and the probe of the
    /// disk writes three times as much; the local file exists twice, and logs and databases need room.
    pub fn space_needed(&self) -> u64 {
        let stripes = self.file_size * 3 / 2 * self.runs as u64;
        let has_files = [Part::Limits, Part::Cluster, Part::Embedded].iter().any(|part| self.has(*part));
        let files = if has_files { 3 * stripes + 2 * self.file_size } else { 0 };
        let meta = if self.has(Part::Meta) { META_SPACE * self.meta_files as u64 } else { 0 };
        let block = if self.has(Part::Block) { self.block.space_needed(self.runs) } else { 0 };
        files.max(block) + 2 * GIB + meta
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naming_no_part_means_all() {
        assert!(ALL.iter().all(|part| Plan::smoke().only(&[]).has(*part)));
        let one = Plan::smoke().only(&[Part::Cluster]);
        assert!(one.has(Part::Cluster) && !one.has(Part::Limits) && !one.has(Part::Embedded));
    }

    #[test]
    fn the_full_plan_is_the_one_the_goals_are_about() {
        let plan = Plan::full(3);
        assert_eq!((plan.file_size, plan.small_count, plan.small_size), (GIB, 10_000, 4096));
        assert_eq!(plan.commit_clients, [1, 64, 256]);
        assert!(plan.space_needed() > 6 * GIB);
        assert!(plan.clone().only(&[Part::Block]).space_needed() < plan.space_needed());
        assert_eq!(plan.goal(Goal::AtMost(1.0)), Some(Goal::AtMost(1.0)));
        assert_eq!(Plan::smoke().goal(Goal::AtMost(1.0)), None);
    }
}
