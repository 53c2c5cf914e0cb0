//! Commands on files and directories.
//!
//! Owns: what a command means where its words leave a choice ("into that directory or under that name?"), and what it
//! prints.
//! Knows nothing of: chunks, partitions, who answers.

mod change;
mod get;
mod list;
mod put;
mod show;
pub mod trash;
mod versions;
mod watch;

pub use change::{cp, ln, mkdir, mv, rm};
pub use get::get;
pub use list::{Look, du, ls};
pub use put::put;
pub use show::{cat, stat};
pub use versions::{history, restore};
pub use watch::{Watch, watch};

use std::path::Path as LocalPath;

use client::{Namespace, TreeReport};
use env::Disk;
use proto::namespace::{Entry, Kind};
use serde_json::{Value, json};
use types::{Error, Path, Result, counted};

use crate::args::Remote;
use crate::exit::{Exit, kind_name};
use crate::output::{self, Outcome};

/// The entry at a path.
async fn entry(namespace: &Namespace, path: &Path) -> Result<Entry> {
    namespace.stat(path).await?.ok_or_else(|| Error::not_found(format!("{path} does not exist")))
}

/// Where an entry called `name` goes: into a directory that exists or was meant, otherwise under the path itself.
async fn place(namespace: &Namespace, target: &Remote, name: &types::Name) -> Result<Path> {
    let is_dir =
        target.is_dir || namespace.stat(&target.path).await?.is_some_and(|entry| entry.kind == Kind::Dir);
    if is_dir { target.path.join(name.clone()) } else { Ok(target.path.clone()) }
}

/// True for a local directory, also through a symbolic link.
fn is_local_dir(disk: &dyn Disk, path: &LocalPath) -> bool {
    disk.metadata(path).is_ok_and(|found| !found.is_file) && disk.read_dir(path).is_ok()
}

/// A kind in one word.
fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Dir => "dir",
        Kind::File => "file",
        Kind::Symlink => "link",
    }
}

/// An entry for programs.
fn entry_json(path: &Path, entry: &Entry) -> Value {
    let has_versions = entry.kind != Kind::Dir;
    let attributes = &entry.attributes;
    json!({
        "path": path.to_string(),
        "name": entry.name,
        "kind": kind_word(entry.kind),
        "inode": entry.inode.0,
        "size": entry.size,
        "modified_ns": attributes.modified.0,
        "changed_ms": entry.changed.0,
        "mode": attributes.mode.map(|mode| format!("{mode:04o}")),
        "executable": attributes.executable,
        "media_type": attributes.media_type,
        "version": has_versions.then_some(entry.version.0),
        "content": has_versions.then(|| entry.content_root.to_string()),
        "target": (entry.kind == Kind::Symlink).then_some(&entry.target),
    })
}

/// What a transfer did: `text` and how many files were left out; for programs its figures, with `more`.
fn transferred<const N: usize>(
    what: &str,
    report: &TreeReport,
    mut text: String,
    seconds: f64,
    more: [(&str, u64); N],
) -> Outcome {
    let failures = &report.failures;
    let complaints: Vec<String> =
        failures.iter().map(|(path, e)| format!("{what} {}: {}", path.display(), e.message())).collect();
    let failed: Vec<Value> = failures
        .iter()
        .map(|(path, e)| {
            let kind = kind_name(e.kind());
            json!({ "path": path.display().to_string(), "kind": kind, "message": e.message() })
        })
        .collect();
    if !complaints.is_empty() {
        text.push_str(&format!("; {} left out", complaints.len()));
    }
    let mut json = json!({
        "files": report.files,
        "dirs": report.dirs,
        "bytes": report.bytes,
        "seconds": seconds,
        "failures": failed,
    });
    more.iter().for_each(|(name, value)| json[name] = json!(value));
    let exit = if complaints.is_empty() { Exit::Ok } else { Exit::Error };
    Outcome { text, json, complaints, exit }
}

/// `stored 3 files, 20 MB`.
fn summary(verb: &str, report: &TreeReport) -> String {
    format!("{verb} {}, {}", counted(report.files, "file"), output::size(report.bytes))
}

/// Seconds that have passed, rounded to milliseconds.
fn seconds(since: env::time::Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
}
