//! Which name leads to which file: what processes see, what is durable, and the changes in between.
//!
//! Owns: what a crash leaves of creations, renames and removals. As on journaling file systems each of them happens
//! as a whole or not at all, and none that another one needs is lost without it; but a crash may keep any of those
//! that no [`Links::sync`] has covered.
//! Knows nothing of: paths, what is in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use crate::Random;

/// Like a kernel, the disk makes the oldest changes durable on its own when there are more than this.
const PENDING_COUNT_MAX: usize = 4096;

/// Number of a file or directory, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InodeNumber(pub u64);

/// The directory at `/`.
pub const ROOT: InodeNumber = InodeNumber(0);

/// All names of a disk.
#[derive(Clone, Debug, Default)]
pub struct Links {
    current: Names,
    durable: Names,
    pending: Vec<Relink>,
    /// Have lost their durable place since [`Links::take_freed`].
    freed: Vec<InodeNumber>,
}

/// One state of all names. A file or directory has one place at most.
#[derive(Clone, Debug, Default)]
struct Names {
    children: BTreeMap<(InodeNumber, OsString), InodeNumber>,
    places: BTreeMap<InodeNumber, (InodeNumber, OsString)>,
}

/// A creation, a rename or a removal.
#[derive(Clone, Debug)]
struct Relink {
    inode: InodeNumber,
    /// Directory and name; `None`: it is removed.
    target: Option<(InodeNumber, OsString)>,
    /// What had that name before.
    replaced: Option<InodeNumber>,
    /// Directories whose content it changes, or that must be empty for it.
    dirs: Vec<InodeNumber>,
    is_rename: bool,
}

impl Links {
    /// What the name `name` in `dir` leads to.
    pub fn child(&self, dir: InodeNumber, name: &OsString) -> Option<InodeNumber> {
        self.current.children.get(&(dir, name.clone())).copied()
    }

    /// Names in `dir`, sorted, and what they lead to.
    pub fn children(&self, dir: InodeNumber) -> impl Iterator<Item = (&OsString, InodeNumber)> {
        self.current.children(dir)
    }

    /// As [`Links::children`], of the names that a crash cannot take away.
    pub fn durable_children(&self, dir: InodeNumber) -> impl Iterator<Item = (&OsString, InodeNumber)> {
        self.durable.children(dir)
    }

    /// Directory and name of `inode`; `None` for the root and for what was removed.
    pub fn place(&self, inode: InodeNumber) -> Option<&(InodeNumber, OsString)> {
        self.current.places.get(&inode)
    }

    /// True when `inode` has a place, had one that is durable, or may have one after a crash.
    pub fn remembers(&self, inode: InodeNumber) -> bool {
        let has = |names: &Names| names.places.contains_key(&inode);
        has(&self.current) || has(&self.durable) || self.pending.iter().any(|change| change.inode == inode)
    }

    /// Those that have lost their durable place since the last call.
    pub fn take_freed(&mut self) -> Vec<InodeNumber> {
        std::mem::take(&mut self.freed)
    }

    /// True when `dir` is `inode` or below it.
    pub fn is_below(&self, dir: InodeNumber, inode: InodeNumber) -> bool {
        !self.current.leads_to(dir, Some(inode))
    }

    /// Gives `inode` a place: its first, or another. Returns what it takes the place of.
    pub fn link(&mut self, inode: InodeNumber, dir: InodeNumber, name: OsString) -> Option<InodeNumber> {
        let replaced = self.child(dir, &name);
        let source = self.place(inode).map(|(dir, _)| *dir);
        let dirs = [Some(dir), source, replaced].into_iter().flatten().collect();
        self.push(Relink { inode, target: Some((dir, name)), replaced, dirs, is_rename: source.is_some() });
        replaced
    }

    /// Takes the place of `inode` away.
    pub fn unlink(&mut self, inode: InodeNumber) {
        let parent = self.place(inode).map(|(dir, _)| *dir);
        let dirs = parent.into_iter().chain([inode]).collect();
        self.push(Relink { inode, target: None, replaced: None, dirs, is_rename: false });
    }

    /// Makes all changes in `dir` durable, with those that they need.
    pub fn sync(&mut self, dir: InodeNumber) {
        let mut dirs = BTreeSet::from([dir]);
        // Directories that must not be lost, because something that was safe elsewhere was moved there.
        let mut homes = BTreeSet::new();
        let mut covered = Vec::new();
        for change in self.pending.iter().rev() {
            let makes_home = homes.contains(&change.inode);
            let covers = makes_home || change.dirs.iter().any(|dir| dirs.contains(dir));
            covered.push(covers);
            if covers {
                dirs.extend(&change.dirs);
                let is_move = makes_home || change.is_rename;
                let targets = change.target.iter().filter(|_| is_move);
                homes.extend(targets.flat_map(|(dir, _)| self.durable.at_and_above(*dir)));
            }
        }
        let pending = std::mem::take(&mut self.pending).into_iter().zip(covered.into_iter().rev());
        for (change, covers) in pending {
            if covers {
                self.freed.extend(self.durable.apply(&change));
            } else {
                self.pending.push(change);
            }
        }
    }

    /// Keeps some of the changes that are not durable; returns how many are lost.
    pub fn crash(&mut self, random: &Random) -> u64 {
        let mut lost = 0;
        for change in std::mem::take(&mut self.pending) {
            if random.below(2) == 0 && self.durable.allows(&change) {
                self.durable.apply(&change);
            } else {
                lost += 1;
            }
        }
        self.durable.forget_unreachable();
        self.current = self.durable.clone();
        lost
    }

    fn push(&mut self, change: Relink) {
        self.current.apply(&change);
        self.pending.push(change);
        if self.pending.len() > PENDING_COUNT_MAX {
            let oldest = self.pending.drain(..PENDING_COUNT_MAX / 2);
            self.freed.extend(oldest.filter_map(|change| self.durable.apply(&change)));
        }
    }
}

impl Names {
    fn children(&self, dir: InodeNumber) -> impl Iterator<Item = (&OsString, InodeNumber)> {
        let from_first = self.children.range((dir, OsString::new())..);
        from_first.take_while(move |((parent, _), _)| *parent == dir).map(|((_, name), inode)| (name, *inode))
    }

    /// Returns what has no place afterwards.
    fn apply(&mut self, change: &Relink) -> Option<InodeNumber> {
        if let Some(place) = self.places.remove(&change.inode) {
            self.children.remove(&place);
        }
        let Some(target) = &change.target else { return Some(change.inode) };
        let replaced = self.children.insert(target.clone(), change.inode);
        replaced.iter().for_each(|replaced| drop(self.places.remove(replaced)));
        self.places.insert(change.inode, target.clone());
        replaced
    }

    /// False for a change that needs another one which is lost: its directory is not there or still below the one that
    /// moves, the directory it removes is not empty yet, something else still has the name.
    fn allows(&self, change: &Relink) -> bool {
        let is_empty = |dir| self.children(dir).next().is_none();
        let Some(target) = &change.target else { return is_empty(change.inode) };
        let is_free = match self.children.get(target) {
            Some(other) if *other == change.inode => true,
            Some(other) => change.replaced == Some(*other) && is_empty(*other),
            None => true,
        };
        is_free && self.leads_to(target.0, Some(change.inode))
    }

    /// True when `dir` can be reached from the root, on a way that does not go through `without`.
    fn leads_to(&self, dir: InodeNumber, without: Option<InodeNumber>) -> bool {
        let mut at = dir;
        while at != ROOT {
            if Some(at) == without {
                return false;
            }
            let Some((parent, _)) = self.places.get(&at) else { return false };
            at = *parent;
        }
        true
    }

    /// `dir`, the directory it is in, and so on as far as there are places.
    fn at_and_above(&self, dir: InodeNumber) -> impl Iterator<Item = InodeNumber> {
        std::iter::successors(Some(dir), |at| self.places.get(at).map(|(parent, _)| *parent))
    }

    /// Forgets what is in directories that are gone.
    fn forget_unreachable(&mut self) {
        let lost = self.places.keys().copied().filter(|inode| !self.leads_to(*inode, None));
        for inode in lost.collect::<Vec<_>>() {
            let place = self.places.remove(&inode).expect("these are keys");
            self.children.remove(&place);
        }
    }
}
