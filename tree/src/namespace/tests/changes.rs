//! Links, attributes, copies, replaced and restored entries, namespaces split off.

use super::*;

#[test]
fn a_link_is_a_text_in_versions() {
    let mut bench = Bench::new();
    bench.ok(link("/l", Expect::Absent, "a/../b"));
    bench.ok(link("/l", Expect::Any, "c"));
    let entry = bench.entry("/l");
    assert_eq!((entry.kind, &entry.target[..], entry.size), (Kind::Symlink, "c", 1));
    let (old, manifest) = open_version(&bench.kv, NS, &p("/l"), Some(VersionId(1))).unwrap();
    assert_eq!((&old.target[..], manifest.size), ("a/../b", 0));
    bench.refused(save("/l", Expect::Any, "x"), "does not become a file");
    bench.refused(save("/l/x", Expect::Any, "x"), "not a directory");
    bench.refused(link("/m", Expect::Any, ""), "1 to 4096 bytes");
    bench.ok(save("/f", Expect::Any, "x"));
    bench.refused(link("/f", Expect::Any, "x"), "does not become a symbolic link");
}

#[test]
fn attributes_are_kept_and_change_alone() {
    let mut bench = Bench::new();
    let attributes = Attributes {
        modified: Nanos(-1_500_000_000),
        mode: Some(0o755),
        executable: true,
        media_type: "text/x-sh".into(),
        xattrs: [("user.a".to_owned(), Bytes::from_static(b"1"))].into(),
    };
    let set = |path: &str, attributes: &Attributes| Op::SetAttributes {
        path: p(path),
        expect: Expect::Any,
        attributes: attributes.clone(),
    };
    bench.ok(Op::Mkdir { path: p("/d"), parents: false, attributes: attributes.clone() });
    assert_eq!(bench.entry("/d").attributes, attributes);
    bench.ok(save("/f", Expect::Absent, "1"));
    assert_eq!(bench.ok(set("/f", &attributes)), Some(VersionId(1)), "no new version");
    assert_eq!(bench.entry("/f").attributes, attributes);
    let before = bench.digest();
    bench.ok(set("/f", &attributes));
    assert_eq!(bench.digest(), before, "nothing to change");
    let bad = Attributes { mode: Some(0o10000), ..attributes };
    bench.refused(set("/f", &bad), "permission bits");
    bench.refused(set("/nope", &Attributes::default()), "does not exist");
    bench.refused(Op::Mkdir { path: p("/e"), parents: true, attributes: bad }, "permission bits");
}

#[test]
fn a_copy_has_the_content_and_versions_of_its_own() {
    let mut bench = Bench::new();
    bench.ok(save("/f", Expect::Absent, "one"));
    bench.ok(save("/f", Expect::Any, "three"));
    let copy = |version: Option<u64>, target: &str, expect| Op::Copy {
        source: p("/f"),
        version: version.map(VersionId),
        target: p(target),
        expect,
    };
    assert_eq!(bench.ok(copy(Some(1), "/g", Expect::Absent)), Some(VersionId(1)));
    assert_eq!(bench.entry("/g").size, 3);
    assert_eq!(bench.ok(copy(None, "/g", Expect::Any)), Some(VersionId(2)));
    assert_eq!(bench.entry("/g").content_root, bench.entry("/f").content_root);
    bench.refused(copy(Some(9), "/h", Expect::Any), "no version 9");
    bench.refused(copy(None, "/g", Expect::Absent), "already exists");
    bench.ok(mkdir("/d"));
    let dir = Op::Copy { source: p("/d"), version: None, target: p("/e"), expect: Expect::Any };
    bench.refused(dir, "has no versions");
}

/// I-CAS: every change can name what it was made for.
#[test]
fn changes_name_what_they_expect() {
    let begin = || {
        let mut bench = Bench::new();
        bench.ok(save("/f", Expect::Absent, "1"));
        let old = bench.seen("/f");
        bench.ok(save("/f", old, "2"));
        (bench, old)
    };
    let (mut bench, old) = begin();
    let (new, this) = (bench.seen("/f"), Expect::Inode(bench.entry("/f").inode));
    let another = Expect::Inode(InodeId(NS.0 + 999));
    let ops = |expect| {
        [
            Op::Remove { path: p("/f"), expect, recursive: false },
            Op::Rename { source: p("/f"), expect, target: p("/g"), replace: Expect::Absent },
            Op::RestoreVersion { path: p("/f"), expect, version: VersionId(1) },
            Op::SetAttributes { path: p("/f"), expect, attributes: Attributes::at(Nanos(9)) },
            Op::Copy { source: p("/f"), version: Some(VersionId(1)), target: p("/f"), expect },
        ]
    };
    for (expect, want) in [(old, "newer version"), (another, "not what"), (Expect::Absent, "already exists")]
    {
        ops(expect).into_iter().for_each(|op| bench.refused(op, want));
    }
    for op in ops(new).into_iter().chain(ops(this)) {
        begin().0.ok(op);
    }
    bench.refused(Op::Remove { path: p("/g"), expect: old, recursive: false }, "removed or moved");
}

#[test]
fn a_rename_takes_the_place_of_another() {
    let mut bench = Bench::new();
    bench.ok(mkdirs("/d/e"));
    bench.ok(mkdir("/empty"));
    for (path, content) in [("/old", "old"), ("/new", "new"), ("/d/f", "f")] {
        bench.ok(save(path, Expect::Absent, content));
    }
    let old = bench.entry("/old").inode;
    bench.refused(replace("/new", "/old", Expect::Inode(InodeId(NS.0 + 99))), "not what");
    bench.refused(replace("/new", "/d", Expect::Any), "a file cannot take its place");
    bench.refused(replace("/empty", "/old", Expect::Any), "a directory cannot take its place");
    bench.refused(replace("/empty", "/d", Expect::Any), "not empty");
    bench.ok(replace("/new", "/old", Expect::Inode(old)));
    bench.ok(replace("/d/e", "/empty", Expect::Any));
    assert_eq!(
        (bench.names("/"), bench.entry("/old").size),
        (vec!["d".into(), "empty".into(), "old".into()], 3)
    );
    let trash = list_trash(&bench.kv, NS, &Path::root(), None, 9).unwrap();
    let paths: Vec<&str> = trash.removed.iter().map(|removed| &removed.path[..]).collect();
    assert_eq!(paths, ["/empty", "/old"], "what had the place can be brought back");
    let op = Op::RestoreRemoved { removed: trash.removed[1].seq, target: Some(p("/back")) };
    bench.ok(op);
    assert_eq!(bench.entry("/back").inode, old);
}

#[test]
fn the_trash_is_listed_in_pages() {
    let mut bench = Bench::new();
    bench.ok(mkdirs("/d/e"));
    for name in ["/d/a", "/d/e/b", "/c"] {
        bench.ok(save(name, Expect::Absent, "1"));
        bench.ok(rm(name, false));
    }
    bench.ok(rm("/d", true));
    let list = |under: &str| {
        let mut found = Vec::new();
        let mut before = None;
        loop {
            let page = list_trash(&bench.kv, NS, &p(under), before, 1).unwrap();
            found.extend(page.removed);
            match page.next {
                Some(next) => before = Some(next),
                None => return found,
            }
        }
    };
    let paths = |under| list(under).into_iter().map(|removed| removed.path).collect::<Vec<_>>();
    assert_eq!(paths("/"), ["/d", "/c", "/d/e/b", "/d/a"]);
    assert_eq!(paths("/d"), ["/d", "/d/e/b", "/d/a"]);
    assert_eq!(paths("/d/e"), ["/d/e/b"]);
    let dir = list("/").remove(0);
    assert_eq!(dir.author, "user/ann");
    assert_eq!(dir.contents.map(|contents: Contents| contents.totals.dirs), Some(1));
}

#[test]
fn what_was_removed_comes_back_to_its_directory() {
    let mut bench = Bench::new();
    bench.ok(mkdirs("/a/b"));
    bench.ok(save("/a/b/f", Expect::Absent, "1"));
    let removed = |bench: &mut Bench, path: &str| {
        bench.ok(rm(path, true));
        bench.digest().seq
    };
    let back = |seq, target: Option<&str>| Op::RestoreRemoved { removed: seq, target: target.map(p) };
    // Its directory has another name now.
    let seq = removed(&mut bench, "/a/b/f");
    bench.ok(mv("/a", "/x"));
    bench.ok(back(seq, None));
    assert_eq!(bench.names("/x/b"), ["f"]);
    bench.refused(back(seq, None), "nothing that was removed at position");
    // Its directory was removed, too: the way is made anew.
    let seq = removed(&mut bench, "/x/b/f");
    let dir = removed(&mut bench, "/x");
    bench.ok(back(seq, None));
    assert_eq!(bench.names("/x/b"), ["f"]);
    // Something is in the way.
    bench.refused(back(dir, None), "/x exists");
    bench.refused(back(dir, Some("/x/b/f/g")), "not a directory");
    bench.ok(back(dir, Some("/new/place")));
    assert_eq!(bench.names("/new/place"), ["b"]);
    assert!(bench.names("/new/place/b").is_empty());
}

/// A path that could not be named could not be listed or removed.
#[test]
fn moves_keep_the_limits_of_paths() {
    let mut bench = Bench::new();
    let name = "n".repeat(255);
    let deep: String = format!("/{name}").repeat(9);
    bench.ok(mkdirs(&deep));
    bench.ok(mkdirs(&format!("/t{deep}")));
    bench.refused(mv(&format!("/{name}"), &format!("/t{deep}/x")), "choose a shorter place");
    // What was removed does not count.
    bench.ok(rm(&deep[..8 * 256], true));
    bench.ok(mv(&format!("/{name}"), &format!("/t{deep}/x")));
    let many: String = "/d".repeat(200);
    bench.ok(mkdirs(&many));
    bench.ok(mkdirs(&format!("/u{}", "/e".repeat(100))));
    bench.refused(mv("/d", &format!("/u{}/d", "/e".repeat(100))), "choose a shorter place");
    bench.ok(rm("/d", true));
    let seq = bench.digest().seq;
    let target = Some(p(&format!("/u{}/d", "/e".repeat(100))));
    bench.refused(Op::RestoreRemoved { removed: seq, target }, "choose a shorter place");
}

#[test]
fn a_directory_becomes_a_namespace() {
    let mut bench = Bench::new();
    bench.ok(mkdirs("/a/b"));
    bench.ok(save("/a/b/f", Expect::Absent, "123"));
    bench.ok(save("/g", Expect::Absent, "1"));
    let split = |path: &str| Op::Split { path: p(path), expect: Expect::Any };
    bench.refused(split("/g"), "is no directory");
    bench.refused(split("/"), "/ itself");
    let done = bench.one(split("/a")).unwrap();
    let id = done.namespace.unwrap();
    assert_eq!(bench.names("/"), ["g"]);
    assert_eq!(bench.digest().totals.bytes, 1);
    let stats = fetch_namespace(&bench.kv, id).unwrap();
    assert_eq!((stats.root, stats.seq, stats.totals.bytes, stats.totals.files), (done.inode, Seq(1), 3, 1));
    assert_eq!(stat(&bench.kv, id, &p("/b/f")).unwrap().0.size, 3);
    let first = pull_journal(&bench.kv, id, Seq(0), 9).unwrap().records.remove(0);
    assert_eq!(first.change, Change::Base { namespace: NS, seq: done.seq });
    let write = WriteNamespace {
        namespace: id,
        request: RequestId([77; 16]),
        mode: Mode::Atomic,
        ops: vec![save("/b/f", Expect::Any, "4444"), mkdir("/c")],
    };
    let written: Written = bench.ask(NamespaceCommand::Write { author: "user/ann".into(), write }).unwrap();
    assert!(written.results.iter().all(Result::is_ok) && written.seq == Seq(3));
    assert_eq!(fetch_namespace(&bench.kv, id).unwrap().totals.bytes, 4);
}
