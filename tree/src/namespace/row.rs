//! Rows of a namespace partition. Keys are big-endian so that ranges are in order. Format:
//! `docs/formats/metadata-rows.md`.

#[cfg(feature = "next-level")]
mod next;

use chunk::manifest::Manifest;
use proto::namespace::{Done, Kind, Record, Written};
use serde::{Deserialize, Serialize};
use types::{
    ChunkId, Error, ErrorKind, FeatureLevel, InodeId, Millis, Name, NamespaceId, RequestId, Result, Seq,
    Slot, VersionId,
};

use crate::failure::Halt;
use crate::replica::unknown_table;
use crate::row::{Row, canonical, damaged, rows};

/// First byte of a key: the table it belongs to.
mod table {
    pub const NAMESPACE: u8 = b'n';
    pub const DIRENT: u8 = b'd';
    pub const INODE: u8 = b'i';
    pub const VERSION: u8 = b'v';
    pub const JOURNAL: u8 = b'j';
    pub const TRASH: u8 = b't';
    pub const REQUEST: u8 = b'r';
    pub const ANSWER: u8 = b'e';
    pub const ANSWERS: u8 = b'a';
    pub const INODE_COUNT: u8 = b'c';
}

/// A namespace and its newest state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceRow {
    /// Its root directory.
    pub root: InodeId,
    /// Who may use it, the text of an identity.
    pub owner: String,
    /// Newest position of the journal.
    pub seq: Seq,
    /// Sum of the hashes of all entries and versions, modulo 2^128: the same set gives the same value in any order.
    pub digest: u128,
    /// Commands that have changed it since version 2 is written.
    #[cfg(feature = "next-level")]
    pub commands: u64,
}

impl NamespaceRow {
    /// A namespace in which nothing has happened.
    pub fn new(root: InodeId, owner: String) -> Self {
        Self {
            root,
            owner,
            seq: Seq(0),
            digest: 0,
            #[cfg(feature = "next-level")]
            commands: 0,
        }
    }
}

/// An entry of a directory: everything a listing shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirentRow {
    /// The file or directory.
    pub inode: InodeId,
    /// Which of the two.
    pub kind: Kind,
    /// Bytes of the newest version; 0 for a directory.
    pub size: u64,
    /// Time of its last change: the writer's for an upload, otherwise the leader's.
    pub modified: Millis,
    /// Newest version; 0 for a directory.
    pub version: VersionId,
    /// Identifies the content; zeros for a directory.
    pub content_root: ChunkId,
}

/// A file or directory, found by its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InodeRow {
    /// Where it is; the root is its own parent with an empty name.
    pub parent: InodeId,
    /// Its name there.
    pub name: String,
    /// File or directory.
    pub kind: Kind,
}

/// A version of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRow {
    /// The version it replaced; `None` for the first.
    pub base: Option<VersionId>,
    /// Who committed it, the text of an identity.
    pub author: String,
    /// When it was committed, by the leader's clock.
    pub committed: Millis,
    /// Time of the change: the writer's for an upload, the leader's for a restored version.
    pub modified: Millis,
    /// Where the content is: inline, a list of chunks, or a tree of them.
    pub manifest: Manifest,
}

/// An entry that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashRow {
    /// What it was.
    pub dirent: DirentRow,
    /// When it was removed.
    pub removed: Millis,
}

/// The remembered answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRow {
    /// Of what was asked for: another request under the same id is not answered with this.
    pub fingerprint: [u8; 16],
    /// What was answered; messages are shortened.
    pub answer: Result<Written>,
}

/// A remembered answer in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerRow {
    /// Key of its [`RequestRow`].
    pub key: Vec<u8>,
    /// What it counts for in [`AnswersRow::size`].
    pub size: u64,
}

/// All remembered answers: numbered without gaps, the oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswersRow {
    /// Number of the oldest.
    pub first: u64,
    /// Number of the next.
    pub next: u64,
    /// Sum of their sizes.
    pub size: u64,
}

rows! {
    "directory entries" = DirentRow;
    "inodes" = InodeRow;
    "versions" = VersionRow;
    "journal" = Record;
    "trash" = TrashRow;
    "answers by age" = AnswerRow;
    "remembered answers" = AnswersRow;
}

#[cfg(not(feature = "next-level"))]
rows! { "namespaces" = NamespaceRow; }

impl Row for RequestRow {
    const NAME: &'static str = "answers";

    /// Words are not what an answer means.
    fn to_canonical(&self, _level: FeatureLevel) -> Vec<u8> {
        let kind = |error: &Error| error.kind();
        let results = |written: &Written| -> Vec<Result<Done, ErrorKind>> {
            written.results.iter().map(|result| result.as_ref().copied().map_err(kind)).collect()
        };
        let answer = self.answer.as_ref().map(|written| (written.seq, results(written))).map_err(kind);
        proto::encode_plain(&(self.fingerprint, answer))
    }
}

/// A row as every replica at this level has it.
pub fn canonical_of(key: &[u8], value: &[u8], level: FeatureLevel) -> Result<Vec<u8>, Halt> {
    let canonical = match key.first().copied() {
        Some(table::NAMESPACE) => canonical::<NamespaceRow>,
        Some(table::DIRENT) => canonical::<DirentRow>,
        Some(table::INODE) => canonical::<InodeRow>,
        Some(table::VERSION) => canonical::<VersionRow>,
        Some(table::JOURNAL) => canonical::<Record>,
        Some(table::TRASH) => canonical::<TrashRow>,
        Some(table::REQUEST) => canonical::<RequestRow>,
        Some(table::ANSWER) => canonical::<AnswerRow>,
        Some(table::ANSWERS) => canonical::<AnswersRow>,
        Some(table::INODE_COUNT) => canonical::<u64>,
        _ => return Err(unknown_table(key)),
    };
    canonical(value, level)
}

/// Key of a [`NamespaceRow`].
pub fn namespace_key(namespace: NamespaceId) -> Vec<u8> {
    key(table::NAMESPACE, &[&namespace.0.to_be_bytes()])
}

/// Keys of all [`NamespaceRow`]s.
pub fn namespace_range() -> (Vec<u8>, Vec<u8>) {
    (vec![table::NAMESPACE], vec![table::NAMESPACE + 1])
}

/// Namespace in the key of a [`NamespaceRow`].
pub fn namespace_of_key(key: &[u8]) -> Option<NamespaceId> {
    key.get(1..)?.try_into().ok().map(u64::from_be_bytes).map(NamespaceId)
}

/// Key of a [`DirentRow`].
pub fn dirent_key(dir: InodeId, name: &str) -> Vec<u8> {
    key(table::DIRENT, &[&dir.0.to_be_bytes(), name.as_bytes()])
}

/// Name in the key of a [`DirentRow`].
pub fn dirent_name(key: &[u8]) -> Result<&str, Halt> {
    let name = key.get(9..).ok_or_else(|| damaged::<DirentRow>("its key is too short"))?;
    std::str::from_utf8(name).map_err(|_| damaged::<DirentRow>("its name is not UTF-8"))
}

/// Keys of the entries of a directory after `after`.
pub fn dirent_range(dir: InodeId, after: Option<&Name>) -> (Vec<u8>, Vec<u8>) {
    // The smallest key after a name is the name and a zero byte, which no name contains.
    let start = match after {
        Some(name) => key(table::DIRENT, &[&dir.0.to_be_bytes(), name.as_str().as_bytes(), &[0]]),
        None => dirent_key(dir, ""),
    };
    (start, key(table::DIRENT, &[&(dir.0 + 1).to_be_bytes()]))
}

/// Key of an [`InodeRow`].
pub fn inode_key(inode: InodeId) -> Vec<u8> {
    key(table::INODE, &[&inode.0.to_be_bytes()])
}

/// Key of a [`VersionRow`]; newer versions come first.
pub fn version_key(inode: InodeId, version: VersionId) -> Vec<u8> {
    key(table::VERSION, &[&inode.0.to_be_bytes(), &(!version.0).to_be_bytes()])
}

/// Version in the key of a [`VersionRow`].
pub fn version_of_key(key: &[u8]) -> Result<VersionId, Halt> {
    let bytes = key.get(9..17).and_then(|b| b.try_into().ok());
    let bytes = bytes.ok_or_else(|| damaged::<VersionRow>("its key is too short"))?;
    Ok(VersionId(!u64::from_be_bytes(bytes)))
}

/// Keys of the versions of a file older than `before`.
pub fn version_range(inode: InodeId, before: Option<VersionId>) -> (Vec<u8>, Vec<u8>) {
    let start = match before {
        Some(version) => version_key(inode, VersionId(version.0.saturating_sub(1))),
        None => version_key(inode, VersionId(u64::MAX)),
    };
    (start, key(table::VERSION, &[&(inode.0 + 1).to_be_bytes()]))
}

/// Key of a journal record.
pub fn journal_key(namespace: NamespaceId, seq: Seq) -> Vec<u8> {
    key(table::JOURNAL, &[&namespace.0.to_be_bytes(), &seq.0.to_be_bytes()])
}

/// Key of a [`TrashRow`]: by the path it had, most recently removed first.
pub fn trash_key(namespace: NamespaceId, path: &str, seq: Seq) -> Vec<u8> {
    key(table::TRASH, &[&namespace.0.to_be_bytes(), path.as_bytes(), &[0], &(!seq.0).to_be_bytes()])
}

/// Keys of what was removed from a path.
pub fn trash_range(namespace: NamespaceId, path: &str) -> (Vec<u8>, Vec<u8>) {
    let prefix = |end| key(table::TRASH, &[&namespace.0.to_be_bytes(), path.as_bytes(), &[end]]);
    (prefix(0), prefix(1))
}

/// Key of a [`RequestRow`]: what one author asked of one namespace.
pub fn request_key(namespace: NamespaceId, request: RequestId, author: &str) -> Vec<u8> {
    key(table::REQUEST, &[&namespace.0.to_be_bytes(), &request.0, author.as_bytes()])
}

/// Key of an [`AnswerRow`].
pub fn answer_key(number: u64) -> Vec<u8> {
    key(table::ANSWER, &[&number.to_be_bytes()])
}

/// Key of the [`AnswersRow`].
pub fn answers_key() -> Vec<u8> {
    vec![table::ANSWERS]
}

/// Key of the number of inodes created so far.
pub fn inode_count_key(slot: Slot) -> Vec<u8> {
    key(table::INODE_COUNT, &[&slot.to_bytes()])
}

fn key(table: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|p| p.len()).sum::<usize>());
    key.push(table);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_frozen() {
        let hex = |key: Vec<u8>| key.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let (inode, namespace) = (InodeId(0x0102), NamespaceId(7));
        assert_eq!(hex(namespace_key(namespace)), "6e0000000000000007");
        assert_eq!(hex(dirent_key(inode, "ab")), "6400000000000001026162");
        assert_eq!(hex(inode_key(inode)), "690000000000000102");
        assert_eq!(hex(version_key(inode, VersionId(1))), "760000000000000102fffffffffffffffe");
        assert_eq!(hex(journal_key(namespace, Seq(3))), "6a00000000000000070000000000000003");
        assert_eq!(hex(trash_key(namespace, "/a", Seq(1))), "7400000000000000072f6100fffffffffffffffe");
        let request = format!("720000000000000007{}6162", "09".repeat(16));
        assert_eq!(hex(request_key(namespace, RequestId([9; 16]), "ab")), request);
        assert_eq!(hex(answer_key(0x0102)), "650000000000000102");
        assert_eq!(hex(answers_key()), "61");
        assert_eq!(hex(inode_count_key(Slot::new(0x0102).unwrap())), "630102");
    }

    /// Which of the keys are in a range.
    #[track_caller]
    fn check((start, end): (Vec<u8>, Vec<u8>), keys: &[Vec<u8>], want: &[bool]) {
        let found = keys.iter().map(|key| start <= *key && *key < end);
        assert_eq!(found.collect::<Vec<_>>(), want);
    }

    #[test]
    fn ranges_hold_what_is_asked_for_and_nothing_else() {
        let name = |name| Name::parse(name).unwrap();
        let dir = InodeId(7);
        let entries = [
            dirent_key(InodeId(6), "z"),
            dirent_key(dir, "a"),
            dirent_key(dir, "a\u{1}"),
            dirent_key(dir, "ab"),
            dirent_key(dir, "b"),
            dirent_key(InodeId(8), "a"),
        ];
        check(dirent_range(dir, None), &entries, &[false, true, true, true, true, false]);
        check(dirent_range(dir, Some(&name("a"))), &entries, &[false, false, true, true, true, false]);
        check(dirent_range(dir, Some(&name("zz"))), &entries, &[false; 6]);

        let versions = [
            version_key(InodeId(6), VersionId(1)),
            version_key(dir, VersionId(u64::MAX)),
            version_key(dir, VersionId(5)),
            version_key(dir, VersionId(1)),
            version_key(InodeId(8), VersionId(9)),
        ];
        check(version_range(dir, None), &versions, &[false, true, true, true, false]);
        check(version_range(dir, Some(VersionId(6))), &versions, &[false, false, true, true, false]);
        check(version_range(dir, Some(VersionId(5))), &versions, &[false, false, false, true, false]);
        check(version_range(dir, Some(VersionId(1))), &versions, &[false; 5]);
        check(version_range(dir, Some(VersionId(0))), &versions, &[false; 5]);

        let namespace = NamespaceId(3);
        let trash = [
            trash_key(NamespaceId(2), "/a", Seq(1)),
            trash_key(namespace, "/a", Seq(9)),
            trash_key(namespace, "/a", Seq(1)),
            trash_key(namespace, "/a/b", Seq(1)),
            trash_key(namespace, "/ab", Seq(1)),
        ];
        check(trash_range(namespace, "/a"), &trash, &[false, true, true, false, false]);
        assert!(trash[1] < trash[2], "removed last comes first");
    }

    #[test]
    fn keys_tell_what_they_were_made_of() {
        assert_eq!(dirent_name(&dirent_key(InodeId(1), "näme")), Ok("näme"));
        assert_eq!(version_of_key(&version_key(InodeId(1), VersionId(77))), Ok(VersionId(77)));
        for bad in [&b""[..], b"d", b"d12345678\xff"] {
            assert!(dirent_name(bad).is_err() && version_of_key(bad).is_err());
        }
    }
}
