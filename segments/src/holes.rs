//! Places in segments of which nothing can be read any more: what the index has there is lost.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::index::Entry;

/// Such places, by segment.
#[derive(Debug, Default)]
pub(crate) struct Holes(BTreeMap<u32, Vec<Range<u64>>>);

impl Holes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn add(&mut self, segment: u32, range: Range<u64>) {
        self.0.entry(segment).or_default().push(range);
    }

    pub(crate) fn has(&self, entry: &Entry) -> bool {
        let ranges = self.0.get(&entry.segment).into_iter().flatten();
        ranges.into_iter().any(|range| range.contains(&entry.offset.into()))
    }
}
