//! The files of a room build on each other in one direction: no file needs, through others, itself.
//!
//! In a circle no file can be understood, tested or moved without all others. Declaring a module and handing its names
//! on is naming and not needing.

mod graph;
mod modules;

use graph::{Arrow, Graph};

use crate::finding::Finding;
use crate::tree::SourceFile;

/// Name of the rule.
pub const RULE: &str = "circles";

const ITSELF: &str = "xtask/src/rules/circles.rs";

/// Arrows that close a circle today: the first file should not need the second. The list only shrinks.
const KNOWN: &[(&str, &str)] = &[];

/// Looks at every room.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    check_with(files, KNOWN)
}

fn check_with(files: &[SourceFile], known: &[(&str, &str)]) -> Vec<Finding> {
    let graph = Graph::new(modules::arrows(files));
    let is_known = |arrow: &Arrow| known.iter().any(|(from, to)| *from == arrow.from && *to == arrow.to);
    let others = graph.without(is_known);
    let stale = known.iter().filter(|(from, to)| !graph.has(from, to) || others.way(to, from).is_none());
    let stale = stale.map(|(from, to)| {
        let advice = format!("{from} -> {to} closes no circle any more: take it off the list");
        Finding::new(RULE, ITSELF, 1, advice)
    });
    others.circles().iter().map(|circle| finding(circle)).chain(stale).collect()
}

/// A circle is reported where its first arrow starts.
fn finding(circle: &[Arrow]) -> Finding {
    let steps: Vec<String> = circle.iter().map(|arrow| format!("{}:{}", arrow.from, arrow.line)).collect();
    let (first, way) = (&circle[0], steps.join(" -> "));
    let advice = format!("{way} -> {} is a circle: move what both need below both", first.from);
    Finding::new(RULE, &first.from, first.line, advice)
}

#[cfg(test)]
mod tests;
