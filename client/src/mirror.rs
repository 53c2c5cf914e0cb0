//! A tree that is kept current by the journal, begun at any position.
//!
//! Whoever begins lists what there is, directory by directory, while others write: each page is of a later state. That
//! does no harm, because every record says all about its entry, and records are told in their order again from where the
//! listing began: what is older than what was listed is put right by a later record. When all directories are listed and
//! the records have come to the last page's position, the mirror is the tree of that position, and of every later one.
//! A directory that appears with something in it (it moved here, or came back from the trash) is listed, too.
//!
//! Pure: pages and records in, directories to list out.

use std::collections::{BTreeMap, BTreeSet};

use proto::namespace::{Change, Entry, Record};
use types::{Error, InodeId, Name, Path, Result, Seq};

/// A namespace as its journal tells it.
#[derive(Clone, Debug)]
pub struct Mirror {
    root: InodeId,
    /// Position of the last record.
    cursor: Seq,
    /// Position of the latest page.
    listed: Seq,
    /// Where each entry is, and what it is.
    entries: BTreeMap<InodeId, (InodeId, Entry)>,
    /// What is in each directory, by name.
    dirs: BTreeMap<InodeId, BTreeMap<String, InodeId>>,
    /// Directories of which nobody knows what is in them.
    unlisted: BTreeSet<InodeId>,
}

impl Mirror {
    /// Of the namespace with this root, whose journal was at `cursor` a moment ago.
    pub fn new(root: InodeId, cursor: Seq) -> Self {
        let dirs = BTreeMap::from([(root, BTreeMap::new())]);
        let unlisted = BTreeSet::from([root]);
        Self { root, cursor, listed: cursor, entries: BTreeMap::new(), dirs, unlisted }
    }

    /// Position of the last record that is in it.
    pub fn cursor(&self) -> Seq {
        self.cursor
    }

    /// A directory to list now.
    pub fn unlisted(&self) -> Option<InodeId> {
        self.unlisted.first().copied()
    }

    /// True when it is the tree at its cursor.
    pub fn is_settled(&self) -> bool {
        self.unlisted.is_empty() && self.cursor >= self.listed
    }

    /// Takes a page of a directory, of the state at `seq`.
    pub fn page(&mut self, dir: InodeId, seq: Seq, entries: Vec<Entry>) {
        self.listed = self.listed.max(seq);
        for entry in entries {
            self.put(dir, entry, true);
        }
    }

    /// The directory was listed to its end, or is not there any more, which a record will tell.
    pub fn end(&mut self, dir: InodeId) {
        self.unlisted.remove(&dir);
    }

    /// Takes the next record; `Corrupt` for one that is not.
    pub fn apply(&mut self, record: &Record) -> Result<()> {
        if record.seq != self.cursor.next() {
            let (found, cursor) = (record.seq, self.cursor);
            return Err(Error::corrupt(format!("record {found} of the journal came after {cursor}")));
        }
        self.cursor = record.seq;
        match &record.change {
            // Whatever it has came after it.
            Change::Created { dir, entry } => self.put(*dir, entry.clone(), false),
            Change::Versioned { dir, entry, .. }
            | Change::Attributed { dir, entry }
            | Change::Returned { dir, entry, .. } => self.put(*dir, entry.clone(), true),
            Change::Moved { dir, entry, replaced, .. } => {
                replaced.iter().for_each(|replaced| self.remove(*replaced));
                self.put(*dir, entry.clone(), true);
            }
            Change::Removed { entry, .. } | Change::Split { entry, .. } => self.remove(entry.inode),
            Change::Base { .. } => drop(self.unlisted.insert(self.root)),
        }
        Ok(())
    }

    /// Every entry by its path.
    pub fn paths(&self) -> Vec<(Path, Entry)> {
        let mut found = Vec::new();
        let mut dirs = vec![(Path::root(), self.root)];
        while let Some((above, dir)) = dirs.pop() {
            for (name, inode) in self.dirs.get(&dir).into_iter().flatten() {
                // What a server could not have stored is in no listing either.
                let path = Name::parse(name).and_then(|name| above.join(name));
                if let (Ok(path), Some((_, entry))) = (path, self.entries.get(inode)) {
                    if entry.is_dir() {
                        dirs.push((path.clone(), *inode));
                    }
                    found.push((path, entry.clone()));
                }
            }
        }
        found
    }

    /// An entry is there. `has_contents`: a directory that is new to the mirror may have something in it.
    fn put(&mut self, dir: InodeId, entry: Entry, has_contents: bool) {
        let inode = entry.inode;
        let is_new = !self.entries.contains_key(&inode);
        self.unlink(inode);
        let named = self.dirs.entry(dir).or_default().insert(entry.name.clone(), inode);
        if let Some(other) = named {
            // Older than what was listed, or newer: a record follows that says where it is.
            self.remove(other);
            self.dirs.entry(dir).or_default().insert(entry.name.clone(), inode);
        }
        if entry.is_dir() {
            self.dirs.entry(inode).or_default();
            if is_new && has_contents {
                self.unlisted.insert(inode);
            }
        }
        self.entries.insert(inode, (dir, entry));
    }

    /// An entry is gone, with everything below it.
    fn remove(&mut self, inode: InodeId) {
        self.unlink(inode);
        let mut gone = vec![inode];
        while let Some(inode) = gone.pop() {
            self.entries.remove(&inode);
            self.unlisted.remove(&inode);
            gone.extend(self.dirs.remove(&inode).into_iter().flat_map(BTreeMap::into_values));
        }
    }

    fn unlink(&mut self, inode: InodeId) {
        if let Some((dir, entry)) = self.entries.get(&inode)
            && let Some(names) = self.dirs.get_mut(dir)
            && names.get(&entry.name) == Some(&inode)
        {
            names.remove(&entry.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::namespace::{Kind, Place};
    use types::Millis;

    use super::*;

    const ROOT: InodeId = InodeId(1);

    fn dir(inode: u64, name: &str) -> Entry {
        Entry::new(name, InodeId(inode), Kind::Dir)
    }

    fn file(inode: u64, name: &str) -> Entry {
        Entry::new(name, InodeId(inode), Kind::File)
    }

    fn record(seq: u64, change: Change) -> Record {
        let (inode, author) = (InodeId(0), String::new());
        Record { seq: Seq(seq), time: Millis(0), author, inode, path: "/".into(), change }
    }

    fn created(seq: u64, dir: u64, entry: Entry) -> Record {
        record(seq, Change::Created { dir: InodeId(dir), entry })
    }

    fn removed(seq: u64, dir: u64, entry: Entry) -> Record {
        record(seq, Change::Removed { dir: InodeId(dir), entry })
    }

    fn moved(seq: u64, from: (u64, &str), to: u64, entry: Entry) -> Record {
        let source = Place { dir: InodeId(from.0), name: Name::parse(from.1).unwrap() };
        let (source_path, dir) = ("/".into(), InodeId(to));
        record(seq, Change::Moved { source, source_path, dir, entry, replaced: None })
    }

    fn show(mirror: &Mirror) -> String {
        let mut paths: Vec<String> = mirror.paths().iter().map(|(path, _)| path.to_string()).collect();
        paths.sort();
        paths.join(" ")
    }

    fn list(mirror: &mut Mirror, dir: u64, seq: u64, entries: &[Entry]) {
        assert_eq!(mirror.unlisted(), Some(InodeId(dir)));
        mirror.page(InodeId(dir), Seq(seq), entries.to_vec());
        mirror.end(InodeId(dir));
    }

    #[test]
    fn what_was_listed_later_is_put_right_by_the_records() {
        let mut mirror = Mirror::new(ROOT, Seq(4));
        // At 5 the file 3 is created as /a, at 6 removed, at 7 directory 7 takes its name, at 8 something comes into it.
        list(&mut mirror, 1, 7, &[dir(7, "a")]);
        list(&mut mirror, 7, 8, &[file(8, "f")]);
        assert!(!mirror.is_settled());
        for next in [
            created(5, 1, file(3, "a")),
            removed(6, 1, file(3, "a")),
            created(7, 1, dir(7, "a")),
            created(8, 7, file(8, "f")),
        ] {
            mirror.apply(&next).unwrap();
        }
        assert!(mirror.is_settled());
        assert_eq!(show(&mirror), "/a /a/f");
    }

    #[test]
    fn a_directory_that_appears_with_something_in_it_is_listed() {
        let mut mirror = Mirror::new(ROOT, Seq(0));
        list(&mut mirror, 1, 0, &[dir(2, "d")]);
        list(&mut mirror, 2, 0, &[file(3, "f")]);
        assert!(mirror.is_settled());
        mirror.apply(&removed(1, 1, dir(2, "d"))).unwrap();
        assert_eq!(show(&mirror), "");
        let back = Change::Returned { dir: ROOT, entry: dir(2, "e"), removed: Seq(1) };
        mirror.apply(&record(2, back)).unwrap();
        assert!(!mirror.is_settled());
        list(&mut mirror, 2, 3, &[file(3, "f"), file(4, "g")]);
        mirror.apply(&created(3, 2, file(4, "g"))).unwrap();
        assert!(mirror.is_settled());
        assert_eq!(show(&mirror), "/e /e/f /e/g");
        // It was in a directory that was listed before it came there.
        mirror.apply(&moved(4, (9, "x"), 2, dir(5, "x"))).unwrap();
        assert_eq!(mirror.unlisted(), Some(InodeId(5)));
    }

    #[test]
    fn records_come_one_after_the_other() {
        let mut mirror = Mirror::new(ROOT, Seq(4));
        for seq in [4, 6] {
            assert!(mirror.apply(&created(seq, 1, file(3, "a"))).is_err());
        }
        assert_eq!(mirror.cursor(), Seq(4));
    }
}
