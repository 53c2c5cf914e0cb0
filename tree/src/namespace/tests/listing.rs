//! Pages: in three orders, both ways, whatever changes between them.

use super::*;

/// All names, page by page, with what happens between two pages.
fn paged(bench: &mut Bench, first: ListDir, mut between: impl FnMut(&mut Bench)) -> Vec<String> {
    let mut names = Vec::new();
    let mut question = ListDir { limit: 2, ..first };
    loop {
        let page = list_dir(&bench.kv, &question).unwrap();
        names.extend(page.entries.into_iter().map(|entry| entry.name));
        match page.next {
            Some(next) => question.after = Some(next),
            None => return names,
        }
        between(bench);
    }
}

#[test]
fn names_come_in_byte_order() {
    let mut bench = Bench::new();
    for name in ["b", "a", "a b", "ab", "a!", "é", "B"] {
        bench.ok(save(&format!("/{name}"), Expect::Absent, ""));
    }
    let mut want = ["B", "a", "a b", "a!", "ab", "b", "é"];
    assert_eq!(paged(&mut bench, question("/"), |_| {}), want);
    want.reverse();
    assert_eq!(paged(&mut bench, ListDir { descending: true, ..question("/") }, |_| {}), want);
    assert_eq!(bench.list("/").unwrap().count, 7);
    assert!(bench.list("/a").unwrap_err().message().contains("is a file"));
}

#[test]
fn entries_come_by_time_or_size() {
    let mut bench = Bench::new();
    for (name, modified, content) in
        [("a", 5, "55555"), ("b", -7, "22"), ("c", 5, "22"), ("d", 0, ""), ("e", i64::MAX, "1")]
    {
        let manifest = Manifest::inline(Bytes::from_static(content.as_bytes()));
        let content = NewContent::File { manifest, receipts: Vec::new() };
        let attributes = Attributes::at(Nanos(modified));
        let path = p(&format!("/{name}"));
        bench.ok(Op::CommitVersion { path, expect: Expect::Absent, content, attributes });
    }
    for (order, want) in [(OrderBy::Modified, "bdace"), (OrderBy::Size, "debca")] {
        let ordered = |descending| ListDir { order, descending, ..question("/") };
        assert_eq!(paged(&mut bench, ordered(false), |_| {}).concat(), want);
        let reverse: String = want.chars().rev().collect();
        assert_eq!(paged(&mut bench, ordered(true), |_| {}).concat(), reverse);
    }
}

/// What stays is listed once, whatever comes and goes, the entry at which the page ended included.
#[test]
fn pages_go_on_over_changes() {
    for order in [OrderBy::Name, OrderBy::Modified, OrderBy::Size] {
        let mut bench = Bench::new();
        for name in ["b", "d", "f", "h"] {
            bench.ok(save(&format!("/{name}"), Expect::Absent, "1"));
        }
        let mut changes = vec![rm("/d", false), save("/a", Expect::Absent, "1")];
        let names = paged(&mut bench, ListDir { order, ..question("/") }, |bench| {
            while let Some(change) = changes.pop() {
                bench.ok(change);
            }
        });
        assert_eq!(names, ["b", "d", "f", "h"], "{order:?}");
    }
}

/// By its id a directory is found wherever it is, as long as it is in the namespace.
#[test]
fn a_directory_is_listed_by_its_id() {
    let mut bench = Bench::new();
    bench.ok(mkdirs("/a/b"));
    bench.ok(save("/a/b/f", Expect::Absent, "1"));
    let (a, b) = (bench.entry("/a").inode, bench.entry("/a/b").inode);
    let file = bench.entry("/a/b/f").inode;
    let names = |bench: &Bench, dir: InodeId| {
        let question = ListDir { dir: DirRef::Inode(dir), ..question("/") };
        let listed = list_dir(&bench.kv, &question).map(|listing| listing.entries);
        listed.map(|entries| entries.into_iter().map(|entry| entry.name).collect::<String>())
    };
    bench.ok(mv("/a", "/c"));
    assert_eq!(names(&bench, b), Ok("f".into()));
    for (op, gone) in [(rm("/c/b", true), b), (Op::Split { path: p("/c"), expect: Expect::Any }, a)] {
        bench.ok(op);
        assert!(names(&bench, gone).unwrap_err().message().contains("in this namespace"));
    }
    assert!(names(&bench, file).is_err() && names(&bench, InodeId(7)).is_err());
}
