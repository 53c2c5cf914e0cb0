//! Words that have no place here: names that say nothing, promises to write it later, paths of one machine.

use crate::finding::Finding;
use crate::rust;
use crate::tree::SourceFile;

/// Name of the rule.
pub const RULE: &str = "words";

/// This file has to spell the words.
const ITSELF: &str = "xtask/src/rules/words.rs";

const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "manager", "helper", "helpers", "misc"];
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "#[ignore", "TODO", "FIXME", "XXX"];
const MACHINES: &[&str] = &["/root/", "/Users/", "/work/"];

/// Looks at names and texts. `home` is the home directory of whoever runs this.
pub fn check(files: &[SourceFile], home: &str) -> Vec<Finding> {
    // A home of one component (`/` or `/root`) is too short to be searched for, or listed already.
    let home = home.trim_end_matches('/');
    let home = (home.matches('/').count() > 1).then(|| format!("{home}/"));
    let machines: Vec<&str> = MACHINES.iter().copied().chain(home.as_deref()).collect();
    let texts = files.iter().filter(|file| file.path != ITSELF && file.path != "Cargo.lock");
    let names = files.iter().filter_map(check_name);
    names.chain(texts.flat_map(|file| check_text(file, &machines))).collect()
}

fn check_name(file: &SourceFile) -> Option<Finding> {
    let mut words = file.path.split(['/', '_', '-', '.']);
    let empty = words.find(|word| EMPTY_NAMES.contains(word))?;
    Some(Finding::new(
        RULE,
        &file.path,
        1,
        format!("'{empty}' says nothing: name the file after its concept"),
    ))
}

fn check_text(file: &SourceFile, machines: &[&str]) -> Vec<Finding> {
    let lines = file.text.lines().enumerate();
    lines
        .filter_map(|(index, line)| Some(Finding::new(RULE, &file.path, index + 1, advice(line, machines)?)))
        .collect()
}

fn advice(line: &str, machines: &[&str]) -> Option<String> {
    if let Some(word) = UNFINISHED.iter().find(|word| has_word(line, word)) {
        return Some(format!("'{word}': finish it or leave it out"));
    }
    let path = machines.iter().find(|path| has_word(line, path))?;
    Some(format!("'{path}' is a path of one machine: derive it, or take it from the environment"))
}

/// True when `word` stands in the line and is not a part of a longer word.
fn has_word(line: &str, word: &str) -> bool {
    let bytes = line.as_bytes();
    line.match_indices(word).any(|(at, _)| {
        let end = at + word.len();
        let ends_word = !rust::is_word(bytes[end - 1]) || bytes.get(end).is_none_or(|&b| !rust::is_word(b));
        let starts_word = at == 0 || !(rust::is_word(bytes[at - 1]) || bytes[at - 1] == b'.');
        starts_word && ends_word
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::expect;

    #[track_caller]
    fn check_one(path: &str, text: &str, want: &[&str]) {
        expect(&check(&[SourceFile::new(path, text)], "/home/anna"), want);
    }

    #[test]
    fn names_say_something() {
        for path in ["kv/src/utils.rs", "kv/common/a.rs", "kv/src/disk_helpers.rs", "scripts/misc.sh"] {
            check_one(path, "", &["says nothing"]);
        }
        for path in ["kv/src/commit.rs", "docs/commons.md", "chaos/src/uncommon.rs"] {
            check_one(path, "", &[]);
        }
    }

    #[test]
    fn nothing_is_left_for_later() {
        check_one("a.rs", "x\n    todo!()\n", &["a.rs:2 'todo!'"]);
        check_one("a.rs", "#[ignore = \"slow\"]", &["#[ignore"]);
        check_one("a.sh", "# FIXME: later", &["FIXME"]);
        check_one("a.md", "(TODO)", &["TODO"]);
        check_one("a.sh", "mktemp /tmp/a.XXXXXX", &[]);
        check_one("a.rs", "let todo = my_todo!(); // todos", &[]);
    }

    #[test]
    fn no_paths_of_one_machine() {
        check_one("a.sh", "cd /root/x", &["/root/"]);
        check_one("a.sh", "cd /home/anna/x", &["/home/anna/"]);
        check_one("a.rs", "Path::parse(\"/home/berta/x\") // chroot/root/x ./root/x", &[]);
        check_one("Cargo.lock", "/root/", &[]);
        expect(&check(&[SourceFile::new("a.sh", "cd /x")], "/"), &[]);
    }
}
