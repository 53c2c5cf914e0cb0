//! Changes not yet written, read together with what they will change.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use types::Result;

use crate::{Batch, Order, Read, Visit, is_empty_range};

/// `base` as it will be when the changes collected here are written. Nothing is written by the overlay itself.
pub struct Overlay<'a> {
    base: &'a dyn Read,
    /// New value, or `None` for a removed key.
    changes: BTreeMap<Bytes, Option<Bytes>>,
}

/// Changes taken out of an overlay.
#[derive(Debug)]
pub struct Changes(BTreeMap<Bytes, Option<Bytes>>);

impl<'a> Overlay<'a> {
    /// No changes yet.
    pub fn new(base: &'a dyn Read) -> Self {
        Self { base, changes: BTreeMap::new() }
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changes.insert(key.into(), Some(value.into()));
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.changes.insert(key.into(), None);
    }

    /// Number of changed keys.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// True without changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changed keys in order.
    pub fn changed_keys(&self) -> impl Iterator<Item = &Bytes> {
        self.changes.keys()
    }

    /// The changes alone, for [`Overlay::absorb`] of the overlay below.
    pub fn into_changes(self) -> Changes {
        Changes(self.changes)
    }

    /// Takes over the changes of an overlay that was built on top of this one.
    pub fn absorb(&mut self, changes: Changes) {
        self.changes.extend(changes.0);
    }

    /// The changes as one batch.
    pub fn into_batch(self) -> Batch {
        let mut batch = Batch::new();
        self.write_into(b"", &mut batch);
        batch
    }

    /// Adds the changes to `batch`, each key after `prefix` (where `base` is a [`crate::Keyspace`], its prefix).
    pub fn write_into(&self, prefix: &[u8], batch: &mut Batch) {
        let mut outer = prefix.to_vec();
        let before = batch.len();
        for (key, change) in &self.changes {
            outer.truncate(prefix.len());
            outer.extend_from_slice(key);
            match change {
                Some(value) => batch.put(&outer, value),
                None => batch.delete(&outer),
            }
        }
        assert_eq!(
            batch.len() - before,
            self.changes.len(),
            "a batch has all changes of an overlay, or none"
        );
    }
}

impl Read for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        match self.changes.get(key) {
            Some(change) => Ok(change.clone()),
            None => self.base.get(key),
        }
    }

    fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<()> {
        if is_empty_range(start, end) {
            return Ok(());
        }
        let upper = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
        let range = self.changes.range::<[u8], _>((Bound::Included(start), upper));
        match order {
            Order::Forward => merge(self.base, start, end, order, range, visit),
            Order::Backward => merge(self.base, start, end, order, range.rev(), visit),
        }
    }
}

/// Visits `base` and `changes`, both in `order`; a change hides the base's entry with the same key.
fn merge<'a>(
    base: &dyn Read,
    start: &[u8],
    end: &[u8],
    order: Order,
    changes: impl Iterator<Item = (&'a Bytes, &'a Option<Bytes>)>,
    visit: &mut Visit<'_>,
) -> Result<()> {
    let mut changes = changes.peekable();
    let mut flow = ControlFlow::Continue(());
    base.scan(start, end, order, &mut |key, value| {
        assert!(flow.is_continue(), "a scan ends when its visitor says so");
        debug_assert!(start <= key && (end.is_empty() || key < end), "a scan stays in its range");
        let before = |changed: &[u8]| if order == Order::Forward { changed < key } else { changed > key };
        while let Some((changed, change)) = changes.next_if(|(changed, _)| before(changed)) {
            if let Some(value) = change {
                flow = visit(changed, value);
                flow?;
            }
        }
        flow = match changes.next_if(|(changed, _)| changed[..] == *key) {
            Some((_, Some(changed))) => visit(key, changed),
            Some((_, None)) => ControlFlow::Continue(()),
            None => visit(key, value),
        };
        flow
    })?;
    let rest = changes.filter_map(|(key, change)| Some((key, change.as_ref()?)));
    if flow.is_continue() {
        let _: ControlFlow<()> = { rest }.try_for_each(|(key, value)| visit(key, value));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemKv;

    /// A store that goes on when it was told to stop.
    struct Deaf(MemKv);

    impl Read for Deaf {
        fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
            self.0.get(key)
        }

        fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<()> {
            self.0.scan(start, end, order, &mut |key, value| {
                let _ = visit(key, value);
                ControlFlow::Continue(())
            })
        }
    }

    #[test]
    #[should_panic(expected = "a scan ends when its visitor says so")]
    fn a_base_that_does_not_stop_is_noticed() {
        let kv = MemKv::new(0);
        let mut rows = Overlay::new(&kv);
        rows.put("a", "1");
        rows.put("b", "2");
        crate::Kv::write(&kv, rows.into_batch(), crate::Durability::Buffered).unwrap();
        let base = Deaf(kv);
        let overlay = Overlay::new(&base);
        overlay.scan(b"", b"", Order::Forward, &mut |_, _| ControlFlow::Break(())).unwrap();
    }

    /// The changes of an overlay as one batch, each key behind the prefix.
    #[track_caller]
    fn check(prefix: &str, changes: &[(&str, Option<&str>)], want: &[&str]) {
        let base = MemKv::new(0);
        let mut overlay = Overlay::new(&base);
        for (key, change) in changes {
            match change {
                Some(value) => overlay.put((*key).to_owned(), (*value).to_owned()),
                None => overlay.delete((*key).to_owned()),
            }
        }
        let mut batch = Batch::new();
        overlay.write_into(prefix.as_bytes(), &mut batch);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let line = |op| match op {
            crate::Op::Put(key, value) => format!("{}={}", text(key), text(value)),
            crate::Op::Delete(key) => format!("-{}", text(key)),
            crate::Op::DeleteRange(..) => panic!("an overlay removes keys one by one"),
        };
        assert_eq!(batch.ops().map(line).collect::<Vec<_>>(), want);
    }

    #[test]
    fn a_batch_has_the_last_change_of_each_key_in_order() {
        check("", &[], &[]);
        check("", &[("b", Some("1")), ("a", Some("2")), ("b", Some("3"))], &["a=2", "b=3"]);
        check("p", &[("", Some("1")), ("ab", None), ("a", Some("2"))], &["p=1", "pa=2", "-pab"]);
        check("p", &[("a", Some("1")), ("a", None), ("b", None), ("b", Some("2"))], &["-pa", "pb=2"]);
    }
}
