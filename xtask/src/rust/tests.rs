//! Goal: the scanner sees code where there is code, and nothing else.

use super::*;

#[track_caller]
fn check_strip(text: &str, want: &str) {
    assert_eq!(strip(text).split_whitespace().collect::<Vec<_>>().join(" "), want);
    assert_eq!(strip(text).len(), text.len());
    assert_eq!(strip(text).lines().count(), text.lines().count());
}

#[test]
fn comments_strings_and_characters_are_blanked() {
    check_strip("a // b\nc", "a c");
    check_strip("a /* b /* c */ d\n*/ e", "a e");
    check_strip("a \"b // \\\" c\" d", "a d");
    check_strip("a r\"b\\\" c", "a c");
    check_strip("a r#\"b \" c\"# d", "a d");
    check_strip("a br##\"b \"# c\"## d", "a d");
    check_strip("a b\"c\" d", "a b d");
    check_strip("'a' '\\'' 'ä' '\\u{1F600}' b", "b");
    check_strip("a('\"', b, '\"')", "a( , b, )");
    check_strip("fn f<'a>(x: &'a str) -> &'static str", "fn f<'a>(x: &'a str) -> &'static str");
    check_strip("r#type b", "r#type b");
    check_strip("a /* b", "a");
    check_strip("a \"b", "a");
    check_strip("über \"größe\" x", "über x");
}

#[track_caller]
fn check_paths(code: &str, want: &[&str]) {
    let got: Vec<String> =
        paths(code).iter().map(|p| format!("{} {}", p.line, p.segments.join("::"))).collect();
    assert_eq!(got, want);
}

#[test]
fn paths_are_resolved() {
    check_paths("std::fs::read(x)", &["1 std::fs::read"]);
    check_paths("\nuse std::fs;\nfs::read(x)", &["2 std::fs", "3 std::fs::read"]);
    check_paths("use std::{fs::{self, File}, time as t};", &["1 std::fs", "1 std::fs::File", "1 std::time"]);
    check_paths("use a::b as c; c::d()", &["1 a::b", "1 a::b::d"]);
    check_paths("use std::time::*;", &["1 std::time::*"]);
    check_paths("use ::std::fs;", &["1 std::fs"]);
    check_paths("pub(crate) use env::time;\ntime::sleep(d)", &["1 env::time", "2 env::time::sleep"]);
    check_paths("Vec::<u8>::new(); x.rand(); fs(1)", &[]);
    check_paths("fn f() -> impl Iterator + use<'a> {} a::b", &["1 a::b"]);
    check_paths("0..tokio::spawn(x)", &["1 tokio::spawn"]);
}

#[track_caller]
fn check_functions(code: &str, want: &[(&str, usize, usize, bool)]) {
    let got = functions(code);
    let got: Vec<_> = got.iter().map(|f| (f.name.as_str(), f.line, f.line_count, f.is_test)).collect();
    assert_eq!(got, want);
}

#[test]
fn functions_have_an_extent() {
    check_functions("fn a() { b }", &[("a", 1, 1, false)]);
    check_functions("fn a(x: [u8; 3]) -> T\nwhere\n    T: X,\n{\n    if b { c }\n}", &[("a", 1, 6, false)]);
    check_functions("trait T { fn a(&self);\n fn b() {}\n}", &[("b", 2, 1, false)]);
    check_functions("let f: fn(u8) -> u8 = g;", &[]);
    check_functions("fn a() {\n fn b() {\n }\n}", &[("a", 1, 4, false), ("b", 2, 2, false)]);
    check_functions("#[test]\nfn a() {}\nfn b() {}", &[("a", 2, 1, true), ("b", 3, 1, false)]);
    check_functions(
        "#[tokio::test(start_paused = true)]\n#[should_panic]\nasync fn a() {}",
        &[("a", 3, 1, true)],
    );
}
