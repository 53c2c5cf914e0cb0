//! The files of the workspace.

use std::path::Path;

/// One file. Paths are written with `/` from the root of the workspace.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// For example `kv/src/lib.rs`.
    pub path: String,
    /// The content; empty for a file that is not text.
    pub text: String,
    /// For Rust: the text with comments, strings and characters blanked. Otherwise empty.
    pub code: String,
}

impl SourceFile {
    /// A file with this content.
    pub fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { crate::rust::strip(text) } else { String::new() };
        Self { path: path.to_owned(), text: text.to_owned(), code }
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
    }
}
