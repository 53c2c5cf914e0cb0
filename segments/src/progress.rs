//! How far the verification of a disk has come, as callers see it and the index keeps it.

use types::Millis;

/// How far the verification of a disk has come. Kept in the index: it goes on after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubProgress {
    /// Where it goes on: a segment …
    pub segment: u32,
    /// … and a record in it.
    pub offset: u64,
    /// Bytes that this pass has read.
    pub checked: u64,
    /// Damaged or unreadable extents that it has found.
    pub found: u64,
    /// Passes over the whole disk that are complete.
    pub passes: u64,
    /// When the last of them was.
    pub last_pass: Option<Millis>,
}
