//! The keys below one prefix, seen without it.

use bytes::Bytes;
use types::Result;

use crate::{Order, Read, Visit, prefix_end};

/// A view of the keys of `base` that begin with a prefix; callers never see the prefix.
#[derive(Clone, Debug)]
pub struct Keyspace<R> {
    base: R,
    prefix: Vec<u8>,
}

impl<R> Keyspace<R> {
    /// The keys of `base` below `prefix`.
    pub fn new(base: R, prefix: impl Into<Vec<u8>>) -> Self {
        Self { base, prefix: prefix.into() }
    }

    /// What `base` has before every key of the view.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// `key` as `base` knows it.
    pub fn outer_key(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix, key].concat()
    }
}

impl<R: std::ops::Deref<Target: Read> + Send + Sync> Read for Keyspace<R> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.base.get(&self.outer_key(key))
    }

    fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<()> {
        let end = if end.is_empty() { prefix_end(&self.prefix) } else { self.outer_key(end) };
        let skip = self.prefix.len();
        self.base.scan(&self.outer_key(start), &end, order, &mut |key, value| visit(&key[skip..], value))
    }
}
