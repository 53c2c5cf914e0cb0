//! `watch`: the changes of a namespace as they happen, one line each.

use std::time::Duration;

use proto::namespace::{Change, Entry, Kind, Record};
use serde_json::{Value, json};
use types::limits::JOURNAL_WAIT_MS_MAX;
use types::{Path, Result, Seq};

use super::kind_word;
use crate::output::{Format, Outcome, printable, time, write_out};
use crate::session::Session;

/// What to watch.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Changes of this path and of what is below it.
    pub path: Path,
    /// Begin after this position; `None` for now.
    pub after: Option<Seq>,
    /// End when nothing new is there.
    pub once: bool,
}

/// Prints changes until the command is stopped. A change is printed after what came before it, so whoever has a line may
/// go on from its position.
pub async fn watch(session: &Session, watch: Watch, format: Format) -> Result<Outcome> {
    let namespace = session.namespace().await?;
    let mut cursor = match watch.after {
        Some(after) => after,
        None => namespace.fetch_namespace().await?.seq,
    };
    let wait = if watch.once { 0 } else { u64::from(JOURNAL_WAIT_MS_MAX) };
    loop {
        let page = namespace.pull_journal(cursor, Duration::from_millis(wait)).await?;
        if page.floor > cursor {
            write_out(reset(page.head, format).as_bytes())?;
            cursor = page.head;
            continue;
        }
        let lines: String = page
            .records
            .iter()
            .filter(|record| concerns(record, &watch.path))
            .map(|record| line(record, format))
            .collect();
        write_out(lines.as_bytes())?;
        cursor = page.records.last().map_or(cursor, |record| record.seq);
        if watch.once && cursor >= page.head {
            return Ok(Outcome::default());
        }
    }
}

/// True for a change of the path, of what is below it, or of a directory above it.
fn concerns(record: &Record, watched: &Path) -> bool {
    let is_near = |text: &str| {
        // What cannot be read as a path is rather shown than hidden.
        Path::parse(text).map_or(true, |path| path.is_within(watched) || watched.is_within(&path))
    };
    let source = match &record.change {
        Change::Moved { source_path, .. } => Some(source_path),
        _ => None,
    };
    is_near(&record.path) || source.is_some_and(|source| is_near(source))
}

fn reset(head: Seq, format: Format) -> String {
    match format {
        Format::Json => format!("{}\n", json!({ "cursor": head.0, "action": "reset" })),
        Format::Table => format!("{head}  what was before is not kept any more: list the tree again\n"),
    }
}

/// What was done, in one word, and to what.
fn action(change: &Change) -> (&'static str, Option<&Entry>) {
    match change {
        Change::Created { entry, .. } => ("created", Some(entry)),
        Change::Versioned { entry, .. } => ("modified", Some(entry)),
        Change::Attributed { entry, .. } => ("attributes", Some(entry)),
        Change::Moved { entry, .. } => ("moved", Some(entry)),
        Change::Removed { entry, .. } => ("removed", Some(entry)),
        Change::Returned { entry, .. } => ("restored", Some(entry)),
        Change::Split { entry, .. } => ("split", Some(entry)),
        Change::Base { .. } => ("begun", None),
    }
}

fn line(record: &Record, format: Format) -> String {
    let (word, entry) = action(&record.change);
    match format {
        Format::Json => format!("{}\n", record_json(record, word, entry)),
        Format::Table => {
            let from = match &record.change {
                Change::Moved { source_path, .. } => format!("{source_path} -> "),
                _ => String::new(),
            };
            let text = format!("{}  {}  {word:10}  {from}{}", record.seq, time(record.time), record.path);
            format!("{}\n", printable(&text))
        }
    }
}

fn record_json(record: &Record, word: &str, entry: Option<&Entry>) -> Value {
    let mut json = json!({
        "cursor": record.seq.0,
        "time_ms": record.time.0,
        "author": record.author,
        "action": word,
        "path": record.path,
        "inode": record.inode.0,
    });
    if let Some(entry) = entry {
        json["kind"] = kind_word(entry.kind).into();
        if entry.kind != Kind::Dir {
            json["version"] = entry.version.0.into();
            json["size"] = entry.size.into();
            json["content"] = entry.content_root.to_string().into();
        }
    }
    match &record.change {
        Change::Moved { source_path, replaced, .. } => {
            json["from"] = source_path.as_str().into();
            json["replaced"] = replaced.map(|inode| inode.0).into();
        }
        Change::Versioned { base, .. } => json["base"] = base.0.into(),
        Change::Returned { removed, .. } => json["removed_at"] = removed.0.into(),
        Change::Split { namespace, .. } => json["namespace"] = namespace.0.into(),
        Change::Base { namespace, seq } => json["split_from"] = json!([namespace.0, seq.0]),
        Change::Created { .. } | Change::Attributed { .. } | Change::Removed { .. } => {}
    }
    json
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proto::namespace::Place;
    use types::{InodeId, Millis, Name};

    use super::*;

    fn moved(from: &str, to: &str) -> Record {
        let source = Place { dir: InodeId(1), name: Name::parse("a").unwrap() };
        let entry = Entry::new("b", InodeId(5), Kind::Dir);
        let (source_path, dir) = (from.to_owned(), InodeId(1));
        Record {
            seq: Seq(7),
            time: Millis(1_767_225_600_000),
            author: "user/ann".into(),
            inode: InodeId(5),
            path: to.into(),
            change: Change::Moved { source, source_path, dir, entry, replaced: None },
        }
    }

    #[test]
    fn a_change_is_a_line() {
        expect![[r#"
            7  2026-01-01 00:00:00  moved       /a -> /b?
        "#]]
        .assert_eq(&line(&moved("/a", "/b\n"), Format::Table));
        expect![[r#"
            {"action":"moved","author":"user/ann","cursor":7,"from":"/a","inode":5,"kind":"dir","path":"/b","replaced":null,"time_ms":1767225600000}
        "#]]
        .assert_eq(&line(&moved("/a", "/b"), Format::Json));
    }

    #[test]
    fn only_what_concerns_the_path_is_shown() {
        let concerns = |watched, from, to| concerns(&moved(from, to), &Path::parse(watched).unwrap());
        for (watched, from, to, want) in [
            ("/", "/a", "/b", true),
            ("/a", "/a/x", "/b", true),
            ("/b", "/a/x", "/b/x", true),
            ("/a/b/c", "/a", "/z", true),
            ("/c", "/a", "/b", false),
            ("/a", "/ab", "/b", false),
        ] {
            assert_eq!(concerns(watched, from, to), want, "{watched} {from} {to}");
        }
    }
}
