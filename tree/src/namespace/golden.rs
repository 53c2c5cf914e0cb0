//! Frozen rows of a tree partition. Journal records of each kind: `proto::golden::journal_records_are_frozen`.
#![cfg(test)]

use bytes::Bytes;
use chunk::manifest::{ChunkRef, Content, Manifest};
use expect_test::expect;
use proptest::prelude::*;
use proto::namespace::{Attributes, Change, Contents, Done, Kind, Record, Totals, Written};
use types::{
    ChunkId, Error, InodeId, Millis, NamespaceId, NamespaceName, Nanos, RequestId, Seq, Slot, TenantId,
    VersionId,
};

use super::NamespaceMachine;
use super::key;
use super::row::{
    AnswerRow, AnswersRow, Below, DirentRow, InodeRow, NamespaceRow, Pointer, Reach, RemovedRow, RequestRow,
    VersionContent, VersionRow,
};
use crate::golden::{self, Frozen, row};

const HASH: ChunkId = ChunkId([0xaa; 32]);
const REQUEST: RequestId = RequestId([0xbb; 16]);

fn attributes() -> Attributes {
    Attributes {
        modified: Nanos(-5),
        mode: Some(0o640),
        executable: true,
        media_type: "a/b".into(),
        xattrs: [("user.x".to_owned(), Bytes::from_static(b"y"))].into(),
    }
}

fn dirent() -> DirentRow {
    DirentRow {
        inode: InodeId(300),
        kind: Kind::Symlink,
        size: 301,
        changed: Millis(302),
        version: VersionId(2),
        content_root: HASH,
        target: "t".into(),
        attributes: attributes(),
        flags: 0,
    }
}

fn entries(slot: Slot) -> Vec<Frozen> {
    let inode = InodeId::new(slot, 5);
    let totals = Totals { files: 300, dirs: 2, bytes: 3, digest: [0xbb; 16] };
    let below = Below { contents: Contents { entries: 4, totals }, reach: Reach { depth: 5, size: 300 } };
    let dir = InodeRow { parent: inode, name: String::new(), kind: Kind::Dir, below: Some(below) };
    let file = InodeRow { parent: InodeId(300), name: "n".into(), kind: Kind::File, below: None };
    let version = |base, content| VersionRow {
        base,
        author: "user/ann".into(),
        committed: Millis(300),
        attributes: Attributes::default(),
        content,
    };
    let chunks = Content::Chunks(vec![ChunkRef { id: HASH, size: 300 }]);
    let file_version = VersionContent::File(Manifest { size: 300, rule: 1, content: chunks });
    vec![
        row("entry", key::of_dirent(inode, "ab"), &dirent()),
        row(
            "directory",
            key::of_dirent(inode, "ä"),
            &DirentRow::dir(inode, Millis(3), Attributes::default()),
        ),
        row("inode of a directory", key::of_inode(inode), &dir),
        row("inode of a file", key::of_inode(inode), &file),
        row("version", key::of_version(inode, VersionId(2)), &version(Some(VersionId(1)), file_version)),
        row(
            "version of a link",
            key::of_version(inode, VersionId(1)),
            &version(None, VersionContent::Symlink("t".into())),
        ),
    ]
}

fn namespaces(slot: Slot) -> Vec<Frozen> {
    let id = NamespaceId::new(slot, 7);
    let (root, inode) = (InodeId::new(slot, 1), InodeId(300));
    let namespace = NamespaceRow {
        seq: Seq(300),
        floor: Seq(4),
        deleted: Some(Millis(5)),
        ..NamespaceRow::new(root, "ab".into(), "user/ann".into(), TenantId(2), Millis(3))
    };
    let record = Record {
        seq: Seq(3),
        time: Millis(300),
        author: "user/ann".into(),
        inode,
        path: "/".into(),
        change: Change::Base { namespace: id, seq: Seq(2) },
    };
    let removed = RemovedRow {
        dir: root,
        path: "/a".into(),
        dirent: dirent(),
        time: Millis(300),
        author: "user/ann".into(),
    };
    let done = Done { inode, version: Some(VersionId(2)), seq: Seq(300), namespace: Some(id) };
    let written = Written { seq: Seq(300), results: vec![Ok(done), Err(Error::conflict("c"))] };
    let answer = |answer| RequestRow { fingerprint: [0xbb; 16], answer };
    let request = key::of_request(id, REQUEST, "user/ann");
    vec![
        row("namespace", key::of_namespace(id), &namespace),
        row("name", key::of_name(slot, &NamespaceName::parse("ab").unwrap()), &id),
        row("record", key::of_record(id, Seq(3)), &record),
        row("removed", key::of_removed(id, Seq(1)), &removed),
        row("path of what was removed", key::of_removed_path(id, "/a", Seq(1)), &Pointer),
        row("answer", request.clone(), &answer(Ok(written))),
        row("refusal", request.clone(), &answer(Err(Error::busy("b", 250)))),
        row("answer by age", key::of_answer(0x0102), &AnswerRow { key: request, size: 300 }),
        row("answers", key::of_answers(), &AnswersRow { first: 1, next: 300, size: 3 }),
        row("inodes", key::of_inode_count(slot), &300u64),
        row("namespaces", key::of_namespace_count(slot), &2u64),
    ]
}

fn rows() -> Vec<Frozen> {
    let slot = Slot::new(0x0102).unwrap();
    entries(slot).into_iter().chain(namespaces(slot)).collect()
}

#[test]
fn rows_of_trees_are_frozen() {
    golden::check::<NamespaceMachine>(
        &rows(),
        expect![[r#"
        entry: 0102640000000000056162 = 010100ac0202ad02ae020220(hash)01740901a0030103612f620106757365722e78017900
        directory: 010264000000000005c3a4 = 0101008580808080808081010000030020000000000000000000000000000000000000000000000000000000000000000000000000000000
        inode of a directory: 010269000000000005 = 01010085808080808080810100000104ac02020310(id)05ac02
        inode of a file: 010269000000000005 = 010100ac02016e0100
        version: 010276000000000005fffffffffffffffd = 010100010108757365722f616e6eac02000000000000ac0201010120(hash)ac02
        version of a link: 010276000000000005fffffffffffffffe = 0101000008757365722f616e6eac020000000000010174
        namespace: 01026e000000000007 = 01010081808080808080810102616208757365722f616e6e0203ac02040105
        name: 01026d6162 = 010100878080808080808101
        record: 01026a0000000000070000000000000003 = 01010003ac0208757365722f616e6eac02012f0787808080808080810102
        removed: 010274000000000007fffffffffffffffe = 010100818080808080808101022f61ac0202ad02ae020220(hash)01740901a0030103612f620106757365722e78017900ac0208757365722f616e6e
        path of what was removed: 0102750000000000072f6100fffffffffffffffe = 010100
        answer: 010272000000000007(id)757365722f616e6e = 010100(id)00ac020200ac020102ac02018780808080808081010102016300
        refusal: 010272000000000007(id)757365722f616e6e = 010100(id)01060162fa01
        answer by age: ffff650000000000000102 = 01010021010272000000000007(id)757365722f616e6eac02
        answers: ffff61 = 01010001ac0203
        inodes: 010263 = 010100ac02
        namespaces: 01026b = 01010002
    "#]],
    );
}

proptest! {
    #[test]
    fn damaged_rows_of_trees_do_no_harm(damage in golden::damage()) {
        golden::survive::<NamespaceMachine>(&rows(), &damage);
    }
}
