//! Goal: only the medium ends writing; what this machine lacks, and room, pass. Method: one error code at one operation,
//! then everything that was acknowledged is read, before and after a restart, with the index and without.

use types::ErrorKind;

use super::faulty::{EIO, EMFILE, ENOMEM, ENOSPC, Op};
use super::*;

/// A put that must make a new segment, or not, meets an error; then another one succeeds.
#[track_caller]
fn check(op: Op, codes: &[i32], rolls: bool) {
    let when = format!("{op:?} {codes:?}, rolls: {rolls}");
    let (disk, kv) = (FaultyDisk::new(1), MemKv::new(1));
    let mut engine = open(&disk, &kv).unwrap();
    assert_eq!(engine.commit(&[put(1)]), [Ok(())]);
    if rolls {
        engine.segment_size = 4200;
    }
    disk.fail_next(op, codes);
    let refused = engine.commit(&[put(2), Change::Delete { key: key(1) }]);
    for result in refused {
        assert_eq!(result.map_err(|error| error.kind()), Err(ErrorKind::Busy), "{when}");
    }
    assert!(!engine.shared.is_read_only(), "{when}");
    assert_eq!(engine.commit(&[put(3)]), [Ok(())], "{when}");
    seal::seal_all(&engine.shared);
    let check = |engine: &Engine, when: &str| {
        for n in 1..4 {
            assert_eq!(read(engine, n).ok(), (n != 2).then(|| payload(n)), "{when}: {n}");
        }
        assert_eq!(engine.shared.status().damage.quarantined, 0, "{when}");
    };
    check(&engine, &when);
    drop(engine);
    disk.sim.crash();
    for kv in [kv, MemKv::new(2)] {
        check(&open(&disk, &kv).unwrap(), &format!("{when}, opened again"));
    }
}

#[test]
fn what_the_machine_lacks_passes() {
    for code in [ENOMEM, ENOSPC, EMFILE] {
        check(Op::Write, &[code], false);
        check(Op::Write, &[code], true);
        check(Op::Sync, &[code], false);
        check(Op::Sync, &[code], true);
        check(Op::SyncDir, &[code], true);
        check(Op::Open, &[code], true);
    }
}

#[test]
fn what_cannot_be_undone_at_once_is_undone_before_the_next_batch() {
    let (disk, kv) = (FaultyDisk::new(1), MemKv::new(1));
    let mut engine = open(&disk, &kv).unwrap();
    assert_eq!(engine.commit(&[put(1)]), [Ok(())]);
    disk.no_room_at(1);
    disk.fail_next(Op::SetLen, &[ENOMEM, ENOMEM]);
    for _ in 0..2 {
        let refused = engine.commit(&[put(2), put(3)]);
        assert!(refused.iter().all(|result| result.as_ref().is_err_and(|e| e.kind() == ErrorKind::Busy)));
    }
    assert_eq!(engine.commit(&[put(4)]), [Ok(())]);
    drop(engine);
    let engine = open(&disk, &MemKv::new(2)).unwrap();
    let found: Vec<u64> = (1..5).filter(|n| read(&engine, *n).is_ok()).collect();
    assert_eq!(found, [1, 4]);
}

#[test]
fn what_the_medium_fails_is_final() {
    for op in [Op::Write, Op::Sync] {
        let (disk, kv) = (FaultyDisk::new(1), MemKv::new(1));
        let mut engine = open(&disk, &kv).unwrap();
        assert_eq!(engine.commit(&[put(1)]), [Ok(())]);
        disk.fail_next(op, &[EIO]);
        for n in [2, 3] {
            assert_eq!(engine.commit(&[put(n)])[0].as_ref().unwrap_err().kind(), ErrorKind::Unavailable);
        }
        assert!(engine.shared.is_read_only());
        assert_eq!(engine.shared.health.failures().media_write_errors, 1);
        drop(engine);
        let engine = open(&disk, &kv).unwrap();
        assert!(engine.shared.is_read_only());
        assert_eq!(read(&engine, 1).unwrap(), payload(1));
    }
}

/// A disk that takes nothing any more still learns what it has lost.
#[test]
fn a_read_only_disk_knows_what_is_lost() {
    let (disk, kv) = (FaultyDisk::new(1), MemKv::new(1));
    let mut engine = open(&disk, &kv).unwrap();
    assert_eq!(engine.commit(&[put(1), put(2)]), [Ok(()), Ok(())]);
    disk.fail_next(Op::Sync, &[EIO]);
    assert!(engine.commit(&[put(3)])[0].is_err());
    let entry = engine.shared.index.tables().entry(&key(1)).unwrap().unwrap();
    assert_eq!(engine.commit(&[Change::Quarantine { key: key(1), entry }]), [Ok(())]);
    assert_eq!(engine.shared.index.tables().lost(None, 9).unwrap(), [(key(1), meta(1))]);
    let status = engine.shared.status().clone();
    assert_eq!((status.damage.lost, status.totals.records), (1, 1));
}
