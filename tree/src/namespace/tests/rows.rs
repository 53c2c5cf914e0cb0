//! What holds between the rows of a namespace, whatever commands made them (I-TREE, I-JRN, I-CAS). Asked after every
//! command of every test here.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use kv::{Order, Read};
use proto::namespace::{Contents, Kind, Place, Record, Totals};
use types::{InodeId, Name, NamespaceId, Seq, VersionId};

use super::super::key::{self, table};
use super::super::row::{
    AnswerRow, AnswersRow, DirentRow, InodeRow, NamespaceRow, Reach, RemovedRow, VersionRow, trash_of,
};
use super::super::tree::hash_of;
use crate::row::{Row, load};

/// All rows of a partition whose namespaces are in one slot.
struct Rows<'a> {
    state: &'a dyn Read,
    namespaces: BTreeMap<NamespaceId, NamespaceRow>,
    dirents: BTreeMap<(InodeId, String), DirentRow>,
    inodes: BTreeMap<InodeId, InodeRow>,
    versions: BTreeMap<(InodeId, VersionId), VersionRow>,
    trash: Vec<(NamespaceId, Seq, RemovedRow)>,
}

/// Panics when a row contradicts another.
#[track_caller]
pub fn check(state: &dyn Read, namespace: NamespaceId) {
    let rows = Rows::load(state, namespace);
    rows.check_tree();
    rows.check_sums();
    rows.check_versions();
    rows.check_journal();
    rows.check_counts(namespace);
}

/// What stands behind slot and table in the key, and the value, of every row of a table.
fn table(state: &dyn Read, table: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        if key[2] == table && key != crate::level::LEVEL {
            rows.push((key[3..].to_vec(), value.to_vec()));
        }
        ControlFlow::Continue(())
    };
    state.scan(b"", b"", Order::Forward, visit).unwrap();
    rows
}

fn decode<T: Row>(value: &[u8]) -> T {
    crate::row::decode(value).unwrap()
}

fn number(key: &[u8]) -> u64 {
    key.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl<'a> Rows<'a> {
    fn load(state: &'a dyn Read, namespace: NamespaceId) -> Self {
        let slot = namespace.slot();
        let rows = |name| table(state, name).into_iter();
        let name = |key: &[u8]| String::from_utf8(key[6..].to_vec()).unwrap();
        let inode = |key: &[u8]| InodeId::new(slot, number(&key[..6]));
        let namespace = |key: &[u8]| NamespaceId::new(slot, number(&key[..6]));
        Self {
            state,
            namespaces: rows(table::NAMESPACE).map(|(k, v)| (namespace(&k), decode(&v))).collect(),
            dirents: rows(table::DIRENT).map(|(k, v)| ((inode(&k), name(&k)), decode(&v))).collect(),
            inodes: rows(table::INODE).map(|(k, v)| (inode(&k), decode(&v))).collect(),
            versions: rows(table::VERSION)
                .map(|(k, v)| ((inode(&k), VersionId(!number(&k[6..]))), decode(&v)))
                .collect(),
            trash: rows(table::TRASH)
                .map(|(k, v)| (namespace(&k), Seq(!number(&k[6..])), decode(&v)))
                .collect(),
        }
    }

    /// Every entry has one parent, and every parent leads to a root or was removed.
    fn check_tree(&self) {
        let mut seen = BTreeSet::new();
        for ((dir, name), dirent) in &self.dirents {
            assert!(seen.insert(dirent.inode), "{name} is in two directories");
            let inode = &self.inodes[&dirent.inode];
            assert_eq!((inode.parent, &inode.name, inode.kind), (*dir, name, dirent.kind));
            assert_eq!(dirent.kind == Kind::Dir, dirent.version == VersionId(0), "{name}: {dirent:?}");
            assert_eq!(self.inodes[dir].kind, Kind::Dir, "{name} is in a file");
            self.check_reachable(*dir);
        }
        for (_, _, removed) in &self.trash {
            let inode = removed.dirent.inode;
            assert!(!seen.contains(&inode), "what was removed is nowhere else");
            assert_eq!(self.inodes[&inode].parent, trash_of(inode));
        }
        for (id, namespace) in &self.namespaces {
            let root = &self.inodes[&namespace.root];
            assert_eq!((root.parent, &root.name[..], root.kind), (namespace.root, "", Kind::Dir), "{id}");
        }
    }

    fn check_reachable(&self, mut dir: InodeId) {
        let removed: BTreeSet<InodeId> = self.trash.iter().map(|(_, _, row)| row.dirent.inode).collect();
        let roots: BTreeSet<InodeId> = self.namespaces.values().map(|row| row.root).collect();
        for _ in 0..=self.inodes.len() {
            if roots.contains(&dir) || removed.contains(&dir) {
                return;
            }
            dir = self.inodes[&dir].parent;
        }
        panic!("{dir} is above itself");
    }

    /// What a directory says of everything below it is what can be counted.
    fn check_sums(&self) {
        for (id, row) in &self.inodes {
            assert_eq!(row.kind == Kind::Dir, row.below.is_some(), "{id}: {row:?}");
            let Some(below) = row.below else { continue };
            let (contents, reach) = self.count(*id);
            assert_eq!(below.contents, contents, "{id}: {row:?}");
            assert_eq!(below.reach.max(reach), below.reach, "{id} reaches further down than it says");
        }
    }

    fn count(&self, dir: InodeId) -> (Contents, Reach) {
        let (mut contents, mut reach, mut digest) = (Contents::default(), Reach::default(), 0u128);
        let range = (dir, String::new())..(InodeId(dir.0 + 1), String::new());
        for ((_, name), row) in self.dirents.range(range) {
            let at = Place { dir, name: Name::parse(name).unwrap() };
            digest = digest.wrapping_add(hash_of(&at, row));
            contents.entries += 1;
            let mut own = Reach::default();
            match row.kind {
                Kind::Dir => {
                    let (below, below_reach) = self.count(row.inode);
                    own = below_reach;
                    contents.totals.dirs += 1 + below.totals.dirs;
                    contents.totals.files += below.totals.files;
                    contents.totals.bytes += below.totals.bytes;
                    digest = digest.wrapping_add(u128::from_le_bytes(below.totals.digest));
                }
                Kind::File => {
                    contents.totals.files += 1;
                    contents.totals.bytes += row.size;
                }
                Kind::Symlink => contents.totals.files += 1,
            }
            reach = reach.max(own.above(name));
        }
        contents.totals = Totals { digest: digest.to_le_bytes(), ..contents.totals };
        (contents, reach)
    }

    /// An entry shows the newest version of its file, and versions are counted from 1.
    fn check_versions(&self) {
        let entries = self.dirents.values().chain(self.trash.iter().map(|(_, _, row)| &row.dirent));
        for dirent in entries.filter(|dirent| dirent.kind != Kind::Dir) {
            let all = self.versions.range((dirent.inode, VersionId(0))..=(dirent.inode, VersionId(u64::MAX)));
            let mut base = None;
            for ((_, id), version) in all {
                assert_eq!(version.base, base, "version {id} of {dirent:?}");
                assert_eq!(*id, base.map_or(VersionId(1), VersionId::next));
                base = Some(*id);
            }
            assert_eq!(base, Some(dirent.version));
            let newest = &self.versions[&(dirent.inode, dirent.version)].content;
            assert_eq!((dirent.kind, dirent.size), (newest.kind(), newest.size()));
            assert_eq!((dirent.content_root, &dirent.target[..]), (newest.root(), newest.target()));
        }
    }

    /// Positions from 1 without a gap.
    fn check_journal(&self) {
        let records = table(self.state, table::JOURNAL).len();
        let mut count = 0;
        for (id, namespace) in &self.namespaces {
            for seq in (namespace.floor.0 + 1..=namespace.seq.0).map(Seq) {
                let record: Option<Record> = load(self.state, &key::of_record(*id, seq)).unwrap();
                assert_eq!(record.map(|record| record.seq), Some(seq), "the journal of {id} is dense");
                count += 1;
            }
        }
        assert_eq!(records, count, "no record is of no journal");
        let found: BTreeSet<(NamespaceId, String, Seq)> =
            self.trash.iter().map(|(id, seq, row)| (*id, row.path.clone(), *seq)).collect();
        let pointers: BTreeSet<Vec<u8>> =
            found.iter().map(|(id, path, seq)| key::of_removed_path(*id, path, *seq)[3..].to_vec()).collect();
        let stored: BTreeSet<Vec<u8>> =
            table(self.state, table::TRASH_PATH).into_iter().map(|(key, _)| key).collect();
        assert_eq!(pointers, stored, "what is in the trash is found by its path");
    }

    fn check_counts(&self, namespace: NamespaceId) {
        let slot = namespace.slot();
        let count: u64 = load(self.state, &key::of_inode_count(slot)).unwrap().unwrap();
        assert_eq!(count, self.inodes.len() as u64, "an inode id is given out once");
        let count: u64 = load(self.state, &key::of_namespace_count(slot)).unwrap().unwrap();
        assert_eq!(count, self.namespaces.len() as u64, "and so is that of a namespace");
        let by_age: Vec<AnswerRow> =
            table(self.state, table::ANSWER).iter().map(|(_, v)| decode(v)).collect();
        let answers: AnswersRow = load(self.state, &key::of_answers()).unwrap().unwrap_or_default();
        assert_eq!(answers.next - answers.first, by_age.len() as u64, "answers are counted");
        assert_eq!(answers.size, by_age.iter().map(|answer| answer.size).sum::<u64>());
        let keys: BTreeSet<&[u8]> = by_age.iter().map(|answer| &answer.key[3..]).collect();
        let requests = table(self.state, table::REQUEST);
        let requests: BTreeSet<&[u8]> = requests.iter().map(|(key, _)| &key[..]).collect();
        assert_eq!(keys, requests, "a remembered answer is forgotten one day");
    }
}
