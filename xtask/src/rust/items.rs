//! Functions, types and modules: what they are called and how far they reach.

use std::ops::Range;

use super::{LineIndex, after_bracket, next_word, words};

/// One function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// As it is called.
    pub name: String,
    /// Line of `fn`, from 1.
    pub line: usize,
    /// Lines from `fn` to the closing brace.
    pub line_count: usize,
    /// True for a test.
    pub is_test: bool,
}

/// All functions that have a body.
pub fn functions(code: &str) -> Vec<Function> {
    let lines = LineIndex::new(code);
    let mut functions = Vec::new();
    let mut index = 0;
    let mut attributes_from = 0;
    while let Some(word) = next_word(code, index) {
        index = word.end;
        if &code[word.clone()] != "fn" {
            continue;
        }
        // `fn(…)` is a type, not a function.
        let Some(name) = name_after(code, index) else { continue };
        let Some(body) = body(code, name.end) else { continue };
        let line = lines.line(word.start);
        functions.push(Function {
            name: code[name].to_owned(),
            line,
            line_count: lines.line(body.end - 1) - line + 1,
            is_test: is_test(&code[attributes_from..word.start]),
        });
        // Nested functions are found as well.
        index = body.start + 1;
        attributes_from = index;
    }
    functions
}

/// The names of all functions, also of those in traits that have no body.
pub fn declared_functions(code: &str) -> impl Iterator<Item = &str> {
    let keywords = words(code).filter(|word| &code[word.clone()] == "fn");
    keywords.filter_map(|word| Some(&code[name_after(code, word.end)?]))
}

/// True when the last item of `before` (the text up to `fn`) is a test attribute among other attributes.
fn is_test(before: &str) -> bool {
    let from = before.rfind(['}', ';', '{']).map_or(0, |at| at + 1);
    let attributes = &before[from..];
    attributes.contains("#[test]") || attributes.contains("#[tokio::test")
}

/// The braces that follow a signature; `None` when it ends with `;`.
fn body(code: &str, from: usize) -> Option<Range<usize>> {
    let mut nesting = 0;
    for (offset, byte) in code[from..].bytes().enumerate() {
        match byte {
            b'(' | b'[' => nesting += 1,
            b')' | b']' => nesting -= 1,
            b';' if nesting == 0 => return None,
            b'{' if nesting == 0 => return Some(from + offset..after_bracket(code, from + offset)),
            _ => {}
        }
    }
    None
}

/// The word that follows a keyword and nothing but space.
fn name_after(code: &str, from: usize) -> Option<Range<usize>> {
    next_word(code, from).filter(|name| code[from..name.start].trim().is_empty())
}

/// The name and line of every `struct`, `enum` and `trait`, and of every `type` that stands in a module. An
/// associated type is not a name of its own.
pub fn types(code: &str) -> Vec<(String, usize)> {
    let lines = LineIndex::new(code);
    let modules = modules(code);
    let is_in_module = |at: usize| {
        let around = modules.iter().filter(|(_, body)| body.contains(&at)).count();
        code[..at].matches('{').count() - code[..at].matches('}').count() == around
    };
    let keywords = words(code).filter(|word| match &code[word.clone()] {
        "struct" | "enum" | "trait" => true,
        "type" => !code[..word.start].ends_with('#') && is_in_module(word.start),
        _ => false,
    });
    let name =
        |word: Range<usize>| Some((code[name_after(code, word.end)?].to_owned(), lines.line(word.start)));
    keywords.filter_map(name).collect()
}

/// The name and braces of every module that is written inside of this file, the outer one first.
pub fn modules(code: &str) -> Vec<(String, Range<usize>)> {
    let module = |word: Range<usize>| {
        let name = name_after(code, word.end)?;
        let open = code.len() - code[name.end..].trim_start().len();
        let is_inline = code[open..].starts_with('{');
        is_inline.then(|| (code[name].to_owned(), open..after_bracket(code, open)))
    };
    words(code).filter(|word| &code[word.clone()] == "mod").filter_map(module).collect()
}
