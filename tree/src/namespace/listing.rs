//! Pages of a directory, in three orders.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use kv::{Order, Read};
use proto::namespace::{DirRef, Entry, Kind, ListDir, Listing, OrderBy, PageToken};
use types::limits::{LIST_PAGE_COUNT_MAX, SORT_ENTRY_COUNT_MAX};
use types::{Error, InodeId, Name, Result};

use super::key;
use super::read::{asked, below, namespace_row, page, resolve};
use super::row::{DirentRow, InodeRow, NamespaceRow, bad_key};
use crate::failure::{Halt, refuse};
use crate::row::{damaged, decode, load, scan_page};

/// A page of a directory: by name one range scan; by anything else a look at all entries, of which only a page is kept.
pub fn list_dir(state: &dyn Read, question: &ListDir) -> Result<Listing> {
    asked(|| {
        let NamespaceRow { seq, root, .. } = namespace_row(state, question.view.namespace)?;
        let dir = match &question.dir {
            DirRef::Path(path) => {
                let found = resolve(state, question.view.namespace, path)?;
                if found.kind != Kind::Dir {
                    return refuse(Error::invalid(format!("{path} is a file, not a directory")));
                }
                found.inode
            }
            DirRef::Inode(dir) => {
                if !is_dir_below(state, root, *dir)? {
                    return refuse(Error::not_found(format!(
                        "there is no directory {dir} in this namespace"
                    )));
                }
                *dir
            }
        };
        let count = below(state, dir)?.contents.entries;
        let (entries, more) = match question.order {
            OrderBy::Name => by_name(state, dir, question)?,
            _ if count > SORT_ENTRY_COUNT_MAX => {
                return refuse(Error::invalid(format!(
                    "the directory has {count} entries, at most {SORT_ENTRY_COUNT_MAX} can be sorted: list it by name"
                )));
            }
            _ => by_value(state, dir, question)?,
        };
        let next = entries.last().filter(|_| more).map(|last| token(last, question.order)).transpose()?;
        Ok(Listing { seq, entries, count, next })
    })
}

/// True for a directory that leads up to `root`: what is in the trash, or in another namespace, does not.
fn is_dir_below(state: &dyn Read, root: InodeId, dir: InodeId) -> Result<bool, Halt> {
    let mut at = dir;
    loop {
        let row: Option<InodeRow> = load(state, &key::of_inode(at))?;
        match row {
            Some(row) if row.kind != Kind::Dir => return Ok(false),
            Some(_) if at == root => return Ok(true),
            Some(row) if row.parent != at => at = row.parent,
            _ => return Ok(false),
        }
    }
}

fn by_name(state: &dyn Read, dir: InodeId, question: &ListDir) -> Result<(Vec<Entry>, bool), Halt> {
    let limit = page(question.limit, LIST_PAGE_COUNT_MAX);
    let after = question.after.as_ref().map(|token| &token.name);
    let (order, (start, end)) = match (question.descending, after) {
        (false, after) => (Order::Forward, key::dirents(dir, after)),
        (true, None) => (Order::Backward, key::dirents(dir, None)),
        (true, Some(before)) => (Order::Backward, key::dirents_before(dir, before)),
    };
    let mut entries: Vec<Entry> = Vec::new();
    let more = scan_page(state, (&start, &end, order), limit, |key, value| {
        let name = name_of(key)?;
        let last = entries.last().map(|entry| &entry.name[..]).or(after.map(Name::as_str));
        let is_next = last.is_none_or(|last| if question.descending { last > name } else { last < name });
        assert!(is_next, "a listing is in order, each name once (I-TREE)");
        entries.push(decode::<DirentRow>(value)?.entry(name));
        Ok(())
    })?;
    Ok((entries, more))
}

/// An entry and where it stands.
struct Standing {
    value: i64,
    descending: bool,
    entry: Entry,
}

impl Standing {
    fn cmp_to(&self, value: i64, name: &str) -> Ordering {
        let order = (self.value, self.entry.name.as_str()).cmp(&(value, name));
        if self.descending { order.reverse() } else { order }
    }
}

impl Ord for Standing {
    fn cmp(&self, other: &Self) -> Ordering {
        self.cmp_to(other.value, &other.entry.name)
    }
}

impl PartialOrd for Standing {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Standing {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Standing {}

fn by_value(state: &dyn Read, dir: InodeId, question: &ListDir) -> Result<(Vec<Entry>, bool), Halt> {
    let limit = page(question.limit, LIST_PAGE_COUNT_MAX);
    let (start, end) = key::dirents(dir, None);
    // The first ones of those after the token, the last of them on top, and one more to know whether there are.
    let mut first: BinaryHeap<Standing> = BinaryHeap::new();
    scan_page(state, (&start, &end, Order::Forward), usize::MAX, |key, value| {
        let entry = decode::<DirentRow>(value)?.entry(name_of(key)?);
        let (value, descending) = (value_of(&entry, question.order), question.descending);
        let standing = Standing { value, descending, entry };
        let is_after = |token: &PageToken| standing.cmp_to(token.value, token.name.as_str()).is_gt();
        if question.after.as_ref().is_none_or(is_after) {
            first.push(standing);
            if first.len() > limit + 1 {
                first.pop();
            }
        }
        Ok(())
    })?;
    let mut entries: Vec<Entry> =
        first.into_sorted_vec().into_iter().map(|standing| standing.entry).collect();
    let more = entries.len() > limit;
    entries.truncate(limit);
    Ok((entries, more))
}

fn name_of(key: &[u8]) -> Result<&str, Halt> {
    key::dirent_name(key).ok_or_else(bad_key::<DirentRow>)
}

fn value_of(entry: &Entry, order: OrderBy) -> i64 {
    match order {
        OrderBy::Name => 0,
        OrderBy::Modified => entry.attributes.modified.0,
        OrderBy::Size => i64::try_from(entry.size).unwrap_or(i64::MAX),
    }
}

fn token(last: &Entry, order: OrderBy) -> Result<PageToken, Halt> {
    let name = Name::parse(&last.name).map_err(|e| damaged::<DirentRow>(e.message()))?;
    Ok(PageToken { value: value_of(last, order), name })
}
