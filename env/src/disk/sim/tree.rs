//! The files and directories of a simulated disk by path.
//!
//! Owns: the errors that a file system gives for paths; which files still exist, and the space they take.
//! Knows nothing of: faults.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::content::{Content, Losses};
use super::names::{InodeNumber, Links, ROOT};
use crate::Random;

/// All files and directories.
#[derive(Clone, Debug)]
pub struct Tree {
    links: Links,
    files: BTreeMap<InodeNumber, Body>,
    dirs: BTreeSet<InodeNumber>,
    /// Bytes of all files that have a name or are open.
    used: u64,
    inode_next: u64,
}

/// A file without its name.
#[derive(Clone, Debug, Default)]
pub struct Body {
    pub content: Content,
    pub locked: bool,
    /// Open handles: with one, a file outlives its name.
    handles: u64,
}

impl Tree {
    /// An empty root.
    pub fn new() -> Self {
        let dirs = BTreeSet::from([ROOT]);
        Self { links: Links::default(), files: BTreeMap::new(), dirs, used: 0, inode_next: ROOT.0 + 1 }
    }

    /// Bytes of all files that have a name or are open.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// What is at `path`.
    pub fn find(&self, path: &Path) -> io::Result<InodeNumber> {
        let mut at = ROOT;
        for part in path.components() {
            if !self.dirs.contains(&at) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            at = match part {
                Component::Normal(name) => {
                    self.links.child(at, &name.to_owned()).ok_or(io::ErrorKind::NotFound)?
                }
                Component::ParentDir => self.links.place(at).map_or(ROOT, |(dir, _)| *dir),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => at,
            };
        }
        Ok(at)
    }

    /// The directory at `path`.
    pub fn find_dir(&self, path: &Path) -> io::Result<InodeNumber> {
        let found = self.find(path)?;
        if self.dirs.contains(&found) { Ok(found) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    /// Where `inode` is; empty for a file without a name.
    pub fn path(&self, inode: InodeNumber) -> PathBuf {
        let mut names = Vec::new();
        let mut at = inode;
        while let Some((dir, name)) = self.links.place(at) {
            names.push(name);
            at = *dir;
        }
        let root = if at == ROOT { Path::new("/") } else { Path::new("") };
        names.iter().rev().fold(root.to_owned(), |path, name| path.join(name))
    }

    /// `None` for a directory.
    pub fn file(&self, inode: InodeNumber) -> Option<&Body> {
        self.files.get(&inode)
    }

    /// Changes an open file. It exists as long as it is open.
    pub fn edit<T>(&mut self, inode: InodeNumber, change: impl FnOnce(&mut Body) -> T) -> T {
        let body = self.files.get_mut(&inode).expect("an open file, or one that has a name");
        let before = body.content.footprint();
        let result = change(body);
        self.used = self.used - before + body.content.footprint();
        result
    }

    /// Names in the directory at `path`, sorted.
    pub fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let dir = self.find_dir(path)?;
        Ok(self.links.children(dir).map(|(name, _)| name.clone()).collect())
    }

    /// All files that have a name, oldest first.
    pub fn files(&self) -> impl Iterator<Item = InodeNumber> {
        self.files.keys().copied().filter(|inode| self.links.place(*inode).is_some())
    }

    /// The file and all others in its directory, sorted by name; only itself when it has no name.
    pub fn siblings(&self, inode: InodeNumber) -> Vec<InodeNumber> {
        let Some((dir, _)) = self.links.place(inode) else { return vec![inode] };
        self.links.children(*dir).map(|(_, inode)| inode).filter(|i| self.files.contains_key(i)).collect()
    }

    /// Creates an empty file; `path` must be free.
    pub fn create_file(&mut self, path: &Path) -> io::Result<InodeNumber> {
        let (dir, name) = self.parent(path)?;
        let inode = self.inode();
        self.files.insert(inode, Body::default());
        self.links.link(inode, dir, name);
        Ok(inode)
    }

    /// Creates a directory and those above it that are missing.
    pub fn create_dirs(&mut self, path: &Path) -> io::Result<()> {
        let above: Vec<&Path> = path.ancestors().collect();
        for path in above.into_iter().rev() {
            match self.find_dir(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let (dir, name) = self.parent(path)?;
                    let inode = self.inode();
                    self.dirs.insert(inode);
                    self.links.link(inode, dir, name);
                }
                found => drop(found?),
            }
        }
        Ok(())
    }

    /// Renames, replacing a file or an empty directory.
    pub fn rename(&mut self, source: &Path, target: &Path) -> io::Result<()> {
        let inode = self.find(source)?;
        let (dir, name) = self.parent(target)?;
        if inode == ROOT || self.links.is_below(dir, inode) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if let Some(old) = self.links.child(dir, &name) {
            let refused = match (self.dirs.contains(&inode), self.dirs.contains(&old)) {
                _ if inode == old => return Ok(()),
                (true, false) => Some(io::ErrorKind::NotADirectory),
                (false, true) => Some(io::ErrorKind::IsADirectory),
                (true, true) if !self.is_empty(old) => Some(io::ErrorKind::DirectoryNotEmpty),
                _ => None,
            };
            refused.map_or(Ok(()), |kind| Err(io::Error::from(kind)))?;
        }
        let replaced = self.links.link(inode, dir, name);
        replaced.into_iter().for_each(|old| self.release(old));
        Ok(())
    }

    /// Removes a file.
    pub fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find(path)?;
        if self.dirs.contains(&inode) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.remove(inode);
        Ok(())
    }

    /// Removes a directory and everything in it.
    pub fn remove_dirs(&mut self, path: &Path) -> io::Result<()> {
        let mut found = vec![self.find_dir(path)?];
        let mut next = 0;
        while let Some(&dir) = found.get(next) {
            found.extend(self.links.children(dir).map(|(_, inode)| inode));
            next += 1;
        }
        // What is deepest goes first.
        found.into_iter().rev().filter(|inode| *inode != ROOT).for_each(|inode| self.remove(inode));
        Ok(())
    }

    /// Makes the names in a directory durable.
    pub fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.find_dir(path)?;
        self.links.sync(dir);
        let freed = self.links.take_freed();
        self.forget(freed);
        Ok(())
    }

    /// Counts one more handle of a file.
    pub fn open(&mut self, inode: InodeNumber) {
        self.edit(inode, |body| body.handles += 1);
    }

    /// Counts one handle less.
    pub fn close(&mut self, inode: InodeNumber) {
        self.edit(inode, |body| body.handles -= 1);
        if self.links.place(inode).is_none() {
            self.release(inode);
            self.forget([inode]);
        }
    }

    /// All processes are gone, with their handles and locks.
    pub fn close_all(&mut self) {
        for body in self.files.values_mut() {
            (body.handles, body.locked) = (0, false);
        }
        let all: Vec<InodeNumber> = self.files.keys().chain(&self.dirs).copied().collect();
        self.forget(all);
        self.used = self.files().map(|inode| self.files[&inode].content.footprint()).sum();
    }

    /// Loses what is not durable: names, then bytes. Returns the number of lost names and the losses of all files.
    pub fn crash(&mut self, random: &Random) -> (u64, Losses) {
        let lost_names = self.links.crash(random);
        self.close_all();
        let mut losses = Losses::default();
        for body in self.files.values_mut() {
            let Losses { lost, torn } = body.content.crash(random);
            losses = Losses { lost: losses.lost + lost, torn: losses.torn + torn };
        }
        self.used = self.files.values().map(|body| body.content.footprint()).sum();
        (lost_names, losses)
    }

    /// What would be left if the power failed now and took all it can: directories (`None`) and files with their bytes,
    /// each after the directory it is in.
    pub fn image(&self) -> Vec<(PathBuf, Option<Vec<u8>>)> {
        let mut found = Vec::new();
        let mut dirs = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, dir)) = dirs.pop() {
            for (name, inode) in self.links.durable_children(dir) {
                let path = path.join(name);
                match self.files.get(&inode) {
                    Some(body) => found.push((path, Some(body.content.durable().to_vec()))),
                    None => {
                        found.push((path.clone(), None));
                        dirs.push((path, inode));
                    }
                }
            }
        }
        found
    }

    /// Replaces all that is at or below `path` by what an image has there, durably. No file may be open.
    pub fn put_back(&mut self, path: &Path, image: &[(PathBuf, Option<Vec<u8>>)]) -> io::Result<()> {
        match self.remove_dirs(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        for (path, bytes) in image {
            match bytes {
                None => self.create_dirs(path)?,
                Some(bytes) => {
                    let inode = self.create_file(path)?;
                    self.edit(inode, |body| {
                        body.content.write(0, bytes.clone());
                        body.content.sync();
                    });
                }
            }
        }
        let dirs = image.iter().filter(|(_, bytes)| bytes.is_none()).map(|(path, _)| path.as_path());
        dirs.chain(path.parent()).try_for_each(|dir| self.sync_dir(dir))
    }

    /// Drops what the cache shows and the platter does not have.
    pub fn drop_caches(&mut self) {
        self.files.values_mut().for_each(|body| body.content.drop_cache());
    }

    /// The directory above `path`, and its name there.
    fn parent(&self, path: &Path) -> io::Result<(InodeNumber, OsString)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.find_dir(path.parent().unwrap_or(Path::new("/")))?, name.to_owned()))
    }

    fn inode(&mut self) -> InodeNumber {
        self.inode_next += 1;
        InodeNumber(self.inode_next - 1)
    }

    fn is_empty(&self, dir: InodeNumber) -> bool {
        self.links.children(dir).next().is_none()
    }

    fn remove(&mut self, inode: InodeNumber) {
        self.links.unlink(inode);
        self.release(inode);
    }

    /// Gives the space of a file back that has no name any more, unless it is open.
    fn release(&mut self, inode: InodeNumber) {
        if let Some(body) = self.files.get(&inode).filter(|body| body.handles == 0) {
            self.used -= body.content.footprint();
        }
    }

    /// Forgets those that are not open and cannot come back.
    fn forget(&mut self, inodes: impl IntoIterator<Item = InodeNumber>) {
        for inode in inodes {
            let is_open = self.files.get(&inode).is_some_and(|body| body.handles > 0);
            if inode != ROOT && !is_open && !self.links.remembers(inode) {
                self.files.remove(&inode);
                self.dirs.remove(&inode);
            }
        }
    }
}
