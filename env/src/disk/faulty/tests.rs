//! Goal: what is said goes wrong, there and nowhere else. Method: real files under rules.

use super::*;
use crate::testing::temp_dir;

#[track_caller]
fn check(text: &str, want: Result<&[Fault], &str>) {
    let faults = parse(text).map(|rules| rules.iter().map(|rule| rule.fault).collect::<Vec<_>>());
    match (faults, want) {
        (Ok(faults), Ok(want)) => assert_eq!(faults, want),
        (Err(problem), Err(part)) => assert!(problem.contains(part), "{problem}"),
        (faults, want) => panic!("{faults:?} is not {want:?}"),
    }
}

#[test]
fn rules_are_lines() {
    check("", Ok(&[]));
    check(
        "# nothing\n\n/a read EIO\n /b  any delay 20 \n",
        Ok(&[Fault::Error(libc::EIO), Fault::Delay(Duration::from_millis(20))]),
    );
    check("/a any hang\n/a read flip\n/a any full", Ok(&[Fault::Hang, Fault::Flip, Fault::Full]));
    for line in
        ["/a", "/a read", "/a eat EIO", "/a read EWHAT", "/a read delay", "/a read delay x", "/a read EIO 3"]
    {
        check(&format!("/a read EIO\n{line}"), Err("line 2"));
    }
}

/// A disk with two files, and the place of its rules.
fn disk(dir: &Path) -> (FaultyDisk, Arc<dyn File>, Arc<dyn File>) {
    let disk = FaultyDisk::new(dir.join("rules"));
    let open = |name: &str| {
        RealDisk.create_dir_all(&dir.join(name)).unwrap();
        let file = disk.open(&dir.join(name).join("f"), OpenMode::Create).unwrap();
        file.write_at(&[b"0123456789"], 0).unwrap();
        file
    };
    let (bad, good) = (open("bad"), open("badly"));
    (disk, bad, good)
}

fn say(dir: &Path, rules: &str) {
    let text = rules.replace("DIR", dir.to_str().unwrap());
    RealDisk.write_atomic(&dir.join("rules"), text.as_bytes()).unwrap();
}

fn read(file: &Arc<dyn File>) -> Result<Vec<u8>, i32> {
    let mut bytes = vec![0; 10];
    file.read_exact_at(&mut bytes, 0).map_err(|e| e.raw_os_error().unwrap_or_default())?;
    Ok(bytes)
}

#[test]
fn what_goes_wrong_goes_wrong_there_and_nowhere_else() {
    let dir = temp_dir();
    let dir = dir.path();
    let (disk, bad, good) = disk(dir);
    say(dir, "DIR/bad read EIO");
    assert_eq!((read(&bad), read(&good).is_ok()), (Err(libc::EIO), true));
    bad.write_at(&[b"x"], 0).unwrap();
    say(dir, "DIR/bad write ENOSPC\nDIR/bad sync EIO");
    assert_eq!(read(&bad).unwrap(), b"x123456789");
    assert_eq!(bad.write_at(&[b"x"], 0).unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(bad.sync_data().unwrap_err().raw_os_error(), Some(libc::EIO));
    good.sync_data().unwrap();
    say(dir, "DIR/bad read flip");
    assert_eq!(read(&bad).unwrap(), b"x1234%6789");
    assert_eq!(read(&good).unwrap(), b"0123456789");
    say(dir, "DIR/bad any full");
    assert_eq!(disk.space(&dir.join("bad")).unwrap().free, 0);
    assert_ne!(disk.space(&dir.join("badly")).unwrap().free, 0);
    assert!(bad.write_at(&[b"x"], 0).is_err() && read(&bad).is_ok());
    say(dir, "DIR/bad open EMFILE");
    assert_eq!(disk.open(&dir.join("bad/f"), OpenMode::Read).unwrap_err().raw_os_error(), Some(libc::EMFILE));
    say(dir, "rubbish");
    assert!(disk.open(&dir.join("bad/f"), OpenMode::Read).is_err(), "the rules before stay");
    RealDisk.remove_file(&dir.join("rules")).unwrap();
    assert!(disk.open(&dir.join("bad/f"), OpenMode::Read).is_ok());
}

#[test]
fn what_hangs_does_so_until_the_rule_is_gone() {
    let dir = temp_dir();
    let (_, bad, good) = disk(dir.path());
    say(dir.path(), "DIR/bad read hang");
    let reader = std::thread::spawn(move || read(&bad));
    assert!(read(&good).is_ok());
    say(dir.path(), "");
    assert_eq!(reader.join().unwrap().unwrap(), b"0123456789");
}
