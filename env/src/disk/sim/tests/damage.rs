//! Faults that nobody is told of, or that leave a part behind.

use std::collections::BTreeSet;

use super::*;

const SEEDS: u64 = 100;

/// Two files in one directory, and one in another, of sectors that say where they belong.
fn sectors(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    for (index, name) in ["/d/a", "/d/b", "/e/c"].into_iter().enumerate() {
        disk.create_dir_all(path(name).parent().unwrap()).unwrap();
        let bytes: Vec<u8> = (0..8).flat_map(|sector| [10 * (index as u8 + 1) + sector; 512]).collect();
        store(&disk, name, &bytes);
    }
    disk.sync_dir(path("/")).unwrap();
    disk
}

/// First byte of each sector of each file, with a mark when the sector is mixed.
fn describe(disk: &SimDisk) -> Vec<String> {
    let sector = |bytes: &[u8]| {
        let is_mixed = bytes.iter().any(|byte| *byte != bytes[0]);
        format!("{}{}", bytes[0], if is_mixed { "!" } else { "" })
    };
    let file = |name| disk.read(path(name)).unwrap().chunks(512).map(sector).collect::<Vec<_>>().join(" ");
    ["/d/a", "/d/b", "/e/c"].into_iter().map(file).collect()
}

/// What `damaged` says differently from `before`, as `file: old -> new`.
fn changes(before: &[String], damaged: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (before, after) in before.iter().zip(damaged) {
        let pairs = before.split(' ').zip(after.split(' '));
        found.extend(pairs.filter(|(old, new)| old != new).map(|(old, new)| format!("{old} -> {new}")));
    }
    found
}

#[test]
fn short_reads_are_no_errors() {
    let mut counts = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        store(&disk, "/a", b"0123456789");
        disk.set_faults(plan("/", DiskFault::ShortRead, When::Always));
        let (file, mut bytes) = (open(&disk, "/a"), [0; 10]);
        let count = file.read_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes[..count], b"0123456789"[..count]);
        counts.insert(count);
        assert_eq!(disk.read(path("/a")).unwrap(), b"0123456789", "whoever goes on gets all");
        assert_eq!(file.read_at(&mut [0], 10).unwrap(), 0, "the end is still the end");
    }
    assert_eq!(counts, (1..=9).collect());
}

#[test]
fn a_short_write_is_an_error_and_leaves_a_beginning() {
    let mut kept = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        store(&disk, "/a", b"....");
        disk.set_faults(plan("/", DiskFault::ShortWrite, When::Next(1)));
        check_code(open(&disk, "/a").write_at(&[b"ab", b"cd"], 2), libc::EIO);
        kept.insert(String::from_utf8(disk.read(path("/a")).unwrap()).unwrap());
        assert_eq!(counted(&disk), [("short_writes", 1)]);
    }
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), ["....", "..a.", "..ab", "..abc"]);
}

#[test]
fn a_lost_write_is_seen_until_the_cache_is_dropped() {
    let drops: [fn(&SimDisk); 3] = [
        |disk| disk.drop_caches(),
        |disk| disk.crash(),
        |disk| open(disk, "/a").uncache(0..3 * 4096), // The system drops whole pages only.
    ];
    for drop_cache in drops {
        let disk = SimDisk::new(1);
        store(&disk, "/a", &[1; 3 * 4096]);
        disk.set_faults(plan("/", DiskFault::LostWrite, When::Next(2)));
        let file = open(&disk, "/a");
        file.write_at(&[&[2; 5000]], 100).unwrap();
        file.write_at(&[&[3; 10]], 3 * 4096).unwrap();
        file.sync_data().unwrap();
        file.write_at(&[&[4; 10]], 200).unwrap();
        assert_eq!(disk.read(path("/a")).unwrap()[99..102], [1, 2, 2]);
        file.sync_data().unwrap();
        drop_cache(&disk);
        let mut after = disk.read(path("/a")).unwrap();
        assert_eq!(after.len(), 3 * 4096 + 10, "the length is kept apart from the bytes");
        assert_eq!(after[200..210], [4; 10], "the next write is not lost");
        after[200..210].fill(1);
        assert!(after[..3 * 4096].iter().all(|byte| *byte == 1));
        assert_eq!(disk.counts().lost_writes, 2);
    }
}

#[test]
fn what_is_not_synced_stays_in_the_cache() {
    let disk = SimDisk::new(1);
    store(&disk, "/a", &[1; 4096]);
    let file = open(&disk, "/a");
    disk.set_faults(plan("/", DiskFault::LostWrite, When::Next(1)));
    file.write_at(&[&[2; 100]], 0).unwrap();
    file.write_at(&[&[3; 50]], 0).unwrap();
    file.uncache(0..4096);
    assert_eq!(disk.read(path("/a")).unwrap()[48..52], [3, 3, 1, 1]);
}

#[test]
fn a_misdirected_write_hits_another_sector_of_the_directory() {
    let mut victims = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = sectors(seed);
        let before = describe(&disk);
        disk.set_faults(plan("/d/a", DiskFault::MisdirectedWrite, When::Next(1)));
        open(&disk, "/d/a").write_at(&[&[99; 512]], 2 * 512).unwrap();
        let changed = changes(&before, &describe(&disk));
        assert!(changed.len() <= 1 && !changed.contains(&"12 -> 99".to_owned()), "{changed:?}");
        victims.extend(changed);
        // It is on the platter at once: nobody is going to sync the other file.
        let seen = describe(&disk);
        disk.crash();
        assert_eq!(describe(&disk), seen);
        assert_eq!(disk.counts().misdirected_writes, 1);
    }
    let want: BTreeSet<String> =
        [10, 11, 13, 14, 15, 16, 17, 20, 21, 22, 23, 24, 25, 26, 27].map(|old| format!("{old} -> 99")).into();
    assert_eq!(victims, want);
}

#[test]
fn a_misdirected_append_leaves_zeros() {
    let disk = SimDisk::new(1);
    store(&disk, "/a", b"");
    disk.set_faults(plan("/", DiskFault::MisdirectedWrite, When::Next(1)));
    open(&disk, "/a").write_at(&[b"abc"], 0).unwrap();
    assert_eq!(disk.read(path("/a")).unwrap(), [0; 3]);
}

#[test]
fn a_misdirected_read_returns_another_sector_of_the_directory() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = sectors(seed);
        let before = describe(&disk);
        disk.set_faults(plan("/d", DiskFault::MisdirectedRead, When::Next(1)));
        let (file, mut bytes) = (open(&disk, "/d/a"), [0; 600]);
        assert_eq!(file.read_at(&mut bytes, 7 * 512).unwrap(), 512);
        seen.insert(bytes[0]);
        assert_eq!(file.read_at(&mut bytes, 7 * 512).unwrap(), 512);
        assert_eq!(bytes[0], 17, "the next read is right");
        assert_eq!(describe(&disk), before);
    }
    assert_eq!(seen, (10..=17).chain(20..=27).collect());
}

#[test]
fn rot_flips_bits_below_a_prefix() {
    for seed in 0..20 {
        let disk = sectors(seed);
        let read = |name| disk.read(path(name)).unwrap();
        let before = [read("/d/a"), read("/d/b"), read("/e/c")].concat();
        assert_eq!(disk.rot(path("/d"), 5), 5);
        let after = [read("/d/a"), read("/d/b"), read("/e/c")].concat();
        let flipped: u32 = before.iter().zip(&after).map(|(old, new)| (old ^ new).count_ones()).sum();
        assert!(flipped == 5 || flipped == 3, "{flipped} bits; one may be flipped twice");
        assert!(before[2 * 4096..] == after[2 * 4096..], "another directory");
        disk.crash();
        assert!([read("/d/a"), read("/d/b"), read("/e/c")].concat() == after, "it is on the platter");
        assert_eq!(disk.rot(path("/none"), 5), 0);
        assert_eq!(disk.counts().rotten_bits, 5);
    }
}

#[test]
fn a_directory_can_be_set_back() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        for (name, bytes) in [("/d/a", b"old"), ("/d/e/b", b"old"), ("/f/c", b"old")] {
            disk.create_dir_durably(path(name).parent().unwrap()).unwrap();
            store(&disk, name, bytes);
        }
        open(&disk, "/d/a").write_at(&[b"not synced"], 0).unwrap();
        disk.rename(path("/d/e/b"), path("/d/e/moved")).unwrap();
        let image = disk.image();
        let used = disk.space(path("/")).unwrap().free;
        for (name, bytes) in [("/d/a", b"new"), ("/d/e/new", b"new"), ("/f/c", b"new")] {
            store(&disk, name, bytes);
        }
        disk.remove_file(path("/d/e/moved")).unwrap();
        disk.reopen().put_back(&image, path("/d"));
        for is_crash in [false, true] {
            let disk = disk.reopen();
            if is_crash {
                disk.crash();
            }
            assert_eq!(disk.read(path("/d/a")).unwrap(), b"old");
            assert_eq!(disk.read(path("/d/e/b")).unwrap(), b"old");
            assert_eq!(disk.read_dir(path("/d/e")).unwrap(), ["b"]);
            assert_eq!(disk.read(path("/f/c")).unwrap(), b"new", "another directory");
            assert_eq!(disk.space(path("/")).unwrap().free, used + "not synced".len() as u64 - 3);
        }
        assert_eq!(counted(&disk), [("rollbacks", 1), ("crashes", 1)]);
    }
}

#[test]
fn a_bit_can_be_chosen() {
    let disk = SimDisk::new(1);
    store(&disk, "/a", b"12345678");
    disk.flip_bit(path("/a"), 0, 0);
    assert_eq!(disk.read(path("/a")).unwrap(), b"02345678");
}

/// The trap of fsync: after an error the next one succeeds, and the bytes are gone all the same.
#[test]
fn a_failed_sync_loses_what_the_next_one_does_not_bring_back() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        store(&disk, "/a", b"....");
        disk.set_faults(plan("/", DiskFault::SyncError, When::Next(1)));
        let file = open(&disk, "/a");
        file.write_at(&[b"ab"], 0).unwrap();
        file.write_at(&[b"xyz"], 3).unwrap();
        check_code(file.sync_data(), libc::EIO);
        assert_eq!(disk.read(path("/a")).unwrap(), b"ab.xyz");
        file.sync_data().unwrap();
        assert_eq!(disk.read(path("/a")).unwrap(), b"ab.xyz");
        disk.crash();
        outcomes.insert(String::from_utf8(disk.read(path("/a")).unwrap()).unwrap());
    }
    let want = ["....\0\0", "...xyz", "ab..\0\0", "ab.xyz"];
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), want);
}
