//! What writers ask a disk to do, and what it costs.
//!
//! Owns: the bytes a change may append and those it holds while it waits.
//! Knows nothing of: batches, who waits.

use bytes::Bytes;
use proto::block::{ShardKey, ShardMeta};
use types::limits::KIB;

use super::index::Entry;
use super::record;

/// One thing to do in a batch.
#[derive(Debug)]
pub(crate) enum Change {
    Put {
        key: ShardKey,
        meta: ShardMeta,
        payload: Bytes,
        /// What the payload's CRC must be, when it came from somewhere else.
        crc: Option<u32>,
    },
    Delete {
        key: ShardKey,
    },
    /// A reader found the record damaged: from now on it is lost, and can be put again.
    Quarantine {
        key: ShardKey,
        entry: Entry,
    },
}

impl Change {
    /// Bytes it may append.
    pub(crate) fn size_max(&self) -> u64 {
        match self {
            Change::Put { payload, .. } => record::record_size(payload.len()),
            Change::Delete { .. } => record::record_size(0),
            Change::Quarantine { .. } => 0,
        }
    }

    /// Bytes it holds in memory while it waits.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Change::Put { payload, .. } => payload.len().max(KIB),
            _ => KIB,
        }
    }
}
