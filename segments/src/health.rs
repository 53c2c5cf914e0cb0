//! How well a disk does.
//!
//! Owns: counts of what went wrong. Knows nothing of: what is done about it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts since the disk was opened.
#[derive(Debug, Default)]
pub(crate) struct Health {
    media_read_errors: AtomicU64,
    media_write_errors: AtomicU64,
    unreadable: AtomicU64,
    damaged: AtomicU64,
}

/// What went wrong on a disk since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskFailures {
    /// Reads that the medium failed, also those that succeeded when they were tried again.
    pub media_read_errors: u64,
    /// Writes and syncs that the medium failed: one is enough to end writing.
    pub media_write_errors: u64,
    /// Shards that could not be read at the second attempt either.
    pub unreadable: u64,
    /// Shards that did not match their checksums.
    pub damaged: u64,
}

impl Health {
    pub(crate) fn media_read_error(&self) {
        self.media_read_errors.fetch_add(1, Relaxed);
    }

    pub(crate) fn media_write_error(&self) {
        self.media_write_errors.fetch_add(1, Relaxed);
    }

    pub(crate) fn unreadable(&self) {
        self.unreadable.fetch_add(1, Relaxed);
    }

    pub(crate) fn damaged(&self) {
        self.damaged.fetch_add(1, Relaxed);
    }

    pub(crate) fn failures(&self) -> DiskFailures {
        DiskFailures {
            media_read_errors: self.media_read_errors.load(Relaxed),
            media_write_errors: self.media_write_errors.load(Relaxed),
            unreadable: self.unreadable.load(Relaxed),
            damaged: self.damaged.load(Relaxed),
        }
    }
}
