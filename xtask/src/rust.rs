//! As much of Rust's surface as the rules need: code without comments and strings, paths with imports resolved,
//! the extent of items, and which of them are tests. A full parser would know more and tell no more.

mod items;
mod paths;
mod strip;
mod test_code;

use std::ops::Range;

pub use items::{declared_functions, functions, modules, types};
pub use paths::{CodePath, paths, without_imports};
pub use strip::strip;
pub use test_code::{Region, regions};

/// Every word of the code with its place.
pub fn words(code: &str) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let word = next_word(code, from)?;
        from = word.end;
        Some(word)
    })
}

/// The places where `word` stands and is not a part of a longer word.
pub fn places<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    let is_whole = move |at: &usize| {
        let end = at + word.len();
        (*at == 0 || !is_word(bytes[at - 1])) && bytes.get(end).is_none_or(|&b| !is_word(b))
    };
    code.match_indices(word).map(|(at, _)| at).filter(is_whole)
}

/// The position after the bracket that closes the one at `open`; the end of the code when nothing does.
pub fn after_bracket(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (offset, byte) in code[open..].bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + offset + 1;
        }
    }
    code.len()
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
pub struct LineIndex(Vec<usize>);

impl LineIndex {
    /// Reads the text once.
    pub fn new(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i).collect())
    }

    /// The line of a position, from 1.
    pub fn line(&self, position: usize) -> usize {
        self.0.partition_point(|&end| end < position) + 1
    }
}

#[cfg(test)]
mod tests;
