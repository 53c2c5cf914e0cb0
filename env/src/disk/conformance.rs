//! One suite for every implementation of [`super::Disk`].
#![cfg(test)]

use std::io::{self, ErrorKind};
use std::path::Path;

use bytes::BytesMut;

use super::{Disk, FaultyDisk, OpenMode, RealDisk, SimDisk};
use crate::testing::temp_dir;

#[test]
fn real() {
    let dir = temp_dir();
    suite(&RealDisk, dir.path());
}

#[test]
fn faulty_without_rules() {
    let dir = temp_dir();
    suite(&FaultyDisk::new(dir.path().join("no rules")), dir.path());
}

#[test]
fn simulated() {
    suite(&SimDisk::new(0), Path::new("/"));
}

fn suite(disk: &dyn Disk, root: &Path) {
    files(disk, root);
    names(disk, &root.join("n"));
    open_files(disk, &root.join("o"));
}

fn files(disk: &dyn Disk, root: &Path) {
    let dir = root.join("x/y");
    disk.create_dir_all(&dir).unwrap();
    let path = dir.join("f");
    assert!(disk.open(&path, OpenMode::Read).is_err());
    let file = disk.open(&path, OpenMode::Create).unwrap();
    assert!(disk.open(&path, OpenMode::CreateNew).is_err());

    let parts: Vec<&[u8]> = std::iter::repeat_n(&b"abc"[..], 600).collect();
    file.write_at(&parts, 2).unwrap();
    file.write_at(&[b"", b"xy"], 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(file.len().unwrap(), 1802);
    file.uncache(0..1802);
    assert_eq!(&disk.read(&path).unwrap()[..5], b"xyabc");
    let mut tail = [0; 8];
    assert_eq!(file.read_at(&mut tail, 1799).unwrap(), 3);
    assert!(file.read_exact_at(&mut tail, 1799).is_err());
    let mut appended = BytesMut::from(&b"<"[..]);
    file.read_append_exact(&mut appended, 3, 0).unwrap();
    assert_eq!(file.read_append(&mut appended, 8, 1799).unwrap(), 3);
    assert_eq!(file.read_append(&mut appended, 8, 1802).unwrap(), 0);
    assert!(file.read_append_exact(&mut appended, 1, 1802).is_err());
    assert_eq!(appended, &b"<xyaabc"[..]);
    file.allocate(1 << 20).unwrap();
    assert_eq!(file.len().unwrap(), 1802);
    file.set_len(3).unwrap();
    assert_eq!(disk.read(&path).unwrap(), b"xya");

    assert!(file.try_lock().unwrap());
    assert!(!disk.open(&path, OpenMode::Read).unwrap().try_lock().unwrap());
    drop(file);
    assert!(disk.open(&path, OpenMode::Read).unwrap().try_lock().unwrap());

    let before = disk.metadata(&path).unwrap();
    assert!(before.is_file && before.size == 3);
    disk.write_atomic(&path, b"new").unwrap();
    disk.write_atomic(&path, b"newer").unwrap();
    assert_eq!(disk.read(&path).unwrap(), b"newer");
    assert_ne!(disk.metadata(&path).unwrap().stamp, before.stamp);
    disk.rename(&dir, &root.join("x/z")).unwrap();
    assert_eq!(disk.read_dir(&root.join("x")).unwrap(), ["z"]);
    assert_eq!(disk.read_dir(&root.join("x/z")).unwrap(), ["f"]);
    assert!(disk.space(root).unwrap().free > 0);
    disk.remove_file(&root.join("x/z/f")).unwrap();
    disk.remove_dir_all(&root.join("x")).unwrap();
    assert!(!disk.exists(&root.join("x")));
}

/// What the names of files and directories allow.
fn names(disk: &dyn Disk, root: &Path) {
    let at = |name: &str| root.join(name);
    let kind = |result: io::Result<()>| result.unwrap_err().kind();
    disk.create_dir_all(&at("full/inner")).unwrap();
    disk.create_dir_all(&at("full/inner")).unwrap();
    disk.create_dir_all(&at("empty")).unwrap();
    for name in ["f", "g"] {
        disk.write_atomic(&at(name), name.as_bytes()).unwrap();
    }
    let open = |name: &str, mode| disk.open(&at(name), mode).map(drop);
    for mode in [OpenMode::Read, OpenMode::ReadWrite] {
        assert_eq!(kind(open("missing", mode)), ErrorKind::NotFound);
    }
    for mode in [OpenMode::Create, OpenMode::CreateNew] {
        assert_eq!(kind(open("missing/f", mode)), ErrorKind::NotFound);
        assert_eq!(kind(open("f/f", mode)), ErrorKind::NotADirectory);
    }
    assert_eq!(kind(open("full", OpenMode::ReadWrite)), ErrorKind::IsADirectory);
    assert_eq!(kind(open("full", OpenMode::CreateNew)), ErrorKind::AlreadyExists);
    assert!(disk.create_dir_all(&at("f")).is_err());
    assert!(disk.create_dir_all(&at("f/below")).is_err());
    assert!(disk.metadata(&at("full")).unwrap().is_dir);

    let rename = |source: &str, target: &str| disk.rename(&at(source), &at(target));
    for (source, target, want) in [
        ("missing", "f", ErrorKind::NotFound),
        ("f", "missing/f", ErrorKind::NotFound),
        ("f", "full", ErrorKind::IsADirectory),
        ("full", "f", ErrorKind::NotADirectory),
        ("empty", "full", ErrorKind::DirectoryNotEmpty),
        ("full", "full/inner/full", ErrorKind::InvalidInput),
    ] {
        assert_eq!(kind(rename(source, target)), want, "{source} to {target}");
    }
    rename("f", "f").unwrap();
    rename("f", "g").unwrap();
    assert_eq!(disk.read(&at("g")).unwrap(), b"f");
    rename("full", "empty").unwrap();
    assert_eq!(disk.read_dir(root).unwrap(), ["empty", "g"]);
    assert_eq!(disk.read_dir(&at("empty")).unwrap(), ["inner"]);

    assert_eq!(kind(disk.remove_file(&at("f"))), ErrorKind::NotFound);
    assert_eq!(kind(disk.remove_file(&at("empty"))), ErrorKind::IsADirectory);
    assert_eq!(kind(disk.remove_dir_all(&at("f"))), ErrorKind::NotFound);
    for missing in
        [disk.read_dir(&at("f")).map(drop), disk.sync_dir(&at("f")), disk.space(&at("f")).map(drop)]
    {
        assert_eq!(kind(missing), ErrorKind::NotFound);
    }
    assert_eq!(kind(disk.read_dir(&at("g")).map(drop)), ErrorKind::NotADirectory);
    disk.sync_dir(&at("empty/inner")).unwrap();
}

/// What open files see of each other and of changes of their names.
fn open_files(disk: &dyn Disk, root: &Path) {
    disk.create_dir_all(root).unwrap();
    let path = root.join("f");
    let file = disk.open(&path, OpenMode::CreateNew).unwrap();
    let reader = disk.open(&path, OpenMode::Read).unwrap();
    file.write_at(&[b"abc"], 5).unwrap();
    let mut bytes = [9; 9];
    assert_eq!(reader.read_at(&mut bytes, 0).unwrap(), 8, "what is not written is zeros");
    assert_eq!(&bytes, b"\0\0\0\0\0abc\x09");
    file.set_len(10).unwrap();
    assert_eq!(disk.read(&path).unwrap(), b"\0\0\0\0\0abc\0\0");
    file.write_at(&[], 100).unwrap();
    file.write_at(&[b""], 100).unwrap();
    assert_eq!(reader.len().unwrap(), 10, "nothing makes nothing longer");
    assert_eq!(reader.read_at(&mut bytes, 100).unwrap(), 0);
    for refused in [reader.write_at(&[b"x"], 0), reader.set_len(0), reader.allocate(1)] {
        assert!(refused.is_err(), "it was opened for reading");
    }
    reader.sync_data().unwrap();

    disk.rename(&path, &root.join("g")).unwrap();
    file.write_at(&[b"A"], 5).unwrap();
    assert_eq!(&disk.read(&root.join("g")).unwrap()[5..8], b"Abc");
    disk.remove_file(&root.join("g")).unwrap();
    disk.write_atomic(&root.join("g"), b"another").unwrap();
    assert_eq!(reader.read_at(&mut bytes, 0).unwrap(), 9, "it lives as long as it is open");
    assert_eq!(disk.read(&root.join("g")).unwrap(), b"another");
}
