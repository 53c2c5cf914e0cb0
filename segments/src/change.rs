//! What writers ask a disk to do, and what it costs.
//!
//! Owns: the bytes a change may append and those it holds while it waits.
//! Knows nothing of: batches, who waits.

use bytes::Bytes;
use proto::block::{ShardKey, ShardMeta};
use types::limits::KIB;

use super::index::Entry;
use super::record;
use super::space::Purpose;

/// One thing to do in a batch.
#[derive(Debug)]
pub(crate) enum Change {
    Put {
        key: ShardKey,
        meta: ShardMeta,
        payload: Bytes,
        /// What the payload's CRC must be, when it came from somewhere else.
        crc: Option<u32>,
        purpose: Purpose,
    },
    Delete {
        key: ShardKey,
    },
    /// A reader found the record damaged: from now on it is lost, and can be put again.
    Quarantine {
        key: ShardKey,
        entry: Entry,
    },
    /// A reader elsewhere has proven that the shard is wrong, although it matches its checksums.
    Distrust {
        key: ShardKey,
    },
}

impl Change {
    pub(crate) fn key(&self) -> &ShardKey {
        match self {
            Change::Put { key, .. }
            | Change::Delete { key }
            | Change::Quarantine { key, .. }
            | Change::Distrust { key } => key,
        }
    }

    /// Bytes it may append.
    pub(crate) fn size_max(&self) -> u64 {
        match self {
            Change::Put { payload, .. } => record::record_size(payload.len()),
            Change::Delete { .. } | Change::Quarantine { .. } | Change::Distrust { .. } => {
                record::record_size(0)
            }
        }
    }

    /// True when it still has an effect that is worth having where nothing can be appended any more: what is lost is
    /// known to the index at least.
    pub(crate) fn is_loss(&self) -> bool {
        matches!(self, Change::Quarantine { .. } | Change::Distrust { .. })
    }

    /// Bytes it holds in memory while it waits.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Change::Put { payload, .. } => payload.len().max(KIB),
            _ => KIB,
        }
    }
}
