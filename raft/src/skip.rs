//! Commands that no build can apply, skipped by the operator.
//!
//! The record stands beside the state and not in it: `k` group index (numbers big-endian) -> reason. It must be made on
//! every voter that is to go on from its log: who has it leaves the command out, who has not stops before it. It stays,
//! to be shown.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use kv::{Batch, Durability, Kv, Order, Read, prefix_end};
use types::limits::{SKIP_AHEAD_COUNT_MAX, SKIP_COUNT_MAX, SKIP_REASON_SIZE_MAX};
use types::{Error, PartitionId, Result};

use crate::state::commands_applied;

/// Has the `index`-th command of a group left out on this node, which must not be running: durable on return. Done again,
/// it changes nothing. `Invalid` when the command is applied here already, or cannot be the one that has stopped the group.
pub fn skip(kv: &dyn Kv, group: PartitionId, index: u64, reason: &str) -> Result<()> {
    let applied = commands_applied(kv, group)?;
    if index <= applied {
        return Err(Error::invalid(format!(
            "command {index} of partition {group} is applied here, and so are all up to {applied}: it cannot be skipped"
        )));
    }
    if index > applied + SKIP_AHEAD_COUNT_MAX {
        return Err(Error::invalid(format!(
            "command {index} of partition {group} is too far away to have stopped it: {applied} are applied here, and what \
             stops it is among the {SKIP_AHEAD_COUNT_MAX} after them, of which a batch may leave nothing; the status names \
             it. A node that was killed may have more than is on its disk: start it and stop it once"
        )));
    }
    if reason.is_empty() || reason.len() > SKIP_REASON_SIZE_MAX {
        return Err(Error::invalid(format!("say why in 1 to {SKIP_REASON_SIZE_MAX} bytes")));
    }
    let skipped = load(kv, group)?;
    if skipped.contains_key(&index) {
        return Ok(());
    }
    if skipped.len() >= SKIP_COUNT_MAX {
        return Err(Error::invalid(format!(
            "{SKIP_COUNT_MAX} commands of partition {group} are skipped already: find out what writes them"
        )));
    }
    let mut batch = Batch::new();
    batch.put(&key(group, index), reason.as_bytes());
    kv.write(batch, Durability::Synced)
}

/// The commands of a group that are skipped on this node, and why.
pub fn load(read: &dyn Read, group: PartitionId) -> Result<BTreeMap<u64, String>> {
    let prefix = prefix(group);
    let mut skipped = BTreeMap::new();
    read.scan(&prefix, &prefix_end(&prefix), Order::Forward, &mut |key, reason| {
        if let Ok(index) = key[prefix.len()..].try_into() {
            skipped.insert(u64::from_be_bytes(index), String::from_utf8_lossy(reason).into_owned());
        }
        ControlFlow::Continue(())
    })?;
    Ok(skipped)
}

/// Forgets what is skipped of a group.
pub fn forget(batch: &mut Batch, group: PartitionId) {
    let prefix = prefix(group);
    batch.delete_range(&prefix, &prefix_end(&prefix));
}

fn prefix(group: PartitionId) -> Vec<u8> {
    [&b"k"[..], &group.0.to_be_bytes()].concat()
}

fn key(group: PartitionId, index: u64) -> Vec<u8> {
    [&prefix(group)[..], &index.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use kv::MemKv;

    use super::*;

    const GROUP: PartitionId = PartitionId(5);

    #[test]
    fn a_skip_is_durable_and_of_one_group() {
        let kv = MemKv::new(1);
        skip(&kv, GROUP, 7, "it cannot be read").unwrap();
        skip(&kv, GROUP, 7, "again").unwrap();
        skip(&kv, PartitionId(6), 8, "other").unwrap();
        kv.crash();
        assert_eq!(load(&kv, GROUP), Ok(BTreeMap::from([(7, "it cannot be read".to_owned())])));
        assert_eq!(load(&kv, PartitionId(4)), Ok(BTreeMap::new()));
    }

    #[test]
    fn skips_are_bounded_and_have_a_reason() {
        let kv = MemKv::new(1);
        let refused = |index, reason: &str, want: &str| {
            let error = skip(&kv, GROUP, index, reason).unwrap_err();
            assert!(error.message().contains(want), "{error}");
        };
        refused(0, "why", "applied here");
        refused(SKIP_AHEAD_COUNT_MAX + 1, "why", "too far away");
        refused(u64::MAX, "why", "0 are applied here");
        skip(&kv, PartitionId(6), SKIP_AHEAD_COUNT_MAX, "the last of a batch").unwrap();
        refused(1, "", "say why");
        refused(1, &"x".repeat(SKIP_REASON_SIZE_MAX + 1), "say why");
        (1..=SKIP_COUNT_MAX as u64).for_each(|index| skip(&kv, GROUP, index, "why").unwrap());
        refused(9999, "why", "skipped already");
        assert_eq!(load(&kv, GROUP).unwrap().len(), SKIP_COUNT_MAX);
    }
}
