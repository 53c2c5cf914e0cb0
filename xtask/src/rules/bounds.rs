//! Times and the sizes of queues come from the page of limits (I-BOUND), where one sees how they depend on each other.
//!
//! The tools are free: a probe or a workload may wait as long as it likes.

use super::limits::{NUMBERS, PAGE, is_page};
use crate::finding::Finding;
use crate::rust::{self, CodePath, LineIndex};
use crate::tree::SourceFile;

/// Name of the rule.
pub const RULE: &str = "bounds";

const TOOLS: &[&str] = &["bench", "chaos", "oracle", "xtask"];

/// Functions that make a queue or a gate of the size they are given.
const SIZED: &[[&str; 2]] = &[
    ["mpsc", "channel"],
    ["mpsc", "sync_channel"],
    ["broadcast", "channel"],
    ["Semaphore", "new"],
    ["Semaphore", "const_new"],
];
/// Functions that make a queue without end.
const UNSIZED: &[[&str; 2]] = &[["mpsc", "unbounded_channel"], ["mpsc", "unbounded"]];

/// A position in the code and what is to be done there.
type Spot = (usize, String);

/// Looks at the product's code except the page itself.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let is_bound = |file: &&SourceFile| !TOOLS.contains(&file.room()) && !is_page(&file.path);
    files.iter().filter(|file| file.is_in_src()).filter(is_bound).flat_map(check_file).collect()
}

fn check_file(file: &SourceFile) -> Vec<Finding> {
    let code = file.product_code();
    let lines = LineIndex::new(&code);
    let mut places: Vec<Spot> = [times(&code), literals(&code), queues(&code)].concat();
    // A constant with a literal is one thing to change, not two.
    places.sort_by_key(|(at, _)| *at);
    places.dedup_by_key(|(at, _)| lines.line(*at));
    places.into_iter().map(|(at, advice)| Finding::new(RULE, &file.path, lines.line(at), advice)).collect()
}

/// Constants that are times: by their type, or by the unit in their name.
fn times(code: &str) -> Vec<Spot> {
    let time = |at: usize| {
        let (head, _) = code[at + "const".len()..].split_once('=')?;
        let (name, kind) = head.split_once(':')?;
        let (name, kind) = (name.trim(), kind.trim());
        // A parameter of a generic item has no value: what was found is the item.
        let is_constant = name.bytes().all(rust::is_word) && !kind.contains(['(', '{']);
        let mut kinds = rust::words(kind).map(|word| &kind[word]);
        let counts_ms = name.ends_with("_MS") || name.contains("_MS_");
        let is_time = kinds.any(|word| word == "Duration" || (counts_ms && is_integer(word)));
        (is_time && is_constant)
            .then(|| (at, format!("move {name} to {PAGE}, with its reason and its relation to others")))
    };
    rust::places(code, "const").filter_map(time).collect()
}

fn is_integer(kind: &str) -> bool {
    NUMBERS.contains(&kind) || kind.starts_with("c_")
}

/// `Duration::from_secs(5)` and its relatives.
fn literals(code: &str) -> Vec<Spot> {
    let time = |(at, _): (usize, &str)| {
        let open = at + code[at..].find('(')?;
        let is_literal = code[open + 1..].trim_start().starts_with(|c: char| c.is_ascii_digit());
        let call = &code[at..rust::after_bracket(code, open)];
        is_literal.then(|| (at, format!("{call} is a time without a name: give it one on {PAGE}")))
    };
    code.match_indices("Duration::from_").filter_map(time).collect()
}

/// Queues without end, and queues and gates whose size is a number.
fn queues(code: &str) -> Vec<Spot> {
    let calls = calls(code);
    let queue = |(at, name, arguments): &(usize, [String; 2], &str)| {
        let is = |list: &[[&str; 2]]| list.iter().any(|known| name == known);
        let has_number = rust::words(arguments).any(|word| arguments.as_bytes()[word.start].is_ascii_digit());
        // The one without an argument is std's, which never says that it is full.
        let is_endless = is(UNSIZED) || (is(SIZED) && arguments.trim().is_empty());
        let name = name.join("::");
        if is_endless {
            Some((*at, format!("{name} never says that it is full: give it a bound from {PAGE}")))
        } else if is(SIZED) && has_number {
            Some((*at, format!("take the bound of {name} from the limits page, {PAGE}")))
        } else {
            None
        }
    };
    calls.iter().filter_map(queue).collect()
}

/// Every call of a path: its position, the last two segments of its full name, and its arguments.
fn calls(code: &str) -> Vec<(usize, [String; 2], &str)> {
    let (imports, paths): (Vec<CodePath>, Vec<CodePath>) =
        rust::paths(code).into_iter().partition(|path| path.alias.is_some());
    let full = paths.into_iter().map(|path| (path.position, path.segments));
    let rest = rust::without_imports(code);
    // A function that was imported itself is called by one word.
    let short = imports.iter().flat_map(|import| {
        let places = rust::places(&rest, import.alias.as_deref().unwrap_or_default());
        places.filter(|at| !rest[..*at].ends_with([':', '.'])).map(|at| (at, import.segments.clone()))
    });
    full.chain(short)
        .filter_map(|(at, segments)| {
            let name = segments.last_chunk::<2>()?.clone();
            Some((at, name, arguments(code, at)?))
        })
        .collect()
}

/// What stands between the parentheses of the call at `at`.
fn arguments(code: &str, at: usize) -> Option<&str> {
    let path = code[at..].bytes().take_while(|&b| rust::is_word(b) || b == b':').count();
    let open = at + path + generics_len(&code[at + path..]);
    code[open..].starts_with('(').then(|| &code[open + 1..rust::after_bracket(code, open) - 1])
}

/// The length of `<…>` at the beginning of `code`.
fn generics_len(code: &str) -> usize {
    let mut depth = 0;
    code.bytes()
        .take_while(|byte| {
            let is_inside = depth > 0;
            depth += i32::from(*byte == b'<') - i32::from(*byte == b'>');
            is_inside || depth > 0
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::expect;

    #[track_caller]
    fn check_code(code: &str, want: &[&str]) {
        expect(&check(&[SourceFile::new("kv/src/a.rs", code)]), want);
        for path in [
            "types/src/limits.rs",
            "types/src/limits/times.rs",
            "chaos/src/a.rs",
            "oracle/src/a.rs",
            "kv/src/tests.rs",
        ] {
            expect(&check(&[SourceFile::new(path, code)]), &[]);
        }
        expect(
            &check(&[SourceFile::new("kv/src/a.rs", &format!("#[cfg(test)]\nmod tests {{ {code} }}"))]),
            &[],
        );
    }

    #[test]
    fn times_stand_on_the_page() {
        for code in [
            "const PERIOD: Duration = period();",
            "pub const PERIOD: std::time::Duration = Duration::from_secs(1);",
            "const PERIOD_MS: u64 = 5;",
            "const WAIT_MS_MAX: u32 = 5;",
            "const DELAY_MS: c_long = 5;",
            "const BACKOFF_MS: [u64; 2] = [5, 6];",
            "impl A { const PERIOD: Option<Duration> = None; }",
        ] {
            check_code(code, &["kv/src/a.rs:1 move "]);
        }
    }

    #[test]
    fn times_have_names() {
        check_code("\nsleep(Duration::from_secs(5))", &["kv/src/a.rs:2 Duration::from_secs(5) is a time"]);
        check_code("env::time::Duration::from_millis( 4 * PERIOD )", &["is a time without a name"]);
        check_code("Duration::from_millis(1_000)", &["is a time without a name"]);
    }

    #[test]
    fn queues_are_bounded_by_the_page() {
        for code in [
            "use tokio::sync::mpsc; fn f() { mpsc::channel(4) }",
            "tokio::sync::mpsc::channel::<Vec<u8>>(COUNT_MAX * 2)",
            "use tokio::sync::broadcast::channel; fn f() { channel(4) }",
            "use std::sync::mpsc::sync_channel as queue; fn f() { queue(4) }",
            "use tokio::sync::Semaphore; fn f() { Arc::new(Semaphore::new(4)) }",
        ] {
            check_code(code, &["take the bound of "]);
        }
        for code in [
            "std::sync::mpsc::channel()",
            "use tokio::sync::mpsc; fn f() { mpsc::unbounded_channel::<u8>() }",
            "use tokio::sync::mpsc::unbounded_channel; fn f() { unbounded_channel() }",
        ] {
            check_code(code, &["never says that it is full"]);
        }
    }

    #[test]
    fn what_takes_its_bound_from_there_is_allowed() {
        for code in [
            "const NAME: &str = a; const COUNT: u64 = 5; const MS: &str = b; const FORMS_MAX: u8 = 1;",
            "const fn period(ms: u64) -> Duration { Duration::from_millis(ms) }",
            "fn f<const N: usize>(a: *const u8) { let x: Duration = Duration::ZERO; }",
            "Duration::from_millis(HEARTBEAT_MS * 10)",
            "use tokio::sync::mpsc; fn f() { mpsc::channel(QUEUE_COUNT_MAX) }",
            "use tokio::sync::{oneshot, watch}; fn f() { oneshot::channel(); watch::channel(0) }",
            "Semaphore::new(limits.in_flight_max)",
            "self.channel(4); Channel::new(4)",
        ] {
            check_code(code, &[]);
        }
    }
}
