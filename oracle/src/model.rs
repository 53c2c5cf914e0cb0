//! The reference: what a change does in a tree, and what a read of it shows. Written from what is promised, not from
//! how the servers do it. Pure.
//!
//! Owns: which changes are refused, with which kind of error, and which record each of the others leaves.
//! Knows nothing of: positions that were skipped, clients, times.

use proto::namespace::{Entry, Kind, Record, Version};
use types::{ErrorKind, InodeId, Name, Path, VersionId};

use crate::deed::Deed;

use crate::history::Step;
use crate::replay::{Inode, Revision, Tree};

/// What a change does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The entry it is done to; `None` for a new one.
    pub inode: Option<InodeId>,
    /// As the journal will say it.
    pub deed: Deed,
}

impl Effect {
    /// True when the record says that this was done.
    pub fn is(&self, record: &Record) -> bool {
        self.deed == Deed::of(record) && self.inode.is_none_or(|inode| inode == record.inode)
    }
}

/// What a change does to a tree; the error with which it must be refused.
pub fn effect(tree: &Tree, step: &Step) -> Result<Effect, ErrorKind> {
    match step {
        Step::Mkdir(path) => mkdir(tree, path),
        Step::Commit { path, base, content } => {
            let place = tree.place(path)?;
            let there = tree.entry(place.dir, &place.name);
            let there = there.and_then(|id| tree.inode(id).map(|inode| (id, inode)));
            match (there, base) {
                (Some((_, inode)), _) if inode.kind == Kind::Dir => return Err(ErrorKind::Exists),
                (Some(_), None) => return Err(ErrorKind::Exists),
                (Some((id, inode)), Some(base)) if (id, inode.version()) != *base => {
                    return Err(ErrorKind::Conflict);
                }
                (None, Some(_)) => return Err(ErrorKind::Conflict),
                (Some(_), Some(_)) | (None, None) => {}
            }
            let base = base.map(|(_, version)| version);
            versioned(tree, path, Revision { base, size: content.recipe.size, root: content.root })
        }
        Step::Rename(source, target) => rename(tree, source, target),
        Step::Remove(path, is_recursive) => {
            let at = tree.place(path)?;
            let inode = tree.entry(at.dir, &at.name).ok_or(ErrorKind::NotFound)?;
            if !is_recursive && tree.list(inode, None).next().is_some() {
                return Err(ErrorKind::Invalid);
            }
            Ok(Effect { inode: Some(inode), deed: Deed::Removed { at } })
        }
        Step::Restore(path, version) => {
            let (_, inode) = found(tree, path)?;
            let old = inode.versions.get(version).ok_or(ErrorKind::NotFound)?;
            versioned(tree, path, Revision { base: Some(inode.version()), ..*old })
        }
        Step::Undelete(path) => {
            let at = tree.place(path)?;
            if tree.entry(at.dir, &at.name).is_some() {
                return Err(ErrorKind::Exists);
            }
            let last = tree.trash().iter().rev().find(|(from, _)| from == path);
            let (_, inode) = last.ok_or(ErrorKind::NotFound)?;
            let kind = tree.inode(*inode).ok_or(ErrorKind::NotFound)?.kind;
            Ok(Effect { inode: Some(*inode), deed: Deed::Added { at, kind } })
        }
    }
}

fn mkdir(tree: &Tree, path: &Path) -> Result<Effect, ErrorKind> {
    let at = match tree.place(path) {
        // The root is there.
        Err(ErrorKind::Invalid) if path.is_root() => return Err(ErrorKind::Exists),
        place => place?,
    };
    match tree.entry(at.dir, &at.name).and_then(|id| tree.inode(id)) {
        Some(inode) if inode.kind != Kind::Dir => Err(ErrorKind::Invalid),
        Some(_) => Err(ErrorKind::Exists),
        None => Ok(Effect { inode: None, deed: Deed::Added { at, kind: Kind::Dir } }),
    }
}

fn rename(tree: &Tree, source: &Path, target: &Path) -> Result<Effect, ErrorKind> {
    if target.is_within(source) {
        return Err(ErrorKind::Invalid);
    }
    let from = tree.place(source)?;
    let inode = tree.entry(from.dir, &from.name).ok_or(ErrorKind::NotFound)?;
    let to = tree.place(target)?;
    if tree.entry(to.dir, &to.name).is_some() {
        return Err(ErrorKind::Exists);
    }
    Ok(Effect { inode: Some(inode), deed: Deed::Moved { source: from, target: to, replaced: None } })
}

fn versioned(tree: &Tree, path: &Path, revision: Revision) -> Result<Effect, ErrorKind> {
    let at = tree.place(path)?;
    let inode = tree.entry(at.dir, &at.name);
    let Revision { base, size, root } = revision;
    let version = base.map_or(VersionId(1), VersionId::next);
    Ok(Effect { inode, deed: Deed::Versioned { at, version, base, size, content_root: root } })
}

/// What is at a path; `NotFound` when nothing is.
pub fn found<'a>(tree: &'a Tree, path: &Path) -> Result<(InodeId, &'a Inode), ErrorKind> {
    tree.find(path)?.ok_or(ErrorKind::NotFound)
}

/// The file at a path: `Invalid` when it is a directory.
pub fn file<'a>(tree: &'a Tree, path: &Path) -> Result<&'a Inode, ErrorKind> {
    let (_, inode) = found(tree, path)?;
    if inode.kind == Kind::Dir { Err(ErrorKind::Invalid) } else { Ok(inode) }
}

/// The entries of a directory after a name, in order; `Invalid` when it is a file.
pub fn list<'a>(
    tree: &'a Tree,
    path: &Path,
    after: Option<&Name>,
) -> Result<impl Iterator<Item = (&'a Name, InodeId, &'a Inode)>, ErrorKind> {
    let (id, inode) = found(tree, path)?;
    if inode.kind != Kind::Dir { Err(ErrorKind::Invalid) } else { Ok(tree.list(id, after)) }
}

/// True when a listing shows this entry as it is.
pub fn is_entry(entry: &Entry, name: &str, id: InodeId, inode: &Inode) -> bool {
    let (size, root) = inode.newest().map_or((0, Default::default()), |newest| (newest.size, newest.root));
    let want = (name, id, inode.kind, size, inode.version(), root);
    (entry.name.as_str(), entry.inode, entry.kind, entry.size, entry.version, entry.content_root) == want
}

/// True when an answer shows this version as it is.
pub fn is_version(version: &Version, id: VersionId, revision: &Revision) -> bool {
    let Revision { base, size, root } = *revision;
    (version.id, version.base, version.size, version.content_root) == (id, base, size, root)
}

/// With which error changes that are done entirely or not at all must be refused; `None` when they must not. Several are
/// an exchange: each but the last moves something. The tree is as before in the end.
pub fn refusal(tree: &mut Tree, steps: &[Step]) -> Option<ErrorKind> {
    let (last, others) = steps.split_last()?;
    let mut moves: Vec<(InodeId, Deed)> = Vec::new();
    let mut judge = |tree: &mut Tree| {
        for step in others {
            let Effect { inode, deed } = effect(tree, step)?;
            let inode = inode.expect("only what is there is moved");
            tree.perform(inode, &deed).expect("the reference breaks no rule of the tree");
            moves.push((inode, deed));
        }
        effect(tree, last)
    };
    let refused = judge(tree).err();
    moves.iter().rev().for_each(|(inode, deed)| tree.undo_move(*inode, deed));
    refused
}
