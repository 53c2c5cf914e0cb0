//! Who may do what is decided in one room, `access`: nobody else asks which kind of identity a caller has.
//!
//! Making an identity is free everywhere; taking one apart or comparing it is a decision.

use std::ops::Range;

use crate::finding::Finding;
use crate::rust::{self, LineIndex};
use crate::tree::SourceFile;

/// Name of the rule.
pub const RULE: &str = "identity";

const ROOM: &str = "access";
/// Where the type itself is, with its text form.
const HOME: &str = "types/src/identity.rs";
const TYPE: &str = "Identity";

/// Looks at the product's code in all other rooms.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let elsewhere = |file: &&SourceFile| file.is_rust() && file.room() != ROOM && file.path != HOME;
    files.iter().filter(elsewhere).flat_map(check_file).collect()
}

fn check_file(file: &SourceFile) -> Vec<Finding> {
    let code = file.product_code();
    let lines = LineIndex::new(&code);
    let decisions = variants(&code).into_iter().filter(|variant| decides(&code, variant.clone()));
    let mut lines: Vec<usize> = decisions.map(|variant| lines.line(variant.start)).collect();
    lines.dedup();
    let advice = format!("only {ROOM} tells identities apart: ask it whether the caller may");
    lines.into_iter().map(|line| Finding::new(RULE, &file.path, line, advice.clone())).collect()
}

/// Every `Identity::Variant` with the path before it and the fields behind it.
fn variants(code: &str) -> Vec<Range<usize>> {
    let imports =
        rust::paths(code).into_iter().filter(|path| path.segments.last().is_some_and(|s| s == TYPE));
    let mut names: Vec<String> = imports.filter_map(|import| import.alias).collect();
    names.push(TYPE.to_owned());
    names.sort();
    names.dedup();
    let variant = |name: &str, at: usize| {
        let rest = code[at + name.len()..].strip_prefix("::")?;
        // Functions of the type begin with a small letter.
        let is_variant = rest.starts_with(|c: char| c.is_ascii_uppercase());
        let end = code.len() - rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len();
        let fields = code.len() - code[end..].trim_start().len();
        let end = if code[fields..].starts_with('(') { rust::after_bracket(code, fields) } else { end };
        is_variant.then(|| path_start(code, at)..end)
    };
    let places =
        |name: &String| rust::places(code, name).filter_map(|at| variant(name, at)).collect::<Vec<_>>();
    let mut variants: Vec<Range<usize>> = names.iter().flat_map(places).collect();
    variants.sort_by_key(|variant| variant.start);
    variants
}

/// Where a path begins that has a segment at `at`: before `net::`, for example.
fn path_start(code: &str, at: usize) -> usize {
    code[..at].trim_end_matches(|c: char| c.is_alphanumeric() || c == '_' || c == ':').len()
}

/// True when the variant is a pattern or an operand of a comparison.
fn decides(code: &str, variant: Range<usize>) -> bool {
    is_compared(code, variant.clone())
        || is_pattern(code, variant.end)
        || is_in_matches(&code[..variant.start])
}

fn is_compared(code: &str, Range { start, end }: Range<usize>) -> bool {
    let before = code[..start].trim_end_matches(|c: char| c.is_whitespace() || "&*".contains(c));
    let after = code[end..].trim_start();
    let is_operator = |text: Option<&str>| matches!(text, Some("==" | "!="));
    if is_operator(after.get(..2)) || is_operator(before.len().checked_sub(2).and_then(|at| before.get(at..)))
    {
        return true;
    }
    // `Some(Identity::Anonymous) == caller` compares as well.
    let wrapper = before.strip_suffix("Some(").filter(|_| after.starts_with(')'));
    wrapper.is_some_and(|outside| is_compared(code, outside.len()..code.len() - after.len() + 1))
}

/// True when what ends at `end` is, or is a part of, something that values are matched with.
fn is_pattern(code: &str, end: usize) -> bool {
    let rest = code[end..].trim_start();
    let end = code.len() - rest.len();
    let is_alternative = rest.starts_with('|') && !rest.starts_with("||");
    let is_let = rest.starts_with('=') && !rest.starts_with("==");
    let is_guarded = rest.starts_with("if ") && ends_with_arrow(rest);
    match rest.bytes().next() {
        _ if is_alternative || is_let || is_guarded => true,
        // Part of a larger pattern: what follows the bracket around it tells.
        Some(b')' | b']' | b'}') => is_pattern(code, end + 1),
        Some(b',') => closing(code, end).is_some_and(|close| is_pattern(code, close)),
        _ => false,
    }
}

/// Tells the guard of an arm from the `if` of a statement that follows a block.
fn ends_with_arrow(guard: &str) -> bool {
    let statement = guard.find(['{', ';']).unwrap_or(guard.len());
    guard.find("=>").is_some_and(|arrow| arrow < statement)
}

/// The bracket that closes the one around `at`.
fn closing(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0;
    let offset = code[at..].bytes().position(|byte| {
        depth += bracket(byte);
        depth < 0
    })?;
    Some(at + offset)
}

/// True when one of the parentheses that are open at the end of `before` belongs to `matches!`.
fn is_in_matches(before: &str) -> bool {
    let mut depth = 0;
    before.bytes().enumerate().rev().any(|(at, byte)| {
        depth += bracket(byte);
        let is_open = depth > 0;
        depth = depth.min(0);
        is_open && before[..at].ends_with("matches!")
    })
}

/// How much deeper the code is nested after this byte.
fn bracket(byte: u8) -> i32 {
    match byte {
        b'(' | b'[' | b'{' => 1,
        b')' | b']' | b'}' => -1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::expect;

    #[track_caller]
    fn check_code(code: &str, want: &[&str]) {
        let code = format!("use types::Identity;\nuse net::Identity as Who;\nfn f() {{\n{code}\n}}\n");
        expect(&check(&[SourceFile::new("cli/src/a.rs", &code)]), want);
        for path in ["access/src/lib.rs", "types/src/identity.rs", "cli/src/tests.rs"] {
            expect(&check(&[SourceFile::new(path, &code)]), &[]);
        }
    }

    #[test]
    fn patterns_are_decisions() {
        for code in [
            "match caller { Identity::Anonymous => a, _ => b }",
            "match caller { Identity::Node(NodeId(id)) => a, _ => b }",
            "match caller { net::Identity::Node(_) => a, _ => b }",
            "match caller { Who::Node(_) => a, _ => b }",
            "match caller { Identity::Node(id) if id == own => a, _ => b }",
            "match caller { Identity::User(_) | Other => a, _ => b }",
            "match (caller, action) { (Identity::Node(_), _) => true, _ => false }",
            "match caller { Some(Caller { identity: Identity::User(_), .. }) if a => true, _ => false }",
            "if let Identity::Node(id) = caller {}",
            "let Some(Identity::Node(id)) = caller else { return };",
            "if matches!(caller, Identity::Node(_)) {}",
            "if !matches!((a, f(b)), (Some(Identity::Node(_)), _)) {}",
        ] {
            check_code(code, &["cli/src/a.rs:4 only access tells identities apart"]);
        }
    }

    #[test]
    fn comparisons_are_decisions() {
        for code in [
            "if caller.identity == Identity::Anonymous {}",
            "if *caller != &Identity::Node(node) {}",
            "if net::Identity::Anonymous == caller {}",
            "if caller == types::Identity::Anonymous {}",
            "if caller == Some(Identity::Anonymous) {}",
            "if Some(&Identity::Node(node)) != caller {}",
            "let is = all.iter().any(|identity| *identity == Identity::Admin(name));",
        ] {
            check_code(code, &["cli/src/a.rs:4 only access tells identities apart"]);
        }
    }

    #[test]
    fn making_one_is_free() {
        for code in [
            "let identity = Identity::Node(NodeId(1));",
            "match role { a => Identity::User(name), b => Identity::Anonymous, _ => return }",
            "let a = match role { a => { Identity::User(name) } _ if b => { c } };\nif a == b {}",
            "issue(&Identity::User(name), HOUR) == known",
            "issue(Identity::User(name), |b| b); let c = matches!(a, B);",
            "if a { Identity::Anonymous } else { Identity::Node(id) }",
            "Caller { identity: Identity::Anonymous, cluster }",
            "identity == Identity::parse(text)",
            "if other == Peer::Identity || kind == Kind::Node {}",
            "// Identity::Node(_) => a",
        ] {
            check_code(code, &[]);
        }
        check_code("fn g() {}\n}\n#[cfg(test)]\nmod tests { fn t() { a == Identity::Anonymous; }", &[]);
    }
}
