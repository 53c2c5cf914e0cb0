//! The tree that a journal describes.
//!
//! Owns: the rules about which record may follow which (I-TREE, I-CAS).

use std::collections::BTreeMap;

use proto::namespace::{Change, Kind, Place, Record};
use types::{InodeId, Name, Path, VersionId};

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Which of the two.
    pub kind: Kind,
    /// Newest version; 0 for a directory.
    pub version: VersionId,
    /// Where it is; `None` in the trash, and for the root.
    pub place: Option<Place>,
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
        let inode = Inode { kind: Kind::Dir, version: VersionId(0), place: None };
        let inodes = BTreeMap::from([(root, inode)]);
        Self { root, entries: BTreeMap::new(), inodes, trash: Vec::new() }
    }

    /// Applies one record. The error says which rule it breaks; then nothing is changed.
    pub fn apply(&mut self, record: &Record) -> Result<(), String> {
        let inode = record.inode;
        match &record.change {
            Change::Added { at, kind } => self.add(inode, at, *kind),
            Change::Versioned { at, version, base, .. } => {
                if version.0 != record.seq.0 {
                    return Err(format!("version {version} was made at another position, {}", record.seq));
                }
                self.commit(inode, at, *version, *base)
            }
            Change::Moved { source, target } => {
                self.check_entry(source, inode)?;
                self.check_free(target)?;
                if self.ancestors(target.dir).contains(&inode) {
                    return Err(format!("{inode} moves below itself"));
                }
                self.unlink(source);
                self.link(target, inode);
                Ok(())
            }
            Change::Removed { at } => {
                self.check_entry(at, inode)?;
                let path =
                    self.path_of(inode).ok_or_else(|| format!("{inode} is removed but not in the tree"))?;
                self.unlink(at);
                self.trash.push((path, inode));
                Ok(())
            }
        }
    }

    /// What is at a path.
    pub fn find(&self, path: &Path) -> Option<(InodeId, &Inode)> {
        let step = |dir, name: &Name| self.entries.get(&(dir, name.clone())).copied();
        let inode = path.names().iter().try_fold(self.root, step)?;
        Some((inode, &self.inodes[&inode]))
    }

    /// Newest version of an entry; 0 for a directory.
    pub fn version_of(&self, inode: InodeId) -> VersionId {
        self.inodes.get(&inode).map_or(VersionId(0), |inode| inode.version)
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

    /// What is in a directory.
    pub fn list(&self, dir: InodeId) -> impl Iterator<Item = (&Name, InodeId)> {
        let within = move |((parent, _), _): &(&(InodeId, Name), &InodeId)| *parent == dir;
        let first = Name::parse("\u{1}").expect("the smallest name is a name");
        self.entries.range((dir, first)..).take_while(within).map(|((_, name), inode)| (name, *inode))
    }

    /// All that can be reached from the root.
    pub fn paths(&self) -> BTreeMap<Path, (InodeId, Kind, VersionId)> {
        let found = self.inodes.iter().filter(|(id, _)| **id != self.root);
        let found =
            found.filter_map(|(id, inode)| Some((self.path_of(*id)?, (*id, inode.kind, inode.version))));
        found.collect()
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
            None if kind == Kind::File => return Err(format!("file {inode} is added without a version")),
            None => {
                self.inodes.insert(inode, Inode { kind, version: VersionId(0), place: None });
            }
        }
        self.link(at, inode);
        Ok(())
    }

    fn commit(
        &mut self,
        inode: InodeId,
        at: &Place,
        version: VersionId,
        base: Option<VersionId>,
    ) -> Result<(), String> {
        if base.is_some() {
            self.check_entry(at, inode)?;
            let newest = self.inodes[&inode].version;
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
            self.inodes.insert(inode, Inode { kind: Kind::File, version, place: None });
            self.link(at, inode);
        }
        self.inodes.get_mut(&inode).expect("linked above or checked").version = version;
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
        match self.entries.get(&(at.dir, at.name.clone())) {
            Some(found) if *found == inode => Ok(()),
            found => {
                Err(format!("{inode} should be {:?} of {}, but there is {found:?}", at.name.as_str(), at.dir))
            }
        }
    }

    fn check_free(&self, at: &Place) -> Result<(), String> {
        let kind = self.inodes.get(&at.dir).map(|inode| inode.kind);
        if kind != Some(Kind::Dir) || self.path_of(at.dir).is_none() {
            return Err(format!("{} is not a directory of the tree", at.dir));
        }
        match self.entries.get(&(at.dir, at.name.clone())) {
            Some(found) => Err(format!("{:?} of {} is taken by {found}", at.name.as_str(), at.dir)),
            None => Ok(()),
        }
    }

    fn ancestors(&self, inode: InodeId) -> Vec<InodeId> {
        let parent = |id: &InodeId| Some(self.inodes.get(id)?.place.as_ref()?.dir);
        std::iter::successors(Some(inode), parent).collect()
    }
}
