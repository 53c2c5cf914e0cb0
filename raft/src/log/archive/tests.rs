//! What an archive is told, whatever it answers.

use std::path::Path;

use super::super::tests::{A, append, entry, open, sim};
use super::super::{EntryId, Log, segment};
use super::News;

/// Fills about `count` segments with entries of which none is needed any more.
fn fill(log: &Log, count: u64) {
    let end = log.lock().current + count;
    while log.lock().current < end {
        let next = log.state(A).last.map_or(0, |last| last.index + 1);
        append(log, A, [entry(1, next)]).unwrap();
        log.purge(A, EntryId { term: 1, index: next });
    }
}

fn numbers(disk: &dyn env::Disk) -> Vec<u64> {
    let names = disk.read_dir(Path::new("/log")).unwrap();
    names.iter().filter_map(|name| segment::number(name.to_str().unwrap())).collect()
}

/// Takes all that there is and says what it was: a number for a segment, a range for lost ones.
fn take_all(log: &Log, disk: &dyn env::Disk) -> String {
    let mut taken = Vec::new();
    while let Some(news) = log.archive_news() {
        taken.push(match &news {
            News::Lost(numbers) => format!("{numbers:?}"),
            News::Sealed(number, path) => {
                let bytes = disk.read(path).unwrap();
                assert_eq!(segment::decode(&bytes).unwrap().number, *number);
                number.to_string()
            }
        });
        log.archived(&news);
    }
    taken.join(" ")
}

#[test]
fn segments_stay_until_the_archive_has_them() {
    let (env, _) = sim(1);
    let log = open(&env).unwrap();
    log.keep_for_archive();
    fill(&log, 5);
    assert_eq!(numbers(&*env.disk)[..5], [1, 2, 3, 4, 5], "none is needed, none is taken");
    let again = log.archive_news();
    assert_eq!(again, log.archive_news(), "after an error the same comes again");
    assert_eq!(take_all(&log, &*env.disk), "1 2 3 4");
    fill(&log, 1);
    assert_eq!(numbers(&*env.disk)[0], 5);
    assert_eq!(take_all(&log, &*env.disk), "5");
    // After a restart what is still there comes again, taken or not.
    fill(&log, 1);
    drop(log);
    let log = open(&env).unwrap();
    log.keep_for_archive();
    fill(&log, 1);
    assert_eq!(take_all(&log, &*env.disk), "6 7");
}

#[test]
fn what_the_archive_does_not_take_is_given_up_and_reported() {
    let (env, _) = sim(1);
    let log = open(&env).unwrap();
    assert_eq!((log.archive_news(), log.limit_archive(0)), (None, None), "there is no archive");
    log.keep_for_archive();
    fill(&log, 8);
    assert_eq!(log.limit_archive(100_000), None);
    let taking = log.archive_news().unwrap();
    let lost = log.limit_archive(7000).unwrap();
    assert_eq!(lost, 1..5, "three segments of 2000 bytes may wait");
    log.archived(&taking);
    fill(&log, 1);
    assert_eq!(numbers(&*env.disk)[0], 5, "it is given up to have room");
    assert_eq!(take_all(&log, &*env.disk), "2..5 5 6 7 8", "the first was taken after all");
}
