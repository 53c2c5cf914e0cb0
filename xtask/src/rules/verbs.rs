//! A verb keeps its name through all layers: who searches for it sees the whole path.
//!
//! The verbs are the block marked `verbs` in docs/ARCHITECTURE.md: one line per verb, `verb room room …`.

use super::arrows::PICTURE;
use crate::finding::Finding;
use crate::markdown;
use crate::rust;
use crate::tree::SourceFile;

/// Name of the rule.
pub const RULE: &str = "verbs";

/// Looks for a function of each verb's name in each of its rooms.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let page = files.iter().find(|file| file.path == PICTURE).map_or("", |file| file.text.as_str());
    let block = markdown::block(page, "verbs");
    if block.is_empty() {
        return vec![Finding::new(RULE, PICTURE, 1, "has no block that begins with ```verbs")];
    }
    block.into_iter().flat_map(|(line, row)| check_row(files, line, row)).collect()
}

fn check_row(files: &[SourceFile], line: usize, row: &str) -> Vec<Finding> {
    let words: Vec<&str> = row.split_whitespace().collect();
    let [verb, rooms @ ..] = &words[..] else { return Vec::new() };
    if rooms.is_empty() {
        return vec![Finding::new(RULE, PICTURE, line, "write `verb room room …`")];
    }
    let missing = rooms.iter().filter(|room| !has_function(files, room, verb));
    let finding = |room: &&str| {
        let advice = format!(
            "{room} has no function {verb}: call this step of the path so, or take {room} off the line"
        );
        Finding::new(RULE, PICTURE, line, advice)
    };
    missing.map(finding).collect()
}

fn has_function(files: &[SourceFile], room: &str, verb: &str) -> bool {
    let sources = files.iter().filter(|file| file.is_in_src() && file.room() == room);
    sources
        .filter(|file| file.text.contains(verb))
        .any(|file| rust::declared_functions(&file.product_code()).any(|name| name == verb))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::expect;

    #[track_caller]
    fn check_verbs(block: &str, sources: &[(&str, &str)], want: &[&str]) {
        let page = format!("# Map\n```verbs\n{block}\n```\n");
        let sources = sources.iter().map(|(path, text)| SourceFile::new(path, text));
        let files: Vec<SourceFile> =
            std::iter::once(SourceFile::new(PICTURE, &page)).chain(sources).collect();
        expect(&check(&files), want);
    }

    #[test]
    fn a_verb_is_a_function_of_its_rooms() {
        let client = ("client/src/blocks.rs", "impl Blocks { pub async fn put_chunk(&self) {} }");
        let server = ("blockserver/src/lib.rs", "trait Service { fn put_chunk(&self); }");
        check_verbs("put_chunk client blockserver", &[client, server], &[]);
        let want = ["docs/ARCHITECTURE.md:4 blockserver has no function put_chunk"];
        check_verbs("put_chunk client\nput_chunk blockserver", &[client], &want);
    }

    #[test]
    fn other_words_are_no_functions() {
        for (path, code) in [
            ("client/src/a.rs", "fn put_chunks() { put_chunk() }"),
            ("client/src/a.rs", "// fn put_chunk()"),
            ("client/src/a.rs", "#[cfg(test)]\nfn put_chunk() {}"),
            ("client/tests/a.rs", "fn put_chunk() {}"),
            ("cli/src/a.rs", "fn put_chunk() {}"),
        ] {
            check_verbs("put_chunk client", &[(path, code)], &["client has no function put_chunk"]);
        }
    }

    #[test]
    fn the_block_itself_is_checked() {
        check_verbs("", &[], &["has no block"]);
        check_verbs("put_chunk", &[], &["write `verb room"]);
        expect(&check(&[]), &["docs/ARCHITECTURE.md:1 has no block"]);
    }
}
