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

#[track_caller]
fn check_regions(code: &str, want: &[&str]) {
    let got = regions(code);
    let got: Vec<&str> = got.iter().map(|region| &code[region.range.clone()]).collect();
    assert_eq!(got, want);
}

#[test]
fn what_only_tests_need() {
    check_regions(
        "fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\nfn c() {}",
        &["#[cfg(test)]\nmod tests { fn b() {} }"],
    );
    check_regions("#[cfg(test)] mod a; mod b;", &["#[cfg(test)] mod a;"]);
    check_regions(
        "#[cfg(test)] #[x(y)] pub fn a<B, C>(d: [u8; 3]) -> E {} f",
        &["#[cfg(test)] #[x(y)] pub fn a<B, C>(d: [u8; 3]) -> E {}"],
    );
    check_regions("struct A { #[cfg(test)] pub(crate) b: u8, c: u8 }", &["#[cfg(test)] pub(crate) b: u8,"]);
    check_regions("enum A { B, #[cfg(test)] C }", &["#[cfg(test)] C "]);
    check_regions("#[cfg(all(test, unix))] use a::b; use c;", &["#[cfg(all(test, unix))] use a::b;"]);
    check_regions("fn a() { #[cfg(test)] self.b(1, 2); c() }", &["#[cfg(test)] self.b(1, 2);"]);
    check_regions("#[cfg(not(test))] mod a; #[cfg(unix)] mod b;", &[]);
    check_regions("#![cfg(test)]\nmod a;", &["#![cfg(test)]\nmod a;"]);
}

#[test]
fn modules_of_tests_that_are_files() {
    let code =
        "#[cfg(test)] mod a; #[cfg(test)] pub(crate) mod b; #[cfg(test)] mod c { } #[cfg(test)] use d;";
    let modules: Vec<String> = regions(code).into_iter().filter_map(|region| region.module).collect();
    assert_eq!(modules, ["a", "b"]);
}

#[test]
fn types_have_names() {
    let code = "pub struct A<T>(T);\nenum B {}\npub(crate) trait C { type D; }\ntype E = u8;\n\
                impl C for A { type D = u8; }\nmod m { type F = u8; }\nmacro_rules! x { () => { struct $name; } }\n\
                fn structure(r#type: u8) -> impl Trait {}";
    let want = [("A", 1), ("B", 2), ("C", 3), ("E", 4), ("F", 6)];
    assert_eq!(types(code), want.map(|(name, line)| (name.to_owned(), line)));
}

#[test]
fn exports_are_told_from_imports() {
    let code =
        "use a; pub use b; pub(crate) use c::{d, e}; pub(in x) use f; republic use g; pub fn h() {} use i;";
    let exports: Vec<String> =
        paths(code).into_iter().filter(|p| p.is_export).filter_map(|p| p.alias).collect();
    assert_eq!(exports, ["b", "d", "e", "f"]);
}

#[test]
fn imports_can_be_left_out() {
    assert_eq!(without_imports("use a::B; B::c()"), "use     ; B::c()");
}
