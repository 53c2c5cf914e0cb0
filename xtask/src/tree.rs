//! The files of the workspace.

use std::ops::Range;
use std::path::Path;

use crate::rust::{self, Region};

/// One file. Paths are written with `/` from the root of the workspace.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// For example `kv/src/lib.rs`.
    pub path: String,
    /// The content; empty for a file that is not text.
    pub text: String,
    /// For Rust: the text with comments, strings and characters blanked. Otherwise empty.
    pub code: String,
    /// The parts that only tests need; one part when that is all of it.
    test_ranges: Vec<Range<usize>>,
}

impl SourceFile {
    /// A file with this content.
    pub fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { rust::strip(text) } else { String::new() };
        let mut file = Self { path: path.to_owned(), text: text.to_owned(), code, test_ranges: Vec::new() };
        if file.is_named_as_test() {
            file.become_test();
        } else {
            file.test_ranges = rust::regions(&file.code).into_iter().map(|region| region.range).collect();
        }
        file
    }

    /// The first directory: the room the file belongs to.
    pub fn room(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// True for Rust source.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// True when it lies in the `src` directory of its room.
    pub fn is_in_src(&self) -> bool {
        self.is_rust() && self.path.split('/').nth(1) == Some("src")
    }

    /// The file name.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The directory in which the modules lie that this file declares.
    pub fn module_directory(&self) -> &str {
        let own = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let around = own.rsplit_once('/').map_or("", |(around, _)| around);
        if matches!(self.name(), "lib.rs" | "main.rs" | "mod.rs") { around } else { own }
    }

    /// True when nothing of the file is part of the product: tests, what they share, and examples.
    pub fn is_test(&self) -> bool {
        self.test_ranges.contains(&(0..self.text.len()))
    }

    /// The code that is part of the product; what is not is blanked.
    pub fn product_code(&self) -> String {
        blank(&self.code, &self.test_ranges)
    }

    /// The text that is part of the product; what is not is blanked.
    pub fn product_text(&self) -> String {
        blank(&self.text, &self.test_ranges)
    }

    /// The text that only tests need.
    pub fn test_text(&self) -> impl Iterator<Item = &str> {
        self.test_ranges.iter().map(|range| &self.text[range.clone()])
    }

    fn is_named_as_test(&self) -> bool {
        let is_below = |directory: &str| self.path.split('/').rev().skip(1).any(|part| part == directory);
        let is_named = matches!(self.name(), "tests.rs" | "conformance.rs" | "testing.rs");
        self.is_rust() && (is_named || is_below("tests") || is_below("examples"))
    }

    fn become_test(&mut self) {
        self.test_ranges = std::iter::once(0..self.text.len()).collect();
    }
}

fn blank(text: &str, ranges: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for range in ranges {
        bytes[range.clone()].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    }
    String::from_utf8(bytes).expect("whole characters are blanked")
}

/// Turns files into tests whose module is declared behind `#[cfg(test)]`, with everything below them.
fn mark_declared_tests(files: &mut [SourceFile]) {
    let declared = |file: &SourceFile| {
        let directory = file.module_directory().to_owned();
        let modules = rust::regions(&file.code).into_iter().filter_map(|Region { module, .. }| module);
        modules.map(|module| format!("{directory}/{module}")).collect::<Vec<_>>()
    };
    for module in files.iter().flat_map(declared).collect::<Vec<_>>() {
        let belongs =
            |path: &str| path.strip_prefix(&module).is_some_and(|rest| rest.starts_with(['.', '/']));
        files.iter_mut().filter(|file| belongs(&file.path)).for_each(SourceFile::become_test);
    }
}

/// Reads all files below `root` except `.git` and what `.gitignore` names, sorted by path.
///
/// It does not ask git: a copy of the tree without its history is checked as well, and so are files nobody has
/// added yet.
pub fn load(root: &Path) -> Result<Vec<SourceFile>, String> {
    let ignored = Ignored::parse(&std::fs::read_to_string(root.join(".gitignore")).unwrap_or_default());
    let mut files = Vec::new();
    walk(root, "", &ignored, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    mark_declared_tests(&mut files);
    Ok(files)
}

fn walk(root: &Path, below: &str, ignored: &Ignored, files: &mut Vec<SourceFile>) -> Result<(), String> {
    let directory = root.join(below);
    let problem = |e: std::io::Error| format!("cannot read {}: {e}", directory.display());
    for entry in std::fs::read_dir(&directory).map_err(problem)? {
        let entry = entry.map_err(problem)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let kind = entry.file_type().map_err(problem)?;
        if ignored.matches(&path) {
            continue;
        } else if kind.is_dir() {
            walk(root, &path, ignored, files)?;
        } else if kind.is_file() {
            match std::fs::read(entry.path()) {
                Ok(bytes) => {
                    files.push(SourceFile::new(&path, &String::from_utf8(bytes).unwrap_or_default()))
                }
                // Somebody removed it while we looked.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(format!("cannot read {path}: {e}")),
            }
        }
    }
    Ok(())
}

/// The three shapes of `.gitignore` lines that this repository uses: `/path`, `*.ending` and `name/`.
struct Ignored {
    paths: Vec<String>,
    endings: Vec<String>,
    names: Vec<String>,
}

impl Ignored {
    fn parse(text: &str) -> Self {
        let mut ignored = Self { paths: vec![".git".to_owned()], endings: Vec::new(), names: Vec::new() };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match (line.strip_prefix('/'), line.strip_prefix('*')) {
                (Some(path), _) => ignored.paths.push(path.trim_end_matches('/').to_owned()),
                (_, Some(ending)) => ignored.endings.push(ending.to_owned()),
                _ => ignored.names.push(line.trim_end_matches('/').to_owned()),
            }
        }
        ignored
    }

    fn matches(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or_default();
        self.paths.iter().any(|p| p == path)
            || self.endings.iter().any(|ending| name.ends_with(ending))
            || self.names.iter().any(|n| n == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_shapes() {
        let ignored = Ignored::parse("# made here\n/target\n*.log\nnode_modules/\n");
        for path in [".git", "target", "a/b.log", "web/node_modules"] {
            assert!(ignored.matches(path), "{path}");
        }
        for path in ["a/target", "a/log.rs", ".gitignore", "node_modules.md"] {
            assert!(!ignored.matches(path), "{path}");
        }
    }

    #[test]
    fn a_file_knows_its_room() {
        let file = SourceFile::new("kv/src/real.rs", "a /* b */");
        assert_eq!((file.room(), file.name(), file.is_in_src()), ("kv", "real.rs", true));
        assert!(!SourceFile::new("kv/tests/src.rs", "").is_in_src());
        assert_eq!(file.code, "a        ");
        assert_eq!(file.module_directory(), "kv/src/real");
        assert_eq!(SourceFile::new("kv/src/lib.rs", "").module_directory(), "kv/src");
    }

    #[test]
    fn product_and_tests_are_told_apart() {
        let file = SourceFile::new("kv/src/a.rs", "/// A.\nfn a() {}\n#[cfg(test)]\nfn b() { \"I-GC\" }\n");
        assert_eq!(file.product_code().trim(), "fn a() {}");
        assert_eq!(file.product_text().trim(), "/// A.\nfn a() {}");
        assert_eq!(file.test_text().collect::<Vec<_>>(), ["#[cfg(test)]\nfn b() { \"I-GC\" }"]);
        for (path, is_test) in [
            ("kv/src/a.rs", false),
            ("kv/src/tests.rs", true),
            ("kv/src/tests/a.rs", true),
            ("kv/tests/a/mod.rs", true),
            ("kv/src/conformance.rs", true),
            ("net/src/testing.rs", true),
            ("net/examples/a.rs", true),
            ("net/src/latest.rs", false),
            ("net/src/testing/a.rs", false),
        ] {
            assert_eq!(SourceFile::new(path, "fn a() {}").is_test(), is_test, "{path}");
        }
        assert!(SourceFile::new("kv/src/golden.rs", "//! Bytes.\n#![cfg(test)]\n").is_test());
    }

    #[test]
    fn a_module_declared_for_tests_is_one() {
        let lib = "#[cfg(test)]\nmod refusals;\n#[cfg(test)]\npub(crate) mod deep;\nmod a;\n";
        let paths = ["net/src/refusals.rs", "net/src/deep/b.rs", "net/src/a.rs", "net/src/refusals_of.rs"];
        let mut files: Vec<SourceFile> = paths.iter().map(|path| SourceFile::new(path, "x")).collect();
        files.push(SourceFile::new("net/src/lib.rs", lib));
        mark_declared_tests(&mut files);
        let tests: Vec<bool> = files.iter().map(SourceFile::is_test).collect();
        assert_eq!(tests, [true, true, false, false, false]);
    }
}
