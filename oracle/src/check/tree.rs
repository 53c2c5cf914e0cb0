//! I-TREE: always a tree. Pure.

use std::collections::BTreeSet;

use proto::namespace::{Entry, Kind};
use types::Path;

use crate::replay::Tree;
use crate::survey::Survey;
use crate::verdict::{Invariant, Verdict};

/// I-TREE: every record fits the tree it meets; in the listings names and inodes are unique, and directories exist.
pub fn always_a_tree(survey: &Survey) -> Verdict {
    let mut verdict = Verdict::new(Invariant::Tree, "always a tree");
    verdict.exercised = (survey.journal.len() + survey.tree.len()) as u64;
    verdict.violations = Tree::after(survey.root, &survey.journal).1;
    for listing in [&survey.early_tree, &survey.tree] {
        verdict.violations.extend(strays(survey, listing));
    }
    verdict
}

fn strays(survey: &Survey, listing: &[(Path, Entry)]) -> Vec<String> {
    let dirs = listing.iter().filter(|(_, entry)| entry.kind == Kind::Dir).map(|(path, _)| path.clone());
    let dirs: BTreeSet<Path> = dirs.chain([Path::root()]).collect();
    let mut inodes = BTreeSet::from([survey.root]);
    let mut names = BTreeSet::new();
    let mut strays = Vec::new();
    for (path, entry) in listing {
        if !names.insert(path) {
            strays.push(format!("{path} is listed twice"));
        }
        if !inodes.insert(entry.inode) {
            strays.push(format!("{} of {path} is in the tree twice", entry.inode));
        }
        if path.split_last().is_none_or(|(parent, _)| !dirs.contains(&parent)) {
            strays.push(format!("{path} is in no directory"));
        }
    }
    strays
}
