//! What the compiler cannot check stands in few files, and each place says why it is right.

use crate::finding::Finding;
use crate::rust::{self, LineIndex};
use crate::tree::SourceFile;

/// Name of the rule.
pub const RULE: &str = "unsafe";

/// The files that may. The list only shrinks.
const FILES: &[&str] = &[
    "chunk/src/erasure/kernel.rs",
    "env/src/disk/real.rs",
    "env/src/memory.rs",
    "env/src/process.rs",
    "kv/src/rocks.rs",
];

const ITSELF: &str = "xtask/src/rules/unsafety.rs";

/// How far above its place a reason may begin.
const REASON_LINES_MAX: usize = 6; // A reason of three lines, above attributes and the head of a statement.

/// Looks for the keyword, in tests as well.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    check_with(files, FILES)
}

fn check_with(files: &[SourceFile], allowed: &[&str]) -> Vec<Finding> {
    let places: Vec<(&SourceFile, Vec<usize>)> =
        files.iter().filter(|file| file.is_rust()).map(|file| (file, places(file))).collect();
    let stale = allowed
        .iter()
        .filter(|path| !places.iter().any(|(file, lines)| file.path == **path && !lines.is_empty()));
    let stale = stale.map(|path| {
        let advice = format!("{path} has nothing unsafe: take it off the list");
        Finding::new(RULE, ITSELF, 1, advice)
    });
    let found =
        places.iter().flat_map(|(file, lines)| lines.iter().filter_map(|line| judge(file, *line, allowed)));
    found.chain(stale).collect()
}

/// The lines of the keyword.
fn places(file: &SourceFile) -> Vec<usize> {
    let lines = LineIndex::new(&file.code);
    rust::places(&file.code, "unsafe").map(|at| lines.line(at)).collect()
}

fn judge(file: &SourceFile, line: usize, allowed: &[&str]) -> Option<Finding> {
    let advice = if !allowed.contains(&file.path.as_str()) {
        "this file may not be unsafe: use what env, chunk or kv offer"
    } else if !has_reason(file, line) {
        "say above it in a comment why this is right: `// SAFETY: …`"
    } else {
        return None;
    };
    Some(Finding::new(RULE, &file.path, line, advice))
}

fn has_reason(file: &SourceFile, line: usize) -> bool {
    let is_reason = |text: &str| {
        text.split_once("//").is_some_and(|(_, comment)| {
            comment.contains("SAFETY:") || comment.trim_start_matches('/').trim() == "# Safety"
        })
    };
    let first = line.saturating_sub(1 + REASON_LINES_MAX);
    file.text.lines().take(line).skip(first).any(is_reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::expect;

    #[track_caller]
    fn check_text(path: &str, text: &str, want: &[&str]) {
        expect(&check_with(&[SourceFile::new(path, text)], &["kv/src/rocks.rs"]), want);
    }

    #[test]
    fn a_reason_stands_above() {
        let path = "kv/src/rocks.rs";
        check_text(path, "// SAFETY: it outlives us.\nlet a =\n    unsafe { b() };", &[]);
        check_text(path, "unsafe { b() } // SAFETY: no pointers.", &[]);
        check_text(path, "/// # Safety\n///\n/// Needs AVX2.\n#[inline]\nunsafe fn a() {}", &[]);
        check_text(path, "unsafe { b() }", &["kv/src/rocks.rs:1 say above it"]);
        check_text(path, "unsafe impl Send for A {}", &["rocks.rs:1 say above it"]);
        check_text(path, "unsafe extern \"C\" {}", &["rocks.rs:1 say above it"]);
        check_text(path, "unsafe { \"SAFETY:\" }", &["rocks.rs:1 say above it"]);
        let far = format!("// SAFETY: once.\n{}unsafe {{ b() }}", "\n".repeat(6));
        check_text(path, &far, &["rocks.rs:8 say above it"]);
        check_text(path, &far.replacen("\n\n", "\n", 1), &[]);
    }

    #[test]
    fn other_files_may_not() {
        let known = "// SAFETY: a.\nunsafe { b() }";
        let files = |path| [SourceFile::new("kv/src/rocks.rs", known), SourceFile::new(path, known)];
        expect(
            &check_with(&files("kv/src/a.rs"), &["kv/src/rocks.rs"]),
            &["kv/src/a.rs:2 this file may not"],
        );
        expect(&check_with(&files("kv/src/tests.rs"), &["kv/src/rocks.rs"]), &["this file may not"]);
        expect(&check_with(&files("kv/a.md"), &["kv/src/rocks.rs"]), &[]);
    }

    #[test]
    fn the_list_only_shrinks() {
        check_text(
            "kv/src/rocks.rs",
            "// unsafe\nfn a() { is_unsafe() }",
            &["kv/src/rocks.rs has nothing unsafe"],
        );
        check_text("kv/src/a.rs", "", &["take it off the list"]);
    }
}
