//! Goal: segments get their footers in the background; a crash before that costs nothing; few files stay open.

use std::path::Path;

use super::*;
use crate::record::HEADER_SIZE;
use crate::segment::{self, footer};

/// `count` records in segments of a few each, none of them sealed.
fn filled(count: u64) -> (FaultyDisk, MemKv, Engine) {
    let (disk, kv) = (FaultyDisk::new(1), MemKv::new(1));
    let mut engine = open(&disk, &kv).unwrap();
    engine.segment_size = 4 << 10;
    for n in 1..=count {
        assert_eq!(engine.commit(&[put(n)]), [Ok(())]);
    }
    (disk, kv, engine)
}

/// Numbers of the segments with a footer.
fn sealed(engine: &Engine) -> Vec<u32> {
    let has_footer = |number: &u32| {
        let file = engine.shared.files.get(*number).unwrap();
        footer::read(&*file, engine.shared.place(*number)).unwrap().is_some()
    };
    (1..=engine.active.number).filter(has_footer).collect()
}

fn check_reads(engine: &Engine, count: u64, when: &str) {
    for n in 1..=count {
        assert_eq!(read(engine, n).unwrap(), payload(n), "{when}: {n}");
    }
    assert_eq!(engine.shared.status().damage.quarantined, 0, "{when}");
}

#[test]
fn segments_are_sealed_after_the_next_one_was_begun() {
    let (_, _, engine) = filled(6);
    assert_eq!(engine.active.number, 6);
    assert_eq!(sealed(&engine), []);
    seal::seal_all(&engine.shared);
    assert_eq!(sealed(&engine), [1, 2, 3, 4, 5]);
    check_reads(&engine, 6, "sealed");
}

#[test]
fn what_one_process_did_not_seal_the_next_one_does() {
    let (disk, kv, engine) = filled(6);
    drop(engine);
    for kv in [kv, MemKv::new(2)] {
        let engine = open(&disk, &kv).unwrap();
        check_reads(&engine, 6, "not sealed");
        seal::seal_all(&engine.shared);
        assert!(sealed(&engine).starts_with(&[1, 2, 3, 4, 5]));
        check_reads(&engine, 6, "sealed");
    }
}

/// A footer that a crash tears is no damage: the next segment says where the records end.
#[test]
fn a_torn_footer_is_no_damage() {
    for lost_bytes in [1, 39, 60, HEADER_SIZE as u64 + 30] {
        let (disk, kv, engine) = filled(4);
        seal::seal_all(&engine.shared);
        drop(engine);
        let path = segment::path(Path::new("/disk"), 2);
        let len = env::Disk::metadata(&disk.sim, &path).unwrap().size;
        let file = env::Disk::open(&disk.sim, &path, env::OpenMode::ReadWrite).unwrap();
        file.set_len(len - lost_bytes).unwrap();
        for kv in [kv, MemKv::new(2)] {
            let engine = open(&disk, &kv).unwrap();
            check_reads(&engine, 4, "torn");
            seal::seal_all(&engine.shared);
            assert!(sealed(&engine).contains(&2), "{lost_bytes}");
        }
    }
}

#[test]
fn few_files_stay_open() {
    let (_, _, engine) = filled(1);
    let root = Path::new("/disk");
    let count = types::limits::SEGMENT_OPEN_COUNT_MAX as u32 + 50;
    for number in 2..count {
        let uuid = engine.shared.superblock().uuid;
        segment::create(&*engine.shared.disk, root, uuid, number, None).unwrap();
        engine.shared.files.get(number).unwrap();
        assert!(engine.shared.files.count() <= types::limits::SEGMENT_OPEN_COUNT_MAX);
    }
    assert_eq!(read(&engine, 1).unwrap(), payload(1), "the one that is written stays");
}
