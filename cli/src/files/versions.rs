//! `history` and `restore`: what there was, and the way back to it.

use proto::namespace::{Expect, Op, Version};
use serde_json::{Value, json};
use types::{Path, Result, VersionId};

use super::change::change;
use crate::output::{Outcome, Table, size, time};
use crate::session::Session;

/// Characters of a content id, enough for a person to compare.
const CONTENT_WIDTH: usize = 12;

/// Lists all versions of a file, newest first.
pub async fn history(session: &Session, path: &Path) -> Result<Outcome> {
    let namespace = session.namespace().await?;
    let mut versions: Vec<Version> = Vec::new();
    loop {
        let page = namespace.list_versions(path, versions.last().map(|v| v.id)).await?;
        let more = page.more && !page.versions.is_empty();
        versions.extend(page.versions);
        if !more {
            return Ok(listing(&versions));
        }
    }
}

fn listing(versions: &[Version]) -> Outcome {
    let mut table = Table::new(&[">version", "committed", ">size", "author", ">base", "content"]);
    for version in versions {
        table.row([
            version.id.to_string(),
            time(version.committed),
            size(version.size),
            version.author.clone(),
            version.base.map(|base| base.to_string()).unwrap_or_default(),
            version.content_root.to_string()[..CONTENT_WIDTH].to_owned(),
        ]);
    }
    Outcome::ok(table.render(), versions.iter().map(version_json).collect())
}

fn version_json(version: &Version) -> Value {
    json!({
        "version": version.id.0,
        "base": version.base.map(|base| base.0),
        "author": version.author,
        "committed_ms": version.committed.0,
        "modified_ns": version.attributes.modified.0,
        "size": version.size,
        "content": version.content_root.to_string(),
    })
}

/// Makes an old version the newest again, or brings back what was removed.
pub async fn restore(session: &Session, path: &Path, version: Option<VersionId>) -> Result<Outcome> {
    let namespace = session.namespace().await?;
    let op = match version {
        Some(version) => Op::RestoreVersion { path: path.clone(), expect: Expect::Any, version },
        None => Op::Undelete { path: path.clone() },
    };
    let done = change(&namespace, op).await?;
    let text = match (version, done.version) {
        (Some(old), Some(new)) => format!("{path}: version {old} is the newest again, as version {new}"),
        _ => format!("{path} is back"),
    };
    let json =
        json!({ "path": path.to_string(), "inode": done.inode.0, "version": done.version.map(|v| v.0) });
    Ok(Outcome::ok(text, json))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use types::{ChunkId, InodeId, Millis};

    use super::*;

    #[test]
    fn histories() {
        let version = |id, base| Version {
            inode: InodeId(1),
            id: VersionId(id),
            base,
            author: "admin/admin".to_owned(),
            committed: Millis(1_767_225_600_000),
            attributes: Default::default(),
            size: id * 100,
            content_root: ChunkId([0xab; 32]),
            target: String::new(),
        };
        let outcome = listing(&[version(12, Some(VersionId(7))), version(7, None)]);
        expect![[r#"
            version  committed              size  author       base  content
                 12  2026-01-01 00:00:00  1.2 kB  admin/admin     7  abababababab
                  7  2026-01-01 00:00:00   700 B  admin/admin        abababababab
        "#]]
        .assert_eq(&outcome.text);
        assert_eq!(outcome.json[0]["base"], 7);
        assert_eq!(outcome.json[1]["base"], Value::Null);
    }
}
