//! Goal: no byte is written to a disk that is not the expected one.

use std::path::Path;

use env::{Disk, OpenMode};
use types::{DiskId, DiskUuid, ErrorKind};

use super::*;

#[track_caller]
fn check(disk: &FaultyDisk, change: impl FnOnce(&mut DiskConfig), want: Result<(), (ErrorKind, &str)>) {
    let mut config = config();
    change(&mut config);
    let before = disk.sim.read_dir(Path::new("/")).unwrap();
    let got = open_engine(&environment(disk), config, |_| Ok(Arc::new(MemKv::new(1)) as Arc<dyn Kv>));
    match (got, want) {
        (Ok(_), Ok(())) => {}
        (Err(error), Err((kind, part))) => {
            assert!(error.kind() == kind && error.message().contains(part), "{error}");
            assert_eq!(disk.sim.read_dir(Path::new("/")).unwrap(), before, "a refusal writes nothing");
        }
        (got, want) => panic!("got {got:?}, want {want:?}"),
    }
}

fn formatted() -> (FaultyDisk, DiskUuid) {
    let disk = FaultyDisk::new(1);
    let engine = open(&disk, &MemKv::new(1)).unwrap();
    let uuid = engine.shared.superblock().uuid;
    (disk, uuid)
}

fn write(disk: &FaultyDisk, path: &str, bytes: &[u8]) {
    let path = Path::new(path);
    disk.sim.create_dir_all(path.parent().unwrap()).unwrap();
    let file = disk.sim.open(path, OpenMode::Create).unwrap();
    file.write_at(&[bytes], 0).unwrap();
    file.sync_data().unwrap();
}

#[test]
fn the_right_disk_is_opened_and_a_wrong_one_refused() {
    let (disk, uuid) = formatted();
    let invalid = |part| Err((ErrorKind::Invalid, part));
    check(&disk, |_| {}, Ok(()));
    check(&disk, |c| c.expected = Some(uuid), Ok(()));
    check(&disk, |c| c.expected = Some(DiskUuid([9; 16])), invalid("were mounts swapped"));
    check(&disk, |c| c.cluster = ClusterId([2; 16]), invalid("belongs to cluster"));
    check(&disk, |c| c.node = NodeId(8), invalid("belongs to node 7"));
}

#[test]
fn a_missing_mount_is_refused_and_stays_empty() {
    let disk = FaultyDisk::new(1);
    let expected = |c: &mut DiskConfig| c.expected = Some(DiskUuid([9; 16]));
    check(&disk, expected, Err((ErrorKind::Invalid, "mount it")));
    disk.sim.create_dir_all(Path::new("/disk/lost+found")).unwrap();
    check(&disk, expected, Err((ErrorKind::Invalid, "mount it")));
    assert_eq!(disk.sim.read_dir(Path::new("/disk")).unwrap(), ["lost+found"]);
    check(&disk, |_| {}, Ok(()));
}

#[test]
fn a_directory_with_other_things_is_not_formatted() {
    let disk = FaultyDisk::new(1);
    write(&disk, "/disk/thesis.txt", b"mine");
    check(&disk, |_| {}, Err((ErrorKind::Invalid, "thesis.txt")));
}

#[test]
fn a_disk_in_use_is_refused() {
    let disk = FaultyDisk::new(1);
    let engine = open(&disk, &MemKv::new(1)).unwrap();
    check(&disk, |_| {}, Err((ErrorKind::Conflict, "in use")));
    drop(engine);
    check(&disk, |_| {}, Ok(()));
}

#[test]
fn one_good_superblock_is_enough_and_none_is_refused() {
    let (disk, uuid) = formatted();
    let engine = open(&disk, &MemKv::new(1)).unwrap();
    engine.shared.update_superblock(|superblock| superblock.disk = Some(DiskId(3))).unwrap();
    drop(engine);
    // Generation 2 is in SUPER.a; without it the older copy says who the disk is.
    for (damage, id) in [(None, Some(DiskId(3))), (Some("/disk/SUPER.a"), None)] {
        damage.iter().for_each(|path| write(&disk, path, b"rubbish"));
        let engine = open(&disk, &MemKv::new(1)).unwrap();
        assert_eq!((engine.shared.superblock().uuid, engine.shared.superblock().disk), (uuid, id));
    }
    write(&disk, "/disk/SUPER.b", b"rubbish");
    check(&disk, |_| {}, Err((ErrorKind::Corrupt, "no good superblock")));
    check(&disk, |c| c.expected = Some(uuid), Err((ErrorKind::Corrupt, "no good superblock")));
}

#[test]
fn formatting_survives_a_power_cut_at_any_operation() {
    for count in 0..20 {
        for last_happens in [false, true] {
            let disk = FaultyDisk::new(count);
            disk.cut_after(count, last_happens);
            let _ = open(&disk, &MemKv::new(1));
            disk.restart();
            let mut engine = open(&disk, &MemKv::new(1)).unwrap();
            assert_eq!(engine.commit(&[put(1)]), [Ok(())]);
        }
    }
}

#[test]
fn an_index_of_another_disk_is_not_believed() {
    let kv = MemKv::new(1);
    let mut engine = open(&FaultyDisk::new(1), &kv).unwrap();
    assert_eq!(engine.commit(&[put(1)]), [Ok(())]);
    let other = Env { random: env::Random::seeded(77), ..environment(&FaultyDisk::new(2)) };
    let engine = open_engine(&other, config(), move |_| Ok(Arc::new(kv.clone()) as Arc<dyn Kv>)).unwrap();
    assert_eq!((count(&engine), engine.shared.status().totals.records), (0, 0));
}

#[test]
fn an_index_that_cannot_be_opened_is_made_again() {
    let (disk, _) = formatted();
    write(&disk, "/disk/index/CURRENT", b"rubbish");
    let sim = disk.sim.clone();
    let open_index = move |path: &Path| match sim.exists(path) {
        true => Err(Error::corrupt("rubbish")),
        false => Ok(Arc::new(MemKv::new(1)) as Arc<dyn Kv>),
    };
    let engine = open_engine(&environment(&disk), config(), open_index).unwrap();
    assert!(!engine.shared.is_read_only());
}

#[test]
#[should_panic(expected = "a disk stays whose it is")]
fn a_disk_is_not_given_away() {
    let engine = open(&FaultyDisk::new(1), &MemKv::new(1)).unwrap();
    let _ = engine.shared.update_superblock(|superblock| superblock.node = NodeId(8));
}

#[test]
#[should_panic(expected = "a failed sync is final")]
fn a_failed_disk_stays_failed() {
    let engine = open(&FaultyDisk::new(1), &MemKv::new(1)).unwrap();
    engine.shared.update_superblock(|superblock| superblock.failed = true).unwrap();
    let _ = engine.shared.update_superblock(|superblock| superblock.failed = false);
}
