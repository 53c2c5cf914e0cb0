//! `cargo xtask tidy`: runs every rule over the tree and prints what they find.

use std::path::Path;

use crate::finding::Finding;
use crate::rules::{
    arrows, bounds, circles, docs, doors, formats, headers, identity, invariants, limits, nouns, proofs,
    sizes, unsafety, verbs, words,
};
use crate::{metadata, tree};

/// A rule's name and what it found.
type Outcome = (&'static str, Vec<Finding>);

/// Prints every finding and one line per rule, or those of the rule `only`. False when something must be changed.
pub fn run(root: &Path, only: Option<&str>) -> Result<bool, String> {
    let files = tree::load(root)?;
    let rooms = metadata::load(root)?;
    let home = std::env::var("HOME").unwrap_or_default();
    let outcomes = vec![
        (arrows::RULE, arrows::check(&files, &rooms)),
        (circles::RULE, circles::check(&files)),
        (doors::RULE, doors::check(&files, &rooms)),
        (identity::RULE, identity::check(&files)),
        (unsafety::RULE, unsafety::check(&files)),
        (headers::RULE, headers::check(&files)),
        (sizes::RULE, sizes::check(&files)),
        (limits::RULE, limits::check(&files)),
        (bounds::RULE, bounds::check(&files)),
        (formats::RULE, formats::check(&files)),
        (invariants::RULE, invariants::check(&files)),
        (proofs::RULE, proofs::check(&files)),
        (words::RULE, words::check(&files, &home)),
        (nouns::RULE, nouns::check(&files)),
        (verbs::RULE, verbs::check(&files)),
        (docs::RULE, docs::check(&files)),
    ];
    let outcomes = select(outcomes, only)?;
    outcomes.iter().flat_map(|(_, findings)| findings).for_each(|finding| println!("{finding}"));
    println!("tidy: {} files, {} rooms", files.len(), rooms.len());
    outcomes.iter().for_each(|(rule, findings)| println!("{}", summary(rule, findings)));
    Ok(!outcomes.iter().flat_map(|(_, findings)| findings).any(|finding| finding.fails))
}

/// The rules that were asked for: all, or one.
fn select(outcomes: Vec<Outcome>, only: Option<&str>) -> Result<Vec<Outcome>, String> {
    let Some(only) = only else { return Ok(outcomes) };
    let names: Vec<&str> = outcomes.iter().map(|(rule, _)| *rule).collect();
    if !names.contains(&only) {
        return Err(format!("there is no rule {only}; the rules are {}", names.join(", ")));
    }
    Ok(outcomes.into_iter().filter(|(rule, _)| *rule == only).collect())
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

    #[test]
    fn one_rule_can_be_asked_for() {
        let outcomes = || vec![("doors", Vec::new()), ("words", Vec::new())];
        assert_eq!(select(outcomes(), None), Ok(outcomes()));
        assert_eq!(select(outcomes(), Some("words")), Ok(vec![("words", Vec::new())]));
        let problem = select(outcomes(), Some("word"));
        assert_eq!(problem, Err("there is no rule word; the rules are doors, words".to_owned()));
    }
}
