//! Namespaces as a whole: created in the slot of their name, found, listed, given away, deleted.

use kv::Read;
use proto::catalog::{NamespaceInfo, NamespacePage, name_slot};
use proto::namespace::Kind;
use types::limits::NAMESPACE_PAGE_COUNT_MAX;
use types::{Error, NamespaceId, NamespaceName, Result, Slot, TenantId};

use super::key;
use super::read::{asked, below, namespace_row, page};
use super::row::{Below, InodeRow, NamespaceRow};
use super::tree::{next_inode, next_namespace};
use crate::draft::Draft;
use crate::failure::{Failure, Halt, refuse};
use crate::row::{first_key, load};

/// The id of a namespace; `NotFound` when there is none of that name.
pub fn find_namespace(state: &dyn Read, name: &NamespaceName) -> Result<NamespaceId> {
    asked(|| match load(state, &key::of_name(name_slot(name), name))? {
        Some(id) => Ok(id),
        None => refuse(Error::not_found(format!("there is no namespace {name}: create it first"))),
    })
}

/// Creates a namespace, or finds the one that the same owner has created before.
pub fn create(
    draft: &mut Draft<'_>,
    name: &NamespaceName,
    owner: String,
    tenant: TenantId,
) -> Result<NamespaceId, Failure> {
    let slot = name_slot(name);
    let name_key = key::of_name(slot, name);
    if let Some(id) = load(draft, &name_key)? {
        let known = namespace_row(draft, id)?;
        if known.owner == owner {
            return Ok(id);
        }
        return refuse(Error::exists(format!("{} has a namespace {name}: choose another name", known.owner)));
    }
    let (root, id) = (next_inode(draft, slot)?, next_namespace(draft, slot)?);
    let inode =
        InodeRow { parent: root, name: String::new(), kind: Kind::Dir, below: Some(Below::default()) };
    let row = NamespaceRow::new(root, name.as_str().to_owned(), owner, tenant, draft.at.time);
    draft.put(key::of_inode(root), &inode);
    draft.put(key::of_namespace(id), &row);
    draft.put(name_key, &id);
    Ok(id)
}

/// Gives a namespace to somebody else.
pub fn set_owner(draft: &mut Draft<'_>, id: NamespaceId, owner: String) -> Result<(), Failure> {
    let row = namespace_row(draft, id)?;
    draft.put(key::of_namespace(id), &NamespaceRow { owner, ..row });
    Ok(())
}

/// Deletes a namespace: its name is free, its rows stay until they are collected.
pub fn delete(draft: &mut Draft<'_>, id: NamespaceId, force: bool) -> Result<(), Failure> {
    let row = namespace_row(draft, id)?;
    let contents = below(draft, row.root)?.contents;
    if contents.entries > 0 && !force {
        return refuse(Error::conflict(format!(
            "namespace {id} is not empty: it has {} files and {} directories",
            contents.totals.files, contents.totals.dirs
        )));
    }
    if let Ok(name) = NamespaceName::parse(&row.name) {
        draft.delete(key::of_name(name_slot(&name), &name));
    }
    let deleted = Some(draft.at.time);
    draft.put(key::of_namespace(id), &NamespaceRow { deleted, ..row });
    Ok(())
}

/// A page of the namespaces that are here, of one owner or of all; `limit` are looked at.
pub fn list_namespaces(
    state: &dyn Read,
    owner: Option<&str>,
    after: Option<NamespaceId>,
    limit: u32,
) -> Result<NamespacePage> {
    asked(|| {
        let limit = page(limit, NAMESPACE_PAGE_COUNT_MAX);
        let mut namespaces = Vec::new();
        let mut last = after;
        for _ in 0..limit {
            let Some(id) = next_after(state, last)? else {
                return Ok(NamespacePage { namespaces, next: None });
            };
            last = Some(id);
            // One that was deleted is none.
            let row: Option<NamespaceRow> = load(state, &key::of_namespace(id))?;
            let row = row.filter(|row| row.deleted.is_none() && owner.is_none_or(|owner| row.owner == owner));
            if let Some(row) = row {
                namespaces.push(describe(state, id, row)?);
            }
        }
        Ok(NamespacePage { namespaces, next: last })
    })
}

fn describe(state: &dyn Read, id: NamespaceId, row: NamespaceRow) -> Result<NamespaceInfo, Halt> {
    let totals = below(state, row.root)?.contents.totals;
    let NamespaceRow { name, owner, created, .. } = row;
    let (files, dirs, bytes) = (totals.files, totals.dirs, totals.bytes);
    Ok(NamespaceInfo { id, name, owner, created, files, dirs, bytes })
}

/// The first namespace after another, in order of ids. Skips what a slot has besides, and slots that have nothing.
fn next_after(state: &dyn Read, after: Option<NamespaceId>) -> Result<Option<NamespaceId>, Halt> {
    let mut start = match after {
        // The smallest key after another is that and a zero byte.
        Some(id) => [&key::of_namespace(id)[..], &[0]].concat(),
        None => key::start_of(Slot::default(), key::table::NAMESPACE),
    };
    loop {
        let Some(found) = first_key(state, &start, b"")? else { return Ok(None) };
        if let Some(id) = key::namespace_of(&found) {
            return Ok(Some(id));
        }
        // Rows of the partition itself are behind all slots.
        let Some((slot, table, _)) = key::split(&found) else { return Ok(None) };
        let slot = if table < key::table::NAMESPACE { Some(slot) } else { Slot::new(slot.number() + 1) };
        let Some(slot) = slot else { return Ok(None) };
        start = key::start_of(slot, key::table::NAMESPACE);
    }
}
