//! What was removed, and the ways back.

use proto::namespace::{Attributes, Change, Done, Expect, Kind, Place};
use types::{Error, Nanos, Path, Result, Seq};

use super::Tree;
use crate::failure::{Failure, Halt, refuse};
use crate::namespace::key;
use crate::namespace::read::not_a_directory;
use crate::namespace::row::{Below, DirentRow, InodeRow, Pointer, RemovedRow, trash_of};
use crate::row::{damaged, first_key, load};

impl Tree<'_, '_> {
    pub(super) fn remove(&mut self, path: &Path, expect: Expect, recursive: bool) -> Result<Done, Failure> {
        let (at, row) = self.expect_entry(path, expect)?;
        if row.kind == Kind::Dir && !recursive && !self.is_empty(row.inode)? {
            return refuse(Error::invalid(format!("{path} is not empty: remove it recursively (-r)")));
        }
        self.sums.flush(self.state)?;
        let below = self.unlink(&at, &row)?;
        self.discard(&at, path, &row, below)?;
        let entry = row.clone().entry(at.name.as_str());
        self.record(row.inode, path, Change::Removed { dir: at.dir, entry });
        self.last_dir = None;
        Ok(self.done(&row, self.row.seq))
    }

    /// Puts what was just unlinked into the trash, under the position of the record that comes next.
    pub(super) fn discard(
        &mut self,
        at: &Place,
        path: &Path,
        row: &DirentRow,
        below: Option<Below>,
    ) -> Result<(), Halt> {
        let (seq, path) = (self.row.seq.next(), path.to_string());
        let name = at.name.as_str().to_owned();
        let inode = InodeRow { parent: trash_of(row.inode), name, kind: row.kind, below };
        self.state.put(key::of_inode(row.inode), &inode);
        self.state.put(key::of_removed_path(self.namespace, &path, seq), &Pointer);
        let author = self.author.to_owned();
        let removed = RemovedRow { dir: at.dir, path, dirent: row.clone(), time: self.time, author };
        self.state.put(key::of_removed(self.namespace, seq), &removed);
        Ok(())
    }

    pub(super) fn undelete(&mut self, path: &Path) -> Result<Done, Failure> {
        let at = self.place(path)?;
        self.check_free(&at, path)?;
        let (start, end) = key::removed_from(self.namespace, &path.to_string());
        let newest = first_key(self.state, &start, &end)?.and_then(|key| key::removed_path_of(&key));
        let Some(seq) = newest else {
            return refuse(Error::not_found(format!("nothing that was removed from {path} is in the trash")));
        };
        let removed =
            self.removed(seq)?.ok_or_else(|| damaged::<RemovedRow>("its path is there without it"))?;
        self.check_reach(&removed.dirent, path)?;
        self.bring_back(seq, removed, &at, path)
    }

    pub(super) fn restore_removed(&mut self, seq: Seq, target: Option<Path>) -> Result<Done, Failure> {
        let Some(removed) = self.removed(seq)? else {
            return refuse(Error::not_found(format!(
                "nothing that was removed at position {seq} is in the trash: list it again"
            )));
        };
        let path = match target {
            Some(target) => target,
            None => self.way_back(&removed)?,
        };
        self.check_reach(&removed.dirent, &path)?;
        if let Some((parent, _)) = path.split_last() {
            // Checked before anything is made.
            self.check_dirs(&parent)?;
            if self.find(&path)?.is_some() {
                return refuse(exists(&path));
            }
            self.mkdir(&parent, true, Attributes::at(Nanos::from(self.time)))?;
        }
        let at = self.place(&path)?;
        self.bring_back(seq, removed, &at, &path)
    }

    /// Into the directory it was removed from, if that is still there, wherever it is.
    fn way_back(&self, removed: &RemovedRow) -> Result<Path, Failure> {
        let old = Path::parse(&removed.path).map_err(|e| damaged::<RemovedRow>(e.message()))?;
        match (self.path_of(removed.dir)?, old.split_last()) {
            (Some(dir), Some((_, name))) => dir.join(name.clone()).map_err(Failure::Refused),
            _ => Ok(old),
        }
    }

    fn bring_back(
        &mut self,
        seq: Seq,
        removed: RemovedRow,
        at: &Place,
        path: &Path,
    ) -> Result<Done, Failure> {
        self.sums.flush(self.state)?;
        let below = self.inode(removed.dirent.inode)?.below;
        let row = DirentRow { changed: self.time, ..removed.dirent };
        self.state.delete(key::of_removed(self.namespace, seq));
        self.state.delete(key::of_removed_path(self.namespace, &removed.path, seq));
        self.link(at, &row, below);
        let entry = row.clone().entry(at.name.as_str());
        self.record(row.inode, path, Change::Returned { dir: at.dir, entry, removed: seq });
        self.last_dir = None;
        Ok(self.done(&row, self.row.seq))
    }

    fn removed(&self, seq: Seq) -> Result<Option<RemovedRow>, Halt> {
        load(self.state, &key::of_removed(self.namespace, seq))
    }

    fn check_free(&self, at: &Place, path: &Path) -> Result<(), Failure> {
        match self.dirent(at.dir, &at.name)? {
            Some(_) => refuse(exists(path)),
            None => Ok(()),
        }
    }

    /// Refuses a path on which something else stands where a directory should.
    fn check_dirs(&self, path: &Path) -> Result<(), Failure> {
        match self.find(path)? {
            Some(found) if found.kind != Kind::Dir => Err(not_a_directory(path)),
            _ => Ok(()),
        }
    }
}

fn exists(path: &Path) -> Error {
    Error::exists(format!("{path} exists: move it away before bringing the removed one back"))
}
