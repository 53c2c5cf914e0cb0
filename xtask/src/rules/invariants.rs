//! Code cites only invariants that exist.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::rust;
use crate::tree::SourceFile;

/// Name of the rule.
pub const RULE: &str = "invariants";

/// The page that defines them.
pub const PAGE: &str = "docs/invariants.md";

/// Every invariant that code cites is defined in docs/invariants.md: in a heading or in bold.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![Finding::new(RULE, PAGE, 1, "is missing; it defines the promises that code cites")];
    };
    let defines = |line: &str| line.starts_with('#') || line.contains("**");
    let defined: BTreeSet<&str> =
        page.text.lines().filter(|line| defines(line)).flat_map(citations).collect();
    let cited = files
        .iter()
        .filter(|file| file.is_rust() && file.room() != "xtask")
        .flat_map(|file| file.text.lines().enumerate().map(move |(index, line)| (file, index + 1, line)));
    cited
        .flat_map(|(file, line, text)| citations(text).into_iter().map(move |id| (file, line, id)))
        .filter(|(_, _, id)| !defined.contains(id))
        .map(|(file, line, id)| {
            let advice = format!("{id} is not defined: write it down in {PAGE}, or cite the one you mean");
            Finding::new(RULE, &file.path, line, advice)
        })
        .collect()
}

/// The ids in a line: `I-`, capital letters, and perhaps `-` and a number.
pub fn citations(line: &str) -> Vec<&str> {
    let is_start =
        |at: usize| at == 0 || !(rust::is_word(line.as_bytes()[at - 1]) || line.as_bytes()[at - 1] == b'-');
    let starts = line.match_indices("I-").map(|(at, _)| at).filter(|&at| is_start(at));
    starts.filter_map(|at| citation(&line[at..])).collect()
}

fn citation(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let letters = bytes[2..].iter().take_while(|b| b.is_ascii_uppercase()).count();
    let end = 2 + letters;
    let digits = match bytes.get(end) {
        Some(b'-') => bytes[end + 1..].iter().take_while(|b| b.is_ascii_digit()).count(),
        _ => 0,
    };
    let is_word = digits == 0 && bytes.get(end).is_some_and(|&b| rust::is_word(b));
    // One letter is not a name: `I-O`, `I-P frames`.
    (letters > 1 && !is_word).then(|| &text[..if digits > 0 { end + 1 + digits } else { end }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::expect;

    #[test]
    fn citations_are_found() {
        assert_eq!(citations("(I-PLACE-1), I-GC: and I-DISK-"), ["I-PLACE-1", "I-GC", "I-DISK"]);
        assert_eq!(citations("I-O, AI-GC, -I-GC, I-Frame, I-GCx, I-"), Vec::<&str>::new());
    }

    #[test]
    fn cited_invariants_exist() {
        let page = SourceFile::new(PAGE, "## I-GC: nothing is lost\n- **I-GC-1** a step\nSee I-LIN.\n");
        let code = SourceFile::new("kv/src/a.rs", "//! Keeps I-GC and I-GC-1.\n// I-LIN I-GC-2\n");
        let want = ["kv/src/a.rs:2 I-LIN is not defined", "kv/src/a.rs:2 I-GC-2 is not defined"];
        expect(&check(&[page, code]), &want);
        expect(&check(&[]), &["is missing"]);
    }
}
