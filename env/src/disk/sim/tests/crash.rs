//! What a power cut leaves: scripts of changes, and all outcomes over many seeds.

use std::collections::BTreeSet;

use super::*;

const SEEDS: u64 = 400;

/// Runs a script: `new PATH` creates a file with durable bytes, counted from 1; `dir`, `durable` (a directory), `mv`, `rm`, `rmdir`, `sync PATH`.
fn run(disk: &SimDisk, script: &str) {
    let mut created = 0u8;
    for line in script.split("; ").filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["new", name] => {
                created += 1;
                let file = disk.open(path(name), OpenMode::CreateNew).unwrap();
                file.write_at(&[&[b'0' + created]], 0).unwrap();
                file.sync_data().unwrap();
            }
            ["durable", name] => disk.create_dir_durably(path(name)).unwrap(),
            ["dir", name] => disk.create_dir_all(path(name)).unwrap(),
            ["mv", source, target] => disk.rename(path(source), path(target)).unwrap(),
            ["rm", name] => disk.remove_file(path(name)).unwrap(),
            ["rmdir", name] => disk.remove_dir_all(path(name)).unwrap(),
            ["sync", name] => disk.sync_dir(path(name)).unwrap(),
            _ => panic!("{line}?"),
        }
    }
}

/// All files with their bytes, and directories, as `a=1 d/ d/b=2`.
fn describe(disk: &SimDisk, dir: &Path) -> String {
    let mut found = Vec::new();
    for name in disk.read_dir(dir).unwrap() {
        let at = dir.join(name);
        let shown = at.strip_prefix("/").unwrap().display().to_string();
        match disk.read(&at) {
            Ok(bytes) => found.push(format!("{shown}={}", String::from_utf8(bytes).unwrap())),
            Err(_) => {
                found.push(format!("{shown}/"));
                found.extend(Some(describe(disk, &at)).filter(|inner| !inner.is_empty()));
            }
        }
    }
    found.join(" ")
}

#[track_caller]
fn check(script: &str, want: &[&str]) {
    let mut outcomes = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        run(&disk, script);
        disk.crash();
        let after = describe(&disk, path("/"));
        disk.crash();
        assert_eq!(describe(&disk, path("/")), after, "what survived once is durable");
        outcomes.insert(after);
    }
    assert_eq!(outcomes.iter().map(String::as_str).collect::<Vec<_>>(), want, "{script}");
}

#[test]
fn a_creation_needs_a_sync_of_its_directory() {
    check("new /a", &["", "a=1"]);
    check("new /a; sync /", &["a=1"]);
    check("new /a; new /b", &["", "a=1", "a=1 b=2", "b=2"]);
    check("new /a; sync /; new /b", &["a=1", "a=1 b=2"]);
}

#[test]
fn a_directory_needs_a_sync_of_the_one_above() {
    check("dir /d", &["", "d/"]);
    check("dir /d; new /d/a; sync /d", &["", "d/ d/a=1"]);
    check("dir /d; sync /; new /d/a", &["d/", "d/ d/a=1"]);
    check("dir /d/e; new /d/e/a; sync /d/e; sync /", &["d/", "d/ d/e/ d/e/a=1"]);
    check("dir /d/e; new /d/e/a; sync /d/e; sync /d; sync /", &["d/ d/e/ d/e/a=1"]);
}

#[test]
fn a_removal_needs_one_too() {
    check("new /a; sync /; rm /a", &["", "a=1"]);
    check("new /a; sync /; rm /a; sync /", &[""]);
    check("new /a; sync /; rm /a; new /a", &["", "a=1", "a=2"]);
    check("new /a; rm /a", &["", "a=1"]);
    check("new /a; rm /a; sync /", &[""]);
    check("dir /d; new /d/a; sync /d; sync /; rmdir /d", &["", "d/", "d/ d/a=1"]);
    check("dir /d; new /d/a; sync /d; sync /; rmdir /d; sync /", &[""]);
}

#[test]
fn a_rename_happens_as_a_whole_or_not() {
    check("new /a; sync /; mv /a /b", &["a=1", "b=1"]);
    check("new /a; sync /; mv /a /b; sync /", &["b=1"]);
    check("new /a; mv /a /b", &["", "a=1", "b=1"]);
    check("new /a; new /b; sync /; mv /a /b", &["a=1 b=2", "b=1"]);
    let between = "dir /d; dir /e; sync /; new /d/a; sync /d; mv /d/a /e/b";
    check(between, &["d/ d/a=1 e/", "d/ e/ e/b=1"]);
    check(&format!("{between}; sync /d"), &["d/ e/ e/b=1"]);
    check(&format!("{between}; sync /e"), &["d/ e/ e/b=1"]);
    check("dir /d; new /d/a; sync /d; sync /; mv /d /e", &["d/ d/a=1", "e/ e/a=1"]);
}

/// Something that was durable under a name that it gave up without a sync is at one of the two.
#[test]
fn what_moves_is_never_lost() {
    check("new /a; sync /; mv /a /b; new /a", &["a=1", "a=2 b=1", "b=1"]);
    check("new /a; sync /; dir /d; mv /a /d/a", &["a=1", "a=1 d/", "d/ d/a=1"]);
    check("new /a; sync /; dir /d; mv /a /d/a; sync /d", &["d/ d/a=1"]);
    check("new /a; sync /; dir /d/e; mv /a /d/e/a; sync /d/e", &["d/ d/e/ d/e/a=1"]);
    let emptied = "dir /d; new /d/a; sync /d; sync /; mv /d/a /a; rmdir /d";
    check(emptied, &["a=1", "a=1 d/", "d/ d/a=1"]);
    check(&format!("{emptied}; sync /"), &["a=1"]);
    let swapped = "dir /d/e; new /d/e/a; sync /d/e; sync /d; sync /; mv /d/e /e; mv /d /e/d";
    check(swapped, &["d/ d/e/ d/e/a=1", "d/ e/ e/a=1", "e/ e/a=1 e/d/"]);
}

#[test]
fn an_atomic_write_is_atomic() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        disk.write_atomic(path("/a"), b"old").unwrap();
        disk.crash();
        assert_eq!(disk.read(path("/a")).unwrap(), b"old");
        // All that `write_atomic` does before its last step.
        disk.set_faults(plan("/", DiskFault::SyncError, When::Next(u64::from(seed % 2 == 0))));
        let result = disk.write_atomic(path("/a"), b"new");
        disk.crash();
        let after = disk.read(path("/a")).unwrap();
        assert!(after == b"new" || (result.is_err() && after == b"old"), "{after:?}");
    }
}

#[test]
fn many_names_are_made_durable_without_being_asked() {
    let disk = SimDisk::new(1);
    for index in 0..5_000 {
        disk.open(path(&format!("/{index:04}")), OpenMode::CreateNew).unwrap();
    }
    disk.crash();
    let left = disk.read_dir(path("/")).unwrap();
    assert!(left.len() < 4_800, "{} are left", left.len());
    assert_eq!(left.last().map(|_| &left[..2_000]).unwrap().last().unwrap(), "1999");
}

/// Losing and tearing of one write of 64 KiB over durable zeros, as the kinds of outcomes that are seen.
#[test]
fn a_write_is_lost_whole_cut_or_full_of_holes() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        store(&disk, "/a", &[0; 1000]);
        let file = open(&disk, "/a");
        file.write_at(&[&[1; 65_536]], 500).unwrap();
        disk.crash();
        let bytes = disk.read(path("/a")).unwrap();
        assert!(bytes.len() >= 1000 && bytes[..500] == [0; 500], "what was synced and not written is there");
        let edges = (501..bytes.len()).filter(|at| bytes[*at] != bytes[*at - 1]);
        let sizes: BTreeSet<usize> = edges.map(|at| if at % 4096 == 0 { 4096 } else { at % 512 }).collect();
        outcomes.insert(match (bytes.len(), sizes.first(), sizes.last()) {
            (1000, None, None) if bytes[500] == 0 => "lost",
            (66_036, None, None) => "whole",
            (_, None, None) => "cut",
            (_, Some(4096), Some(4096)) => "holes of pages",
            (_, Some(0), _) => "holes of sectors",
            _ => "other",
        });
    }
    outcomes.remove("other");
    let want = ["cut", "holes of pages", "holes of sectors", "lost", "whole"];
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), want);
}

#[test]
fn changes_survive_independently() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        store(&disk, "/a", b"safe...");
        let file = open(&disk, "/a");
        file.write_at(&[b"x"], 4).unwrap();
        file.write_at(&[b"y"], 5).unwrap();
        file.set_len(6).unwrap();
        disk.crash();
        outcomes.insert(String::from_utf8(disk.read(path("/a")).unwrap()).unwrap());
        let counts = disk.counts();
        assert!(counts.crashes == 1 && counts.crash_lost_changes + counts.crash_torn_writes <= 3);
    }
    let want = ["safe..", "safe...", "safe.y", "safe.y.", "safex.", "safex..", "safexy", "safexy."];
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), want);
}

#[test]
fn old_changes_are_written_back_without_being_asked() {
    let disk = SimDisk::new(1);
    store(&disk, "/a", b"");
    let file = open(&disk, "/a");
    (0..40).for_each(|index| file.write_at(&[&[1; 1 << 20]], index << 20).unwrap());
    disk.crash();
    let bytes = disk.read(path("/a")).unwrap();
    assert!(bytes[..20 << 20].iter().all(|byte| *byte == 1), "half of them at least");
    assert!(disk.counts().crash_lost_changes > 0);
}

#[test]
fn a_durable_directory_stays_with_all_above_it() {
    check("durable /a/b", &["a/ a/b/"]);
    check("dir /a; durable /a/b/c; new /a/b/c/d; sync /a/b/c", &["a/ a/b/ a/b/c/ a/b/c/d=1"]);
}

/// The directory that a file moves to is in one whose own name nobody has synced.
#[test]
fn what_moves_keeps_its_new_home() {
    check(
        "dir /e; new /e/a; sync /e; sync /; dir /d/f; mv /e/a /d/f/b; sync /d; sync /d/f",
        &["d/ d/f/ d/f/b=1 e/"],
    );
}
