//! The changes a batch makes to one namespace's tree (I-TREE, I-CAS, I-JRN).
//!
//! Every change checks everything before it writes anything, so a refused change leaves no trace.

use chunk::manifest::{Manifest, content_root};
use kv::Read;
use proto::namespace::{Base, Change, Done, Kind, Op, Place, Record};
use types::{Error, InodeId, Millis, Name, NamespaceId, Path, Result, Seq, Slot, VersionId};

use super::read::{entry_of_root, missing_version, namespace_row, not_a_directory, resolve_below};
use super::row::{self, DirentRow, InodeRow, NamespaceRow, TrashRow, VersionRow};
use crate::digest;
use crate::draft::Draft;
use crate::failure::{Failure, Halt, refuse};
use crate::row::{Row, decode, load};

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
}

impl<'a, 'b> Tree<'a, 'b> {
    /// Opens a namespace; `NotFound` when it does not exist.
    pub fn open(state: &'a mut Draft<'b>, namespace: NamespaceId, author: &'a str) -> Result<Self, Failure> {
        let row = namespace_row(state, namespace)?;
        let (opened, time) = (row.seq, state.at.time);
        Ok(Self { state, namespace, row, opened, recorded: 0, author, time, last_dir: None })
    }

    /// Writes the namespace's own row and returns the newest position of its journal.
    pub fn close(self) -> Seq {
        let grown = self.row.seq.0 - self.opened.0;
        assert_eq!(grown, self.recorded, "the journal grows by a position per record (I-JRN)");
        #[cfg(feature = "next-level")]
        let row = NamespaceRow { commands: self.row.commands + 1, ..self.row };
        #[cfg(not(feature = "next-level"))]
        let row = self.row;
        self.state.put(row::namespace_key(self.namespace), &row);
        row.seq
    }

    /// Applies one change, or refuses it and leaves everything as it was.
    pub fn apply(&mut self, op: Op) -> Result<Done, Failure> {
        let before = (self.row.seq, self.row.digest, self.state.change_count());
        let done = self.change(op);
        let after = (self.row.seq, self.row.digest, self.state.change_count());
        let is_refused = matches!(done, Err(Failure::Refused(_)));
        assert!(!is_refused || before == after, "a refused change leaves no trace (I-TREE): {done:?}");
        done
    }

    fn change(&mut self, op: Op) -> Result<Done, Failure> {
        match op {
            Op::Mkdir { path, parents } => self.mkdir(&path, parents),
            Op::CommitVersion { path, base, manifest, receipts: _, modified } => {
                self.commit_version(&path, base, manifest, modified)
            }
            Op::Rename { source, target } => self.rename(&source, &target),
            Op::Remove { path, recursive } => self.remove(&path, recursive),
            Op::RestoreVersion { path, version } => self.restore_version(&path, version),
            Op::Undelete { path } => self.undelete(&path),
        }
    }

    fn mkdir(&mut self, path: &Path, parents: bool) -> Result<Done, Failure> {
        let mut dir = self.row.root;
        let mut known = true;
        for (depth, name) in path.names().iter().enumerate() {
            let last = depth + 1 == path.names().len();
            let found = if known { self.dirent(dir, name)? } else { None };
            dir = match found {
                Some(row) if row.kind == Kind::File => return Err(not_a_directory(path)),
                Some(_) if last && !parents => {
                    return refuse(Error::exists(format!("{path} already exists")));
                }
                Some(row) => row.inode,
                None if !last && !parents => {
                    return refuse(Error::not_found(format!("the directory above {path} does not exist")));
                }
                None => {
                    known = false;
                    self.add_dir(dir, name)?
                }
            };
        }
        if path.is_root() && !parents {
            return refuse(Error::exists("/ already exists"));
        }
        Ok(Done { inode: dir, version: None })
    }

    fn add_dir(&mut self, parent: InodeId, name: &Name) -> Result<InodeId, Halt> {
        let inode = next_inode(self.state, self.namespace.slot())?;
        let dirent = DirentRow {
            inode,
            kind: Kind::Dir,
            size: 0,
            modified: self.time,
            version: VersionId(0),
            content_root: Default::default(),
        };
        let at = Place { dir: parent, name: name.clone() };
        self.put_dirent(&at, &dirent);
        self.put_inode(&at, &dirent);
        self.record(inode, Change::Added { at, kind: Kind::Dir });
        Ok(inode)
    }

    fn commit_version(
        &mut self,
        path: &Path,
        base: Base,
        manifest: Manifest,
        modified: Millis,
    ) -> Result<Done, Failure> {
        let at = self.place(path)?;
        let old = self.dirent(at.dir, &at.name)?;
        check_base(path, base, old.as_ref())?;
        let inode = match &old {
            Some(row) => row.inode,
            None => next_inode(self.state, self.namespace.slot())?,
        };
        let version = VersionId(self.row.seq.next().0);
        let base = old.as_ref().map(|row| row.version);
        let dirent = DirentRow {
            inode,
            kind: Kind::File,
            size: manifest.size,
            modified,
            version,
            content_root: content_root(&manifest),
        };
        let change = Change::Versioned {
            at: at.clone(),
            version,
            base,
            size: dirent.size,
            content_root: dirent.content_root,
        };
        if let Some(old) = &old {
            self.forget_dirent(&at, old);
        } else {
            self.put_inode(&at, &dirent);
        }
        self.put_dirent(&at, &dirent);
        self.put_version(
            inode,
            version,
            &VersionRow { base, author: self.author.to_owned(), committed: self.time, modified, manifest },
        );
        self.record(inode, change);
        assert_eq!(
            version.0, self.row.seq.0,
            "a version is called after the journal record that tells of it"
        );
        Ok(Done { inode, version: Some(version) })
    }

    fn rename(&mut self, source: &Path, target: &Path) -> Result<Done, Failure> {
        if target.is_within(source) && target != source {
            return refuse(Error::invalid(format!("{source} cannot be moved into itself ({target})")));
        }
        let from = self.place(source)?;
        let row = self.dirent(from.dir, &from.name)?.ok_or_else(|| missing(source))?;
        let to = self.place(target)?;
        if from == to {
            return Ok(done(&row));
        }
        if self.dirent(to.dir, &to.name)?.is_some() {
            return refuse(Error::exists(format!(
                "{target} already exists: remove it first or choose another name"
            )));
        }
        self.remove_dirent(&from, &row);
        self.put_dirent(&to, &row);
        self.put_inode(&to, &row);
        self.record(row.inode, Change::Moved { source: from, target: to });
        self.last_dir = None;
        Ok(done(&row))
    }

    fn remove(&mut self, path: &Path, recursive: bool) -> Result<Done, Failure> {
        let at = self.place(path)?;
        let row = self.dirent(at.dir, &at.name)?.ok_or_else(|| missing(path))?;
        if row.kind == Kind::Dir && !recursive && !self.is_empty(row.inode)? {
            return refuse(Error::invalid(format!("{path} is not empty: remove it recursively (-r)")));
        }
        self.remove_dirent(&at, &row);
        let key = row::trash_key(self.namespace, &path.to_string(), self.row.seq.next());
        self.state.put(key, &TrashRow { dirent: row.clone(), removed: self.time });
        self.record(row.inode, Change::Removed { at });
        self.last_dir = None;
        Ok(done(&row))
    }

    fn restore_version(&mut self, path: &Path, version: VersionId) -> Result<Done, Failure> {
        let at = self.place(path)?;
        let row = self.dirent(at.dir, &at.name)?.ok_or_else(|| missing(path))?;
        let old: VersionRow = load(self.state, &row::version_key(row.inode, version))?
            .ok_or_else(|| missing_version(path, version))?;
        self.commit_version(path, Base::Version(row.version), old.manifest, self.time)
    }

    fn undelete(&mut self, path: &Path) -> Result<Done, Failure> {
        let at = self.place(path)?;
        if self.dirent(at.dir, &at.name)?.is_some() {
            return refuse(Error::exists(format!(
                "{path} exists: move it away before bringing the removed one back"
            )));
        }
        let (start, end) = row::trash_range(self.namespace, &path.to_string());
        let mut newest = None;
        let scanned = self.state.scan(&start, &end, kv::Order::Forward, &mut |key, value| {
            newest = Some((key.to_vec(), decode::<TrashRow>(value)));
            std::ops::ControlFlow::Break(())
        });
        scanned.map_err(Halt::new)?;
        let Some((key, trash)) = newest else {
            return refuse(Error::not_found(format!("nothing that was removed from {path} is in the trash")));
        };
        let trash = trash?;
        self.state.delete(key);
        self.put_dirent(&at, &trash.dirent);
        self.put_inode(&at, &trash.dirent);
        self.record(trash.dirent.inode, Change::Added { at, kind: trash.dirent.kind });
        Ok(done(&trash.dirent))
    }

    /// The directory and name that a path means. The directory must exist; the name need not.
    fn place(&mut self, path: &Path) -> Result<Place, Failure> {
        let Some((parent, name)) = path.split_last() else {
            return refuse(Error::invalid("/ itself cannot be changed"));
        };
        let name = name.clone();
        if let Some((last, dir)) = &self.last_dir
            && *last == parent
        {
            debug_assert!(
                resolve_below(self.state, entry_of_root(self.row.root), &parent)
                    .map_or(true, |found| found.is_some_and(|found| found.inode == *dir)),
                "a change that moves directories forgets where the last one was"
            );
            return Ok(Place { dir: *dir, name });
        }
        let found = resolve_below(self.state, entry_of_root(self.row.root), &parent)?.ok_or_else(|| {
            Failure::Refused(Error::not_found(format!("the directory {parent} does not exist")))
        })?;
        if found.kind != Kind::Dir {
            return Err(not_a_directory(path));
        }
        self.last_dir = Some((parent, found.inode));
        Ok(Place { dir: found.inode, name })
    }

    fn dirent(&self, dir: InodeId, name: &Name) -> Result<Option<DirentRow>, Halt> {
        load(self.state, &row::dirent_key(dir, name.as_str()))
    }

    fn is_empty(&self, dir: InodeId) -> Result<bool, Halt> {
        let (start, end) = row::dirent_range(dir, None);
        let mut empty = true;
        let scanned = self.state.scan(&start, &end, kv::Order::Forward, &mut |_, _| {
            empty = false;
            std::ops::ControlFlow::Break(())
        });
        scanned.map_err(Halt::new)?;
        Ok(empty)
    }

    fn put_dirent(&mut self, at: &Place, dirent: &DirentRow) {
        let key = row::dirent_key(at.dir, at.name.as_str());
        self.row.digest = self.row.digest.wrapping_add(hash_of_row(&key, dirent));
        self.state.put(key, dirent);
    }

    /// Takes an entry that is about to be replaced out of the digest.
    fn forget_dirent(&mut self, at: &Place, dirent: &DirentRow) {
        let key = row::dirent_key(at.dir, at.name.as_str());
        self.row.digest = self.row.digest.wrapping_sub(hash_of_row(&key, dirent));
    }

    fn remove_dirent(&mut self, at: &Place, dirent: &DirentRow) {
        self.forget_dirent(at, dirent);
        self.state.delete(row::dirent_key(at.dir, at.name.as_str()));
    }

    fn put_inode(&mut self, at: &Place, dirent: &DirentRow) {
        let inode = InodeRow { parent: at.dir, name: at.name.as_str().to_owned(), kind: dirent.kind };
        self.state.put(row::inode_key(dirent.inode), &inode);
    }

    fn put_version(&mut self, inode: InodeId, version: VersionId, row: &VersionRow) {
        let key = row::version_key(inode, version);
        self.row.digest = self.row.digest.wrapping_add(hash_of_row(&key, row));
        self.state.put(key, row);
    }

    /// Appends to the journal: the next position, no gaps.
    fn record(&mut self, inode: InodeId, change: Change) {
        self.row.seq = self.row.seq.next();
        self.recorded += 1;
        let record =
            Record { seq: self.row.seq, time: self.time, author: self.author.to_owned(), inode, change };
        self.state.put(row::journal_key(self.namespace, self.row.seq), &record);
    }
}

/// Assigns the next inode id of a slot.
pub fn next_inode(state: &mut Draft<'_>, slot: Slot) -> Result<InodeId, Halt> {
    let key = row::inode_count_key(slot);
    let count: u64 = load(state, &key)?.unwrap_or(0) + 1;
    state.put(key, &count);
    Ok(InodeId::new(slot, count))
}

/// A version names the one its writer had seen; if that is not the newest, somebody's work is about to be lost (I-CAS).
fn check_base(path: &Path, base: Base, old: Option<&DirentRow>) -> Result<(), Failure> {
    match (base, old) {
        (_, Some(row)) if row.kind == Kind::Dir => {
            refuse(Error::exists(format!("{path} is a directory; a file cannot replace it")))
        }
        (Base::Any, _) | (Base::Absent, None) => Ok(()),
        (Base::Version(seen), Some(row)) if seen == row.version => Ok(()),
        (Base::Version(seen), Some(row)) => refuse(Error::conflict(format!(
            "{path} has a newer version {} than the {seen} this change is based on: look at both, then save again",
            row.version
        ))),
        (Base::Version(_), None) => refuse(Error::conflict(format!(
            "{path} was removed or moved since the version this change is based on"
        ))),
        (Base::Absent, Some(_)) => refuse(Error::exists(format!("{path} already exists"))),
    }
}

/// What a row adds to the digest of its namespace. Fields of later versions are in the partition's digest only.
pub fn hash_of_row<T: Row>(key: &[u8], row: &T) -> u128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest::hash(key, &row.to_plain(1))[..16]);
    u128::from_le_bytes(bytes)
}

fn done(row: &DirentRow) -> Done {
    Done { inode: row.inode, version: (row.kind == Kind::File).then_some(row.version) }
}

fn missing(path: &Path) -> Failure {
    Failure::Refused(Error::not_found(format!("{path} does not exist")))
}
