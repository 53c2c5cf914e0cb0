//! The journal alone is enough for whoever follows it.

use super::*;

fn changes(bench: &Bench) -> Vec<Change> {
    let page = pull_journal(&bench.kv, NS, Seq(0), 1000).unwrap();
    page.records.into_iter().map(|record| record.change).collect()
}

#[test]
fn the_journal_is_dense_and_tells_everything() {
    let mut bench = Bench::new();
    bench.ok(mkdir("/a"));
    bench.ok(save("/a/f", Expect::Absent, "1"));
    bench.ok(save("/a/f", Expect::Any, "22"));
    let attributes = Attributes::at(Nanos(77));
    bench.ok(Op::SetAttributes { path: p("/a/f"), expect: Expect::Any, attributes: attributes.clone() });
    bench.ok(mv("/a/f", "/g"));
    bench.ok(rm("/g", false));
    bench.ok(Op::Undelete { path: p("/g") });
    bench.ok(Op::Split { path: p("/a"), expect: Expect::Any });
    let kind = |change: &Change| match change {
        Change::Created { entry, .. } => format!("created {}", entry.name),
        Change::Versioned { entry, base, .. } => format!("version {} on {base}", entry.version),
        Change::Attributed { entry, .. } => format!("modified {}", entry.attributes.modified.0),
        Change::Moved { source, entry, replaced, .. } => {
            format!("{} to {} for {replaced:?}", source.name.as_str(), entry.name)
        }
        Change::Removed { entry, .. } => format!("removed {} of {} bytes", entry.name, entry.size),
        Change::Returned { entry, removed, .. } => format!("version {} back from {removed}", entry.version),
        Change::Split { entry, .. } => format!("split {}", entry.name),
        Change::Base { .. } => unreachable!("it begins another journal"),
    };
    let told: Vec<String> = changes(&bench).iter().map(kind).collect();
    assert_eq!(
        told,
        [
            "created a",
            "created f",
            "version 2 on 1",
            "modified 77",
            "f to g for None",
            "removed g of 2 bytes",
            "version 2 back from 6",
            "split a",
        ]
    );
    let page = pull_journal(&bench.kv, NS, Seq(3), 1).unwrap();
    assert_eq!((page.records[0].seq, page.head), (Seq(4), Seq(8)));
    assert!(pull_journal(&bench.kv, NS, Seq(9), 1).unwrap_err().message().contains("ahead of the journal"));
}

/// Whoever asks for what is gone is told so, and gets nothing that it could take for everything.
#[test]
fn a_journal_that_was_cut_says_where_it_begins() {
    let mut bench = Bench::new();
    for name in ["/a", "/b", "/c", "/d"] {
        bench.ok(mkdir(name));
    }
    let mut batch = kv::Batch::new();
    for seq in [1, 2] {
        batch.delete(&key::of_record(NS, Seq(seq)));
    }
    let key = key::of_namespace(NS);
    let row: row::NamespaceRow = crate::row::load(&bench.kv, &key).unwrap().unwrap();
    let cut = row::NamespaceRow { floor: Seq(2), ..row };
    batch.put(&key, &crate::row::encode(&cut, types::FeatureLevel::FIRST));
    bench.kv.write(batch, Durability::Buffered).unwrap();
    for (after, want) in [(0, 0), (1, 0), (2, 2), (3, 1), (4, 0)] {
        let page = pull_journal(&bench.kv, NS, Seq(after), 9).unwrap();
        assert_eq!((page.records.len(), page.floor, page.head), (want, Seq(2), Seq(4)), "after {after}");
    }
    bench.ok(mkdir("/e"));
}
