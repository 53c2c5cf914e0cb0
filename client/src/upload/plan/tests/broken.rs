//! Goal: a fact that answers no step stops the process. Method: scripts whose last line nobody asked for.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// The message of the panic that `work` ends in.
#[track_caller]
fn message(work: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(work)).expect_err("a panic");
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).expect("a text").to_owned()
}

#[track_caller]
fn check_broken(script: &str, want: &str) {
    let target = Path::parse("/t").unwrap();
    let mut feeder = Script::new(&target, &FileState::Absent);
    let (before, last) = script.rsplit_once("; ").unwrap_or(("", script));
    before.split_terminator("; ").for_each(|line| drop(feeder.feed(line).unwrap()));
    let message = message(|| drop(feeder.feed(last)));
    assert!(message.contains(want), "{message}");
}

#[test]
fn facts_out_of_turn() {
    check_broken("read 1", "upload of f: nobody asked for InlineRead");
    check_broken("end", "nobody asked for Ended");
    check_broken("committed 1", "nobody asked for Committed");
    check_broken("look 1@1; look 1@1", "nobody asked for Looked");
    check_broken("look 1@1; read 1; read 1", "nobody asked for InlineRead");
    check_broken("look 1@1; cut 0:1", "nobody asked for Cut");
    check_broken("look 5000@1; look 5000@1", "nobody asked for Looked");
    check_broken("look 5000@1; cut 0:5000; end; stored 0; stored 0", "nobody asked for Stored");
    check_broken("look 1@1; read 1; look 1@1; committed 1; committed 1", "asked for Committed");
}

#[test]
fn chunks_out_of_order() {
    check_broken("look 5000@1; stored 0", "nobody asked to store chunk 0000");
    check_broken("look 5000@1; cut 0..2:2500; stored 1", "nobody asked to store chunk 0100");
    check_broken("look 5000@1; cut 0:2500; stored 0; stored 0", "nobody asked to store chunk 0000");
    check_broken("look 5000@1; cut 0:2500; end; end", "a file ends once");
    check_broken("look 5000@1; cut 0:2500; end; cut 1:2500", "after the end of the file");
}

#[test]
fn chunks_of_impossible_sizes() {
    check_broken("look 5000@1; cut 0:0", "cut to 0 bytes");
    check_broken("look 5000@1; cut 0:4194305", "cut to 4194305 bytes");
    check_broken("look 5000@1; cut 0:4294967295", "cut to 4294967295 bytes");
}

#[test]
fn nodes_out_of_order() {
    check_broken("look 65000@1; cut 0..65:1000; end; stored 0..65; stored 0", "to store node 0000");
    check_broken(
        "look 65000@1; cut 0..65:1000; end; stored 0..65; stored node; stored node",
        "nobody asked for Stored",
    );
}

#[test]
fn a_refusal_is_the_end() {
    let target = Path::parse("/t").unwrap();
    let mut script = Script::new(&target, &FileState::Absent);
    script.feed("look 1125899906842625@1").unwrap_err();
    assert!(message(|| drop(script.feed("look 1@1"))).contains("nobody asked for Looked"));
}

#[test]
fn an_upload_begins_once() {
    let target = Path::parse("/t").unwrap();
    let mut script = Script::new(&target, &FileState::Absent);
    assert_eq!(message(|| drop(script.plan.begin())), "an upload begins once");
    script.feed("look 1125899906842625@1").unwrap_err();
    assert_eq!(message(|| drop(script.plan.begin())), "an upload begins once");
}

#[test]
fn every_chunk_of_a_tree_has_a_receipt() {
    let chunk = ChunkRef { id: id(0), size: 1 };
    let message = message(|| drop(TreePlan::new(&[chunk; 65], vec![receipt(0); 64])));
    assert!(message.contains("every chunk of a tree has a receipt"), "{message}");
}
