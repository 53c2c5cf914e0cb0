//! The splitting rules: between which sizes a file is cut.

use types::limits::{CHUNK_SIZE_MAX, KIB, LARGE_FILE_SIZE_MIN, MIB};
use types::{Error, Result};

/// Sizes between which a file is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitRule {
    /// Number of the rule in manifests.
    pub id: u8,
    /// No chunk but the last of a file is smaller.
    pub min: usize,
    /// Most chunks are near this size.
    pub avg: usize,
    /// No chunk is larger.
    pub max: usize,
}

pub(super) const SMALL: SplitRule = SplitRule { id: 1, min: 64 * KIB, avg: 256 * KIB, max: MIB };
pub(super) const LARGE: SplitRule = SplitRule { id: 2, min: 256 * KIB, avg: MIB, max: 4 * MIB };

const _: () = assert!(SMALL.max <= CHUNK_SIZE_MAX && LARGE.max <= CHUNK_SIZE_MAX);

impl SplitRule {
    /// The rule for a new file of `file_size` bytes.
    pub fn for_size(file_size: u64) -> SplitRule {
        if file_size < LARGE_FILE_SIZE_MIN { SMALL } else { LARGE }
    }

    /// The rule with this number, which a manifest names; `Invalid` when this version does not know it.
    pub fn by_id(id: u8) -> Result<SplitRule> {
        [SMALL, LARGE].into_iter().find(|rule| rule.id == id).ok_or_else(|| {
            Error::invalid(format!(
                "splitting rule {id} is unknown here; a newer version wrote this file: update"
            ))
        })
    }
}
