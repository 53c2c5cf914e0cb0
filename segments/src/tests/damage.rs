//! Goal: damaged, misplaced and missing bytes are noticed; nothing good is thrown away because of them.

use std::path::{Path, PathBuf};

use types::{ErrorKind, Result};

use super::*;
use crate::index::Entry;
use crate::{index, record, segment};

const COUNT: u64 = 12;

fn segment_path(number: u32) -> PathBuf {
    segment::path(Path::new("/disk"), number)
}

/// One record a batch, all in one segment; number 0 is large.
fn filled(seed: u64) -> (FaultyDisk, MemKv, Engine) {
    let (disk, kv) = (FaultyDisk::new(seed), MemKv::new(seed));
    let mut engine = open(&disk, &kv).unwrap();
    engine.segment_size = 1 << 20;
    for n in 0..COUNT {
        assert_eq!(engine.commit(&[put(n)]), [Ok(())]);
    }
    (disk, kv, engine)
}

fn reads(engine: &Engine) -> Vec<Result<Bytes>> {
    (0..COUNT).map(|n| read(engine, n)).collect()
}

/// Right bytes or one of the allowed errors; returns how many were errors.
#[track_caller]
fn check_reads(engine: &Engine, allowed: &[ErrorKind], when: &str) -> usize {
    let results = reads(engine);
    for (n, result) in (0..COUNT).zip(&results) {
        match result {
            Ok(bytes) => assert_eq!(*bytes, payload(n), "{when}: wrong bytes"),
            Err(error) => assert!(allowed.contains(&error.kind()), "{when}: {error}"),
        }
    }
    results.iter().filter(|result| result.is_err()).count()
}

/// Bits all over the file: every byte of some small records, and samples of the large one.
fn places(engine: &Engine) -> Vec<(u64, u8)> {
    let large_end = 4096 + 200_300;
    let bit = |offset: u64| (offset, u8::try_from(offset % 8).unwrap());
    (0..large_end).step_by(997).chain(large_end..engine.active.end).map(bit).collect()
}

#[test]
fn a_flipped_bit_is_never_read() {
    let (disk, _, engine) = filled(1);
    for (offset, bit) in places(&engine) {
        disk.sim.flip_bit(&segment_path(1), offset, bit);
        let when = format!("bit {bit} at {offset}");
        assert!(check_reads(&engine, &[ErrorKind::Corrupt], &when) <= 1, "{when}");
        disk.sim.flip_bit(&segment_path(1), offset, bit);
    }
    assert_eq!(check_reads(&engine, &[], "all bits are back"), 0);
}

#[test]
fn ranges_are_checked_too() {
    let (disk, _, engine) = filled(2);
    let entry = engine.shared.index.tables().entry(&key(0)).unwrap().unwrap();
    let read = |range| read_record(&engine.shared, &key(0), &entry, Some(range));
    let end = entry.payload_size;
    for range in [0..1, 0..65_536, 65_535..65_537, 65_536..end, 1..end, end - 1..end, 500..500] {
        assert_eq!(read(range.clone()).unwrap(), payload(0).slice(range.start as usize..range.end as usize));
    }
    assert_eq!(read(0..end + 1).unwrap_err().kind(), ErrorKind::Invalid);
    #[expect(clippy::reversed_empty_ranges)]
    let reversed = read(2..1);
    assert_eq!(reversed.unwrap_err().kind(), ErrorKind::Invalid);
    // A reader of the first block does not see damage in the second.
    disk.sim.flip_bit(&segment_path(1), u64::from(entry.offset) + 96 + 70_000, 1);
    assert!(read(0..65_536).is_ok());
    assert_eq!(read(70_000..70_001).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_rebuild_loses_only_what_is_damaged() {
    let (disk, _, engine) = filled(3);
    let places = places(&engine);
    let len = engine.active.end;
    drop(engine);
    for (offset, bit) in places.into_iter().step_by(29) {
        disk.sim.flip_bit(&segment_path(1), offset, bit);
        let engine = open(&disk, &MemKv::new(3)).unwrap();
        let when = format!("bit {bit} at {offset}");
        let lost = check_reads(&engine, &[ErrorKind::NotFound], &when);
        let quarantined = engine.shared.status().damage.quarantined;
        assert!(lost <= 1 && quarantined == lost as u64, "{when}: {lost} lost, {quarantined} reported");
        let number = engine.active.number;
        drop(engine);
        if number > 1 {
            env::Disk::remove_file(&disk.sim, &segment_path(number)).unwrap();
        }
        assert_eq!(
            env::Disk::metadata(&disk.sim, &segment_path(1)).unwrap().size,
            len,
            "{when}: nothing is cut"
        );
        disk.sim.flip_bit(&segment_path(1), offset, bit);
    }
}

#[test]
fn damage_behind_the_checkpoint_is_quarantined_and_what_follows_is_kept() {
    let (disk, _, engine) = filled(4);
    let third = engine.shared.index.tables().entry(&key(3)).unwrap().unwrap();
    drop(engine);
    // The checkpoint was set back by a crash to before all records: replay meets the damage.
    let kv = MemKv::new(4);
    disk.sim.flip_bit(&segment_path(1), u64::from(third.offset) + 100, 5);
    let engine = open(&disk, &kv).unwrap();
    assert_eq!(engine.shared.status().damage.quarantined, 1);
    assert_eq!(check_reads(&engine, &[ErrorKind::NotFound], "replayed"), 1);
    assert_eq!(read(&engine, 3).unwrap_err().kind(), ErrorKind::NotFound);
    drop(engine);
    let engine = open(&disk, &kv).unwrap();
    assert_eq!(engine.shared.status().damage.quarantined, 1, "known after a restart");
}

#[test]
fn a_quarantined_shard_can_be_put_again() {
    let (disk, _, mut engine) = filled(5);
    let entry = engine.shared.index.tables().entry(&key(2)).unwrap().unwrap();
    disk.sim.flip_bit(&segment_path(1), u64::from(entry.offset) + 97, 0);
    assert_eq!(read(&engine, 2).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(engine.commit(&[Change::Quarantine { key: key(2), entry }, put(2)]), [Ok(()), Ok(())]);
    assert_eq!(read(&engine, 2).unwrap(), payload(2));
    // A reader that reports late does not take the new one away.
    assert_eq!(engine.commit(&[Change::Quarantine { key: key(2), entry }]), [Ok(())]);
    assert_eq!(read(&engine, 2).unwrap(), payload(2));
    assert_eq!(engine.shared.status().damage.quarantined, 1);

    // A rebuild that finds both records good counts one shard.
    disk.sim.flip_bit(&segment_path(1), u64::from(entry.offset) + 97, 0);
    drop(engine);
    let engine = open(&disk, &MemKv::new(5)).unwrap();
    assert_eq!(engine.shared.status().totals.records, COUNT);
    assert_eq!(engine.shared.status().totals.bytes, (0..COUNT).map(|n| payload(n).len() as u64).sum::<u64>());
}

#[test]
fn an_index_entry_that_points_at_another_record_is_noticed() {
    let (_, _, engine) = filled(11);
    let entry = engine.shared.index.tables().entry(&key(3)).unwrap().unwrap();
    assert_eq!(read_record(&engine.shared, &key(1), &entry, None).unwrap_err().kind(), ErrorKind::Corrupt);
    let other = Entry { payload_crc: 0, ..entry };
    assert_eq!(read_record(&engine.shared, &key(3), &other, None).unwrap_err().kind(), ErrorKind::Corrupt);
}

/// What the index says is input, too: a place or size that no record has is damage, and is not asked for.
#[test]
fn an_index_that_says_what_cannot_be_is_damaged() {
    let (disk, kv, engine) = filled(12);
    let entry = kv::Read::get(&kv, &index::row::key_bytes(b's', &key(3))).unwrap().unwrap();
    let checkpoint = kv::Read::get(&kv, b"c").unwrap().unwrap();
    let write = |key: &[u8], value: &[u8], at: usize, bytes: &[u8]| {
        let mut value = value.to_vec();
        value[at..at + bytes.len()].copy_from_slice(bytes);
        let mut batch = kv::Batch::new();
        batch.put(key, &value);
        kv::Kv::write(&kv, batch, kv::Durability::Synced).unwrap();
    };
    // Payload size, form of the layout, its k and m.
    for (at, bytes) in [(8, &[0; 4][..]), (8, &[0xff; 4]), (16, &[2]), (16, &[1, 0, 1]), (16, &[1, 200, 200])]
    {
        write(&index::row::key_bytes(b's', &key(3)), &entry, at, bytes);
        assert_eq!(read(&engine, 3).err().map(|e| e.kind()), Some(ErrorKind::Corrupt), "{bytes:?} at {at}");
    }
    write(&index::row::key_bytes(b's', &key(3)), &entry, 0, &[]);
    assert_eq!(read(&engine, 3), Ok(payload(3)));
    // The offset up to which the index is complete: before all records, within one, beyond what a record can name.
    let (shared, end) = (engine.shared.clone(), engine.active.end);
    let uuid = shared.superblock().uuid;
    assert_eq!(shared.index.tables().checkpoint(uuid).unwrap().map(|c| c.offset), Some(end));
    for offset in [0, 4095, end - 1, 1 << 32] {
        write(b"c", &checkpoint, 21, &u64::to_le_bytes(offset));
        assert_eq!(shared.index.tables().checkpoint(uuid), Ok(None), "{offset}");
    }
    drop((engine, shared));
    // And a segment that nobody has come to.
    for (at, bytes) in [(21, [0; 8]), (17, [0xff, 0xff, 0xff, 0xff, 0, 0x10, 0, 0])] {
        write(b"c", &checkpoint, at, &bytes);
        let mut engine = open(&disk, &kv).unwrap();
        assert_eq!(check_reads(&engine, &[], "rebuilt"), 0);
        assert_eq!(engine.commit(&[put(90)]), [Ok(())]);
    }
}

#[test]
#[should_panic(expected = "what is taken away was counted")]
fn totals_do_not_fall_below_nothing() {
    let (_, _, engine) = filled(14);
    let status = engine.shared.status().clone();
    let mut change = crate::index::IndexChange::new(
        engine.shared.index.tables(),
        false,
        crate::index::Totals::default(),
        status.damage,
    );
    let _ = change.delete(key(1));
}

#[test]
fn a_segment_after_which_there_is_none_is_refused() {
    let (disk, kv, engine) = filled(13);
    drop(engine);
    let file = env::Disk::open(&disk.sim, &segment_path(u32::MAX), env::OpenMode::Create).unwrap();
    file.write_at(&[&[7; 9000]], 0).unwrap();
    assert_eq!(open(&disk, &kv).err().map(|e| e.kind()), Some(ErrorKind::Corrupt));
}

#[test]
fn a_misdirected_write_is_not_taken_for_the_record_it_hit() {
    let (disk, _, engine) = filled(6);
    let [a, b] = [1, 3].map(|n| engine.shared.index.tables().entry(&key(n)).unwrap().unwrap());
    let file = env::Disk::open(&disk.sim, &segment_path(1), env::OpenMode::ReadWrite).unwrap();
    let mut record = vec![0; 96 + b.payload_size.min(a.payload_size) as usize];
    file.read_exact_at(&mut record, b.offset.into()).unwrap();
    file.write_at(&[&record], a.offset.into()).unwrap();
    let error = read(&engine, 1).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.message().contains("another place"), "{error}");
}

#[test]
fn a_stale_payload_is_not_taken_for_the_new_one() {
    let (disk, _, engine) = filled(10);
    let entry = engine.shared.index.tables().entry(&key(1)).unwrap().unwrap();
    // As after a lost write: all that follows the header is consistent, but belongs to another record.
    let stale = vec![0xee; entry.payload_size as usize];
    let file = env::Disk::open(&disk.sim, &segment_path(1), env::OpenMode::ReadWrite).unwrap();
    file.write_at(&[&stale, &record::tail(&stale).bytes], u64::from(entry.offset) + 96).unwrap();
    assert_eq!(read(&engine, 1).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_segment_of_another_disk_is_not_read() {
    let (disk, kv, engine) = filled(7);
    let (other, other_kv) = (FaultyDisk::new(7), MemKv::new(8));
    let foreign = Env { random: env::Random::seeded(1234), ..environment(&other) };
    let mut writer =
        open_engine(&foreign, config(), move |_| Ok(Arc::new(other_kv.clone()) as Arc<dyn Kv>)).unwrap();
    assert_eq!(writer.commit(&[put(1)]), [Ok(())]);
    let bytes = env::Disk::read(&other.sim, &segment_path(1)).unwrap();
    drop(engine);
    let file = env::Disk::open(&disk.sim, &segment_path(1), env::OpenMode::ReadWrite).unwrap();
    file.write_at(&[&bytes], 0).unwrap();
    let engine = open(&disk, &kv).unwrap();
    assert_eq!(read(&engine, 0).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_shortened_segment_is_noticed_and_the_rest_is_found() {
    let (disk, kv, engine) = filled(8);
    let tenth = engine.shared.index.tables().entry(&key(10)).unwrap().unwrap();
    drop(engine);
    let file = env::Disk::open(&disk.sim, &segment_path(1), env::OpenMode::ReadWrite).unwrap();
    file.set_len(tenth.offset.into()).unwrap();
    file.sync_data().unwrap();
    let engine = open(&disk, &kv).unwrap();
    // Not absent: the index still knows what there was.
    assert_eq!(check_reads(&engine, &[ErrorKind::NotFound], "shortened"), 2);
    let mut lost: Vec<ShardKey> = (10..COUNT).map(key).collect();
    lost.sort();
    assert_eq!(
        engine
            .shared
            .index
            .tables()
            .lost(None, 9)
            .unwrap()
            .into_iter()
            .map(|(key, _)| key)
            .collect::<Vec<_>>(),
        lost
    );
}

#[test]
fn footers_give_the_index_back_even_where_one_is_damaged() {
    let (disk, kv) = (FaultyDisk::new(9), MemKv::new(9));
    let mut engine = open(&disk, &kv).unwrap();
    engine.segment_size = 4 << 10;
    for n in 1..COUNT {
        assert_eq!(engine.commit(&[put(n)]), [Ok(())]);
    }
    assert_eq!(engine.commit(&[Change::Delete { key: key(5) }]), [Ok(())]);
    let number = engine.active.number;
    assert!(number > 5);
    crate::seal::seal_all(&engine.shared);
    drop(engine);
    let len = env::Disk::metadata(&disk.sim, &segment_path(3)).unwrap().size;
    for damage in [None, Some(len - 3), Some(len - 60)] {
        if let Some(offset) = damage {
            disk.sim.flip_bit(&segment_path(3), offset, 1);
        }
        let engine = open(&disk, &MemKv::new(9)).unwrap();
        for n in 1..COUNT {
            assert_eq!(read(&engine, n).ok(), (n != 5).then(|| payload(n)), "{n}, damage {damage:?}");
        }
        // The next segment says where the records end: what comes after them is no damage.
        assert_eq!(engine.shared.status().damage.quarantined, 0);
        assert_eq!(engine.active.number, number + 1, "one that is empty is not left behind");
    }
}
