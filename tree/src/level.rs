//! The feature level of a partition: a row that every kind has, outside of its own tables.

use kv::Read;
use types::{Error, FeatureLevel, Result};

use crate::failure::Halt;
use crate::row;

/// Key of the feature level.
pub const LEVEL: &[u8] = &[row::PARTITION[0], row::PARTITION[1], b'l'];

/// The level that a partition has reached.
pub fn level(state: &dyn Read) -> Result<FeatureLevel, Halt> {
    Ok(row::load(state, LEVEL)?.unwrap_or(FeatureLevel::FIRST))
}

/// The level of a partition on a build that knows levels up to `newest`.
pub fn level_within(state: &dyn Read, newest: FeatureLevel) -> Result<FeatureLevel, Halt> {
    let level = level(state)?;
    if level > newest { Err(too_old(level, newest)) } else { Ok(level) }
}

/// The build is older than the log.
pub fn too_old(level: FeatureLevel, newest: FeatureLevel) -> Halt {
    Halt::new(Error::unavailable(format!(
        "the partition is at feature level {level}, this build knows levels up to {newest}: update this node"
    )))
}
