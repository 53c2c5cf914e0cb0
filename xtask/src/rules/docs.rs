//! Documents and code name each other: a format its golden test, a citation an invariant that exists.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::rust;
use crate::tree::SourceFile;

/// Name of the rule about docs/formats.
pub const RULE_FORMATS: &str = "formats";
/// Name of the rule about docs/invariants.md.
pub const RULE_INVARIANTS: &str = "invariants";

const FORMATS: &str = "docs/formats/";
const INVARIANTS: &str = "docs/invariants.md";

/// Every page of docs/formats names, in backticks, a test that exists and golden files that exist; every `golden`
/// directory is mentioned on a page.
pub fn check_formats(files: &[SourceFile]) -> Vec<Finding> {
    let pages: Vec<&SourceFile> = files
        .iter()
        .filter(|file| {
            file.path.starts_with(FORMATS) && file.path.ends_with(".md") && file.name() != "README.md"
        })
        .collect();
    let functions = files.iter().filter(|file| file.is_rust()).flat_map(|file| rust::functions(&file.code));
    let tests: BTreeSet<String> = functions.filter(|f| f.is_test).map(|f| f.name).collect();
    let mut findings: Vec<Finding> = pages.iter().flat_map(|page| check_page(page, files, &tests)).collect();
    for directory in golden_directories(files) {
        if !pages.iter().any(|page| page.text.contains(&directory)) {
            let advice =
                format!("no page of {FORMATS} mentions {directory}: draw the format and name its test");
            findings.push(Finding::new(RULE_FORMATS, &directory, 1, advice));
        }
    }
    findings
}

fn check_page(page: &SourceFile, files: &[SourceFile], tests: &BTreeSet<String>) -> Vec<Finding> {
    let quoted = quoted(&page.text);
    let names_test = quoted.iter().any(|(_, word)| {
        let name = word.rsplit("::").next().unwrap_or_default().trim_end_matches("()");
        tests.contains(name)
    });
    let missing = quoted.iter().filter(|(_, word)| {
        word.contains("golden/")
            && word.rsplit('/').next().is_some_and(|name| name.contains('.') && !name.contains('*'))
            && !files.iter().any(|file| file.path.ends_with(word))
    });
    let mut findings: Vec<Finding> = missing
        .map(|(line, word)| {
            Finding::new(RULE_FORMATS, &page.path, *line, format!("{word} does not exist: freeze it"))
        })
        .collect();
    if !names_test {
        let advice = "name the test that reads the golden bytes, in backticks: `room::module::reads_v1`";
        findings.push(Finding::new(RULE_FORMATS, &page.path, 1, advice));
    }
    findings
}

/// Everything between single backticks, with its line.
fn quoted(text: &str) -> Vec<(usize, &str)> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("```"));
    lines
        .flat_map(|(index, line)| line.split('`').skip(1).step_by(2).map(move |word| (index + 1, word)))
        .collect()
}

/// Directories called `golden`, for example `proto/golden`.
fn golden_directories(files: &[SourceFile]) -> BTreeSet<String> {
    let directory = |file: &SourceFile| Some(format!("{}/golden", file.path.split_once("/golden/")?.0));
    files.iter().filter_map(directory).collect()
}

/// Every invariant that code cites is defined in docs/invariants.md: in a heading or in bold.
pub fn check_invariants(files: &[SourceFile]) -> Vec<Finding> {
    let Some(page) = files.iter().find(|file| file.path == INVARIANTS) else {
        return vec![Finding::new(
            RULE_INVARIANTS,
            INVARIANTS,
            1,
            "is missing; it defines the promises that code cites",
        )];
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
            let advice =
                format!("{id} is not defined: write it down in {INVARIANTS}, or cite the one you mean");
            Finding::new(RULE_INVARIANTS, &file.path, line, advice)
        })
        .collect()
}

/// The ids in a line: `I-`, capital letters, and perhaps `-` and a number.
fn citations(line: &str) -> Vec<&str> {
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

    fn golden(page: &str) -> Vec<SourceFile> {
        vec![
            SourceFile::new("docs/formats/frame.md", page),
            SourceFile::new("docs/formats/README.md", "An index."),
            SourceFile::new("proto/golden/frame_v1.bin", ""),
            SourceFile::new("proto/src/frame/tests.rs", "#[test]\nfn reads_v1() {}\nfn helper() {}\n"),
        ]
    }

    #[test]
    fn formats_name_their_test() {
        expect(
            &check_formats(&golden("Frozen in `proto/golden`, read by `proto::frame::tests::reads_v1`.")),
            &[],
        );
        expect(&check_formats(&golden("`proto/golden/frame_v1.bin`, `reads_v1()`.")), &[]);
        expect(&check_formats(&golden("`proto/golden/frame_v1.bin`, `helper`.")), &["name the test"]);
        expect(
            &check_formats(&golden("`proto/golden/frame_v2.bin`\n`reads_v1`")),
            &["frame_v2.bin does not exist"],
        );
        expect(&check_formats(&golden("`reads_v1`")), &["proto/golden:1 no page"]);
    }

    #[test]
    fn citations_are_found() {
        assert_eq!(citations("(I-PLACE-1), I-GC: and I-DISK-"), ["I-PLACE-1", "I-GC", "I-DISK"]);
        assert_eq!(citations("I-O, AI-GC, -I-GC, I-Frame, I-GCx, I-"), Vec::<&str>::new());
    }

    #[test]
    fn cited_invariants_exist() {
        let page = SourceFile::new(INVARIANTS, "## I-GC: nothing is lost\n- **I-GC-1** a step\nSee I-LIN.\n");
        let code = SourceFile::new("kv/src/a.rs", "//! Keeps I-GC and I-GC-1.\n// I-LIN I-GC-2\n");
        let want = ["kv/src/a.rs:2 I-LIN is not defined", "kv/src/a.rs:2 I-GC-2 is not defined"];
        expect(&check_invariants(&[page, code]), &want);
        expect(&check_invariants(&[]), &["is missing"]);
    }
}
