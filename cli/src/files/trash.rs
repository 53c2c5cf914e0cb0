//! `trash`: what was removed, and the way back by its number.

use proto::namespace::{Op, Removed};
use serde_json::{Value, json};
use types::{Path, Result, Seq};

use super::change::change;
use super::{entry_json, kind_word};
use crate::output::{Outcome, Table, printable, size, time};
use crate::session::Session;

/// Lists what was removed from below a path, the last removed first.
pub async fn list(session: &Session, under: &Path) -> Result<Outcome> {
    let namespace = session.namespace().await?;
    let mut removed: Vec<Removed> = Vec::new();
    let mut before = None;
    loop {
        let page = namespace.list_trash(under, before).await?;
        removed.extend(page.removed);
        before = page.next;
        if before.is_none() {
            return Ok(listing(&removed));
        }
    }
}

fn listing(removed: &[Removed]) -> Outcome {
    let mut table = Table::new(&[">id", "removed", "by", "kind", ">size", "path"]);
    for one in removed {
        let bytes = one.contents.map_or(one.entry.size, |contents| contents.totals.bytes);
        table.row([
            one.seq.to_string(),
            time(one.time),
            one.author.clone(),
            kind_word(one.entry.kind).to_owned(),
            size(bytes),
            printable(&one.path),
        ]);
    }
    Outcome::ok(table.render(), removed.iter().map(removed_json).collect())
}

fn removed_json(removed: &Removed) -> Value {
    let path = Path::parse(&removed.path).unwrap_or_else(|_| Path::root());
    let mut json = entry_json(&path, &removed.entry);
    json["id"] = removed.seq.0.into();
    json["removed_ms"] = removed.time.0.into();
    json["removed_by"] = removed.author.as_str().into();
    if let Some(contents) = removed.contents {
        json["files"] = contents.totals.files.into();
        json["bytes"] = contents.totals.bytes.into();
    }
    json
}

/// Brings something back: to where it was, or to `target`.
pub async fn restore(session: &Session, removed: Seq, target: Option<Path>) -> Result<Outcome> {
    let namespace = session.namespace().await?;
    let done = change(&namespace, Op::RestoreRemoved { removed, target }).await?;
    let json = json!({ "id": removed.0, "inode": done.inode.0, "version": done.version.map(|v| v.0) });
    Ok(Outcome::ok(format!("{removed} is back"), json))
}
