//! Reads of a tree partition: plain functions over any state, live or snapshot.

use std::ops::ControlFlow;

use chunk::manifest::content_root;
use kv::{Order, Overlay, Read};
use proto::namespace::{Entry, JournalPage, Kind, Listing, NamespaceStats, Record, Version, Versions};
use types::limits::{HISTORY_PAGE_COUNT_MAX, JOURNAL_PAGE_COUNT_MAX, LIST_PAGE_COUNT_MAX};
use types::{Error, InodeId, Millis, Name, NamespaceId, Path, Result, Seq, VersionId};

use super::row::{self, DirentRow, NamespaceRow, VersionRow};
use crate::failure::{Failure, Halt, refuse};
use crate::row::{decode, load};

/// Owner and newest journal position of a namespace; `NotFound` when it does not exist.
pub fn owner(state: &dyn Read, namespace: NamespaceId) -> Result<(String, Seq)> {
    asked(|| {
        let row = namespace_row(state, namespace)?;
        Ok((row.owner, row.seq))
    })
}

/// The namespaces that changes touch.
pub fn changed(changes: &Overlay<'_>) -> Vec<NamespaceId> {
    let (start, end) = row::namespace_range();
    changes.changed_keys(&start, &end).filter_map(|key| row::namespace_of_key(key)).collect()
}

/// Newest position and digest of a namespace.
pub fn fetch_namespace(state: &dyn Read, namespace: NamespaceId) -> Result<NamespaceStats> {
    asked(|| {
        let row = namespace_row(state, namespace)?;
        Ok(NamespaceStats { seq: row.seq, digest: row.digest.to_le_bytes() })
    })
}

/// The entry at a path; `NotFound` when there is none.
pub fn stat(state: &dyn Read, namespace: NamespaceId, path: &Path) -> Result<Entry> {
    asked(|| {
        let found = resolve(state, namespace, path)?;
        let name = path.names().last().map_or("", Name::as_str);
        Ok(entry(name, found))
    })
}

/// A page of a directory, the names after `after`: one range scan.
pub fn list_dir(
    state: &dyn Read,
    namespace: NamespaceId,
    path: &Path,
    after: Option<&Name>,
    limit: u32,
) -> Result<Listing> {
    asked(|| {
        let seq = namespace_row(state, namespace)?.seq;
        let dir = resolve(state, namespace, path)?;
        if dir.kind == Kind::File {
            return refuse(Error::invalid(format!("{path} is a file, not a directory")));
        }
        let limit = page(limit, LIST_PAGE_COUNT_MAX);
        let (start, end) = row::dirent_range(dir.inode, after);
        let mut entries: Vec<Entry> = Vec::new();
        let more = scan_page(state, &start, &end, limit, |key, value| {
            let name = row::dirent_name(key)?;
            let last = entries.last().map(|entry| &entry.name[..]).or(after.map(Name::as_str));
            assert!(last.is_none_or(|last| last < name), "a listing is in order, each name once (I-TREE)");
            entries.push(entry(name, decode(value)?));
            Ok(())
        })?;
        Ok(Listing { seq, entries, more })
    })
}

/// A version of a file with its content; the newest unless named.
pub fn open_version(
    state: &dyn Read,
    namespace: NamespaceId,
    path: &Path,
    version: Option<VersionId>,
) -> Result<(Version, chunk::manifest::Manifest)> {
    asked(|| {
        let file = resolve_file(state, namespace, path)?;
        let id = version.unwrap_or(file.version);
        let row: VersionRow =
            load(state, &row::version_key(file.inode, id))?.ok_or_else(|| missing_version(path, id))?;
        Ok((describe(id, &row), row.manifest))
    })
}

/// A page of a file's versions, newest first, starting with those older than `before`.
pub fn list_versions(
    state: &dyn Read,
    namespace: NamespaceId,
    path: &Path,
    before: Option<VersionId>,
    limit: u32,
) -> Result<Versions> {
    asked(|| {
        let seq = namespace_row(state, namespace)?.seq;
        let file = resolve_file(state, namespace, path)?;
        let limit = page(limit, HISTORY_PAGE_COUNT_MAX);
        let (start, end) = row::version_range(file.inode, before);
        let mut versions: Vec<Version> = Vec::new();
        let more = scan_page(state, &start, &end, limit, |key, value| {
            let id = row::version_of_key(key)?;
            let newer = versions.last().map(|version| version.id).or(before);
            assert!(newer.is_none_or(|newer| newer > id), "a history goes from newer versions to older ones");
            versions.push(describe(id, &decode(value)?));
            Ok(())
        })?;
        Ok(Versions { seq, versions, more })
    })
}

/// The records after a position, up to `limit`; `Invalid` for a position that the journal has not reached.
pub fn pull_journal(state: &dyn Read, namespace: NamespaceId, after: Seq, limit: u32) -> Result<JournalPage> {
    asked(|| {
        let head = namespace_row(state, namespace)?.seq;
        if after > head {
            return refuse(Error::invalid(format!(
                "position {after} is ahead of the journal of namespace {namespace}, which ends at {head}: start again from 0"
            )));
        }
        let mut records: Vec<Record> = Vec::new();
        let mut last = after;
        let (start, end) =
            (row::journal_key(namespace, after.next()), row::journal_key(namespace, head.next()));
        let more = scan_page(state, &start, &end, page(limit, JOURNAL_PAGE_COUNT_MAX), |_, value| {
            let record: Record = decode(value)?;
            if record.seq != last.next() {
                return Err(gap(namespace, last));
            }
            last = record.seq;
            records.push(record);
            Ok(())
        })?;
        if !more && last != head {
            return Err(gap(namespace, last).into());
        }
        Ok(JournalPage { records, head })
    })
}

/// A follower must not take a journal for whole that is not (I-JRN).
fn gap(namespace: NamespaceId, last: Seq) -> Halt {
    Halt::new(Error::corrupt(format!(
        "the journal of namespace {namespace} does not go on after {last}: ask another replica, this one is damaged"
    )))
}

/// The row of the root directory, which no directory lists.
pub fn entry_of_root(root: InodeId) -> DirentRow {
    DirentRow {
        inode: root,
        kind: Kind::Dir,
        size: 0,
        modified: Millis(0),
        version: VersionId(0),
        content_root: Default::default(),
    }
}

/// Walks down from `top`. `None` when a component is missing; `Invalid` when one before the last is a file.
pub fn resolve_below(state: &dyn Read, top: DirentRow, path: &Path) -> Result<Option<DirentRow>, Failure> {
    let mut at = top;
    for name in path.names() {
        if at.kind == Kind::File {
            return Err(not_a_directory(path));
        }
        match load(state, &row::dirent_key(at.inode, name.as_str()))? {
            Some(row) => at = row,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

fn resolve(state: &dyn Read, namespace: NamespaceId, path: &Path) -> Result<DirentRow, Failure> {
    let root = namespace_row(state, namespace)?.root;
    resolve_below(state, entry_of_root(root), path)?
        .ok_or_else(|| Failure::Refused(Error::not_found(format!("{path} does not exist"))))
}

fn resolve_file(state: &dyn Read, namespace: NamespaceId, path: &Path) -> Result<DirentRow, Failure> {
    let found = resolve(state, namespace, path)?;
    if found.kind == Kind::Dir {
        return refuse(Error::invalid(format!("{path} is a directory")));
    }
    Ok(found)
}

/// The row of a namespace, if it exists.
pub fn namespace_row(state: &dyn Read, namespace: NamespaceId) -> Result<NamespaceRow, Failure> {
    load(state, &row::namespace_key(namespace))?
        .ok_or_else(|| Failure::Refused(Error::not_found(format!("namespace {namespace} does not exist"))))
}

/// A file has no such version.
pub fn missing_version(path: &Path, version: VersionId) -> Failure {
    Failure::Refused(Error::not_found(format!("{path} has no version {version}: see its history")))
}

/// A path leads through a file.
pub fn not_a_directory(path: &Path) -> Failure {
    Failure::Refused(Error::invalid(format!("a part of {path} is a file, not a directory")))
}

/// Reads for somebody who asks: to them a halt is an error like any other.
fn asked<T>(read: impl FnOnce() -> Result<T, Failure>) -> Result<T> {
    read().map_err(Failure::into_error)
}

fn entry(name: &str, row: DirentRow) -> Entry {
    Entry {
        name: name.to_owned(),
        inode: row.inode,
        kind: row.kind,
        size: row.size,
        modified: row.modified,
        version: row.version,
        content_root: row.content_root,
    }
}

fn describe(id: VersionId, row: &VersionRow) -> Version {
    Version {
        id,
        base: row.base,
        author: row.author.clone(),
        committed: row.committed,
        modified: row.modified,
        size: row.manifest.size,
        content_root: content_root(&row.manifest),
    }
}

fn page(limit: u32, max: usize) -> usize {
    (limit as usize).clamp(1, max)
}

/// Visits at most `limit` rows; true when there are more.
fn scan_page(
    state: &dyn Read,
    start: &[u8],
    end: &[u8],
    limit: usize,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), Halt>,
) -> Result<bool, Halt> {
    assert!(limit > 0, "page() leaves room for one: an empty page with more after it would never end");
    let mut count = 0;
    let mut outcome = Ok(());
    let scanned = state.scan(start, end, Order::Forward, &mut |key, value| {
        count += 1;
        if count > limit {
            return ControlFlow::Break(());
        }
        outcome = visit(key, value);
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    scanned.map_err(Halt::new)?;
    outcome.map(|()| count > limit)
}
