//! Files and functions stay small enough to read.

use crate::finding::Finding;
use crate::rust;
use crate::tree::SourceFile;

/// Name of the rule.
pub const RULE: &str = "sizes";

const FILE_LINES_GOOD: usize = 400;
const FILE_LINES_MAX: usize = 600; // Above the aim, so that a file may grow while its next split is thought out.
const TEST_FILE_LINES_MAX: usize = 900; // Tables of cases are long and still easy to read.
const FUNCTION_LINES_MAX: usize = 100; // The aim is one screen; this is where it stops being a matter of taste.

/// Measures every Rust file.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    files.iter().filter(|file| file.is_rust()).flat_map(check_file).collect()
}

fn check_file(file: &SourceFile) -> Vec<Finding> {
    let is_tests = file.name() == "tests.rs" || file.path.split('/').any(|part| part == "tests");
    let lines_max = if is_tests { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX };
    let lines = file.text.lines().count();
    let length = if lines > lines_max {
        let advice =
            format!("{lines} lines, at most {lines_max}: give one of its concepts a file of its own");
        Some(Finding::new(RULE, &file.path, lines, advice))
    } else if lines > FILE_LINES_GOOD && !is_tests {
        let advice = format!("{lines} lines, the aim is {FILE_LINES_GOOD}");
        Some(Finding::warning(RULE, &file.path, lines, advice))
    } else {
        None
    };
    let long =
        rust::functions(&file.code).into_iter().filter(|function| function.line_count > FUNCTION_LINES_MAX);
    let functions = long.map(|f| {
        let advice =
            format!("{} has {} lines, at most {FUNCTION_LINES_MAX}: split it by step", f.name, f.line_count);
        Finding::new(RULE, &file.path, f.line, advice)
    });
    length.into_iter().chain(functions).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::expect;

    #[track_caller]
    fn check_lines(path: &str, lines: usize, want: &[&str]) {
        expect(&check(&[SourceFile::new(path, &"//\n".repeat(lines))]), want);
    }

    #[test]
    fn files() {
        check_lines("kv/src/a.rs", 400, &[]);
        check_lines("kv/src/a.rs", 601, &["601 lines, at most 600"]);
        check_lines("kv/src/a/tests.rs", 900, &[]);
        check_lines("kv/tests/a.rs", 901, &["at most 900"]);
        check_lines("kv/a.md", 5000, &[]);
    }

    #[test]
    fn a_file_over_the_aim_only_warns() {
        let findings = check(&[SourceFile::new("kv/src/a.rs", &"//\n".repeat(600))]);
        expect(&findings, &["600 lines, the aim is 400"]);
        assert!(!findings[0].fails);
    }

    #[test]
    fn functions() {
        let function =
            |lines: usize| format!("fn good() {{}}\nfn f() {{\n{}}}\n", "    x();\n".repeat(lines - 2));
        expect(&check(&[SourceFile::new("kv/src/a.rs", &function(100))]), &[]);
        expect(&check(&[SourceFile::new("kv/src/a.rs", &function(101))]), &["a.rs:2 f has 101 lines"]);
    }
}
