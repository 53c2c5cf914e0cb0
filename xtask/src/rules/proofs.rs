//! Every promise of docs/invariants.md is cited where a machine checks it: in a test, in a checker of `oracle` or in
//! a script. A promise without a checker is a wish.

use std::collections::BTreeSet;

use super::invariants::{PAGE, citations};
use crate::finding::Finding;
use crate::tree::SourceFile;

/// Name of the rule.
pub const RULE: &str = "proofs";

/// Compares the headings of the page with what checkers cite. A page that is missing is reported by `invariants`.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let cited: BTreeSet<&str> =
        files.iter().flat_map(checkers).flat_map(str::lines).flat_map(promises).collect();
    let page = files.iter().find(|file| file.path == PAGE).map_or("", |page| page.text.as_str());
    let headings = page.lines().enumerate().filter(|(_, line)| line.starts_with("## "));
    let defined = headings.filter_map(|(index, line)| Some((index + 1, *citations(line).first()?)));
    let finding = |(line, id)| {
        let advice = format!("no test and no checker cites {id}: name it in the one that would fail");
        Finding::new(RULE, PAGE, line, advice)
    };
    defined.filter(|(_, id)| !cited.contains(id)).map(finding).collect()
}

/// The parts of a file that check something when they run. The tests of these rules cite promises only as examples,
/// and nobody runs an example.
fn checkers(file: &SourceFile) -> Vec<&str> {
    let is_checker = file.path.starts_with("oracle/src/check") || file.path == "oracle/src/survey.rs";
    let is_script = file.path.starts_with("scripts/") && file.path.ends_with(".sh");
    if is_script || (is_checker && file.is_rust()) {
        vec![&file.text]
    } else if file.room() == "xtask" || file.path.contains("/examples/") {
        Vec::new()
    } else {
        file.test_text().collect()
    }
}

/// What a line cites. A step such as `I-DISK-1` stands for its promise as well.
fn promises(line: &str) -> impl Iterator<Item = &str> {
    citations(line)
        .into_iter()
        .map(|id| id.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::expect;

    #[track_caller]
    fn check_cited(path: &str, text: &str, is_proof: bool) {
        let page = SourceFile::new(PAGE, "# Invariants\n\n## I-GC: nothing is lost\n\nLike I-LIN.\n");
        let want: &[&str] =
            if is_proof { &[] } else { &["docs/invariants.md:3 no test and no checker cites I-GC"] };
        expect(&check(&[page, SourceFile::new(path, text)]), want);
    }

    #[test]
    fn what_runs_is_a_proof() {
        check_cited("kv/src/tests.rs", "//! Goal: I-GC holds.", true);
        check_cited("kv/tests/a.rs", "/// I-GC-1.\n#[test]\nfn a() {}", true);
        check_cited("kv/src/a.rs", "#[cfg(test)]\nmod tests {\n    // I-GC\n}", true);
        check_cited("kv/src/conformance.rs", "// I-GC", true);
        check_cited("oracle/src/check.rs", "//! Checks I-GC.", true);
        check_cited("oracle/src/check/tree.rs", "//! Checks I-GC.", true);
        check_cited("oracle/src/survey.rs", "// I-GC", true);
        check_cited("scripts/smoke.sh", "# I-GC", true);
    }

    #[test]
    fn what_does_not_run_is_none() {
        check_cited("kv/src/a.rs", "// Keeps I-GC.\n#[cfg(test)]\nmod tests { }", false);
        check_cited("kv/src/tests.rs", "// I-GCX, I-LIN", false);
        check_cited("oracle/src/worker.rs", "// I-GC", false);
        check_cited("net/examples/a.rs", "// I-GC", false);
        check_cited("xtask/src/rules/tests.rs", "// I-GC", false);
        check_cited("docs/tests.md", "I-GC", false);
    }
}
