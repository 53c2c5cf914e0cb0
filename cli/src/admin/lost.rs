//! `admin lost`: what cannot be read any more, by the names that people know.

use std::collections::BTreeSet;

use client::lost::{LostVersion, lost_chunks, lost_versions};
use serde_json::{Value, json};
use types::{ChunkId, counted};

use crate::exit::{self, Exit};
use crate::output::{Outcome, Table, size};
use crate::session::Session;

/// Lists the versions of files that need lost chunks.
pub async fn list(session: &Session) -> exit::Result<Outcome> {
    let lost = lost_chunks(&session.cluster).await?;
    let versions = match lost.is_empty() {
        true => Vec::new(),
        false => lost_versions(&session.cluster, &lost).await?,
    };
    Ok(outcome(&lost.iter().map(|chunk| chunk.id).collect(), &versions))
}

fn outcome(lost: &BTreeSet<ChunkId>, versions: &[LostVersion]) -> Outcome {
    if lost.is_empty() {
        return Outcome::ok("nothing is lost", json!({ "chunks": [], "files": [], "unnamed": 0 }));
    }
    let mut table = Table::new(&["namespace", ">version", ">size", ">lost chunks", "path"]);
    for version in versions {
        let LostVersion { namespace, path, version, is_newest, size: bytes, chunks } = version;
        let newest = if *is_newest { "" } else { " (old)" };
        table.row([
            namespace.to_string(),
            format!("{version}{newest}"),
            size(*bytes),
            chunks.len().to_string(),
            path.to_string(),
        ]);
    }
    let named: BTreeSet<ChunkId> = versions.iter().flat_map(|version| &version.chunks).copied().collect();
    let unnamed = lost.difference(&named).count();
    let mut text =
        format!("{} lost: storing the same file again heals it\n", counted(lost.len() as u64, "chunk"));
    if !versions.is_empty() {
        text.push_str(&table.render());
    }
    if unnamed > 0 {
        let unnamed = counted(unnamed as u64, "chunk");
        text.push_str(&format!(
            "{unnamed} in no file of any namespace: in the trash, or of an upload that was given up\n"
        ));
    }
    let json = json!({
        "chunks": lost.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "files": versions.iter().map(as_json).collect::<Vec<_>>(),
        "unnamed": unnamed,
    });
    Outcome { text, json, complaints: Vec::new(), exit: Exit::Degraded }
}

fn as_json(version: &LostVersion) -> Value {
    json!({
        "namespace": version.namespace,
        "path": version.path.to_string(),
        "version": version.version.0,
        "newest": version.is_newest,
        "size": version.size,
        "chunks": version.chunks.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use types::{Path, VersionId};

    use super::*;

    #[test]
    fn what_is_lost_is_named() {
        let nothing = outcome(&BTreeSet::new(), &[]);
        assert_eq!((nothing.text.as_str(), nothing.exit), ("nothing is lost", Exit::Ok));
        let chunk = |number| ChunkId([number; 32]);
        let version = |number, is_newest, chunks: &[u8]| LostVersion {
            namespace: "home".into(),
            path: Path::parse("/a/b c").unwrap(),
            version: VersionId(number),
            is_newest,
            size: 5_000_000,
            chunks: chunks.iter().map(|number| chunk(*number)).collect(),
        };
        let outcome =
            outcome(&[1, 2, 3].map(chunk).into(), &[version(2, true, &[1]), version(1, false, &[1, 2])]);
        expect![[r#"
            3 chunks lost: storing the same file again heals it
            namespace  version    size  lost chunks  path
            home             2  5.0 MB            1  /a/b c
            home       1 (old)  5.0 MB            2  /a/b c
            1 chunk in no file of any namespace: in the trash, or of an upload that was given up
        "#]]
        .assert_eq(&outcome.text);
        assert_eq!(outcome.exit, Exit::Degraded);
        assert_eq!(outcome.json["files"][1]["path"], "/a/b c");
        assert_eq!(outcome.json["unnamed"], 1);
    }
}
