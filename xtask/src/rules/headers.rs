//! Every module says what it is; every room says what it owns and what it does not know.

use crate::finding::Finding;
use crate::tree::SourceFile;

/// Name of the rule.
pub const RULE: &str = "headers";

/// Looks at the first lines of every file in `src`.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    files.iter().filter(|file| file.is_in_src()).filter_map(check_file).collect()
}

fn check_file(file: &SourceFile) -> Option<Finding> {
    let header: Vec<&str> = file.text.lines().take_while(|line| line.starts_with("//!")).collect();
    let has = |start: &str| {
        header.iter().any(|line| line.trim_start_matches("//!").trim_start().starts_with(start))
    };
    let is_room = matches!(file.path.split('/').collect::<Vec<_>>()[..], [_, "src", "lib.rs" | "main.rs"]);
    let advice = if header.is_empty() {
        "begin the file with `//! What this module is.`"
    } else if is_room && !has("Owns:") {
        "say in the header what the room owns: `//! Owns: …`"
    } else if is_room && !has("Knows nothing of:") {
        "say in the header what the room must not know: `//! Knows nothing of: …`"
    } else {
        return None;
    };
    Some(Finding::new(RULE, &file.path, 1, advice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::expect;

    #[track_caller]
    fn check_text(path: &str, text: &str, want: &[&str]) {
        expect(&check(&[SourceFile::new(path, text)]), want);
    }

    #[test]
    fn headers() {
        check_text("kv/src/lib.rs", "//! Keys.\n//!\n//! Owns: keys.\n//! Knows nothing of: files.\n", &[]);
        check_text("kv/src/lib.rs", "//! Keys.\n//! Knows nothing of: files.\n", &["what the room owns"]);
        check_text("kv/src/main.rs", "//! Keys.\n//! Owns: keys.\n", &["must not know"]);
        check_text("kv/src/lib.rs", "//! Keys.\nfn f() {}\n//! Owns: keys.\n", &["what the room owns"]);
        check_text("kv/src/real.rs", "//! RocksDB.\n", &[]);
        check_text("kv/src/real.rs", "use a;\n//! RocksDB.\n", &["begin the file"]);
        check_text("kv/src/real/lib.rs", "//! A part.\n", &[]);
        check_text("kv/tests/real.rs", "use a;\n", &[]);
    }
}
