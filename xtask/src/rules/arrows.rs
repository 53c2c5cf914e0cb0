//! Rooms import only the rooms below them that the picture allows.
//!
//! The picture is the block marked `arrows` in docs/ARCHITECTURE.md and nothing else: one line per room, from the top
//! down, `layer room -> room room …`; `nothing` and `everything below` are understood.

use std::collections::BTreeMap;

use crate::finding::Finding;
use crate::markdown;
use crate::metadata::Room;
use crate::tree::SourceFile;

/// Name of the rule.
pub const RULE: &str = "arrows";

/// The page that shows the rooms.
pub const PICTURE: &str = "docs/ARCHITECTURE.md";

/// Compares the picture with what cargo says.
pub fn check(files: &[SourceFile], rooms: &[Room]) -> Vec<Finding> {
    let Some(file) = files.iter().find(|file| file.path == PICTURE) else {
        return vec![Finding::new(
            RULE,
            PICTURE,
            1,
            "is missing; it holds the picture of the allowed arrows",
        )];
    };
    let (picture, mut findings) = parse(&file.text);
    findings.extend(strangers(&picture, rooms));
    for room in rooms {
        let Some(entry) = picture.iter().find(|entry| entry.room == room.name) else { continue };
        let manifest = format!("{}/Cargo.toml", room.name);
        let text = files.iter().find(|file| file.path == manifest).map_or("", |file| file.text.as_str());
        for dependency in room.dependencies.iter().filter(|dependency| !dependency.is_dev) {
            let Some(target) = &dependency.room else { continue };
            if !entry.allowed.contains(target) {
                let line = line_of(text, &dependency.package);
                let advice = format!(
                    "{} may not import {target}: move the concept to a room both may see, or change the picture \
                     in {PICTURE} and say why in docs/decisions/",
                    room.name
                );
                findings.push(Finding::new(RULE, &manifest, line, advice));
            }
        }
    }
    findings
}

/// One line of the picture.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    layer: String,
    room: String,
    line: usize,
    allowed: Vec<String>,
}

/// Rooms that the picture or the workspace does not have.
fn strangers(picture: &[Entry], rooms: &[Room]) -> Vec<Finding> {
    let unknown =
        rooms.iter().filter(|room| picture.iter().all(|entry| entry.room != room.name)).map(|room| {
            let advice = format!("{} is not in the picture: add it to {PICTURE}", room.name);
            Finding::new(RULE, &format!("{}/Cargo.toml", room.name), 1, advice)
        });
    let gone = picture.iter().filter(|entry| rooms.iter().all(|room| room.name != entry.room)).map(|entry| {
        let advice = format!("{} is no member of the workspace: take it out of the picture", entry.room);
        Finding::new(RULE, PICTURE, entry.line, advice)
    });
    unknown.chain(gone).collect()
}

/// Reads the picture, top layer first.
fn parse(text: &str) -> (Vec<Entry>, Vec<Finding>) {
    let mut picture: Vec<Entry> = Vec::new();
    let mut findings = Vec::new();
    // From the ground up, so that every room an arrow may point to is known already.
    let block = markdown::block(text, "arrows");
    if block.is_empty() {
        findings.push(Finding::new(RULE, PICTURE, 1, "has no block that begins with ```arrows"));
    }
    for (line, row) in block.into_iter().rev() {
        let words: Vec<&str> = row.split_whitespace().collect();
        let [layer, room, "->", targets @ ..] = &words[..] else {
            findings.push(Finding::new(RULE, PICTURE, line, "write `layer room -> room room …`"));
            continue;
        };
        let below: BTreeMap<&str, &str> =
            picture.iter().map(|entry| (entry.room.as_str(), entry.layer.as_str())).collect();
        let allowed: Vec<String> = match targets {
            ["nothing"] => Vec::new(),
            ["everything", "below"] => {
                below.iter().filter(|(_, l)| *l != layer).map(|(room, _)| (*room).to_owned()).collect()
            }
            rooms => rooms.iter().map(|room| (*room).to_owned()).collect(),
        };
        for target in allowed.iter().filter(|target| !below.contains_key(target.as_str())) {
            let advice =
                format!("{room} -> {target} does not point down: list {target} further below, or drop it");
            findings.push(Finding::new(RULE, PICTURE, line, advice));
        }
        picture.push(Entry { layer: (*layer).to_owned(), room: (*room).to_owned(), line, allowed });
    }
    picture.reverse();
    (picture, findings)
}

/// The rooms from the ground up, as the picture has them.
pub fn rooms_from_below(files: &[SourceFile]) -> Vec<String> {
    let picture = files.iter().find(|file| file.path == PICTURE).map(|file| parse(&file.text).0);
    picture.unwrap_or_default().into_iter().rev().map(|entry| entry.room).collect()
}

/// The line of a manifest that names this package.
fn line_of(manifest: &str, package: &str) -> usize {
    let names = |line: &str| line.strip_prefix(package).is_some_and(|rest| rest.starts_with(['.', ' ', '=']));
    manifest.lines().position(names).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::expect;
    use crate::metadata::Dependency;

    const GOOD: &str = "# Map\n```arrows\ntools cli -> everything below\ntools bench -> everything below\n\
                        servers a -> kv types\nservers b -> kv\nengines kv -> types\nground types -> nothing\n```\n";

    fn rooms(arrows: &[(&str, &str)]) -> Vec<Room> {
        let dependencies = |name: &str| {
            let own = arrows.iter().filter(|(source, _)| *source == name);
            own.map(|(_, to)| Dependency { package: (*to).into(), room: Some((*to).into()), is_dev: false })
                .collect()
        };
        let names = ["cli", "bench", "a", "b", "kv", "types"];
        names.iter().map(|name| Room { name: (*name).into(), dependencies: dependencies(name) }).collect()
    }

    #[track_caller]
    fn check_arrows(picture: &str, arrows: &[(&str, &str)], want: &[&str]) {
        let files = [
            SourceFile::new(PICTURE, picture),
            SourceFile::new("a/Cargo.toml", "[dependencies]\nb.workspace = true\n"),
        ];
        expect(&check(&files, &rooms(arrows)), want);
    }

    #[test]
    fn arrows_in_the_picture_are_allowed() {
        check_arrows(GOOD, &[("cli", "a"), ("cli", "types"), ("a", "kv"), ("kv", "types")], &[]);
    }

    #[test]
    fn other_arrows_are_not() {
        check_arrows(GOOD, &[("a", "b")], &["a/Cargo.toml:2 a may not import b"]);
        check_arrows(GOOD, &[("kv", "a")], &["kv may not import a"]);
        check_arrows(GOOD, &[("b", "types")], &["b may not import types"]);
        check_arrows(GOOD, &[("cli", "bench")], &["cli may not import bench"]);
        check_arrows(GOOD, &[("bench", "cli")], &["bench may not import cli"]);
    }

    #[test]
    fn imports_of_tests_only_are_not_drawn() {
        let mut rooms = rooms(&[("a", "b")]);
        rooms
            .iter_mut()
            .flat_map(|room| &mut room.dependencies)
            .for_each(|dependency| dependency.is_dev = true);
        expect(&check(&[SourceFile::new(PICTURE, GOOD)], &rooms), &[]);
    }

    #[test]
    fn the_picture_itself_is_checked() {
        check_arrows(
            &GOOD.replace("kv -> types", "kv -> a"),
            &[],
            &["ARCHITECTURE.md:7 kv -> a does not point down"],
        );
        check_arrows(
            &GOOD.replace("b -> kv", "b kv"),
            &[],
            &["write `layer room ->", "b is not in the picture"],
        );
        check_arrows(&GOOD.replace("servers b -> kv\n", ""), &[], &["b is not in the picture"]);
        check_arrows(&GOOD.replace("tools cli", "tools x -> nothing\ntools cli"), &[], &["x is no member"]);
        assert_eq!(check(&[], &rooms(&[])).len(), 1);
    }
}
