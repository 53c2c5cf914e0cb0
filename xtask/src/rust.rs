//! As much of Rust's surface as the rules need: code without comments and strings, paths with imports resolved,
//! and the extent of functions. A full parser would know more and tell no more.

use std::ops::Range;

/// The text with comments, strings and characters blanked; every line and column stays where it was.
pub fn strip(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut index = 0;
    while index < bytes.len() {
        let end = blank_end(bytes, index);
        for byte in &mut code[index..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        index = end.max(index + 1);
    }
    String::from_utf8(code).expect("whole characters are blanked")
}

/// Where the comment, string or character that begins at `start` ends; `start` itself when none begins here.
fn blank_end(bytes: &[u8], start: usize) -> usize {
    let rest = &bytes[start..];
    let after_word = start > 0 && is_word(bytes[start - 1]);
    let len = if rest.starts_with(b"//") {
        rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())
    } else if rest.starts_with(b"/*") {
        block_comment_len(rest)
    } else if rest[0] == b'"' {
        quoted_len(rest, b'"')
    } else if rest[0] == b'\'' {
        character_len(rest)
    } else if !after_word && matches!(rest[0], b'r' | b'b' | b'c') {
        raw_string_len(rest)
    } else {
        0
    };
    start + len
}

fn block_comment_len(rest: &[u8]) -> usize {
    let (mut depth, mut index) = (0, 0);
    while index < rest.len() {
        if rest[index..].starts_with(b"/*") {
            (depth, index) = (depth + 1, index + 2);
        } else if rest[index..].starts_with(b"*/") {
            (depth, index) = (depth - 1, index + 2);
        } else {
            index += 1;
        }
        if depth == 0 {
            break;
        }
    }
    index.min(rest.len())
}

fn quoted_len(rest: &[u8], quote: u8) -> usize {
    let mut index = 1;
    while index < rest.len() && rest[index] != quote {
        index += if rest[index] == b'\\' { 2 } else { 1 };
    }
    (index + 1).min(rest.len())
}

/// A character literal, or 0 for a lifetime.
fn character_len(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        return quoted_len(rest, b'\'');
    }
    // One character of up to four bytes, then the closing quote.
    let is_start = |b: u8| b & 0b1100_0000 != 0b1000_0000;
    let width = 1 + rest.iter().skip(2).take_while(|&&b| !is_start(b)).count();
    if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
}

/// `r"…"`, `r#"…"#`, `br"…"` and the like; 0 for anything else, also for `b"…"`, whose quote follows.
fn raw_string_len(rest: &[u8]) -> usize {
    let letters = rest.iter().take(2).take_while(|b| matches!(b, b'r' | b'b' | b'c')).count();
    let hashes = rest[letters..].iter().take_while(|&&b| b == b'#').count();
    if rest[letters - 1] != b'r' || rest.get(letters + hashes) != Some(&b'"') {
        return 0;
    }
    let body = letters + hashes + 1;
    let closing: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let found = rest[body..].windows(closing.len()).position(|window| window == closing);
    found.map_or(rest.len(), |at| body + at + closing.len())
}

/// A path such as `std::fs::read`, as it would be written in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodePath {
    /// Line of its first segment, from 1.
    pub line: usize,
    /// Its segments; the last is `*` for a glob import.
    pub segments: Vec<String>,
    /// The name under which a `use` brings it into the file; `None` where it is only used.
    pub alias: Option<String>,
}

/// All imports and all paths of two segments and more. A path whose first segment was imported is resolved.
pub fn paths(code: &str) -> Vec<CodePath> {
    let lines = LineIndex::new(code);
    let mut imports = Vec::new();
    let mut uses = Vec::new();
    let mut index = 0;
    while let Some(word) = next_word(code, index) {
        let text = &code[word.clone()];
        index = word.end;
        if text == "use" && !code[word.end..].trim_start().starts_with('<') {
            let end = code[word.end..].find(';').map_or(code.len(), |at| word.end + at);
            expand_use(&[], &code[word.end..end], lines.line(word.start), &mut imports);
            index = end;
        } else {
            let mut segments = vec![text.to_owned()];
            while let Some(next) = segment_after(code, index) {
                segments.push(code[next.clone()].to_owned());
                index = next.end;
            }
            let is_field = code[..word.start].ends_with('.') && !code[..word.start].ends_with("..");
            if segments.len() > 1 && !is_field {
                uses.push(CodePath { line: lines.line(word.start), segments, alias: None });
            }
        }
    }
    let resolved: Vec<CodePath> = uses.iter().flat_map(|path| resolve(path, &imports)).collect();
    imports.into_iter().chain(resolved).collect()
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

fn expand_use(prefix: &[String], tree: &str, line: usize, imports: &mut Vec<CodePath>) {
    let segments = |text: &str| -> Vec<String> {
        let own =
            text.split("::").map(str::trim).filter(|s| !s.is_empty() && *s != "self").map(str::to_owned);
        prefix.iter().cloned().chain(own).collect()
    };
    let tree = tree.trim();
    if let Some((head, body)) = tree.split_once('{') {
        let body = body.strip_suffix('}').unwrap_or(body);
        let prefix = segments(head);
        split_at_commas(body).into_iter().for_each(|part| expand_use(&prefix, part, line, imports));
    } else if !tree.is_empty() {
        let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias)));
        let segments = segments(path);
        let alias = alias.map(|a| a.trim().to_owned()).or_else(|| segments.last().cloned());
        imports.push(CodePath { line, segments, alias });
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

/// One function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
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
        let Some(name) = next_word(code, index).filter(|name| code[index..name.start].trim().is_empty())
        else {
            continue;
        };
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

/// True when the last item of `before` (the text up to `fn`) is a test attribute among other attributes.
fn is_test(before: &str) -> bool {
    let from = before.rfind(['}', ';', '{']).map_or(0, |at| at + 1);
    let attributes = &before[from..];
    attributes.contains("#[test]") || attributes.contains("#[tokio::test")
}

/// The braces that follow a signature; `None` when it ends with `;`.
fn body(code: &str, from: usize) -> Option<Range<usize>> {
    let mut nesting = 0;
    let mut start = None;
    for (offset, byte) in code[from..].bytes().enumerate() {
        match (byte, start) {
            (b'(' | b'[', None) => nesting += 1,
            (b')' | b']', None) => nesting -= 1,
            (b';', None) if nesting == 0 => return None,
            (b'{', None) if nesting == 0 => start = Some(from + offset),
            (b'{', Some(_)) => nesting += 1,
            (b'}', Some(start)) if nesting == 0 => return Some(start..from + offset + 1),
            (b'}', Some(_)) => nesting -= 1,
            _ => {}
        }
    }
    None
}

fn next_word(code: &str, from: usize) -> Option<Range<usize>> {
    let bytes = code.as_bytes();
    let start = (from..bytes.len()).find(|&i| is_word(bytes[i]) && (i == 0 || !is_word(bytes[i - 1])))?;
    let len = bytes[start..].iter().take_while(|&&b| is_word(b)).count();
    Some(start..start + len)
}

/// True for bytes of identifiers; those of characters beyond ASCII count as such.
pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Turns positions into line numbers.
struct LineIndex(Vec<usize>);

impl LineIndex {
    fn new(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i).collect())
    }

    fn line(&self, position: usize) -> usize {
        self.0.partition_point(|&end| end < position) + 1
    }
}

#[cfg(test)]
mod tests;
