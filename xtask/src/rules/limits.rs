//! Bounds stand on one page, types/src/limits.rs (I-BOUND), unless a comment says why one is local.

use crate::finding::Finding;
use crate::tree::SourceFile;

/// Name of the rule.
pub const RULE: &str = "limits";

/// The page of all bounds.
pub const PAGE: &str = "types/src/limits.rs";
/// The files it may be spread over.
const PARTS: &str = "types/src/limits/";

/// Types that count.
pub const NUMBERS: &[&str] =
    &["u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "f32", "f64"];

/// Looks for `const …_MAX: <number>` without a comment.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    files.iter().filter(|file| file.is_in_src() && !is_page(&file.path)).flat_map(check_file).collect()
}

/// True for the page and its parts.
pub fn is_page(path: &str) -> bool {
    path == PAGE || path.starts_with(PARTS)
}

fn check_file(file: &SourceFile) -> Vec<Finding> {
    let text: Vec<&str> = file.text.lines().collect();
    let code = file.code.lines().enumerate();
    code.filter_map(|(index, line)| Some((index, bound(line)?)))
        .filter(|(index, _)| !has_comment(&text, *index))
        .map(|(index, name)| {
            let advice =
                format!("move {name} to {PAGE} with its reason, or say in a comment why it is local");
            Finding::new(RULE, &file.path, index + 1, advice)
        })
        .collect()
}

/// The name of the bound that this line of code defines.
fn bound(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("const ")?;
    let (name, kind) = rest.split_once(':')?;
    let kind: String = kind.trim_start().chars().take_while(char::is_ascii_alphanumeric).collect();
    let is_item = before.is_empty() || before.ends_with(' ');
    (is_item && name.ends_with("_MAX") && NUMBERS.contains(&kind.as_str())).then_some(name)
}

/// True when a comment stands on the line or, above attributes, on the line before.
fn has_comment(text: &[&str], index: usize) -> bool {
    let above = text[..index].iter().rev().find(|line| !line.trim_start().starts_with("#["));
    text[index].contains("//") || above.is_some_and(|line| line.trim_start().starts_with("//"))
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
    fn bounds() {
        check_text("kv/src/a.rs", "\nconst BATCH_MAX: usize = 5;\n", &["kv/src/a.rs:2 move BATCH_MAX"]);
        check_text("kv/src/a.rs", "    pub const BATCH_MAX: u32 = 5;\n", &["move BATCH_MAX"]);
        check_text("kv/src/a.rs", "const fn x() {}\nconst BATCH_MAX: u8 = 5;\n", &["move BATCH_MAX"]);
        check_text(
            "kv/src/a.rs",
            "/// What this file alone can know.\n#[x]\nconst BATCH_MAX: usize = 5;\n",
            &[],
        );
        check_text("kv/src/a.rs", "const BATCH_MAX: usize = 5; // One page of this format.\n", &[]);
        check_text(
            "kv/src/a.rs",
            "const NAME_MAX: &str = \"z\";\nconst A: u8 = 1;\n// const A_MAX: u8 = 1;\n",
            &[],
        );
        check_text(PAGE, "pub const BATCH_MAX: usize = 5;\n", &[]);
        check_text("types/src/limits/net.rs", "pub const BATCH_MAX: usize = 5;\n", &[]);
    }
}
