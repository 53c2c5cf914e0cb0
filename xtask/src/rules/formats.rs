//! Every format has a page, and the page names the test that reads its frozen bytes.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::rust;
use crate::tree::SourceFile;

/// Name of the rule.
pub const RULE: &str = "formats";

const FORMATS: &str = "docs/formats/";

/// Every page of docs/formats names, in backticks, a test that exists and golden files that exist; every `golden`
/// directory is mentioned on a page.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
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
            findings.push(Finding::new(RULE, &directory, 1, advice));
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
            Finding::new(RULE, &page.path, *line, format!("{word} does not exist: freeze it"))
        })
        .collect();
    if !names_test {
        let advice = "name the test that reads the golden bytes, in backticks: `room::module::reads_v1`";
        findings.push(Finding::new(RULE, &page.path, 1, advice));
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
        expect(&check(&golden("Frozen in `proto/golden`, read by `proto::frame::tests::reads_v1`.")), &[]);
        expect(&check(&golden("`proto/golden/frame_v1.bin`, `reads_v1()`.")), &[]);
        expect(&check(&golden("`proto/golden/frame_v1.bin`, `helper`.")), &["name the test"]);
        expect(&check(&golden("`proto/golden/frame_v2.bin`\n`reads_v1`")), &["frame_v2.bin does not exist"]);
        expect(&check(&golden("`reads_v1`")), &["proto/golden:1 no page"]);
    }
}
