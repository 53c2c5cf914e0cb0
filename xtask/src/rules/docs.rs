//! A comment for users of an item says what its name does not: the shape, the unit, when there is an error.

use crate::finding::Finding;
use crate::tree::SourceFile;

/// Name of the rule.
pub const RULE: &str = "docs";

/// Words that carry nothing alone.
const FILLING: &[&str] = &["the", "a", "an", "its", "this", "that", "of", "it"];

/// Looks at every `///` of the product.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    files.iter().filter(|file| file.is_rust()).flat_map(check_file).collect()
}

fn check_file(file: &SourceFile) -> Vec<Finding> {
    let text = file.product_text();
    let lines: Vec<Option<&str>> = text.lines().map(|line| line.trim().strip_prefix("///")).collect();
    let is_doc = |index: usize| lines.get(index).is_some_and(Option::is_some);
    let alone = lines
        .iter()
        .enumerate()
        .filter(|(index, _)| !is_doc(index + 1) && !index.checked_sub(1).is_some_and(is_doc));
    alone
        .filter_map(|(index, line)| Some((index + 1, line.filter(|line| says_nothing(line))?)))
        .map(|(line, comment)| {
            let advice = format!("'{}' says no more than the name: say shape, unit or error", comment.trim());
            Finding::new(RULE, &file.path, line, advice)
        })
        .collect()
}

/// True when at most one word is left that carries something.
fn says_nothing(comment: &str) -> bool {
    let words = comment.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
    words.filter(|word| !FILLING.contains(&word.to_lowercase().as_str())).count() < 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::expect;

    #[track_caller]
    fn check_comment(text: &str, want: &[&str]) {
        expect(&check(&[SourceFile::new("kv/src/a.rs", text)]), want);
    }

    #[test]
    fn one_word_is_not_enough() {
        for comment in ["Which.", "Its id.", "The disk.", "The id of it.", "", "[`Disk`].", "Bytes."] {
            check_comment(&format!("\n    /// {comment}\n    pub id: u8,\n"), &["a.rs:2 '"]);
        }
    }

    #[test]
    fn two_words_may_be() {
        for comment in ["Counted from 1.", "Free bytes.", "`k+m`.", "The holder's id."] {
            check_comment(&format!("/// {comment}\npub id: u8,\n"), &[]);
        }
        check_comment("/// Which.\n///\n/// The first is the coordinator.\nfn a() {}", &[]);
        check_comment("// Which.\n//! Which.\n//// Which of them.\n", &[]);
        check_comment("#[cfg(test)]\nmod tests {\n    /// Which.\n    fn a() {}\n}\n", &[]);
        expect(&check(&[SourceFile::new("kv/tests/a.rs", "/// Which.\nfn a() {}")]), &[]);
    }
}
