//! Changes that are applied together.

/// One change of a [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// Sets `key` to `value`.
    Put(&'a [u8], &'a [u8]),
    /// Removes `key`; no error when it is absent.
    Delete(&'a [u8]),
    /// Removes all keys with `start <= key < end`.
    DeleteRange(&'a [u8], &'a [u8]),
}

/// Changes that are applied in their order, all or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// All keys and values one after the other: one allocation for many small operations.
    bytes: Vec<u8>,
    /// Kind and the ends of the two parts in `bytes`.
    ops: Vec<(Kind, usize, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Put,
    Delete,
    DeleteRange,
}

impl Batch {
    /// A batch without changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.push(Kind::Put, key, value);
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: &[u8]) {
        self.push(Kind::Delete, key, b"");
    }

    /// Removes all keys with `start <= key < end`; nothing when `start >= end`. For rare use: every later read of the
    /// range pays until compaction has passed.
    pub fn delete_range(&mut self, start: &[u8], end: &[u8]) {
        if start < end {
            self.push(Kind::DeleteRange, start, end);
        }
    }

    /// Number of operations.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// True for a batch without operations.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The operations in order.
    pub fn ops(&self) -> impl Iterator<Item = Op<'_>> {
        let mut start = 0;
        self.ops.iter().map(move |&(kind, middle, end)| {
            let (first, second) = (&self.bytes[start..middle], &self.bytes[middle..end]);
            start = end;
            match kind {
                Kind::Put => Op::Put(first, second),
                Kind::Delete => Op::Delete(first),
                Kind::DeleteRange => Op::DeleteRange(first, second),
            }
        })
    }

    fn push(&mut self, kind: Kind, first: &[u8], second: &[u8]) {
        self.bytes.extend_from_slice(first);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(second);
        self.ops.push((kind, middle, self.bytes.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_put_in() {
        let mut batch = Batch::new();
        batch.put(b"a", b"1");
        batch.delete(b"");
        batch.delete_range(b"b", b"d");
        batch.delete_range(b"d", b"b");
        batch.put(b"c", b"");
        let ops: Vec<Op<'_>> = batch.ops().collect();
        assert_eq!(
            ops,
            [Op::Put(b"a", b"1"), Op::Delete(b""), Op::DeleteRange(b"b", b"d"), Op::Put(b"c", b"")]
        );
        assert_eq!((batch.len(), batch.size(), batch.is_empty()), (4, 5, false));
    }
}
