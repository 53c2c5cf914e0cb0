//! Which file needs which, and the ways through that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One file needs another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrow {
    /// Path of the file that needs.
    pub from: String,
    /// Path of the file that is needed.
    pub to: String,
    /// The first line that says so.
    pub line: usize,
}

/// Files and their arrows.
#[derive(Default)]
pub struct Graph(BTreeMap<String, Vec<Arrow>>);

impl Graph {
    /// Takes arrows in any order.
    pub fn new(arrows: impl IntoIterator<Item = Arrow>) -> Self {
        let mut graph = Self::default();
        for arrow in arrows {
            graph.0.entry(arrow.from.clone()).or_default().push(arrow);
        }
        graph
    }

    /// The graph without some arrows.
    pub fn without(&self, is_left_out: impl Fn(&Arrow) -> bool) -> Self {
        Self::new(self.0.values().flatten().filter(|arrow| !is_left_out(arrow)).cloned())
    }

    /// True when there is an arrow between the two.
    pub fn has(&self, from: &str, to: &str) -> bool {
        self.after(from).iter().any(|arrow| arrow.to == to)
    }

    fn after(&self, file: &str) -> &[Arrow] {
        self.0.get(file).map_or(&[], Vec::as_slice)
    }

    /// A shortest way of at least one arrow.
    pub fn way(&self, from: &str, to: &str) -> Option<Vec<&Arrow>> {
        // The arrow by which each file was reached first.
        let mut reached: BTreeMap<&str, &Arrow> = BTreeMap::new();
        let mut next = VecDeque::from([from]);
        while let Some(file) = next.pop_front() {
            for arrow in self.after(file) {
                if !reached.contains_key(arrow.to.as_str()) {
                    reached.insert(&arrow.to, arrow);
                    next.push_back(&arrow.to);
                }
            }
        }
        let mut way = vec![*reached.get(to)?];
        while let Some(first) = way.last().filter(|arrow| arrow.from != from) {
            way.push(reached[first.from.as_str()]);
        }
        way.reverse();
        Some(way)
    }

    /// One shortest circle of every group of files that all need each other.
    pub fn circles(&self) -> Vec<Vec<Arrow>> {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut circles = Vec::new();
        for file in self.0.keys() {
            if seen.contains(file.as_str()) {
                continue;
            }
            let is_mutual =
                |other: &&String| self.way(file, other).is_some() && self.way(other, file).is_some();
            let group: Vec<&String> = self.0.keys().filter(is_mutual).collect();
            seen.extend(group.iter().map(|file| file.as_str()));
            let ways = group.iter().filter_map(|file| self.way(file, file));
            circles.extend(ways.min_by_key(Vec::len).map(|way| way.into_iter().cloned().collect()));
        }
        circles
    }
}
