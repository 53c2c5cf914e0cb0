//! Files that hold still: inline or chunks, list or tree, new or there already.

use chunk::chunk_id;
use chunk::manifest::TreeBuilder;
use expect_test::expect;

use super::*;

#[test]
fn an_empty_file() {
    check(
        &FileState::Absent,
        "look 0@1; read 0; look 0@1; committed 9",
        expect![[r#"
            look 0@1               -> read inline
            read 0                 -> look
            look 0@1               -> commit /t on Absent changed at 1: 0 bytes by rule 1, 0 bytes inline, receipts [], weight 2
            committed 9            -> done: new version 9 of 0 bytes, 0 inline
        "#]],
    );
}

#[test]
fn the_largest_inline_file() {
    check(
        &FileState::Absent,
        "look 4096@1; read 4096; look 4096@1; committed 9",
        expect![[r#"
            look 4096@1            -> read inline
            read 4096              -> look
            look 4096@1            -> commit /t on Absent changed at 1: 4096 bytes by rule 1, 4096 bytes inline, receipts [], weight 4098
            committed 9            -> done: new version 9 of 4096 bytes, 4096 inline
        "#]],
    );
}

#[test]
fn the_smallest_file_of_chunks() {
    check(
        &FileState::Absent,
        "look 4097@1; cut 0:4097; end; stored 0; look 4097@1; committed 9",
        expect![[r#"
            look 4097@1            -> cut by rule 1
            cut 0:4097             -> store chunk 0
            end                    -> wait
            stored 0               -> look
            look 4097@1            -> commit /t on Absent changed at 1: 4097 bytes by rule 1, chunks [0], receipts [0], weight 78
            committed 9            -> done: new version 9 of 4097 bytes, 0 inline
        "#]],
    );
}

#[test]
fn chunks_are_stored_while_more_are_cut() {
    check(
        &FileState::Absent,
        "look 6000@1; cut 0:1000; stored 0; cut 1:2000; cut 2:3000; stored 1; end; stored 2; look 6000@1",
        expect![[r#"
            look 6000@1            -> cut by rule 1
            cut 0:1000             -> store chunk 0
            stored 0               -> wait
            cut 1:2000             -> store chunk 1
            cut 2:3000             -> store chunk 2
            stored 1               -> wait
            end                    -> wait
            stored 2               -> look
            look 6000@1            -> commit /t on Absent changed at 1: 6000 bytes by rule 1, chunks [0, 1, 2], receipts [0, 1, 2], weight 230
        "#]],
    );
}

#[test]
fn all_is_stored_before_the_end_is_known() {
    check(
        &FileState::Absent,
        "look 5000@1; cut 0:2000; cut 1:3000; stored 0..2; end; look 5000@1",
        expect![[r#"
            look 5000@1            -> cut by rule 1
            cut 0:2000             -> store chunk 0
            cut 1:3000             -> store chunk 1
            stored 0..2            -> wait
            end                    -> look
            look 5000@1            -> commit /t on Absent changed at 1: 5000 bytes by rule 1, chunks [0, 1], receipts [0, 1], weight 154
        "#]],
    );
}

#[test]
fn chunks_that_are_there_between_chunks_that_are_not() {
    check(
        &FileState::Absent,
        "look 5000@1; cut 0..5:1000; stored 0; pinned 1; pinned 2; end; stored 3; pinned 4; look 5000@1",
        expect![[r#"
            look 5000@1            -> cut by rule 1
            cut 0..5:1000          -> store chunk 4
            stored 0               -> wait
            pinned 1               -> wait
            pinned 2               -> wait
            end                    -> wait
            stored 3               -> wait
            pinned 4               -> look
            look 5000@1            -> commit /t on Absent changed at 1: 5000 bytes by rule 1, chunks [0, 1, 2, 3, 4], receipts [0, 501, 502, 3, 504], weight 382
        "#]],
    );
    let tree = "look 66000@1; cut 0..66:1000; end; pinned 0..65; stored 65; stored node; look 66000@1";
    check(
        &FileState::Absent,
        tree,
        expect![[r#"
            look 66000@1           -> cut by rule 1
            cut 0..66:1000         -> store chunk 65
            end                    -> wait
            pinned 0..65           -> wait
            stored 65              -> store a node
            stored node            -> look
            look 66000@1           -> commit /t on Absent changed at 1: 66000 bytes by rule 1, a tree of 66 chunks and height 1, receipts [9000], weight 78
        "#]],
    );
}

#[test]
fn a_chunk_that_comes_twice_has_two_places_and_two_receipts() {
    check(
        &FileState::Absent,
        "look 6000@1; cut 5:2000; cut 5:2000; cut 5:2000; end; stored 5; stored 5; stored 5; look 6000@1",
        expect![[r#"
            look 6000@1            -> cut by rule 1
            cut 5:2000             -> store chunk 5
            cut 5:2000             -> store chunk 5
            cut 5:2000             -> store chunk 5
            end                    -> wait
            stored 5               -> wait
            stored 5               -> wait
            stored 5               -> look
            look 6000@1            -> commit /t on Absent changed at 1: 6000 bytes by rule 1, chunks [5, 5, 5], receipts [5, 5, 5], weight 230
        "#]],
    );
}

#[test]
fn the_longest_list() {
    check(
        &FileState::Absent,
        "look 64000@1; cut 0..64:1000; end; stored 0..64; look 64000@1",
        expect![[r#"
            look 64000@1           -> cut by rule 1
            cut 0..64:1000         -> store chunk 63
            end                    -> wait
            stored 0..64           -> look
            look 64000@1           -> commit /t on Absent changed at 1: 64000 bytes by rule 1, chunks [0 … 63] (64), receipts [0 … 63] (64), weight 4866
        "#]],
    );
}

#[test]
fn the_smallest_tree() {
    check(
        &FileState::Absent,
        "look 65000@1; cut 0..65:1000; end; stored 0..64; stored 64; stored node; look 65000@1; committed 9",
        expect![[r#"
            look 65000@1           -> cut by rule 1
            cut 0..65:1000         -> store chunk 64
            end                    -> wait
            stored 0..64           -> wait
            stored 64              -> store a node
            stored node            -> look
            look 65000@1           -> commit /t on Absent changed at 1: 65000 bytes by rule 1, a tree of 65 chunks and height 1, receipts [9000], weight 78
            committed 9            -> done: new version 9 of 65000 bytes, 0 inline
        "#]],
    );
}

#[test]
fn a_tree_of_several_nodes() {
    check(
        &FileState::Absent,
        "look 1025000@1; cut 0..1025:1000; end; stored 0..1025; stored node; stored node; stored node; look 1025000@1",
        expect![[r#"
            look 1025000@1         -> cut by rule 1
            cut 0..1025:1000       -> store chunk 1024
            end                    -> wait
            stored 0..1025         -> store a node
            stored node            -> store a node
            stored node            -> store a node
            stored node            -> look
            look 1025000@1         -> commit /t on Absent changed at 1: 1025000 bytes by rule 1, a tree of 1025 chunks and height 2, receipts [9002], weight 78
        "#]],
    );
}

#[test]
fn large_files_are_cut_into_large_chunks() {
    check(
        &FileState::Absent,
        "look 1073741823@1",
        expect![[r#"
            look 1073741823@1      -> cut by rule 1
        "#]],
    );
    check(
        &FileState::Absent,
        "look 1073741824@1; cut 0..256:4194304; end; stored 0..256; stored node; look 1073741824@1",
        expect![[r#"
            look 1073741824@1      -> cut by rule 2
            cut 0..256:4194304     -> store chunk 255
            end                    -> wait
            stored 0..256          -> store a node
            stored node            -> look
            look 1073741824@1      -> commit /t on Absent changed at 1: 1073741824 bytes by rule 2, a tree of 256 chunks and height 1, receipts [9000], weight 78
        "#]],
    );
}

#[test]
fn the_largest_file() {
    check(
        &FileState::Absent,
        "look 1125899906842624@1",
        expect![[r#"
            look 1125899906842624@1 -> cut by rule 2
        "#]],
    );
    check(
        &FileState::Absent,
        "look 1125899906842625@1",
        expect![[r#"
            look 1125899906842625@1 -> refuse: invalid: f is larger than any file may be
        "#]],
    );
}

#[test]
fn a_commit_names_the_version_that_the_caller_saw() {
    check(
        &present(id(8), 4097),
        "look 4097@1; cut 0:4097; end; stored 0; look 4097@1; committed 9",
        expect![[r#"
            look 4097@1            -> cut by rule 1
            cut 0:4097             -> store chunk 0
            end                    -> wait
            stored 0               -> look
            look 4097@1            -> commit /t on Version(VersionId(4)) changed at 1: 4097 bytes by rule 1, chunks [0], receipts [0], weight 78
            committed 9            -> done: new version 9 of 4097 bytes, 0 inline
        "#]],
    );
}

#[test]
fn equal_content_is_not_committed() {
    let inline = "look 3@1; read 3; look 3@1";
    check(
        &present(chunk_id(b"xxx"), 3),
        inline,
        expect![[r#"
            look 3@1               -> read inline
            read 3                 -> look
            look 3@1               -> done: old version 4 of 3 bytes, 3 inline
        "#]],
    );
    let one_chunk = "look 4097@1; cut 0:4097; end; stored 0; look 4097@1";
    check(
        &present(id(0), 4097),
        one_chunk,
        expect![[r#"
            look 4097@1            -> cut by rule 1
            cut 0:4097             -> store chunk 0
            end                    -> wait
            stored 0               -> look
            look 4097@1            -> done: old version 4 of 4097 bytes, 0 inline
        "#]],
    );
    let chunks = vec![ChunkRef { id: id(0), size: 2500 }, ChunkRef { id: id(1), size: 2500 }];
    let list = Manifest { size: 5000, rule: 1, content: Content::Chunks(chunks) };
    let two_chunks = "look 5000@1; cut 0..2:2500; end; stored 0..2; look 5000@1";
    check(
        &present(content_root(&list), 5000),
        two_chunks,
        expect![[r#"
            look 5000@1            -> cut by rule 1
            cut 0..2:2500          -> store chunk 1
            end                    -> wait
            stored 0..2            -> look
            look 5000@1            -> done: old version 4 of 5000 bytes, 0 inline
        "#]],
    );
}

#[test]
fn an_equal_tree_is_not_committed() {
    let mut tree = TreeBuilder::new();
    (0..65).for_each(|n| tree.push(ChunkRef { id: id(n), size: 1000 }));
    let Content::Tree { root, .. } = tree.finish() else { panic!("65 chunks are a tree") };
    let script = "look 65000@1; cut 0..65:1000; end; stored 0..65; stored node; look 65000@1";
    check(
        &present(root, 65_000),
        script,
        expect![[r#"
            look 65000@1           -> cut by rule 1
            cut 0..65:1000         -> store chunk 64
            end                    -> wait
            stored 0..65           -> store a node
            stored node            -> look
            look 65000@1           -> done: old version 4 of 65000 bytes, 0 inline
        "#]],
    );
}

#[test]
fn an_equal_name_with_another_size_is_other_content() {
    let script = "look 4097@1; cut 0:4097; end; stored 0; look 4097@1";
    check(
        &present(id(0), 4098),
        script,
        expect![[r#"
            look 4097@1            -> cut by rule 1
            cut 0:4097             -> store chunk 0
            end                    -> wait
            stored 0               -> look
            look 4097@1            -> commit /t on Version(VersionId(4)) changed at 1: 4097 bytes by rule 1, chunks [0], receipts [0], weight 78
        "#]],
    );
}

#[test]
fn an_empty_file_that_is_there() {
    check(
        &present(chunk_id(b""), 0),
        "look 0@1; read 0; look 0@1",
        expect![[r#"
            look 0@1               -> read inline
            read 0                 -> look
            look 0@1               -> done: old version 4 of 0 bytes, 0 inline
        "#]],
    );
}

#[test]
fn a_commit_without_a_version_is_our_mistake() {
    check(
        &FileState::Absent,
        "look 1@1; read 1; look 1@1; committed -",
        expect![[r#"
            look 1@1               -> read inline
            read 1                 -> look
            look 1@1               -> commit /t on Absent changed at 1: 1 bytes by rule 1, 1 bytes inline, receipts [], weight 3
            committed -            -> refuse: internal error: a commit answered without a version
        "#]],
    );
}

#[test]
fn the_weight_of_a_commit_grows_with_its_path() {
    let target = Path::parse("/a/long/way/down").unwrap();
    let mut script = Script::new(&target, &FileState::Absent);
    script.feed("look 100@1").unwrap();
    script.feed("read 100").unwrap();
    let UploadStep::Commit { weight, .. } = script.feed("look 100@1").unwrap() else { panic!("no commit") };
    assert_eq!(weight, 100 + "/a/long/way/down".len());
}
