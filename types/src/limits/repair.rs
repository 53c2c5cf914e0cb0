//! How redundancy is kept: who waits how long, and how often somebody looks.

use std::time::Duration;

use super::units::MIB;

/// The longest that a node waits before it asks again for parts that are not at home, when none were.
pub const HEAL_PERIOD_MAX: Duration = Duration::from_secs(16);
/// How often a node looks for something to heal when nothing wakes it.
pub const HEAL_PERIOD: Duration = Duration::from_secs(2);
/// How often a node reports slots that it has filled: each report makes a new map.
pub const FILLED_REPORT_PERIOD: Duration = Duration::from_millis(500);
/// Between two slots that a node looks through for what is missing, when nothing says that anything is.
pub const AUDIT_PAUSE: Duration = Duration::from_secs(10);
/// A part that takes longer than this, and far longer than others, is given to a second disk.
pub const SHARD_PATIENCE_MIN: Duration = Duration::from_millis(50);
/// Of a hundred parts so many may be given to a second disk for being slow.
pub const SHARD_HEDGE_PER_HUNDRED: u32 = 1;
/// How long the making of a part waits for users at most.
pub const REPAIR_YIELD_MAX: Duration = Duration::from_secs(1);
/// Bytes a second that repair moves into a node whose users wait for it, at least: 256 GiB a day.
pub const REPAIR_RATE_MIN: u64 = 3 * MIB as u64;
/// And at most while any are served.
pub const REPAIR_RATE_MAX: u64 = 256 * MIB as u64;
/// How much faster it may go after each request that took no longer than usual.
pub const REPAIR_RATE_STEP: u64 = MIB as u64 / 4;
/// So long after the last request of a user nobody has to be spared.
pub const REPAIR_CALM_TIME: Duration = Duration::from_millis(250);
/// The rate of repair is measured over spans of this length.
pub const HEAL_RATE_TIME: Duration = Duration::from_secs(10);
/// All that is on a disk is verified within this time.
pub const SCRUB_PASS_TIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often a part of that is done.
pub const SCRUB_PERIOD: Duration = Duration::from_secs(10);
/// Bytes that are verified in a period at least.
pub const SCRUB_STEP_MIN: u64 = MIB as u64;
/// And at once at most.
pub const SCRUB_STEP_SIZE: u64 = 16 * MIB as u64;
/// A disk that has just failed to take a part is spared for so long.
pub const DISK_SUSPECT_TIME: Duration = Duration::from_secs(2);
