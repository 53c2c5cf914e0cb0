//! Keys of the rows of a tree partition. Every one begins with its slot, so that a slot is one range; numbers are
//! big-endian, so that ranges are in order. What belongs to the partition itself stands behind all slots.

use types::{InodeId, Name, NamespaceId, NamespaceName, RequestId, Seq, Slot, VersionId};

use crate::row::PARTITION;

/// Byte of a key behind its slot: the table it belongs to.
pub mod table {
    pub const NAMESPACE: u8 = b'n';
    pub const NAME: u8 = b'm';
    pub const DIRENT: u8 = b'd';
    pub const INODE: u8 = b'i';
    pub const VERSION: u8 = b'v';
    pub const JOURNAL: u8 = b'j';
    pub const TRASH: u8 = b't';
    pub const TRASH_PATH: u8 = b'u';
    pub const REQUEST: u8 = b'r';
    pub const INODE_COUNT: u8 = b'c';
    pub const NAMESPACE_COUNT: u8 = b'k';
    /// Behind all slots.
    pub const ANSWER: u8 = b'e';
    /// Behind all slots.
    pub const ANSWERS: u8 = b'a';
}

/// Bytes before what a table orders its rows by.
const HEAD: usize = 3;
/// Bytes of an id behind its slot.
const ID: usize = 6;

fn key(slot: Slot, table: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(HEAD + parts.iter().map(|part| part.len()).sum::<usize>());
    key.extend_from_slice(&slot.to_bytes());
    key.push(table);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// An id without its slot, which the key has already.
fn below(id: u64) -> [u8; ID] {
    let mut bytes = [0; ID];
    bytes.copy_from_slice(&id.to_be_bytes()[2..]);
    bytes
}

fn inode(inode: InodeId, table: u8, parts: &[&[u8]]) -> Vec<u8> {
    key(inode.slot(), table, &[&[&below(inode.0)[..]], parts].concat())
}

fn namespace(id: NamespaceId, table: u8, parts: &[&[u8]]) -> Vec<u8> {
    key(id.slot(), table, &[&[&below(id.0)[..]], parts].concat())
}

/// The slot and table of a key, and what is behind; `None` for a key without.
pub fn split(key: &[u8]) -> Option<(Slot, u8, &[u8])> {
    let (&[high, low, table], rest) = key.split_first_chunk::<HEAD>()?;
    Some((Slot::new(u16::from_be_bytes([high, low]))?, table, rest))
}

/// Key of a [`super::row::NamespaceRow`].
pub fn of_namespace(id: NamespaceId) -> Vec<u8> {
    namespace(id, table::NAMESPACE, &[])
}

/// Namespace in the key of a [`super::row::NamespaceRow`]; `None` for the key of another row.
pub fn namespace_of(key: &[u8]) -> Option<NamespaceId> {
    let (slot, table, rest) = split(key)?;
    let count = rest.try_into().ok().filter(|_| table == table::NAMESPACE).map(number)?;
    Some(NamespaceId::new(slot, count))
}

/// The number that a key orders the other way round.
fn descending(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(|bytes| !u64::from_be_bytes(bytes))
}

fn number(bytes: [u8; ID]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Key of the id of a namespace.
pub fn of_name(slot: Slot, name: &NamespaceName) -> Vec<u8> {
    key(slot, table::NAME, &[name.as_str().as_bytes()])
}

/// Key of a [`super::row::DirentRow`].
pub fn of_dirent(dir: InodeId, name: &str) -> Vec<u8> {
    inode(dir, table::DIRENT, &[name.as_bytes()])
}

/// Name in the key of a [`super::row::DirentRow`].
pub fn dirent_name(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(HEAD + ID..)?).ok()
}

/// Keys of the entries of a directory after the name `after`.
pub fn dirents(dir: InodeId, after: Option<&Name>) -> (Vec<u8>, Vec<u8>) {
    // The smallest key after a name is the name and a zero byte, which no name contains.
    let start = match after {
        Some(name) => inode(dir, table::DIRENT, &[name.as_str().as_bytes(), &[0]]),
        None => of_dirent(dir, ""),
    };
    (start, kv::prefix_end(&of_dirent(dir, "")))
}

/// Keys of the entries of a directory before the name `before`.
pub fn dirents_before(dir: InodeId, before: &Name) -> (Vec<u8>, Vec<u8>) {
    (of_dirent(dir, ""), of_dirent(dir, before.as_str()))
}

/// Key of an [`super::row::InodeRow`].
pub fn of_inode(id: InodeId) -> Vec<u8> {
    inode(id, table::INODE, &[])
}

/// Key of a [`super::row::VersionRow`]; newer versions come first.
pub fn of_version(id: InodeId, version: VersionId) -> Vec<u8> {
    inode(id, table::VERSION, &[&(!version.0).to_be_bytes()])
}

/// Version in the key of a [`super::row::VersionRow`].
pub fn version_of(key: &[u8]) -> Option<VersionId> {
    descending(key.get(HEAD + ID..)?).map(VersionId)
}

/// Keys of the versions of a file older than `before`.
pub fn versions(id: InodeId, before: Option<VersionId>) -> (Vec<u8>, Vec<u8>) {
    let start = match before {
        Some(version) => of_version(id, VersionId(version.0.saturating_sub(1))),
        None => of_version(id, VersionId(u64::MAX)),
    };
    (start, kv::prefix_end(&inode(id, table::VERSION, &[])))
}

/// Key of a journal record.
pub fn of_record(id: NamespaceId, seq: Seq) -> Vec<u8> {
    namespace(id, table::JOURNAL, &[&seq.0.to_be_bytes()])
}

/// Key of a [`super::row::RemovedRow`]: the last removed first.
pub fn of_removed(id: NamespaceId, seq: Seq) -> Vec<u8> {
    namespace(id, table::TRASH, &[&(!seq.0).to_be_bytes()])
}

/// Position in the key of a [`super::row::RemovedRow`].
pub fn removed_of(key: &[u8]) -> Option<Seq> {
    descending(key.get(HEAD + ID..)?).map(Seq)
}

/// Keys of what was removed before a position.
pub fn removed_before(id: NamespaceId, before: Option<Seq>) -> (Vec<u8>, Vec<u8>) {
    let start = match before {
        Some(seq) => of_removed(id, Seq(seq.0.saturating_sub(1))),
        None => of_removed(id, Seq(u64::MAX)),
    };
    (start, kv::prefix_end(&namespace(id, table::TRASH, &[])))
}

/// Key that finds a [`super::row::RemovedRow`] by the path it had, the last removed first.
pub fn of_removed_path(id: NamespaceId, path: &str, seq: Seq) -> Vec<u8> {
    namespace(id, table::TRASH_PATH, &[path.as_bytes(), &[0], &(!seq.0).to_be_bytes()])
}

/// Position in a key by which something is found that was removed from a path.
pub fn removed_path_of(key: &[u8]) -> Option<Seq> {
    descending(key.last_chunk::<8>()?).map(Seq)
}

/// Keys of what was removed from a path.
pub fn removed_from(id: NamespaceId, path: &str) -> (Vec<u8>, Vec<u8>) {
    let prefix = |end| namespace(id, table::TRASH_PATH, &[path.as_bytes(), &[end]]);
    (prefix(0), prefix(1))
}

/// Key of a [`super::row::RequestRow`]: what one author asked of one namespace.
pub fn of_request(id: NamespaceId, request: RequestId, author: &str) -> Vec<u8> {
    namespace(id, table::REQUEST, &[&request.0, author.as_bytes()])
}

/// Key of an [`super::row::AnswerRow`].
pub fn of_answer(number: u64) -> Vec<u8> {
    [&PARTITION[..], &[table::ANSWER], &number.to_be_bytes()].concat()
}

/// Key of the [`super::row::AnswersRow`].
pub fn of_answers() -> Vec<u8> {
    [&PARTITION[..], &[table::ANSWERS]].concat()
}

/// Key of the number of inodes created in a slot so far.
pub fn of_inode_count(slot: Slot) -> Vec<u8> {
    key(slot, table::INODE_COUNT, &[])
}

/// Key of the number of namespaces created in a slot so far.
pub fn of_namespace_count(slot: Slot) -> Vec<u8> {
    key(slot, table::NAMESPACE_COUNT, &[])
}

/// The first key of a table in a slot.
pub fn start_of(slot: Slot, table: u8) -> Vec<u8> {
    key(slot, table, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    #[test]
    fn keys_are_frozen() {
        let hex = |key: Vec<u8>| key.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let (inode, namespace) = (InodeId::new(slot(0x0102), 5), NamespaceId::new(slot(0x0304), 7));
        assert_eq!(hex(of_namespace(namespace)), "03046e000000000007");
        assert_eq!(hex(of_name(slot(1), &NamespaceName::parse("ab").unwrap())), "00016d6162");
        assert_eq!(hex(of_dirent(inode, "ab")), "0102640000000000056162");
        assert_eq!(hex(of_inode(inode)), "010269000000000005");
        assert_eq!(hex(of_version(inode, VersionId(1))), "010276000000000005fffffffffffffffe");
        assert_eq!(hex(of_record(namespace, Seq(3))), "03046a0000000000070000000000000003");
        assert_eq!(hex(of_removed(namespace, Seq(1))), "030474000000000007fffffffffffffffe");
        assert_eq!(hex(of_removed_path(namespace, "/a", Seq(1))), "0304750000000000072f6100fffffffffffffffe");
        let request = format!("030472000000000007{}6162", "09".repeat(16));
        assert_eq!(hex(of_request(namespace, RequestId([9; 16]), "ab")), request);
        assert_eq!(hex(of_answer(0x0102)), "ffff650000000000000102");
        assert_eq!(hex(of_answers()), "ffff61");
        assert_eq!(hex(of_inode_count(slot(0x0102))), "010263");
        assert_eq!(hex(of_namespace_count(slot(0x0102))), "01026b");
    }

    /// Which of the keys are in a range.
    #[track_caller]
    fn check((start, end): (Vec<u8>, Vec<u8>), keys: &[Vec<u8>], want: &[bool]) {
        let found = keys.iter().map(|key| start <= *key && (end.is_empty() || *key < end));
        assert_eq!(found.collect::<Vec<_>>(), want);
    }

    #[test]
    fn ranges_hold_what_is_asked_for_and_nothing_else() {
        let name = |name| Name::parse(name).unwrap();
        let inode = |count| InodeId::new(slot(9), count);
        let dir = inode(7);
        let entries = [
            of_dirent(inode(6), "z"),
            of_dirent(dir, "a"),
            of_dirent(dir, "a\u{1}"),
            of_dirent(dir, "ab"),
            of_dirent(dir, "b"),
            of_dirent(inode(8), "a"),
        ];
        check(dirents(dir, None), &entries, &[false, true, true, true, true, false]);
        check(dirents(dir, Some(&name("a"))), &entries, &[false, false, true, true, true, false]);
        check(dirents(dir, Some(&name("zz"))), &entries, &[false; 6]);
        check(dirents_before(dir, &name("ab")), &entries, &[false, true, true, false, false, false]);

        let kept = [
            of_version(inode(6), VersionId(1)),
            of_version(dir, VersionId(u64::MAX)),
            of_version(dir, VersionId(5)),
            of_version(dir, VersionId(1)),
            of_version(inode(8), VersionId(9)),
        ];
        check(versions(dir, None), &kept, &[false, true, true, true, false]);
        check(versions(dir, Some(VersionId(6))), &kept, &[false, false, true, true, false]);
        check(versions(dir, Some(VersionId(5))), &kept, &[false, false, false, true, false]);
        check(versions(dir, Some(VersionId(1))), &kept, &[false; 5]);
        check(versions(dir, Some(VersionId(0))), &kept, &[false; 5]);

        let (here, there) = (NamespaceId::new(slot(9), 3), NamespaceId::new(slot(9), 2));
        let trash = [
            of_removed_path(there, "/a", Seq(1)),
            of_removed_path(here, "/a", Seq(9)),
            of_removed_path(here, "/a", Seq(1)),
            of_removed_path(here, "/a/b", Seq(1)),
            of_removed_path(here, "/ab", Seq(1)),
        ];
        check(removed_from(here, "/a"), &trash, &[false, true, true, false, false]);
        assert!(trash[1] < trash[2], "removed last comes first");
        let trash = [of_removed(there, Seq(1)), of_removed(here, Seq(9)), of_removed(here, Seq(1))];
        check(removed_before(here, None), &trash, &[false, true, true]);
        check(removed_before(here, Some(Seq(9))), &trash, &[false, false, true]);
        check(removed_before(here, Some(Seq(1))), &trash, &[false; 3]);
    }

    #[test]
    fn keys_tell_what_they_were_made_of() {
        let inode = InodeId::new(slot(9), 1);
        assert_eq!(dirent_name(&of_dirent(inode, "näme")), Some("näme"));
        assert_eq!(version_of(&of_version(inode, VersionId(77))), Some(VersionId(77)));
        let namespace = NamespaceId::new(slot(0x3fff), (1 << 48) - 1);
        assert_eq!(removed_of(&of_removed(namespace, Seq(7))), Some(Seq(7)));
        assert_eq!(removed_path_of(&of_removed_path(namespace, "/a", Seq(7))), Some(Seq(7)));
        assert_eq!(namespace_of(&of_namespace(namespace)), Some(namespace));
        assert_eq!(namespace_of(&of_inode(inode)), None);
        for bad in [&b""[..], b"\0\0d", b"\0\0d123456\xff"] {
            assert_eq!((dirent_name(bad), version_of(bad), removed_of(bad)), (None, None, None));
            assert_eq!(namespace_of(bad), None);
        }
    }
}
