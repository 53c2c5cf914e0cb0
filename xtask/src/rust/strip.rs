//! Code without comments, strings and characters.

use super::is_word;

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
