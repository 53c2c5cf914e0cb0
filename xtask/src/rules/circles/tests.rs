//! Goal: a circle is found whatever way its files name each other, and naming alone is none.

use super::*;
use crate::finding::expect;

fn tree(sources: &[(&str, &str)]) -> Vec<SourceFile> {
    sources.iter().map(|(path, code)| SourceFile::new(&format!("kv/src/{path}"), code)).collect()
}

#[track_caller]
fn check_files(sources: &[(&str, &str)], want: &[&str]) {
    expect(&check_with(&tree(sources), &[]), want);
}

#[test]
fn two_files_that_need_each_other() {
    let want = ["kv/src/a.rs:2 kv/src/a.rs:2 -> kv/src/b.rs:1 -> kv/src/a.rs is a circle"];
    for (a, b) in [
        ("\nuse crate::b::B;", "use crate::a::A;"),
        ("\nfn f() { crate::b::f() }", "fn f() -> super::a::A {}"),
        ("\nuse super::b::{self, B};", "use crate::a;"),
        ("\nuse crate::b::*;", "use crate::{a::{A, C}, x};"),
        ("\nuse crate::b as c;", "mod deep { use super::super::a::A; }"),
        ("\npub use crate::b::B; fn f() -> B {}", "use crate::a::A;"),
    ] {
        check_files(&[("a.rs", a), ("b.rs", b), ("lib.rs", "mod a; mod b;")], &want);
    }
}

#[test]
fn a_file_and_the_one_it_is_part_of() {
    let want = ["kv/src/a.rs:1 kv/src/a.rs:1 -> kv/src/a/b.rs:1 -> kv/src/a.rs is a circle"];
    check_files(&[("a.rs", "mod b; use b::B;"), ("a/b.rs", "use super::A;")], &want);
    check_files(&[("a.rs", "mod b; fn f() { b::f() }"), ("a/b.rs", "fn f() { super::g() }")], &want);
    check_files(&[("a.rs", "mod b; use self::b::B;"), ("a/b.rs", "use super::*;")], &want);
    check_files(&[("a.rs", "mod b; use c::*; use b::B;"), ("a/b.rs", "use super::*;")], &want);
    let root = ["kv/src/b.rs:1 kv/src/b.rs:1 -> kv/src/lib.rs:1 -> kv/src/b.rs"];
    check_files(&[("lib.rs", "mod b; use b::B;"), ("b.rs", "use crate::A;")], &root);
    let root = root.map(|text| text.replace("lib.rs", "main.rs"));
    check_files(&[("main.rs", "mod b; fn f() { b::f() }"), ("b.rs", "use super::A;")], &[&root[0]]);
}

#[test]
fn a_long_way_round() {
    check_files(
        &[
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use crate::c::C; use crate::d::D;"),
            ("c.rs", "use crate::a::A;"),
            ("d.rs", "use crate::c::C;"),
        ],
        &["kv/src/a.rs:1 -> kv/src/b.rs:1 -> kv/src/c.rs:1 -> kv/src/a.rs"],
    );
}

#[test]
fn each_group_is_one_finding() {
    let pair = |a: &str, b: &str| (format!("{a}.rs"), format!("use crate::{b}::X;"));
    let sources = [pair("a", "b"), pair("b", "a"), pair("c", "d"), pair("d", "c"), pair("e", "a")];
    let sources: Vec<(&str, &str)> =
        sources.iter().map(|(path, code)| (path.as_str(), code.as_str())).collect();
    check_files(&sources, &["kv/src/a.rs:1", "kv/src/c.rs:1"]);
}

#[test]
fn naming_is_not_needing() {
    let child = ("a/b.rs", "use super::A; pub struct B;");
    for parent in [
        "mod b; pub struct A;",
        "mod b; pub use b::B;",
        "mod b; pub(crate) use b::B as C; enum D { B }",
        "mod b; /// See [`b::B`].\npub struct A;",
        "mod b; #[cfg(test)] mod tests { use super::b::B; }",
    ] {
        check_files(&[("a.rs", parent), child], &[]);
    }
    check_files(&[("a.rs", "use crate::b::B;"), ("tests.rs", "use crate::a::A;")], &[]);
}

#[test]
fn a_name_belongs_to_the_file_that_holds_it() {
    let lib = ("lib.rs", "mod a; mod b; mod c; pub use a::A; use types::Name; pub fn f() { c::f() }");
    check_files(&[lib, ("a.rs", ""), ("b.rs", ""), ("c.rs", "use crate::A; use crate::{Name};")], &[]);
    check_files(
        &[lib, ("a.rs", "use crate::b::B;"), ("b.rs", "use crate::A;")],
        &["kv/src/a.rs:1 -> kv/src/b.rs:1 -> kv/src/a.rs"],
    );
    let glob = ("lib.rs", "mod a; mod b; pub use a::*; fn f() { b::f() }");
    check_files(&[glob, ("a.rs", "pub struct A;"), ("b.rs", "use crate::A;")], &[]);
    check_files(&[glob, ("a.rs", "pub struct A;"), ("b.rs", "use crate::C;")], &["kv/src/b.rs:1"]);
}

#[test]
fn the_same_names_in_two_rooms() {
    let sources = [("kv/src/a.rs", "use crate::b::B;"), ("net/src/b.rs", "use crate::a::A;")];
    let files: Vec<SourceFile> = sources.iter().map(|(path, code)| SourceFile::new(path, code)).collect();
    expect(&check_with(&files, &[]), &[]);
}

#[test]
fn the_list_only_shrinks() {
    let files =
        tree(&[("a.rs", "use crate::b::B;"), ("b.rs", "use crate::a::A;"), ("c.rs", "use crate::a::A;")]);
    expect(&check_with(&files, &[("kv/src/b.rs", "kv/src/a.rs")]), &[]);
    let stale = [("kv/src/b.rs", "kv/src/a.rs"), ("kv/src/c.rs", "kv/src/a.rs")];
    expect(&check_with(&files, &stale), &["kv/src/c.rs -> kv/src/a.rs closes no circle any more"]);
    expect(&check_with(&files, &[("kv/src/b.rs", "kv/src/c.rs")]), &["is a circle", "take it off the list"]);
    // One arrow is enough to break a circle.
    let both = [("kv/src/a.rs", "kv/src/b.rs"), ("kv/src/b.rs", "kv/src/a.rs")];
    assert_eq!(check_with(&files, &both).len(), 2);
}
