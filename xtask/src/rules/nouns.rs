//! A word of the glossary names one type, and inside of a room every name does.
//!
//! Where two types share a name, each reader has to find out first which of them is meant.

use std::collections::{BTreeMap, BTreeSet};

use super::arrows;
use crate::finding::Finding;
use crate::markdown;
use crate::rust;
use crate::tree::SourceFile;

/// Name of the rule.
pub const RULE: &str = "nouns";

const GLOSSARY: &str = "docs/glossary.md";

/// Where a type is defined.
struct Place<'a> {
    file: &'a SourceFile,
    line: usize,
}

/// Compares the types of the product with the glossary and with each other.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let Some(page) = files.iter().find(|file| file.path == GLOSSARY) else {
        return vec![Finding::new(RULE, GLOSSARY, 1, "is missing; it says what the words mean")];
    };
    let nouns = nouns(&page.text);
    let types = types(files);
    types
        .iter()
        .flat_map(
            |(name, places)| if nouns.contains(name) { shared(name, places) } else { repeated(name, places) },
        )
        .collect()
}

/// The bold words of the glossary, as types are called.
fn nouns(glossary: &str) -> BTreeSet<String> {
    let words = markdown::first_cells(glossary).flat_map(markdown::bold).flat_map(|words| words.split('/'));
    words.map(camel_case).collect()
}

fn camel_case(words: &str) -> String {
    let capitalized = |word: &str| word[..1].to_uppercase() + &word[1..];
    words.split([' ', '-']).filter(|word| !word.is_empty()).map(capitalized).collect()
}

/// All types of the product by name. The lower room comes first: what it calls something was there before.
fn types(files: &[SourceFile]) -> BTreeMap<String, Vec<Place<'_>>> {
    let rooms = arrows::rooms_from_below(files);
    let height = |file: &SourceFile| rooms.iter().position(|room| room == file.room()).unwrap_or(rooms.len());
    let mut sources: Vec<&SourceFile> = files.iter().filter(|file| file.is_rust()).collect();
    sources.sort_by_key(|file| height(file));
    let mut types: BTreeMap<String, Vec<Place<'_>>> = BTreeMap::new();
    for file in sources {
        for (name, line) in rust::types(&file.product_code()) {
            types.entry(name).or_default().push(Place { file, line });
        }
    }
    types
}

/// A noun may be defined once in the workspace.
fn shared(name: &str, places: &[Place<'_>]) -> Vec<Finding> {
    let (first, others) = places.split_first().expect("a name comes from a place");
    let finding = |other: &Place<'_>| {
        let advice = format!(
            "{name} is a word of the glossary and already the type at {}:{}: give the second a name of its own",
            first.file.path, first.line
        );
        Finding::new(RULE, &other.file.path, other.line, advice)
    };
    others.iter().map(finding).collect()
}

/// Any other name may be defined in one file of a room.
fn repeated(name: &str, places: &[Place<'_>]) -> Vec<Finding> {
    let finding = |(index, other): (usize, &Place<'_>)| {
        let in_room = |place: &&Place<'_>| place.file.room() == other.file.room();
        let first =
            places[..index].iter().find(in_room).filter(|first| first.file.path != other.file.path)?;
        let advice = format!(
            "{name} is already the type at {}:{} in the same room: give the second a name of its own",
            first.file.path, first.line
        );
        Some(Finding::new(RULE, &other.file.path, other.line, advice))
    };
    places.iter().enumerate().filter_map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::expect;

    const WORDS: &str = "# Glossary\n| word | meaning |\n|---|---|\n| **shard** | A piece of a **stripe**. |\n\
                         | **placement group**, PG | Chunks. |\n| **zone / rack** | Domains. |\n";
    const PICTURE: &str =
        "```arrows\ntools cli -> everything below\nengines kv -> types\nground types -> nothing\n```\n";

    #[track_caller]
    fn check_types(sources: &[(&str, &str)], want: &[&str]) {
        let pages = [(GLOSSARY, WORDS), (arrows::PICTURE, PICTURE)];
        let files = pages.iter().chain(sources).map(|(path, text)| SourceFile::new(path, text));
        expect(&check(&files.collect::<Vec<_>>()), want);
    }

    #[test]
    fn a_noun_is_one_type() {
        check_types(
            &[("cli/src/a.rs", "\nstruct Shard;"), ("types/src/id.rs", "pub struct Shard(u32);")],
            &["cli/src/a.rs:2 Shard is a word of the glossary and already the type at types/src/id.rs:1"],
        );
        check_types(
            &[("kv/src/a.rs", "enum Rack {}"), ("cli/src/a.rs", "trait Rack {}")],
            &["cli/src/a.rs:1"],
        );
        check_types(
            &[("kv/src/a.rs", "struct Zone;"), ("cli/src/a.rs", "type Zone = u8;")],
            &["cli/src/a.rs:1"],
        );
        let both = [("kv/src/a.rs", "struct PlacementGroup;"), ("cli/src/a.rs", "struct PlacementGroup;")];
        check_types(&both, &["PlacementGroup"]);
        check_types(&[("kv/src/a.rs", "struct Rack;\nmod b { struct Rack; }")], &["kv/src/a.rs:2"]);
    }

    #[test]
    fn what_defines_no_type_is_free() {
        check_types(
            &[("kv/src/a.rs", "struct Shard;"), ("cli/src/a.rs", "struct Stripe; fn shard() {}")],
            &[],
        );
        let associated = "impl T for U { type Shard = u8; }\ntrait T { type Shard; }";
        check_types(&[("kv/src/a.rs", "struct Shard;"), ("cli/src/a.rs", associated)], &[]);
        check_types(&[("kv/src/a.rs", "struct Shard;"), ("kv/src/tests.rs", "struct Shard;")], &[]);
        let tests = "#[cfg(test)]\nmod tests { struct Shard; }";
        check_types(&[("kv/src/a.rs", "struct Shard;"), ("cli/src/a.rs", tests)], &[]);
    }

    #[test]
    fn another_name_is_one_type_in_its_room() {
        check_types(
            &[
                ("kv/src/a.rs", "struct Row;"),
                ("kv/src/b.rs", "enum Row {}"),
                ("kv/src/c.rs", "type Row = u8;"),
            ],
            &["kv/src/b.rs:1 Row is already the type at kv/src/a.rs:1", "kv/src/c.rs:1"],
        );
        check_types(&[("kv/src/a.rs", "struct Row;"), ("cli/src/a.rs", "struct Row;")], &[]);
        check_types(&[("kv/src/a.rs", "fn a() { struct Row; }\nfn b() { struct Row; }")], &[]);
    }

    #[test]
    fn the_glossary_is_needed() {
        expect(&check(&[]), &["docs/glossary.md:1 is missing"]);
    }
}
