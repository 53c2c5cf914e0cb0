//! `ls` and `du`: what is in a directory, and how much.

use std::collections::BTreeMap;

use client::list_tree;
use proto::index::IndexStats;
use proto::namespace::{Entry, Kind};
use serde_json::{Value, json};
use types::{Error, Name, Path, Result};

use super::{entry, entry_json, kind_word};
use crate::output::{Outcome, Table, describe, size, time};
use crate::session::Session;

/// Lists a directory, or shows a file.
pub async fn ls(session: &Session, path: &Path, long: bool, recursive: bool) -> Result<Outcome> {
    let namespace = session.namespace().await?;
    let listed = if recursive {
        let mut found = list_tree(&namespace, path).await?;
        match found.get(path).map(|top| top.kind) {
            None => return Err(Error::not_found(format!("{path} does not exist"))),
            Some(Kind::Dir) => found.remove(path),
            Some(Kind::File) => None,
        };
        found
    } else {
        let top = entry(&namespace, path).await?;
        match top.kind {
            Kind::File => BTreeMap::from([(path.clone(), top)]),
            Kind::Dir => {
                let entries = namespace.list_whole_dir(path).await?;
                entries
                    .into_iter()
                    .map(|e| Ok((path.join(Name::parse(&e.name)?)?, e)))
                    .collect::<Result<_>>()?
            }
        }
    };
    Ok(listing(path, &listed, long))
}

fn listing(top: &Path, listed: &BTreeMap<Path, Entry>, long: bool) -> Outcome {
    let json = listed.iter().map(|(path, entry)| entry_json(path, entry)).collect();
    let mut table = Table::new(&["kind", ">size", "modified", ">version", "name"]);
    let mut names = String::new();
    for (path, entry) in listed {
        let name = name_below(top, path, entry);
        if long {
            let (version, size) = match entry.kind {
                Kind::Dir => (String::new(), String::new()),
                Kind::File => (entry.version.to_string(), size(entry.size)),
            };
            table.row([kind_word(entry.kind).to_owned(), size, time(entry.modified), version, name]);
        } else {
            names.push_str(&name);
            names.push('\n');
        }
    }
    Outcome::ok(if long { table.render() } else { names }, json)
}

/// The path as seen from `top`; directories end with '/'. A control character would play tricks with the terminal.
fn name_below(top: &Path, path: &Path, entry: &Entry) -> String {
    let below = &path.names()[top.names().len().min(path.names().len() - 1)..];
    let below: Vec<&str> = below.iter().map(Name::as_str).collect();
    let mut name: String = below.join("/").chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if entry.kind == Kind::Dir {
        name.push('/');
    }
    name
}

/// How much is below a path, and how much of the cluster's disks everything takes.
pub async fn du(session: &Session, path: &Path) -> Result<Outcome> {
    let namespace = session.namespace().await?;
    let found = list_tree(&namespace, path).await?;
    if found.is_empty() {
        return Err(Error::not_found(format!("{path} does not exist")));
    }
    let stats = session.blocks().stats().await?;
    Ok(usage(path, &found, &stats))
}

fn usage(path: &Path, found: &BTreeMap<Path, Entry>, stats: &IndexStats) -> Outcome {
    let files: Vec<&Entry> = found.values().filter(|entry| entry.kind == Kind::File).collect();
    let bytes: u64 = files.iter().map(|entry| entry.size).sum();
    let text = describe(&[
        ("path", path.to_string()),
        ("files", files.len().to_string()),
        ("bytes", format!("{bytes} ({})", size(bytes))),
        ("whole cluster, unique", format!("{} ({})", stats.plain_bytes, size(stats.plain_bytes))),
        ("whole cluster, on disk", format!("{} ({})", stats.disk_bytes, size(stats.disk_bytes))),
    ]);
    let cluster: Value =
        json!({ "chunks": stats.chunks, "unique_bytes": stats.plain_bytes, "disk_bytes": stats.disk_bytes });
    let json = json!({ "path": path.to_string(), "files": files.len(), "bytes": bytes, "cluster": cluster });
    Outcome::ok(text, json)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use types::{ChunkId, InodeId, Millis, VersionId};

    use super::*;

    fn tree() -> BTreeMap<Path, Entry> {
        let entry = |text: &str, kind, bytes| {
            let path = Path::parse(text).unwrap();
            let entry = Entry {
                name: path.names().last().unwrap().to_string(),
                inode: InodeId(bytes),
                kind,
                size: bytes,
                modified: Millis(1_767_225_600_000),
                version: VersionId(bytes),
                content_root: ChunkId([0xab; 32]),
            };
            (path, entry)
        };
        BTreeMap::from([
            entry("/a/b", Kind::Dir, 0),
            entry("/a/b/long name", Kind::File, 12_345),
            entry("/a/x\u{1b}[2J", Kind::File, 7),
        ])
    }

    #[track_caller]
    fn check(top: &str, long: bool, want: Expect) {
        want.assert_eq(&listing(&Path::parse(top).unwrap(), &tree(), long).text);
    }

    #[test]
    fn short() {
        check(
            "/a",
            false,
            expect![[r#"
            b/
            b/long name
            x?[2J
        "#]],
        );
    }

    #[test]
    fn long() {
        check(
            "/",
            true,
            expect![[r#"
            kind   size  modified             version  name
            dir          2026-01-01 00:00:00           a/b/
            file  12 kB  2026-01-01 00:00:00    12345  a/b/long name
            file    7 B  2026-01-01 00:00:00        7  a/x?[2J
        "#]],
        );
    }

    #[test]
    fn for_programs() {
        let json = listing(&Path::root(), &tree(), false).json;
        expect![[r#"{"content":null,"inode":0,"kind":"dir","modified_ms":1767225600000,"name":"b","path":"/a/b","size":0,"version":null}"#]]
            .assert_eq(&json[0].to_string());
        assert_eq!(json[1]["version"], 12345);
        assert_eq!(json[1]["content"], "ab".repeat(32));
    }

    #[test]
    fn a_file_is_listed_by_its_name() {
        let mut file = tree();
        file.retain(|_, entry| entry.size == 12_345);
        assert_eq!(listing(&Path::parse("/a/b/long name").unwrap(), &file, false).text, "long name\n");
    }

    #[test]
    fn usage_adds_up_files() {
        let stats =
            IndexStats { chunks: 3, plain_bytes: 12_000, disk_bytes: 18_000, ..IndexStats::default() };
        let outcome = usage(&Path::root(), &tree(), &stats);
        expect![[r#"
            path                    /
            files                   2
            bytes                   12352 (12 kB)
            whole cluster, unique   12000 (12 kB)
            whole cluster, on disk  18000 (18 kB)
        "#]]
        .assert_eq(&outcome.text);
        expect![[r#"{"bytes":12352,"cluster":{"chunks":3,"disk_bytes":18000,"unique_bytes":12000},"files":2,"path":"/"}"#]]
            .assert_eq(&outcome.json.to_string());
    }
}
