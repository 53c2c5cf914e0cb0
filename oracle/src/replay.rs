//! The tree that a journal describes.
//!
//! Owns: the rules about which record may follow which (I-TREE, I-CAS), and how a path is found.

use std::collections::BTreeMap;
use std::ops::Bound;

use proto::namespace::{Kind, Place, Record};
use types::{ChunkId, ErrorKind, InodeId, Name, Path, VersionId};

use crate::deed::Deed;

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Which of the two.
    pub kind: Kind,
    /// All versions of a file; none of a directory.
    pub versions: BTreeMap<VersionId, Revision>,
    /// Where it is; `None` in the trash, and for the root.
    pub place: Option<Place>,
}

/// A version, as far as the journal tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The version it replaced; `None` for the first.
    pub base: Option<VersionId>,
    /// Length in bytes.
    pub size: u64,
    /// Identifies the content.
    pub root: ChunkId,
}

impl Inode {
    fn new(kind: Kind) -> Self {
        Self { kind, versions: BTreeMap::new(), place: None }
    }

    /// Newest version; 0 for a directory.
    pub fn version(&self) -> VersionId {
        self.versions.last_key_value().map_or(VersionId(0), |(id, _)| *id)
    }

    /// The newest version; `None` for a directory.
    pub fn newest(&self) -> Option<&Revision> {
        self.versions.last_key_value().map(|(_, revision)| revision)
    }
}

/// A tree at one position of the journal.
#[derive(Clone, Debug)]
pub struct Tree {
    root: InodeId,
    entries: BTreeMap<(InodeId, Name), InodeId>,
    inodes: BTreeMap<InodeId, Inode>,
    /// What is in the trash, with the path it was removed from, in the order of removal.
    trash: Vec<(Path, InodeId)>,
}

impl Tree {
    /// The tree before the first record.
    pub fn new(root: InodeId) -> Self {
        let inodes = BTreeMap::from([(root, Inode::new(Kind::Dir))]);
        Self { root, entries: BTreeMap::new(), inodes, trash: Vec::new() }
    }

    /// The tree after these records, and which rules they break; what breaks a rule is left out.
    pub fn after(root: InodeId, records: &[Record]) -> (Self, Vec<String>) {
        let mut tree = Self::new(root);
        let apply = |record| tree.apply(record).err().map(|e| format!("position {}: {e}", record.seq));
        let broken = records.iter().filter_map(apply).collect();
        (tree, broken)
    }

    /// Applies one record. The error says which rule it breaks; then nothing is changed, unless only the path that it tells
    /// is wrong.
    pub fn apply(&mut self, record: &Record) -> Result<(), String> {
        self.perform(record.inode, &Deed::of(record))?;
        let told = Path::parse(&record.path).map_err(|e| e.to_string())?;
        match self.path_of(record.inode) {
            Some(path) if path != told => Err(format!("{} is at {path}, not at {told}", record.inode)),
            _ => Ok(()),
        }
    }

    /// Does what a record says. The error says which rule that breaks; then nothing is changed.
    pub fn perform(&mut self, inode: InodeId, deed: &Deed) -> Result<(), String> {
        match deed {
            Deed::Added { at, kind } => self.add(inode, at, *kind),
            Deed::Versioned { at, version, base, size, content_root } => {
                let revision = Revision { base: *base, size: *size, root: *content_root };
                self.commit(inode, at, *version, revision)
            }
            Deed::Attributed { at } => self.check_entry(at, inode),
            Deed::Moved { source, target, replaced } => {
                self.check_entry(source, inode)?;
                match replaced {
                    Some(replaced) => self.check_entry(target, *replaced)?,
                    None => self.check_free(target)?,
                }
                if self.ancestors(target.dir).contains(&inode) {
                    return Err(format!("{inode} moves below itself"));
                }
                if let Some(replaced) = replaced {
                    self.discard(target, *replaced);
                }
                self.unlink(source);
                self.link(target, inode);
                Ok(())
            }
            Deed::Removed { at } => {
                self.check_entry(at, inode)?;
                self.discard(at, inode);
                Ok(())
            }
            Deed::Split { at } => {
                self.check_entry(at, inode)?;
                self.unlink(at);
                Ok(())
            }
            Deed::Begun => Err("a namespace begins once".to_owned()),
        }
    }

    /// Moves an entry that is in the tree to the trash.
    fn discard(&mut self, at: &Place, inode: InodeId) {
        let path = self.path_of(inode).expect("check_entry() found it in the tree");
        self.unlink(at);
        self.trash.push((path, inode));
    }

    /// Takes back a move that was just applied.
    pub fn undo_move(&mut self, inode: InodeId, deed: &Deed) {
        let Deed::Moved { source, target, replaced: None } = deed else { panic!("{deed:?} is no move") };
        self.unlink(target);
        self.link(source, inode);
    }

    /// What is at a path; `Invalid` when a part of it that should be a directory is a file.
    pub fn find(&self, path: &Path) -> Result<Option<(InodeId, &Inode)>, ErrorKind> {
        let mut at = self.root;
        for name in path.names() {
            if self.inodes[&at].kind != Kind::Dir {
                return Err(ErrorKind::Invalid);
            }
            match self.entry(at, name) {
                Some(inode) => at = inode,
                None => return Ok(None),
            }
        }
        Ok(Some((at, &self.inodes[&at])))
    }

    /// The directory and name that a path means: `NotFound` when there is no such directory, `Invalid` for the root and
    /// where a file is in its place.
    pub fn place(&self, path: &Path) -> Result<Place, ErrorKind> {
        let (parent, name) = path.split_last().ok_or(ErrorKind::Invalid)?;
        let (dir, inode) = self.find(&parent)?.ok_or(ErrorKind::NotFound)?;
        if inode.kind != Kind::Dir {
            return Err(ErrorKind::Invalid);
        }
        Ok(Place { dir, name: name.clone() })
    }

    /// What has this name in a directory.
    pub fn entry(&self, dir: InodeId, name: &Name) -> Option<InodeId> {
        self.entries.get(&(dir, name.clone())).copied()
    }

    /// What is known of an entry, in the tree or in the trash.
    pub fn inode(&self, id: InodeId) -> Option<&Inode> {
        self.inodes.get(&id)
    }

    /// Where an entry is; `None` when it, or a directory above it, is in the trash.
    pub fn path_of(&self, inode: InodeId) -> Option<Path> {
        let mut names = Vec::new();
        let mut at = inode;
        while at != self.root {
            let place = self.inodes.get(&at)?.place.as_ref()?;
            names.push(place.name.clone());
            at = place.dir;
        }
        names.reverse();
        Path::try_from(names).ok()
    }

    /// What is in a directory after a name, in order of names.
    pub fn list<'a>(
        &'a self,
        dir: InodeId,
        after: Option<&Name>,
    ) -> impl Iterator<Item = (&'a Name, InodeId, &'a Inode)> {
        let start = match after {
            Some(name) => Bound::Excluded((dir, name.clone())),
            None => Bound::Included((dir, Name::parse("\u{1}").expect("the smallest name is a name"))),
        };
        let entries = self.entries.range((start, Bound::Unbounded));
        let within = entries.take_while(move |((parent, _), _)| *parent == dir);
        within.map(|((_, name), inode)| (name, *inode, &self.inodes[inode]))
    }

    /// All that can be reached from the root.
    pub fn paths(&self) -> BTreeMap<Path, (InodeId, &Inode)> {
        let found = self.inodes.iter().filter(|(id, _)| **id != self.root);
        found.filter_map(|(id, inode)| Some((self.path_of(*id)?, (*id, inode)))).collect()
    }

    /// What was removed and not brought back, oldest first, with the path it was removed from.
    pub fn trash(&self) -> &[(Path, InodeId)] {
        &self.trash
    }

    fn add(&mut self, inode: InodeId, at: &Place, kind: Kind) -> Result<(), String> {
        self.check_free(at)?;
        match self.inodes.get(&inode) {
            Some(known) if known.place.is_some() => return Err(format!("{inode} is added a second time")),
            Some(known) if known.kind != kind => return Err(format!("{inode} comes back as something else")),
            Some(_) => self.trash.retain(|(_, id)| *id != inode),
            None if kind != Kind::Dir => return Err(format!("file {inode} is added without a version")),
            None => drop(self.inodes.insert(inode, Inode::new(kind))),
        }
        self.link(at, inode);
        Ok(())
    }

    fn commit(
        &mut self,
        inode: InodeId,
        at: &Place,
        version: VersionId,
        revision: Revision,
    ) -> Result<(), String> {
        let next = revision.base.map_or(VersionId(1), VersionId::next);
        if version != next {
            return Err(format!("version {version} of {inode} should be {next}"));
        }
        if revision.base.is_some() {
            self.check_entry(at, inode)?;
            let (newest, base) = (self.inodes[&inode].version(), revision.base);
            if Some(newest) != base {
                return Err(format!(
                    "version {version} of {inode} replaces {base:?}, but {newest} was the newest"
                ));
            }
        } else {
            self.check_free(at)?;
            if self.inodes.contains_key(&inode) {
                return Err(format!("{inode} is created a second time"));
            }
            self.inodes.insert(inode, Inode::new(Kind::File));
            self.link(at, inode);
        }
        let inode = self.inodes.get_mut(&inode).expect("linked above or checked");
        inode.versions.insert(version, revision);
        Ok(())
    }

    fn link(&mut self, at: &Place, inode: InodeId) {
        self.entries.insert((at.dir, at.name.clone()), inode);
        self.inodes.get_mut(&inode).expect("only known inodes are linked").place = Some(at.clone());
    }

    fn unlink(&mut self, at: &Place) {
        if let Some(inode) = self.entries.remove(&(at.dir, at.name.clone())) {
            self.inodes.get_mut(&inode).expect("what is linked is known").place = None;
        }
    }

    fn check_entry(&self, at: &Place, inode: InodeId) -> Result<(), String> {
        if !self.is_in_tree(at.dir) {
            return Err(format!("{inode} is changed where nobody can reach it"));
        }
        match self.entry(at.dir, &at.name) {
            Some(found) if found == inode => Ok(()),
            found => {
                Err(format!("{inode} should be {:?} of {}, but there is {found:?}", at.name.as_str(), at.dir))
            }
        }
    }

    fn check_free(&self, at: &Place) -> Result<(), String> {
        let kind = self.inodes.get(&at.dir).map(|inode| inode.kind);
        if kind != Some(Kind::Dir) || !self.is_in_tree(at.dir) {
            return Err(format!("{} is not a directory of the tree", at.dir));
        }
        match self.entry(at.dir, &at.name) {
            Some(found) => Err(format!("{:?} of {} is taken by {found}", at.name.as_str(), at.dir)),
            None => Ok(()),
        }
    }

    fn is_in_tree(&self, inode: InodeId) -> bool {
        let mut at = inode;
        while let Some(place) = self.inodes.get(&at).and_then(|inode| inode.place.as_ref()) {
            at = place.dir;
        }
        at == self.root
    }

    fn ancestors(&self, inode: InodeId) -> Vec<InodeId> {
        let parent = |id: &InodeId| Some(self.inodes.get(id)?.place.as_ref()?.dir);
        std::iter::successors(Some(inode), parent).collect()
    }
}
