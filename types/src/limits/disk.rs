//! Bounds of one disk of a blockserver.

use std::time::Duration;

use super::units::{GIB, KIB, MIB};

/// Jobs that wait for the thread of a disk; one job does what has come up since the one before.
pub const DISK_JOB_COUNT_MAX: usize = 1024;
/// A segment file is sealed at this size.
pub const SEGMENT_SIZE_MAX: u64 = GIB;
/// Bytes covered by one CRC of a record.
pub const RECORD_BLOCK_SIZE: usize = 64 * KIB;
/// Writes that wait for one group commit of a disk before it answers `Busy`.
pub const DISK_QUEUE_COUNT_MAX: usize = 4096;
/// A group commit takes in no more writes once it has this many bytes.
pub const GROUP_COMMIT_SIZE_MAX: usize = 16 * MIB;
/// Segment files of a disk that are open at once: a large disk has tens of thousands, and a process few descriptors.
pub const SEGMENT_OPEN_COUNT_MAX: usize = 256;
/// Segments that may be gone at once from a disk whose index knows of them: more than a large disk has.
pub const SEGMENT_MISSING_COUNT_MAX: usize = 64 * KIB;
/// Headers of the segment that is written are kept in memory up to this size, to seal it without reading it again: some
/// 80,000 records.
pub const SEGMENT_HEADERS_SIZE_MAX: usize = 8 * MIB;
/// Segments that wait to be sealed with their headers in memory.
pub const SEGMENT_UNSEALED_COUNT_MAX: usize = 2;
/// Records that the rebuild of an index sorts in memory at once: some 100 MB.
pub const REBUILD_RUN_COUNT: usize = 512 * 1024;
/// Reads of a disk that run at once: as many as a spinning disk can sort, and a fast one needs to be busy.
pub const DISK_READ_THREAD_COUNT: usize = 8;
/// Reads that wait for one of these threads before the disk answers `Busy`.
pub const DISK_READ_QUEUE_COUNT_MAX: usize = 256;
/// A disk is slow when its operations take so many times as long as the median of others …
pub const DISK_SLOW_FACTOR: u64 = 4;
/// … and at least this long, in microseconds.
pub const DISK_SLOW_MICROS_MIN: u64 = 50_000;
/// Disks that a disk must be compared with at least.
pub const DISK_PEER_COUNT_MIN: usize = 2;
/// How much of a moving average the newest operation is: one in so many.
pub const DISK_AVERAGE_PART: u64 = 8;
/// The page cache drops what is verified next in pieces of this size.
pub const SCRUB_WINDOW_SIZE: u64 = 4 * MIB as u64;
/// Shards that one step of verifying finds lost at most; it goes on there.
pub const SCRUB_FOUND_COUNT_MAX: usize = 1024;
/// Share of a disk above which it is given nothing that could go elsewhere.
pub const DISK_BACKFILL_FULL_PERCENT: u64 = 90;
/// Share above which it takes no new shards. The rest is for repair of what it had, notes of deletions, and compaction.
pub const DISK_FULL_PERCENT: u64 = 95;
/// Share above which it takes no repaired shards either, so that it can still record deletions and write its index.
pub const DISK_REPAIR_FULL_PERCENT: u64 = 98;
/// Space is reserved ahead of what is written up to this part of what is free.
pub const DISK_RESERVE_AHEAD_PART: u64 = 64;

// ---- times -------------------------------------------------------------------------------------------------------

/// A disk has this long for a read, waiting included: who asked hears of it before he gives up himself.
pub const DISK_READ_TIMEOUT: Duration = Duration::from_millis(2_500);
/// A disk one of whose operations has taken longer counts as failed until it returns.
pub const DISK_HANG_MAX: Duration = Duration::from_secs(10);
/// A disk that owes an answer for longer is not asked for its space: that could hang, too.
pub const DISK_SPACE_PATIENCE: Duration = Duration::from_secs(1);
/// How long a disk waits after an attempt to rebuild its index that failed.
pub const REBUILD_PAUSE: Duration = Duration::from_secs(5);
/// A disk whose machine lacks descriptors or memory is asked again after this time.
pub const DISK_RESOURCE_RETRY_MS: u32 = 500;
/// A disk with a full queue is asked again after this time: about what it needs for one queue.
pub const DISK_QUEUE_RETRY_MS: u32 = 100;
/// A full disk is asked again after this time: deleting and compacting take a while.
pub const DISK_FULL_RETRY_MS: u32 = 5_000;

// ---- what must hold between them ---------------------------------------------------------------------------------

const _: () = assert!(GROUP_COMMIT_SIZE_MAX as u64 <= SEGMENT_SIZE_MAX);
const _: () = assert!(DISK_BACKFILL_FULL_PERCENT < DISK_FULL_PERCENT);
const _: () = assert!(DISK_FULL_PERCENT < DISK_REPAIR_FULL_PERCENT && DISK_REPAIR_FULL_PERCENT < 100);
