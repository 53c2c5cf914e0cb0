//! Namespaces as a whole.

use super::*;

fn list(bench: &Bench, owner: Option<&str>, limit: u32) -> Vec<String> {
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = list_namespaces(&bench.kv, owner, after, limit).unwrap();
        names.extend(page.namespaces.into_iter().map(|namespace| namespace.name));
        match page.next {
            Some(next) => after = Some(next),
            None => return names,
        }
    }
}

#[test]
fn a_name_is_one_namespace() {
    let mut bench = Bench::new();
    assert_eq!(bench.create("ns", "user/ann"), Ok(NS), "the same again");
    let error = bench.create("ns", "user/bob").unwrap_err();
    assert!(error.message().contains("user/ann has a namespace ns"), "{error}");
    let find = |name| find_namespace(&Bench::new().kv, &NamespaceName::parse(name).unwrap());
    assert_eq!(find("ns"), Ok(NS));
    assert!(find("nope").unwrap_err().message().contains("create it first"));
}

/// In slots far apart, and with rows of all sorts between them.
#[test]
fn namespaces_are_listed_in_pages() {
    let mut bench = Bench::new();
    for name in ["other", "ann", "home"] {
        let owner = format!("user/{name}");
        answer::decode::<NamespaceId>(&bench.apply_unchecked(name, &owner)).unwrap();
    }
    bench.ok(mkdirs("/a/b"));
    for limit in [1, 2, 9] {
        assert_eq!(list(&bench, None, limit), ["home", "other", "ann", "ns"]);
        assert_eq!(list(&bench, Some("user/home"), limit), ["home"]);
    }
    let ns = list_namespaces(&bench.kv, Some("user/ann"), None, 9).unwrap().namespaces.pop().unwrap();
    assert_eq!((ns.id, ns.files, ns.dirs, ns.bytes), (NS, 0, 2, 0));
}

#[test]
fn a_namespace_is_given_away_and_deleted() {
    let mut bench = Bench::new();
    bench.ok(mkdir("/a"));
    bench.ask::<()>(NamespaceCommand::SetOwner { namespace: NS, owner: "user/bob".into() }).unwrap();
    assert_eq!(head(&bench.kv, NS).unwrap().owner, "user/bob");
    let mut delete = |force| bench.ask::<()>(NamespaceCommand::Delete { namespace: NS, force });
    assert!(delete(false).unwrap_err().message().contains("not empty: it has 0 files and 1 directories"));
    assert_eq!(delete(true), Ok(()));
    assert!(delete(true).unwrap_err().message().contains("was deleted"));
    assert!(bench.write(Mode::Atomic, vec![mkdir("/b")]).unwrap_err().message().contains("was deleted"));
    assert!(list(&bench, None, 9).is_empty());
    let again = bench.create("ns", "user/ann").unwrap();
    assert_eq!(again, NamespaceId(NS.0 + 1), "an id is never used again");
}
