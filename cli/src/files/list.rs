//! `ls` and `du`: what is in a directory, and how much.

use client::{Namespace, list_tree};
use proto::index::IndexStats;
use proto::namespace::{Contents, DirRef, Entry, Kind, OrderBy};
use serde_json::{Value, json};
use types::limits::LIST_PAGE_COUNT_MAX;
use types::{Error, Name, Path, Result};

use super::{entry, entry_json, kind_word};
use crate::args::SortBy;
use crate::output::{Outcome, Table, describe, printable, size, time};
use crate::session::Session;

/// How a directory is listed.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Size, time and version, too.
    pub long: bool,
    /// Everything below, too.
    pub recursive: bool,
    /// In which order.
    pub sort: SortBy,
    /// The other way round.
    pub reverse: bool,
}

/// Lists a directory, or shows a file.
pub async fn ls(session: &Session, path: &Path, look: Look) -> Result<Outcome> {
    let namespace = session.namespace().await?;
    let listed = if look.recursive {
        let mut found = list_tree(&namespace, path).await?;
        if found.is_empty() {
            return Err(Error::not_found(format!("{path} does not exist")));
        }
        if found.get(path).is_some_and(Entry::is_dir) {
            found.remove(path);
        }
        found.into_iter().collect()
    } else {
        let top = entry(&namespace, path).await?;
        if top.is_dir() { list_dir(&namespace, path, look).await? } else { vec![(path.clone(), top)] }
    };
    Ok(listing(path, &listed, look.long))
}

async fn list_dir(namespace: &Namespace, path: &Path, look: Look) -> Result<Vec<(Path, Entry)>> {
    let order = match look.sort {
        SortBy::Name => OrderBy::Name,
        SortBy::Time => OrderBy::Modified,
        SortBy::Size => OrderBy::Size,
    };
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let (dir, limit) = (DirRef::Path(path.clone()), LIST_PAGE_COUNT_MAX as u32);
        let page = namespace.list(dir, (order, look.reverse), after, limit).await?;
        for entry in page.entries {
            listed.push((path.join(Name::parse(&entry.name)?)?, entry));
        }
        after = page.next;
        if after.is_none() {
            return Ok(listed);
        }
    }
}

fn listing(top: &Path, listed: &[(Path, Entry)], long: bool) -> Outcome {
    let json = listed.iter().map(|(path, entry)| entry_json(path, entry)).collect();
    let mut table = Table::new(&["kind", "mode", ">size", "modified", ">version", "name"]);
    let mut names = String::new();
    for (path, entry) in listed {
        let mut name = name_below(top, path, entry);
        if long {
            let (version, size) = match entry.kind {
                Kind::Dir => (String::new(), String::new()),
                Kind::File | Kind::Symlink => (entry.version.to_string(), size(entry.size)),
            };
            if entry.kind == Kind::Symlink {
                name = format!("{name} -> {}", printable(&entry.target));
            }
            let mode = entry.attributes.mode.map(|mode| format!("{mode:04o}")).unwrap_or_default();
            let modified = time(entry.attributes.modified.millis());
            table.row([kind_word(entry.kind).to_owned(), mode, size, modified, version, name]);
        } else {
            names.push_str(&name);
            names.push('\n');
        }
    }
    Outcome::ok(if long { table.render() } else { names }, json)
}

/// The path as seen from `top`; directories end with '/'.
fn name_below(top: &Path, path: &Path, entry: &Entry) -> String {
    let below = &path.names()[top.names().len().min(path.names().len() - 1)..];
    let below: Vec<&str> = below.iter().map(Name::as_str).collect();
    let mut name = printable(&below.join("/"));
    if entry.is_dir() {
        name.push('/');
    }
    name
}

/// How much is below a path, and how much of the cluster's disks everything takes.
pub async fn du(session: &Session, path: &Path) -> Result<Outcome> {
    let namespace = session.namespace().await?;
    let found = namespace.describe(path).await?;
    let found = found.ok_or_else(|| Error::not_found(format!("{path} does not exist")))?;
    let (files, dirs, bytes) = match found.contents {
        Some(Contents { totals, .. }) => (totals.files, totals.dirs, totals.bytes),
        None => (1, 0, found.entry.size),
    };
    let stats = session.blocks().stats().await?;
    Ok(usage(path, (files, dirs, bytes), &stats))
}

fn usage(path: &Path, (files, dirs, bytes): (u64, u64, u64), stats: &IndexStats) -> Outcome {
    let text = describe(&[
        ("path", path.to_string()),
        ("files", files.to_string()),
        ("directories", dirs.to_string()),
        ("bytes", format!("{bytes} ({})", size(bytes))),
        ("whole cluster, unique", format!("{} ({})", stats.plain_bytes, size(stats.plain_bytes))),
        ("whole cluster, on disk", format!("{} ({})", stats.disk_bytes, size(stats.disk_bytes))),
    ]);
    let cluster: Value =
        json!({ "chunks": stats.chunks, "unique_bytes": stats.plain_bytes, "disk_bytes": stats.disk_bytes });
    let json =
        json!({ "path": path.to_string(), "files": files, "dirs": dirs, "bytes": bytes, "cluster": cluster });
    Outcome::ok(text, json)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proto::namespace::Attributes;
    use types::{ChunkId, InodeId, Millis, VersionId};

    use super::*;

    fn tree() -> Vec<(Path, Entry)> {
        let entry = |text: &str, kind, bytes| {
            let path = Path::parse(text).unwrap();
            let entry = Entry {
                size: bytes,
                attributes: Attributes::at(Millis(1_767_225_600_000).into()),
                version: VersionId(bytes),
                content_root: ChunkId([0xab; 32]),
                ..Entry::new(path.names().last().unwrap().as_str(), InodeId(bytes), kind)
            };
            (path, entry)
        };
        vec![
            entry("/a/b", Kind::Dir, 0),
            entry("/a/b/long name", Kind::File, 12_345),
            entry("/a/x\u{1b}[2J", Kind::File, 7),
        ]
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
                kind  mode   size  modified             version  name
                dir                2026-01-01 00:00:00           a/b/
                file        12 kB  2026-01-01 00:00:00    12345  a/b/long name
                file          7 B  2026-01-01 00:00:00        7  a/x?[2J
            "#]],
        );
    }

    #[test]
    fn for_programs() {
        let json = listing(&Path::root(), &tree(), false).json;
        expect![[r#"{"changed_ms":0,"content":null,"executable":false,"inode":0,"kind":"dir","media_type":"","mode":null,"modified_ns":1767225600000000000,"name":"b","path":"/a/b","size":0,"target":null,"version":null}"#]]
            .assert_eq(&json[0].to_string());
        assert_eq!(json[1]["version"], 12345);
        assert_eq!(json[1]["content"], "ab".repeat(32));
    }

    #[test]
    fn a_file_is_listed_by_its_name() {
        let mut file = tree();
        file.retain(|(_, entry)| entry.size == 12_345);
        assert_eq!(listing(&Path::parse("/a/b/long name").unwrap(), &file, false).text, "long name\n");
    }

    #[test]
    fn usage_adds_up_files() {
        let stats =
            IndexStats { chunks: 3, plain_bytes: 12_000, disk_bytes: 18_000, ..IndexStats::default() };
        let outcome = usage(&Path::root(), (2, 1, 12_352), &stats);
        expect![[r#"
            path                    /
            files                   2
            directories             1
            bytes                   12352 (12 kB)
            whole cluster, unique   12000 (12 kB)
            whole cluster, on disk  18000 (18 kB)
        "#]]
        .assert_eq(&outcome.text);
        expect![[r#"{"bytes":12352,"cluster":{"chunks":3,"disk_bytes":18000,"unique_bytes":12000},"dirs":1,"files":2,"path":"/"}"#]]
            .assert_eq(&outcome.json.to_string());
    }
}
