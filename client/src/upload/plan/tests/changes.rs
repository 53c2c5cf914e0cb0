//! Files that change while they are read. Only content that the file had at one time is committed.

use expect_test::expect;

use super::*;

#[test]
fn grown_beyond_inline_between_look_and_read() {
    check(
        &FileState::Absent,
        "look 10@1; read 5000; cut 0:5000; end; stored 0; look 5000@2; look 5000@2",
        expect![[r#"
            look 10@1              -> read inline
            read 5000              -> cut by rule 1
            cut 0:5000             -> store chunk 0
            end                    -> wait
            stored 0               -> look
            look 5000@2            -> look
            look 5000@2            -> cut by rule 1
        "#]],
    );
}

#[test]
fn grown_within_one_tick_of_the_file_system_s_clock() {
    check(
        &FileState::Absent,
        "look 10@1; read 4097; cut 0:4097; end; stored 0; look 4097@1",
        expect![[r#"
            look 10@1              -> read inline
            read 4097              -> cut by rule 1
            cut 0:4097             -> store chunk 0
            end                    -> wait
            stored 0               -> look
            look 4097@1            -> commit /t on Absent changed at 1: 4097 bytes by rule 1, chunks [0], receipts [0], weight 78
        "#]],
    );
    check(
        &FileState::Absent,
        "look 10@1; read 20; look 20@1",
        expect![[r#"
            look 10@1              -> read inline
            read 20                -> look
            look 20@1              -> commit /t on Absent changed at 1: 20 bytes by rule 1, 20 bytes inline, receipts [], weight 22
        "#]],
    );
}

#[test]
fn grown_after_it_was_read() {
    check(
        &FileState::Absent,
        "look 10@1; read 10; look 11@1; look 11@2",
        expect![[r#"
            look 10@1              -> read inline
            read 10                -> look
            look 11@1              -> look
            look 11@2              -> read inline
        "#]],
    );
    check(
        &FileState::Absent,
        "look 5000@1; cut 0:5000; end; stored 0; look 6000@2; look 6000@2",
        expect![[r#"
            look 5000@1            -> cut by rule 1
            cut 0:5000             -> store chunk 0
            end                    -> wait
            stored 0               -> look
            look 6000@2            -> look
            look 6000@2            -> cut by rule 1
        "#]],
    );
}

#[test]
fn shrunk_while_it_was_read() {
    check(
        &FileState::Absent,
        "look 5000@1; cut 0:4500; end; stored 0; look 4500@2; look 4500@2",
        expect![[r#"
            look 5000@1            -> cut by rule 1
            cut 0:4500             -> store chunk 0
            end                    -> wait
            stored 0               -> look
            look 4500@2            -> look
            look 4500@2            -> cut by rule 1
        "#]],
    );
    check(
        &FileState::Absent,
        "look 5000@1; end; look 0@2; look 0@2; read 0; look 0@2",
        expect![[r#"
            look 5000@1            -> cut by rule 1
            end                    -> look
            look 0@2               -> look
            look 0@2               -> read inline
            read 0                 -> look
            look 0@2               -> commit /t on Absent changed at 2: 0 bytes by rule 1, 0 bytes inline, receipts [], weight 2
        "#]],
    );
    check(
        &FileState::Absent,
        "look 10@1; read 3; look 10@1",
        expect![[r#"
            look 10@1              -> read inline
            read 3                 -> look
            look 10@1              -> look
        "#]],
    );
}

#[test]
fn rewritten_with_as_many_bytes() {
    check(
        &FileState::Absent,
        "look 10@1; read 10; look 10@2",
        expect![[r#"
            look 10@1              -> read inline
            read 10                -> look
            look 10@2              -> look
        "#]],
    );
}

#[test]
fn replaced_by_a_file_with_the_same_times() {
    let target = Path::parse("/t").unwrap();
    let mut script = Script::new(&target, &FileState::Absent);
    script.feed("look 10@1").unwrap();
    script.feed("read 10").unwrap();
    let other_inode = Metadata { stamp: (1, 2), ..metadata("10@1") };
    let step = script.plan.step(UploadFact::Looked(other_inode)).unwrap();
    assert!(matches!(step, UploadStep::Look), "{step:?}");
}

#[test]
fn changed_twice_then_still() {
    check(
        &FileState::Absent,
        "look 5000@1; cut 0:5000; end; stored 0; look 5000@2; look 10@3; read 10; look 10@4; look 5000@5; cut 1:5000; end; stored 1; look 5000@5; committed 9",
        expect![[r#"
            look 5000@1            -> cut by rule 1
            cut 0:5000             -> store chunk 0
            end                    -> wait
            stored 0               -> look
            look 5000@2            -> look
            look 10@3              -> read inline
            read 10                -> look
            look 10@4              -> look
            look 5000@5            -> cut by rule 1
            cut 1:5000             -> store chunk 1
            end                    -> wait
            stored 1               -> look
            look 5000@5            -> commit /t on Absent changed at 5: 5000 bytes by rule 1, chunks [1], receipts [1], weight 78
            committed 9            -> done: new version 9 of 5000 bytes, 0 inline
        "#]],
    );
}

#[test]
fn changing_all_the_time() {
    check(
        &FileState::Absent,
        "look 1@1; read 1; look 1@2; look 1@3; read 1; look 1@4; look 1@5; read 1; look 1@6",
        expect![[r#"
            look 1@1               -> read inline
            read 1                 -> look
            look 1@2               -> look
            look 1@3               -> read inline
            read 1                 -> look
            look 1@4               -> look
            look 1@5               -> read inline
            read 1                 -> look
            look 1@6               -> refuse: conflict: f keeps changing while it is read: nothing was stored, try again when its writer is done
        "#]],
    );
}

#[test]
fn grown_beyond_all_limits_between_two_tries() {
    let script = "look 5000@1; cut 0:5000; end; stored 0; look 6000@2; look 1125899906842625@3";
    check(
        &FileState::Absent,
        script,
        expect![[r#"
            look 5000@1            -> cut by rule 1
            cut 0:5000             -> store chunk 0
            end                    -> wait
            stored 0               -> look
            look 6000@2            -> look
            look 1125899906842625@3 -> refuse: invalid: f is larger than any file may be
        "#]],
    );
}

#[test]
fn equal_content_that_was_touched_while_it_was_read() {
    let there = present(chunk::chunk_id(b"xxx"), 3);
    let script = "look 3@1; read 3; look 3@2; look 3@2; read 3; look 3@2";
    check(
        &there,
        script,
        expect![[r#"
            look 3@1               -> read inline
            read 3                 -> look
            look 3@2               -> look
            look 3@2               -> read inline
            read 3                 -> look
            look 3@2               -> done: old version 4 of 3 bytes, 3 inline
        "#]],
    );
}
