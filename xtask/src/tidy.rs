//! `cargo xtask tidy`: runs every rule over the tree and prints what they find.

use std::path::Path;

use crate::finding::Finding;
use crate::rules::{arrows, docs, doors, headers, limits, sizes, words};
use crate::{metadata, tree};

/// Prints every finding and one line per rule. False when something must be changed.
pub fn run(root: &Path) -> Result<bool, String> {
    let files = tree::load(root)?;
    let rooms = metadata::load(root)?;
    let home = std::env::var("HOME").unwrap_or_default();
    let rules: [(&str, Vec<Finding>); 8] = [
        (arrows::RULE, arrows::check(&files, &rooms)),
        (doors::RULE, doors::check(&files, &rooms)),
        (headers::RULE, headers::check(&files)),
        (sizes::RULE, sizes::check(&files)),
        (limits::RULE, limits::check(&files)),
        (docs::RULE_FORMATS, docs::check_formats(&files)),
        (docs::RULE_INVARIANTS, docs::check_invariants(&files)),
        (words::RULE, words::check(&files, &home)),
    ];
    rules.iter().flat_map(|(_, findings)| findings).for_each(|finding| println!("{finding}"));
    println!("tidy: {} files, {} rooms", files.len(), rooms.len());
    rules.iter().for_each(|(rule, findings)| println!("{}", summary(rule, findings)));
    Ok(!rules.iter().flat_map(|(_, findings)| findings).any(|finding| finding.fails))
}

fn summary(rule: &str, findings: &[Finding]) -> String {
    let failures = findings.iter().filter(|f| f.fails).count();
    let warnings = findings.len() - failures;
    let verdict = if failures == 0 { "ok".to_owned() } else { format!("{failures} to change") };
    match warnings {
        0 => format!("  {rule:<11} {verdict}"),
        _ => format!("  {rule:<11} {verdict}, {warnings} warnings"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_both_kinds() {
        let failure = Finding::new("doors", "a.rs", 1, "x");
        let warning = Finding::warning("doors", "a.rs", 1, "x");
        assert_eq!(summary("doors", &[]), "  doors       ok");
        assert_eq!(summary("doors", &[failure, warning.clone()]), "  doors       1 to change, 1 warnings");
        assert_eq!(summary("doors", &[warning]), "  doors       ok, 1 warnings");
    }
}
