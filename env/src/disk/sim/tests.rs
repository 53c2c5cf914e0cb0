//! Goal: every fault of the simulated disk does what it says and is counted, and nothing else goes wrong.
//! Method: a small script per fault; where chance decides, many seeds, and all outcomes are listed.

mod crash;
mod damage;
mod model;
mod replay;

use super::*;

fn path(name: &str) -> &Path {
    Path::new(name)
}

/// Writes a file; its bytes and name are durable.
fn store(disk: &SimDisk, name: &str, bytes: &[u8]) {
    let file = disk.open(path(name), OpenMode::Create).unwrap();
    file.set_len(0).unwrap();
    file.write_at(&[bytes], 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(path(name).parent().unwrap()).unwrap();
}

fn open(disk: &SimDisk, name: &str) -> Arc<dyn File> {
    disk.open(path(name), OpenMode::ReadWrite).unwrap()
}

fn plan(prefix: &str, fault: DiskFault, when: When) -> DiskFaults {
    let rule = FaultRule { prefix: PathBuf::from(prefix), fault, when };
    DiskFaults { rules: vec![rule], ..DiskFaults::default() }
}

/// The counts that are not zero.
fn counted(disk: &SimDisk) -> Vec<(&'static str, u64)> {
    disk.counts().rows().into_iter().filter(|(_, count)| *count > 0).collect()
}

#[track_caller]
fn check_code<T: std::fmt::Debug>(result: io::Result<T>, want: i32) {
    assert_eq!(result.unwrap_err().raw_os_error(), Some(want));
}

/// An operation on the file `/d/a`, or on its name.
type Operation = fn(&SimDisk, &dyn File) -> io::Result<()>;

#[test]
fn errors_come_from_the_operations_they_are_for() {
    let operations: [(&str, DiskFault, Operation); 14] = [
        ("read_errors", DiskFault::ReadError, |_, file| file.read_at(&mut [0; 4], 0).map(drop)),
        ("read_errors", DiskFault::ReadError, |_, file| file.read_at(&mut [], 0).map(drop)),
        ("write_errors", DiskFault::WriteError, |_, file| file.write_at(&[b"x"], 0)),
        ("write_errors", DiskFault::WriteError, |_, file| file.set_len(2)),
        ("write_errors", DiskFault::WriteError, |_, file| file.allocate(9)),
        ("sync_errors", DiskFault::SyncError, |_, file| file.sync_data()),
        ("sync_errors", DiskFault::SyncError, |disk, _| disk.sync_dir(path("/d"))),
        ("name_errors", DiskFault::NameError, |disk, _| disk.open(path("/d/a"), OpenMode::Read).map(drop)),
        ("name_errors", DiskFault::NameError, |disk, _| disk.open(path("/d/n"), OpenMode::Create).map(drop)),
        ("name_errors", DiskFault::NameError, |disk, _| disk.metadata(path("/d/a")).map(drop)),
        ("name_errors", DiskFault::NameError, |disk, _| disk.read_dir(path("/d")).map(drop)),
        ("name_errors", DiskFault::NameError, |disk, _| disk.create_dir_all(path("/d/e"))),
        ("name_errors", DiskFault::NameError, |disk, _| {
            disk.rename(path("/d/a"), path("/d/b")).and_then(|()| disk.rename(path("/d/b"), path("/d/a")))
        }),
        ("name_errors", DiskFault::NameError, |disk, _| disk.remove_file(path("/d/b"))),
    ];
    for (index, (name, fault, operation)) in operations.into_iter().enumerate() {
        let disk = SimDisk::new(1);
        disk.create_dir_all(path("/d")).unwrap();
        store(&disk, "/d/a", b"bytes");
        store(&disk, "/d/b", b"bytes");
        let file = open(&disk, "/d/a");
        disk.set_faults(plan("/d", fault, When::Next(2)));
        for _ in 0..2 {
            check_code(operation(&disk, &*file), libc::EIO);
        }
        assert_eq!(disk.read(path("/d/a")).unwrap(), b"bytes", "operation {index} has changed something");
        operation(&disk, &*file).unwrap();
        assert_eq!(counted(&disk), [(name, 2)], "operation {index}");
        assert_eq!(disk.faults().rules[0].when, When::Next(0), "the plan counts down");
    }
}

#[test]
fn a_rule_covers_a_path_and_all_below_it() {
    for (prefix, name, is_hit) in [
        ("/d/a", "/d/a", true),
        ("/d", "/d/a", true),
        ("d/", "/d/a", true),
        ("/", "/d/a", true),
        ("", "/d/a", true),
        ("/d/a", "/d/ab", false),
        ("/d/a/x", "/d/a", false),
        ("/e", "/d/a", false),
    ] {
        let disk = SimDisk::new(1);
        disk.create_dir_all(path("/d")).unwrap();
        store(&disk, name, b"bytes");
        disk.set_faults(plan(prefix, DiskFault::ReadError, When::Always));
        assert_eq!(disk.read(path(name)).is_err(), is_hit, "{prefix:?} and {name}");
    }
}

#[test]
fn a_rule_follows_the_file_to_its_new_name() {
    let disk = SimDisk::new(1);
    store(&disk, "/a", b"bytes");
    let file = open(&disk, "/a");
    disk.set_faults(plan("/b", DiskFault::ReadError, When::Always));
    file.read_at(&mut [0], 0).unwrap();
    disk.rename(path("/a"), path("/b")).unwrap();
    check_code(file.read_at(&mut [0], 0), libc::EIO);
    disk.remove_file(path("/b")).unwrap();
    file.read_at(&mut [0], 0).unwrap();
    disk.set_faults(plan("/", DiskFault::ReadError, When::Always));
    check_code(file.read_at(&mut [0], 0), libc::EIO);
}

#[test]
fn a_probability_is_one() {
    for (chance, want) in [(0, 0..=0), (250_000, 900..=1_100), (1_000_000, 4_000..=4_000)] {
        let disk = SimDisk::new(7);
        store(&disk, "/a", b"bytes");
        let file = open(&disk, "/a");
        disk.set_faults(plan("/", DiskFault::ReadError, When::PerMillion(chance)));
        let failed = (0..4_000).filter(|_| file.read_at(&mut [0], 0).is_err()).count() as u64;
        assert!(want.contains(&failed), "{failed} of 4000 with {chance} in a million");
        assert_eq!(disk.counts().read_errors, failed);
    }
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = SimDisk::new(1);
    disk.set_capacity(8);
    let file = disk.open(path("/a"), OpenMode::CreateNew).unwrap();
    file.write_at(&[b"12345"], 0).unwrap();
    check_code(file.write_at(&[b"678", b"9"], 5), libc::ENOSPC);
    assert_eq!(disk.read(path("/a")).unwrap(), b"12345678");
    file.write_at(&[b"X"], 7).unwrap();
    check_code(file.write_at(&[b"9"], 20), libc::ENOSPC);
    assert_eq!(file.len().unwrap(), 8);

    check_code(file.set_len(9), libc::ENOSPC);

    // What is reserved is taken, and can be written.
    file.set_len(1).unwrap();
    file.allocate(6).unwrap();
    assert_eq!(disk.space(path("/")).unwrap(), Space { free: 2, total: 8 });
    let other = disk.open(path("/b"), OpenMode::CreateNew).unwrap();
    check_code(other.allocate(3), libc::ENOSPC);
    other.write_at(&[b"12"], 0).unwrap();
    file.write_at(&[b"23456"], 1).unwrap();
    check_code(other.write_at(&[b"3"], 2), libc::ENOSPC);

    // A removed file takes space as long as it is open.
    disk.remove_file(path("/a")).unwrap();
    assert_eq!(disk.space(path("/")).unwrap().free, 0);
    drop(file);
    assert_eq!(disk.space(path("/")).unwrap().free, 6);
    assert_eq!(counted(&disk), [("full", 5)]);
    disk.set_faults(DiskFaults::default());
    other.allocate(1 << 30).unwrap();
}

#[test]
fn old_handles_are_worth_nothing() {
    let ends: [fn(&SimDisk) -> SimDisk; 2] = [
        |disk| {
            disk.crash();
            disk.clone()
        },
        |disk| disk.reopen(),
    ];
    for end in ends {
        let disk = SimDisk::new(1);
        store(&disk, "/a", b"bytes");
        let file = open(&disk, "/a");
        assert!(file.try_lock().unwrap());
        let disk = end(&disk);
        let results = [
            file.read_at(&mut [0], 0).map(drop),
            file.write_at(&[b"x"], 0),
            file.sync_data(),
            file.len().map(drop),
            file.set_len(0),
            file.allocate(9),
            file.try_lock().map(drop),
        ];
        results.into_iter().for_each(|result| check_code(result, libc::ESTALE));
        file.uncache(0..9);
        assert_eq!(disk.counts().stale, 8);
        // The lock went with the process; what is left of it does not unlock the next one's.
        let next = open(&disk, "/a");
        assert!(next.try_lock().unwrap());
        drop(file);
        assert!(!open(&disk, "/a").try_lock().unwrap());
        assert_eq!(disk.read(path("/a")).unwrap(), b"bytes");
    }
}

#[test]
fn a_process_that_is_gone_has_no_disk() {
    let disk = SimDisk::new(1);
    store(&disk, "/a", b"bytes");
    disk.open(path("/new"), OpenMode::CreateNew).unwrap();
    let next = disk.reopen();
    assert_eq!(next.read_dir(path("/")).unwrap(), ["a", "new"], "only a power cut loses anything");
    check_code(disk.open(path("/a"), OpenMode::Read), libc::ESTALE);
    check_code(disk.metadata(path("/a")), libc::ESTALE);
    check_code(disk.remove_file(path("/a")), libc::ESTALE);
    check_code(disk.sync_dir(path("/")), libc::ESTALE);
    check_code(disk.space(path("/")), libc::ESTALE);
    assert_eq!(next.read(path("/a")).unwrap(), b"bytes");
    assert_eq!(disk.counts(), next.counts(), "the harness may use any handle");
}

#[test]
fn a_disk_is_slow_or_hangs() {
    let disk = SimDisk::new(1);
    let ms = Duration::from_millis;
    assert_eq!(disk.delay(), Some(Duration::ZERO));
    disk.set_faults(DiskFaults { delay: ms(5)..ms(5), ..DiskFaults::default() });
    assert_eq!(disk.delay(), Some(ms(5)));
    disk.set_faults(DiskFaults { delay: ms(1)..ms(100), ..DiskFaults::default() });
    let delays: Vec<Duration> = (0..100).map(|_| disk.delay().unwrap()).collect();
    assert!(delays.iter().all(|delay| (ms(1)..ms(100)).contains(delay)));
    assert!(delays.iter().max() > Some(&ms(80)) && delays.iter().min() < Some(&ms(20)));
    disk.set_faults(DiskFaults { hung: true, ..DiskFaults::default() });
    assert_eq!(disk.delay(), None);
    assert_eq!(counted(&disk), [("slow", 101), ("hung", 1)]);
}
