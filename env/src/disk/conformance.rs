//! One suite for every implementation of [`super::Disk`].
#![cfg(test)]

use std::path::Path;

use bytes::BytesMut;

use super::{Disk, OpenMode, RealDisk, SimDisk};
use crate::testing::temp_dir;

#[test]
fn real() {
    let dir = temp_dir();
    suite(&RealDisk, dir.path());
}

#[test]
fn simulated() {
    suite(&SimDisk::new(0), Path::new("/"));
}

fn suite(disk: &dyn Disk, root: &Path) {
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
