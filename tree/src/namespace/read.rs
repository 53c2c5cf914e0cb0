//! Reads of a tree partition: plain functions over any state, live or snapshot.

use kv::{Order, Overlay, Read};
use proto::namespace::{
    Attributes, Entry, JournalPage, Kind, NamespaceStats, Record, Removed, TrashPage, Version, Versions,
};
use types::limits::{HISTORY_PAGE_COUNT_MAX, JOURNAL_PAGE_COUNT_MAX, TRASH_PAGE_COUNT_MAX};
use types::{Error, InodeId, Millis, Name, NamespaceId, Path, Result, Scope, Seq, TenantId, VersionId};

use super::key;
use super::row::{Below, DirentRow, InodeRow, NamespaceRow, RemovedRow, VersionContent, VersionRow, bad_key};
use crate::failure::{Failure, Halt, refuse};
use crate::row::{damaged, decode, load, scan_page};

/// What decides about a question before anything else is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Who may use it, the text of an identity.
    pub owner: String,
    /// Whose data it holds.
    pub tenant: TenantId,
    /// Newest position of its journal.
    pub seq: Seq,
}

/// The head of a namespace; `NotFound` when it does not exist.
pub fn head(state: &dyn Read, namespace: NamespaceId) -> Result<Head> {
    asked(|| {
        let NamespaceRow { owner, tenant, seq, .. } = namespace_row(state, namespace)?;
        Ok(Head { owner, tenant, seq })
    })
}

/// The namespaces that changes touch.
pub fn changed(changes: &Overlay<'_>) -> Vec<NamespaceId> {
    changes.changed_keys().filter_map(|key| key::namespace_of(key)).collect()
}

/// Newest position and totals of a namespace.
pub fn fetch_namespace(state: &dyn Read, namespace: NamespaceId) -> Result<NamespaceStats> {
    asked(|| {
        let NamespaceRow { seq, floor, root, tenant, .. } = namespace_row(state, namespace)?;
        Ok(NamespaceStats {
            seq,
            floor,
            root,
            scope: Scope::of(tenant),
            totals: below(state, root)?.contents.totals,
        })
    })
}

/// The entry at a path, and what a directory has; `NotFound` when there is none.
pub fn stat(
    state: &dyn Read,
    namespace: NamespaceId,
    path: &Path,
) -> Result<(Entry, Option<proto::namespace::Contents>)> {
    asked(|| {
        let found = resolve(state, namespace, path)?;
        let name = path.names().last().map_or("", Name::as_str);
        let contents = match found.kind {
            Kind::Dir => Some(below(state, found.inode)?.contents),
            Kind::File | Kind::Symlink => None,
        };
        Ok((found.entry(name), contents))
    })
}

/// A version of a file or link with its content, no bytes for a link; the newest unless named.
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
            load(state, &key::of_version(file.inode, id))?.ok_or_else(|| missing_version(path, id))?;
        let described = row.describe(file.inode, id);
        let manifest = match row.content {
            VersionContent::File(manifest) => manifest,
            VersionContent::Symlink(_) => chunk::manifest::Manifest::inline(bytes::Bytes::new()),
        };
        Ok((described, manifest))
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
        let (start, end) = key::versions(file.inode, before);
        let mut versions: Vec<Version> = Vec::new();
        let more = scan_page(state, (&start, &end, Order::Forward), limit, |key, value| {
            let id = key::version_of(key).ok_or_else(bad_key::<VersionRow>)?;
            let newer = versions.last().map(|version| version.id).or(before);
            assert!(newer.is_none_or(|newer| newer > id), "a history goes from newer versions to older ones");
            versions.push(decode::<VersionRow>(value)?.describe(file.inode, id));
            Ok(())
        })?;
        Ok(Versions { seq, versions, more })
    })
}

/// The records after a position, up to `limit`, none when some of them are gone; `Invalid` for a position that the
/// journal has not reached.
pub fn pull_journal(state: &dyn Read, namespace: NamespaceId, after: Seq, limit: u32) -> Result<JournalPage> {
    asked(|| {
        let NamespaceRow { seq: head, floor, .. } = namespace_row(state, namespace)?;
        if after > head {
            return refuse(Error::invalid(format!(
                "position {after} is ahead of the journal of namespace {namespace}, which ends at {head}: list the tree anew"
            )));
        }
        let mut records: Vec<Record> = Vec::new();
        if after < floor {
            return Ok(JournalPage { records, head, floor });
        }
        let mut last = after;
        let (start, end) = (key::of_record(namespace, after.next()), key::of_record(namespace, head.next()));
        let limit = page(limit, JOURNAL_PAGE_COUNT_MAX);
        let more = scan_page(state, (&start, &end, Order::Forward), limit, |_, value| {
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
        Ok(JournalPage { records, head, floor })
    })
}

/// A follower must not take a journal for whole that is not (I-JRN).
fn gap(namespace: NamespaceId, last: Seq) -> Halt {
    Halt::new(Error::corrupt(format!(
        "the journal of namespace {namespace} does not go on after {last}: ask another replica, this one is damaged"
    )))
}

/// A page of what was removed from below a path, the last removed first, starting with what was removed before `before`.
pub fn list_trash(
    state: &dyn Read,
    namespace: NamespaceId,
    under: &Path,
    before: Option<Seq>,
    limit: u32,
) -> Result<TrashPage> {
    asked(|| {
        let seq = namespace_row(state, namespace)?.seq;
        let (start, end) = key::removed_before(namespace, before);
        let mut removed = Vec::new();
        let mut last = None;
        let limit = page(limit, TRASH_PAGE_COUNT_MAX);
        let more = scan_page(state, (&start, &end, Order::Forward), limit, |key, value| {
            let seq = key::removed_of(key).ok_or_else(bad_key::<RemovedRow>)?;
            last = Some(seq);
            let row: RemovedRow = decode(value)?;
            let path = Path::parse(&row.path).map_err(|e| damaged::<RemovedRow>(e.message()))?;
            if path.is_within(under) {
                removed.push(describe_removed(state, seq, &path, row)?);
            }
            Ok(())
        })?;
        Ok(TrashPage { seq, removed, next: last.filter(|_| more) })
    })
}

fn describe_removed(state: &dyn Read, seq: Seq, path: &Path, row: RemovedRow) -> Result<Removed, Halt> {
    let contents = match row.dirent.kind {
        Kind::Dir => Some(below(state, row.dirent.inode)?.contents),
        Kind::File | Kind::Symlink => None,
    };
    let name = path.names().last().map_or("", Name::as_str);
    let RemovedRow { path, dirent, time, author, .. } = row;
    Ok(Removed { seq, path: path.clone(), entry: dirent.entry(name), time, author, contents })
}

/// The row of the root directory, which no directory lists.
pub fn entry_of_root(root: InodeId) -> DirentRow {
    DirentRow::dir(root, Millis(0), Attributes::default())
}

/// Walks down from `top`. `None` when a component is missing; `Invalid` when one before the last is no directory.
pub fn resolve_below(state: &dyn Read, top: DirentRow, path: &Path) -> Result<Option<DirentRow>, Failure> {
    let mut at = top;
    for name in path.names() {
        if at.kind != Kind::Dir {
            return Err(not_a_directory(path));
        }
        match load(state, &key::of_dirent(at.inode, name.as_str()))? {
            Some(row) => at = row,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

pub(super) fn resolve(state: &dyn Read, namespace: NamespaceId, path: &Path) -> Result<DirentRow, Failure> {
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
    let row: Option<NamespaceRow> = load(state, &key::of_namespace(namespace))?;
    match row {
        Some(row) if row.deleted.is_none() => Ok(row),
        Some(_) => refuse(Error::not_found(format!("namespace {namespace} was deleted"))),
        None => refuse(Error::not_found(format!("namespace {namespace} does not exist"))),
    }
}

/// What a directory knows of everything below it.
pub fn below(state: &dyn Read, dir: InodeId) -> Result<Below, Halt> {
    let row: Option<InodeRow> = load(state, &key::of_inode(dir))?;
    row.and_then(|row| row.below).ok_or_else(|| damaged::<InodeRow>("a directory has none"))
}

/// A file has no such version.
pub fn missing_version(path: &Path, version: VersionId) -> Failure {
    Failure::Refused(Error::not_found(format!("{path} has no version {version}: see its history")))
}

/// A path leads through what is no directory.
pub fn not_a_directory(path: &Path) -> Failure {
    Failure::Refused(Error::invalid(format!("a part of {path} is a file, not a directory")))
}

/// Reads for somebody who asks: to them a halt is an error like any other.
pub(super) fn asked<T>(read: impl FnOnce() -> Result<T, Failure>) -> Result<T> {
    read().map_err(Failure::into_error)
}

pub(super) fn page(limit: u32, max: usize) -> usize {
    (limit as usize).clamp(1, max)
}
