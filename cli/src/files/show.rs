//! `stat` and `cat`: one entry, and the bytes of one file.

use client::Download;
use futures::StreamExt;
use proto::namespace::{Entry, Kind};
use types::{Path, Result};

use super::{entry, entry_json, kind_word};
use crate::args::ByteRange;
use crate::output::{Outcome, describe, size, time, write_out};
use crate::session::Session;

/// Shows what is known about an entry.
pub async fn stat(session: &Session, path: &Path) -> Result<Outcome> {
    let entry = entry(&*session.namespace().await?, path).await?;
    Ok(description(path, &entry))
}

fn description(path: &Path, entry: &Entry) -> Outcome {
    let mut lines = vec![
        ("path", path.to_string()),
        ("kind", kind_word(entry.kind).to_owned()),
        ("inode", entry.inode.to_string()),
    ];
    if entry.kind != Kind::Dir {
        lines.push(("size", format!("{} ({})", entry.size, size(entry.size))));
        lines.push(("version", entry.version.to_string()));
        lines.push(("content", entry.content_root.to_string()));
    }
    if !path.is_root() {
        lines.push(("modified", time(entry.attributes.modified.millis())));
    }
    Outcome::ok(describe(&lines), entry_json(path, entry))
}

/// Writes a file, or a range of it, to standard output as it arrives.
pub async fn cat(session: &Session, path: &Path, range: Option<ByteRange>) -> Result<Outcome> {
    let opened = session.namespace().await?.open_version(path, None).await?;
    let range =
        range.map_or(0..u64::MAX, |r| r.first..r.last.map_or(u64::MAX, |last| last.saturating_add(1)));
    let download = Download::open(session.blocks(), opened, range.clone()).await?;
    let mut bytes = std::pin::pin!(download.read(range));
    while let Some(bytes) = bytes.next().await {
        write_out(&bytes?)?;
    }
    Ok(Outcome::default())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use types::{ChunkId, InodeId, VersionId};

    use super::*;

    #[test]
    fn descriptions() {
        let mut entry = Entry {
            size: 1500,
            version: VersionId(9),
            content_root: ChunkId([0xab; 32]),
            ..Entry::new("f", InodeId(5), Kind::File)
        };
        let path = Path::parse("/d/f").unwrap();
        expect![[r#"
            path      /d/f
            kind      file
            inode     5
            size      1500 (1.5 kB)
            version   9
            content   abababababababababababababababababababababababababababababababab
            modified  1970-01-01 00:00:00
        "#]]
        .assert_eq(&description(&path, &entry).text);
        entry.kind = Kind::Dir;
        assert_eq!(description(&Path::root(), &entry).text, "path   /\nkind   dir\ninode  5\n");
    }
}
