//! Paths with imports resolved.

use std::ops::Range;

use super::{LineIndex, is_word, next_word};

/// A path such as `std::fs::read`, as it would be written in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodePath {
    /// Line of its first segment, from 1.
    pub line: usize,
    /// Position of its first segment, or of the `use` that it is part of.
    pub position: usize,
    /// Its segments; the last is `*` for a glob import.
    pub segments: Vec<String>,
    /// The name under which a `use` brings it into the file; `None` where it is only used.
    pub alias: Option<String>,
    /// True for a `use` that hands the name on: `pub use`, `pub(crate) use`.
    pub is_export: bool,
}

/// All imports and all paths of two segments and more. A path whose first segment was imported is resolved.
pub fn paths(code: &str) -> Vec<CodePath> {
    let lines = LineIndex::new(code);
    let path = |position, segments| CodePath {
        line: lines.line(position),
        position,
        segments,
        alias: None,
        is_export: false,
    };
    let mut imports = Vec::new();
    let mut uses = Vec::new();
    let mut index = 0;
    while let Some(word) = next_word(code, index) {
        index = word.end;
        if let Some(tree) = import(code, &word) {
            index = tree.end;
            let base = CodePath { is_export: is_export(&code[..word.start]), ..path(word.start, Vec::new()) };
            expand_use(&base, &code[tree], &mut imports);
        } else {
            let mut segments = vec![code[word.clone()].to_owned()];
            while let Some(next) = segment_after(code, index) {
                segments.push(code[next.clone()].to_owned());
                index = next.end;
            }
            let is_field = code[..word.start].ends_with('.') && !code[..word.start].ends_with("..");
            if segments.len() > 1 && !is_field {
                uses.push(path(word.start, segments));
            }
        }
    }
    let resolved: Vec<CodePath> = uses.iter().flat_map(|path| resolve(path, &imports)).collect();
    imports.into_iter().chain(resolved).collect()
}

/// The code with its imports blanked: what is left uses the names.
pub fn without_imports(code: &str) -> String {
    let mut rest = code.to_owned();
    for word in super::words(code) {
        if let Some(tree) = import(code, &word) {
            rest.replace_range(tree.clone(), &" ".repeat(tree.len()));
        }
    }
    rest
}

/// What stands between `use` and its semicolon; `None` for other words and for the `use<'a>` of a type.
fn import(code: &str, word: &Range<usize>) -> Option<Range<usize>> {
    let is_import = &code[word.clone()] == "use" && !code[word.end..].trim_start().starts_with('<');
    is_import.then(|| word.end..code[word.end..].find(';').map_or(code.len(), |at| word.end + at))
}

/// True when a visibility stands right before a `use`.
fn is_export(before: &str) -> bool {
    let before = before.trim_end();
    let before = match before.strip_suffix(')') {
        Some(inside) => &before[..inside.rfind('(').unwrap_or(0)],
        None => before,
    };
    before.strip_suffix("pub").is_some_and(|rest| !rest.bytes().next_back().is_some_and(is_word))
}

fn segment_after(code: &str, index: usize) -> Option<Range<usize>> {
    let rest = code[index..].strip_prefix("::")?;
    let len = rest.bytes().take_while(|&b| is_word(b)).count();
    (len > 0).then(|| index + 2..index + 2 + len)
}

/// The path as written, or with its first segment replaced by each import of that name.
fn resolve(path: &CodePath, imports: &[CodePath]) -> Vec<CodePath> {
    let named: Vec<&CodePath> =
        imports.iter().filter(|import| import.alias.as_ref() == Some(&path.segments[0])).collect();
    if named.is_empty() {
        return vec![path.clone()];
    }
    let full = |import: &&CodePath| CodePath {
        segments: [&import.segments[..], &path.segments[1..]].concat(),
        ..path.clone()
    };
    named.iter().map(full).collect()
}

/// Adds every name that `tree` brings in; the segments of `base` stand before all of them.
fn expand_use(base: &CodePath, tree: &str, imports: &mut Vec<CodePath>) {
    let segments = |text: &str| -> Vec<String> {
        // `a::{self}` is `a`; only at the beginning does the word name a module of its own.
        let is_own = |s: &&str| !s.is_empty() && (*s != "self" || base.segments.is_empty());
        let own = text.split("::").map(str::trim).filter(is_own).map(str::to_owned);
        base.segments.iter().cloned().chain(own).collect()
    };
    let tree = tree.trim();
    if let Some((head, body)) = tree.split_once('{') {
        let body = body.strip_suffix('}').unwrap_or(body);
        let base = CodePath { segments: segments(head), ..base.clone() };
        split_at_commas(body).into_iter().for_each(|part| expand_use(&base, part, imports));
    } else if !tree.is_empty() {
        let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias)));
        let segments = segments(path);
        let alias = alias.map(|a| a.trim().to_owned()).or_else(|| segments.last().cloned());
        imports.push(CodePath { segments, alias, ..base.clone() });
    }
}

fn split_at_commas(body: &str) -> Vec<&str> {
    let mut depth = 0;
    body.split(move |c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}
