//! Which parts of a file are only there for tests.

use std::ops::Range;

use super::{after_bracket, next_word};

const MARKS: &[&str] = &["#[cfg(test)]", "#[cfg(all(test,"];

/// Something that is compiled for tests only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// From its attribute to its end.
    pub range: Range<usize>,
    /// Its name when it is a module that stands in a file of its own.
    pub module: Option<String>,
}

/// All items, fields and statements behind `#[cfg(test)]`; everything when the file itself says `#![cfg(test)]`.
pub fn regions(code: &str) -> Vec<Region> {
    if code.contains("#![cfg(test)]") {
        return vec![Region { range: 0..code.len(), module: None }];
    }
    let mut regions = Vec::new();
    let mut from = 0;
    let next = |from: usize| MARKS.iter().filter_map(|mark| Some(from + code[from..].find(mark)?)).min();
    while let Some(start) = next(from) {
        let item = after_attributes(code, start);
        let end = item_end(code, item);
        regions.push(Region { range: start..end, module: file_module(&code[item..end]) });
        from = end;
    }
    regions
}

/// Skips attributes from `at` on, and the space between them.
fn after_attributes(code: &str, at: usize) -> usize {
    let at = code.len() - code[at..].trim_start().len();
    if code[at..].starts_with("#[") { after_attributes(code, after_bracket(code, at + 1)) } else { at }
}

/// `item` ends with its body or its semicolon; a field, a variant or an argument ends with a comma.
fn item_end(code: &str, item: usize) -> usize {
    let ends_with_comma = !is_item(&code[item..]);
    let mut depth = 0;
    for (offset, byte) in code[item..].bytes().enumerate() {
        let at = item + offset;
        match byte {
            b'{' if depth == 0 => return after_bracket(code, at),
            b';' if depth == 0 => return at + 1,
            b',' if depth == 0 && ends_with_comma => return at + 1,
            b')' | b']' | b'}' if depth == 0 => return at, // It was the last of its list.
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

fn is_item(code: &str) -> bool {
    const KEYWORDS: &[&str] = &[
        "async", "const", "enum", "extern", "fn", "impl", "let", "mod", "static", "struct", "trait", "type",
        "unsafe", "use",
    ];
    next_word(code, 0).is_some_and(|word| match &code[word.clone()] {
        "pub" => is_item(after_visibility(&code[word.end..])),
        word => KEYWORDS.contains(&word),
    })
}

fn after_visibility(code: &str) -> &str {
    if code.starts_with('(') { &code[after_bracket(code, 0)..] } else { code }
}

/// The `x` of `pub mod x;`.
fn file_module(item: &str) -> Option<String> {
    let words: Vec<&str> = item.strip_suffix(';')?.split_whitespace().collect();
    match words[..] {
        ["mod", name] | [_, "mod", name] => Some(name.to_owned()),
        _ => None,
    }
}
