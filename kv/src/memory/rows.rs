//! The rows of a store in memory, some of them rotten.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::{Batch, Op, Order, Visit, is_empty_range};

/// All rows in order; one without a value is rotten.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows(BTreeMap<Bytes, Option<Bytes>>);

/// What a read finds; the error is the key of a rotten row.
pub(super) type Found<T> = Result<T, Bytes>;

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The key of the row with so many before it.
    pub(super) fn key(&self, index: usize) -> Option<&Bytes> {
        self.0.keys().nth(index)
    }

    /// True when both have the same row under `key`.
    pub(super) fn is_same(&self, other: &Rows, key: &[u8]) -> bool {
        self.0.get(key) == other.0.get(key)
    }

    /// Rots the row; false when it is not there or rotten already.
    pub(super) fn rot(&mut self, key: &[u8]) -> bool {
        self.0.get_mut(key).is_some_and(|value| value.take().is_some())
    }

    pub(super) fn apply(&mut self, batch: &Batch) {
        for op in batch.ops() {
            match op {
                Op::Put(key, value) => {
                    self.0.insert(Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(value)));
                }
                Op::Delete(key) => {
                    self.0.remove(key);
                }
                Op::DeleteRange(start, end) => {
                    let keys: Vec<Bytes> = self.range(start, end).map(|(key, _)| key.clone()).collect();
                    keys.iter().for_each(|key| drop(self.0.remove(key)));
                }
            }
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Found<Option<Bytes>> {
        match self.0.get(key) {
            Some(None) => Err(Bytes::copy_from_slice(key)),
            found => Ok(found.cloned().flatten()),
        }
    }

    pub(super) fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Found<()> {
        let mut range = self.range(start, end);
        while let Some((key, value)) = if order == Order::Forward { range.next() } else { range.next_back() }
        {
            let value = value.as_ref().ok_or_else(|| key.clone())?;
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Bytes of the keys and values in a range.
    pub(super) fn size(&self, start: &[u8], end: &[u8]) -> u64 {
        let row = |(key, value): (&Bytes, &Option<Bytes>)| key.len() + value.as_ref().map_or(0, Bytes::len);
        self.range(start, end).map(row).sum::<usize>() as u64
    }

    fn range(&self, start: &[u8], end: &[u8]) -> impl DoubleEndedIterator<Item = (&Bytes, &Option<Bytes>)> {
        let bounds = match is_empty_range(start, end) {
            true => (Bound::Included(start), Bound::Excluded(start)),
            false if end.is_empty() => (Bound::Included(start), Bound::Unbounded),
            false => (Bound::Included(start), Bound::Excluded(end)),
        };
        self.0.range::<[u8], _>(bounds)
    }
}
