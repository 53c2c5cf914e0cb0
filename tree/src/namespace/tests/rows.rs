//! What holds between the rows of a namespace, whatever commands made them (I-TREE, I-JRN, I-CAS). Asked after every
//! command of every test here.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use kv::{Order, Read};
use proto::namespace::{Kind, Record};
use types::{InodeId, NamespaceId, Seq, Slot, VersionId};

use super::super::row::{
    self, AnswerRow, AnswersRow, DirentRow, InodeRow, NamespaceRow, TrashRow, VersionRow,
};
use super::super::tree::hash_of_row;
use crate::row::{Row, load};

/// All rows of a partition with one namespace.
struct Rows<'a> {
    state: &'a dyn Read,
    namespace: NamespaceId,
    head: NamespaceRow,
    dirents: BTreeMap<(InodeId, String), DirentRow>,
    inodes: BTreeMap<InodeId, InodeRow>,
    versions: BTreeMap<(InodeId, VersionId), VersionRow>,
    trash: Vec<TrashRow>,
}

/// Panics when a row contradicts another.
#[track_caller]
pub fn check(state: &dyn Read, namespace: NamespaceId) {
    let rows = Rows::load(state, namespace);
    rows.check_tree();
    rows.check_versions();
    rows.check_journal();
    rows.check_counts();
}

/// Key without its first byte, and value, of every row of a table.
fn table(state: &dyn Read, table: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        rows.push((key[1..].to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    state.scan(&[table], &[table + 1], Order::Forward, visit).unwrap();
    rows
}

fn decode<T: Row>(value: &[u8]) -> T {
    crate::row::decode(value).unwrap()
}

fn number(key: &[u8]) -> u64 {
    u64::from_be_bytes(key[..8].try_into().unwrap())
}

impl<'a> Rows<'a> {
    fn load(state: &'a dyn Read, namespace: NamespaceId) -> Self {
        let rows = |name| table(state, name).into_iter();
        let name = |key: &[u8]| String::from_utf8(key[8..].to_vec()).unwrap();
        Self {
            state,
            namespace,
            head: load(state, &row::namespace_key(namespace)).unwrap().unwrap(),
            dirents: rows(b'd').map(|(k, v)| ((InodeId(number(&k)), name(&k)), decode(&v))).collect(),
            inodes: rows(b'i').map(|(k, v)| (InodeId(number(&k)), decode(&v))).collect(),
            versions: rows(b'v')
                .map(|(k, v)| ((InodeId(number(&k)), VersionId(!number(&k[8..]))), decode(&v)))
                .collect(),
            trash: rows(b't').map(|(_, v)| decode(&v)).collect(),
        }
    }

    /// Every entry has one parent, and every parent leads to the root or was removed.
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
        for trash in &self.trash {
            assert!(!seen.contains(&trash.dirent.inode), "what was removed is nowhere else");
        }
        let root = &self.inodes[&self.head.root];
        assert_eq!((root.parent, &root.name[..], root.kind), (self.head.root, "", Kind::Dir));
    }

    fn check_reachable(&self, mut dir: InodeId) {
        let removed: BTreeSet<InodeId> = self.trash.iter().map(|trash| trash.dirent.inode).collect();
        for _ in 0..=self.inodes.len() {
            if dir == self.head.root || removed.contains(&dir) {
                return;
            }
            dir = self.inodes[&dir].parent;
        }
        panic!("{dir} is above itself");
    }

    /// An entry shows the newest version of its file, and every version names the one before it.
    fn check_versions(&self) {
        let entries = self.dirents.values().chain(self.trash.iter().map(|trash| &trash.dirent));
        for dirent in entries.filter(|dirent| dirent.kind == Kind::File) {
            let all = self.versions.range((dirent.inode, VersionId(0))..=(dirent.inode, VersionId(u64::MAX)));
            let mut base = None;
            for ((_, id), version) in all {
                assert_eq!(version.base, base, "version {id} of {dirent:?}");
                assert!(id.0 <= self.head.seq.0, "version {id} is not in the journal yet");
                base = Some(*id);
            }
            assert_eq!(base, Some(dirent.version));
            let newest = &self.versions[&(dirent.inode, dirent.version)].manifest;
            let shown = (newest.size, chunk::manifest::content_root(newest));
            assert_eq!((dirent.size, dirent.content_root), shown);
        }
    }

    /// Positions from 1 without a gap, and a digest that is the sum of the rows.
    fn check_journal(&self) {
        let records: Vec<Record> = table(self.state, b'j').iter().map(|(_, v)| decode(v)).collect();
        let seqs = records.iter().map(|record| record.seq);
        assert!(seqs.eq((1..=self.head.seq.0).map(Seq)), "the journal is dense");
        for record in &records {
            let key = row::journal_key(self.namespace, record.seq);
            assert_eq!(load(self.state, &key).unwrap().as_ref(), Some(record));
        }
        let entries =
            self.dirents.iter().map(|((dir, name), row)| hash_of_row(&row::dirent_key(*dir, name), row));
        let versions =
            self.versions.iter().map(|((inode, id), row)| hash_of_row(&row::version_key(*inode, *id), row));
        let sum = entries.chain(versions).fold(0u128, u128::wrapping_add);
        assert_eq!(self.head.digest, sum, "the digest is that of the rows");
    }

    fn check_counts(&self) {
        let count: u64 = load(self.state, &row::inode_count_key(Slot::default())).unwrap().unwrap();
        assert_eq!(count, self.inodes.len() as u64, "an inode id is given out once");
        let by_age: Vec<AnswerRow> = table(self.state, b'e').iter().map(|(_, v)| decode(v)).collect();
        let answers: AnswersRow = load(self.state, &row::answers_key()).unwrap().unwrap_or_default();
        assert_eq!(answers.next - answers.first, by_age.len() as u64, "answers are counted");
        assert_eq!(answers.size, by_age.iter().map(|answer| answer.size).sum::<u64>());
        let keys: BTreeSet<&[u8]> = by_age.iter().map(|answer| &answer.key[1..]).collect();
        let requests = table(self.state, b'r');
        let requests: BTreeSet<&[u8]> = requests.iter().map(|(key, _)| &key[..]).collect();
        assert_eq!(keys, requests, "a remembered answer is forgotten one day");
    }
}
