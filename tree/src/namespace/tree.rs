//! The changes of a namespace: each is checked, then written, or refused without a trace.
//!
//! Owns: one parent, no cycles, unique names (I-TREE), no silent overwrite (I-CAS), a record per change (I-JRN).

mod content;
mod place;
mod sums;
mod trash;

use proto::namespace::{Attributes, Change, Done, Expect, Kind, NewContent, Op, Place, Record};
use types::{Error, InodeId, Millis, NamespaceId, Nanos, Path, Result, Seq, Slot, VersionId};

use super::key;
use super::read::{namespace_row, not_a_directory};
use super::row::{Below, DirentRow, InodeRow, NamespaceRow, VersionContent};
use crate::draft::Draft;
use crate::failure::{Failure, Halt, refuse};
use crate::row::load;
use sums::Sums;
#[cfg(test)]
pub use sums::hash_of;

/// One namespace, open for the changes of one batch.
pub struct Tree<'a, 'b> {
    state: &'a mut Draft<'b>,
    namespace: NamespaceId,
    row: NamespaceRow,
    /// Where the journal ended when the namespace was opened, and how many records there are since.
    opened: Seq,
    recorded: u64,
    author: &'a str,
    time: Millis,
    /// The directory that the last change was in: a directory's worth of commits resolves its path once.
    last_dir: Option<(Path, InodeId)>,
    /// What the directories do not know yet of what changed below them.
    sums: Sums,
}

impl<'a, 'b> Tree<'a, 'b> {
    /// Opens a namespace; `NotFound` when it does not exist.
    pub fn open(state: &'a mut Draft<'b>, namespace: NamespaceId, author: &'a str) -> Result<Self, Failure> {
        let row = namespace_row(state, namespace)?;
        let (opened, time, sums) = (row.seq, state.at.time, Sums::default());
        Ok(Self { state, namespace, row, opened, recorded: 0, author, time, last_dir: None, sums })
    }

    /// Writes what is left to write, the namespace's own row last, and returns the newest position of its journal.
    pub fn close(mut self) -> Result<Seq, Halt> {
        self.sums.flush(self.state)?;
        let grown = self.row.seq.0 - self.opened.0;
        assert_eq!(grown, self.recorded, "the journal grows by a position per record (I-JRN)");
        #[cfg(feature = "next-level")]
        let row = NamespaceRow { commands: self.row.commands + 1, ..self.row };
        #[cfg(not(feature = "next-level"))]
        let row = self.row;
        self.state.put(key::of_namespace(self.namespace), &row);
        Ok(row.seq)
    }

    /// Applies one change, or refuses it and leaves everything as it was.
    pub fn apply(&mut self, op: Op) -> Result<Done, Failure> {
        let before = (self.row.seq, self.sums.change_count(), self.state.change_count());
        let done = self.change(op);
        let after = (self.row.seq, self.sums.change_count(), self.state.change_count());
        let is_refused = matches!(done, Err(Failure::Refused(_)));
        assert!(!is_refused || before == after, "a refused change leaves no trace (I-TREE): {done:?}");
        done
    }

    fn change(&mut self, op: Op) -> Result<Done, Failure> {
        match op {
            Op::Mkdir { path, parents, attributes } => self.mkdir(&path, parents, attributes),
            Op::CommitVersion { path, expect, content, attributes } => {
                let content = match content {
                    NewContent::File { manifest, receipts: _ } => VersionContent::File(manifest),
                    NewContent::Symlink { target } => VersionContent::Symlink(target),
                };
                self.commit_version(&path, expect, content, attributes)
            }
            Op::SetAttributes { path, expect, attributes } => self.set_attributes(&path, expect, attributes),
            Op::Rename { source, expect, target, replace } => self.rename(&source, expect, &target, replace),
            Op::Copy { source, version, target, expect } => self.copy(&source, version, &target, expect),
            Op::Remove { path, expect, recursive } => self.remove(&path, expect, recursive),
            Op::RestoreVersion { path, expect, version } => self.restore_version(&path, expect, version),
            Op::Undelete { path } => self.undelete(&path),
            Op::RestoreRemoved { removed, target } => self.restore_removed(removed, target),
            Op::Split { path, expect } => self.split(&path, expect),
        }
    }

    fn mkdir(&mut self, path: &Path, parents: bool, attributes: Attributes) -> Result<Done, Failure> {
        attributes.check().map_err(Failure::Refused)?;
        let mut dir = self.row.root;
        let mut known = true;
        for (depth, name) in path.names().iter().enumerate() {
            let last = depth + 1 == path.names().len();
            let found = if known { self.dirent(dir, name)? } else { None };
            dir = match found {
                Some(row) if row.kind != Kind::Dir => return Err(not_a_directory(path)),
                Some(_) if last && !parents => {
                    return refuse(Error::exists(format!("{path} already exists")));
                }
                Some(row) => row.inode,
                None if !last && !parents => {
                    return refuse(Error::not_found(format!("the directory above {path} does not exist")));
                }
                None => {
                    known = false;
                    let now = || Attributes::at(Nanos::from(self.time));
                    let attributes = if last { attributes.clone() } else { now() };
                    let here = Path::try_from(path.names()[..=depth].to_vec());
                    self.add_dir(dir, &here.map_err(Failure::Refused)?, attributes)?
                }
            };
        }
        if path.is_root() && !parents {
            return refuse(Error::exists("/ already exists"));
        }
        let seq = if known { Seq(0) } else { self.row.seq };
        Ok(Done { inode: dir, version: None, seq, namespace: None })
    }

    fn add_dir(&mut self, dir: InodeId, path: &Path, attributes: Attributes) -> Result<InodeId, Halt> {
        let name = path.names().last().expect("the root is there");
        let inode = next_inode(self.state, self.namespace.slot())?;
        let row = DirentRow::dir(inode, self.time, attributes);
        let at = Place { dir, name: name.clone() };
        self.link(&at, &row, Some(Below::default()));
        self.record(inode, path, Change::Created { dir, entry: row.entry(name.as_str()) });
        Ok(inode)
    }

    fn rename(
        &mut self,
        source: &Path,
        expect: Expect,
        target: &Path,
        replace: Expect,
    ) -> Result<Done, Failure> {
        if target.is_within(source) && target != source {
            return refuse(Error::invalid(format!("{source} cannot be moved into itself ({target})")));
        }
        let (from, row) = self.expect_entry(source, expect)?;
        let to = self.place(target)?;
        if from == to {
            return Ok(self.done(&row, Seq(0)));
        }
        let old = self.dirent(to.dir, &to.name)?;
        check_expect(target, replace, old.as_ref())?;
        if let Some(old) = &old {
            self.check_replaced(target, row.kind, old)?;
        }
        self.check_reach(&row, target)?;
        self.sums.flush(self.state)?;
        if let Some(old) = &old {
            let below = self.unlink(&to, old)?;
            self.discard(&to, target, old, below)?;
        }
        let below = self.unlink(&from, &row)?;
        let row = DirentRow { changed: self.time, ..row };
        self.link(&to, &row, below);
        let (dir, replaced) = (to.dir, old.map(|old| old.inode));
        let entry = row.clone().entry(to.name.as_str());
        let change = Change::Moved { source: from, source_path: source.to_string(), dir, entry, replaced };
        self.record(row.inode, target, change);
        self.last_dir = None;
        Ok(self.done(&row, self.row.seq))
    }

    /// A directory takes the place of an empty one, anything else of what is no directory.
    fn check_replaced(&self, target: &Path, kind: Kind, old: &DirentRow) -> Result<(), Failure> {
        match (kind, old.kind) {
            (Kind::Dir, Kind::Dir) if self.is_empty(old.inode)? => Ok(()),
            (Kind::Dir, Kind::Dir) => refuse(Error::exists(format!(
                "{target} is a directory that is not empty: move what is in it, or choose another name"
            ))),
            (Kind::Dir, _) => {
                refuse(Error::exists(format!("{target} is no directory: a directory cannot take its place")))
            }
            (_, Kind::Dir) => {
                refuse(Error::exists(format!("{target} is a directory: a file cannot take its place")))
            }
            _ => Ok(()),
        }
    }

    /// Makes a directory the root of a namespace of its own, in the slot it is in: one row here, one there, whatever is
    /// below.
    fn split(&mut self, path: &Path, expect: Expect) -> Result<Done, Failure> {
        let (at, row) = self.expect_entry(path, expect)?;
        if row.kind != Kind::Dir {
            return refuse(Error::invalid(format!("{path} is no directory: only one becomes a namespace")));
        }
        self.sums.flush(self.state)?;
        let below = self.unlink(&at, &row)?;
        let root = InodeRow { parent: row.inode, name: String::new(), kind: Kind::Dir, below };
        self.state.put(key::of_inode(row.inode), &root);
        let id = next_namespace(self.state, row.inode.slot())?;
        let entry = row.clone().entry(at.name.as_str());
        self.record(row.inode, path, Change::Split { dir: at.dir, entry, namespace: id });
        let base = Change::Base { namespace: self.namespace, seq: self.row.seq };
        let first = Record { seq: Seq(1), ..self.record_of(row.inode, &Path::root(), base) };
        self.state.put(key::of_record(id, first.seq), &first);
        let owner = self.row.owner.clone();
        let namespace = NamespaceRow::new(row.inode, String::new(), owner, self.row.tenant, self.time);
        self.state.put(key::of_namespace(id), &NamespaceRow { seq: first.seq, ..namespace });
        self.last_dir = None;
        Ok(Done { namespace: Some(id), ..self.done(&row, self.row.seq) })
    }

    /// Puts an entry into a directory. `below` of a directory: what it has.
    fn link(&mut self, at: &Place, row: &DirentRow, below: Option<Below>) {
        assert_eq!(
            row.kind == Kind::Dir,
            below.is_some(),
            "a directory, and nothing else, has something below"
        );
        let name = at.name.as_str().to_owned();
        self.sums.add(at, row, below.as_ref());
        self.state.put(key::of_dirent(at.dir, &name), row);
        self.state.put(key::of_inode(row.inode), &InodeRow { parent: at.dir, name, kind: row.kind, below });
    }

    /// Takes an entry out of its directory, and returns what it has below. The directories know of everything so far.
    fn unlink(&mut self, at: &Place, row: &DirentRow) -> Result<Option<Below>, Halt> {
        let below = self.inode(row.inode)?.below;
        self.sums.subtract(at, row, below.as_ref());
        self.state.delete(key::of_dirent(at.dir, at.name.as_str()));
        Ok(below)
    }

    /// Replaces an entry by another state of the same.
    fn update(&mut self, at: &Place, old: &DirentRow, new: &DirentRow) {
        assert_eq!((old.inode, old.kind), (new.inode, new.kind), "the same entry in another state");
        self.sums.update(at, old, new);
        self.state.put(key::of_dirent(at.dir, at.name.as_str()), new);
    }

    /// Appends to the journal: the next position, no gaps.
    fn record(&mut self, inode: InodeId, path: &Path, change: Change) {
        self.row.seq = self.row.seq.next();
        self.recorded += 1;
        let record = self.record_of(inode, path, change);
        self.state.put(key::of_record(self.namespace, self.row.seq), &record);
    }

    fn record_of(&self, inode: InodeId, path: &Path, change: Change) -> Record {
        let (author, path) = (self.author.to_owned(), path.to_string());
        Record { seq: self.row.seq, time: self.time, author, inode, path, change }
    }

    fn done(&self, row: &DirentRow, seq: Seq) -> Done {
        let version = (row.kind != Kind::Dir).then_some(row.version);
        Done { inode: row.inode, version, seq, namespace: None }
    }
}

/// Assigns the next inode id of a slot.
pub fn next_inode(state: &mut Draft<'_>, slot: Slot) -> Result<InodeId, Halt> {
    Ok(InodeId::new(slot, next(state, key::of_inode_count(slot))?))
}

/// Assigns the next namespace id of a slot.
pub fn next_namespace(state: &mut Draft<'_>, slot: Slot) -> Result<NamespaceId, Halt> {
    Ok(NamespaceId::new(slot, next(state, key::of_namespace_count(slot))?))
}

fn next(state: &mut Draft<'_>, key: Vec<u8>) -> Result<u64, Halt> {
    let count: u64 = load(state, &key)?.unwrap_or(0) + 1;
    state.put(key, &count);
    Ok(count)
}

/// A change names what its writer had seen; if something else is there now, somebody's work is about to be lost (I-CAS).
fn check_expect(path: &Path, expect: Expect, found: Option<&DirentRow>) -> Result<(), Failure> {
    match (expect, found) {
        (Expect::Any, _) | (Expect::Absent, None) => Ok(()),
        (Expect::Inode(seen), Some(row)) if seen == row.inode => Ok(()),
        (Expect::Version(seen, version), Some(row)) if (seen, version) == (row.inode, row.version) => Ok(()),
        (Expect::Version(seen, version), Some(row)) if seen == row.inode => refuse(Error::conflict(format!(
            "{path} has a newer version {} than the {version} this change is based on: look at both, then save again",
            row.version
        ))),
        (Expect::Inode(_) | Expect::Version(..), Some(_)) => refuse(Error::conflict(format!(
            "{path} is not what this change is based on: that was removed or moved, look again"
        ))),
        (Expect::Inode(_) | Expect::Version(..), None) => refuse(Error::conflict(format!(
            "{path} was removed or moved since the version this change is based on"
        ))),
        (Expect::Absent, Some(row)) => refuse(Error::exists(match row.kind {
            Kind::Dir => format!("{path} is a directory; a file cannot replace it"),
            _ => format!("{path} already exists: remove it first or choose another name"),
        })),
    }
}

fn missing(path: &Path) -> Failure {
    Failure::Refused(Error::not_found(format!("{path} does not exist")))
}

/// Version ids of a file count from 1.
fn version_after(old: Option<&DirentRow>) -> VersionId {
    old.map_or(VersionId(1), |old| old.version.next())
}
