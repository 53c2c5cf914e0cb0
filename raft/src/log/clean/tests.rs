//! Cleaning beside a busy and a quiet group: the log stays small, and a crash at any step takes nothing.

use std::path::PathBuf;

use env::Random;
use env::disk::{DiskFault, DiskFaults, FaultRule, When};

use super::super::tests::{A, B, append, describe, entry, open_with, sim};
use super::super::{EntryId, Log};

/// Bytes beyond which the logs of these tests are cleaned: five segments.
const LOG_SIZE: u64 = 10_000;
/// Entries that each group keeps: half of the log.
const KEPT: u64 = 20;

/// One step of a workload: the busy group or, seldom, the quiet one appends, purges, or replaces its last entries.
fn step(log: &Log, random: &Random) -> std::io::Result<()> {
    let group = if random.below(20) == 0 { B } else { A };
    let last = log.state(group).last.unwrap_or_default();
    let surplus = last.index.saturating_sub(KEPT);
    if let Some(entry) = log.read(group, surplus, surplus + 1, 1).unwrap().first()
        && surplus > 0
    {
        log.purge(group, entry.id);
    }
    if random.below(10) == 0 && last.index > KEPT {
        log.truncate(group, last.index - 1);
        return append(log, group, [entry(last.term + 1, last.index - 1)]);
    }
    append(log, group, [entry(last.term, last.index + 1)])
}

fn start(log: &Log) {
    for group in [A, B] {
        append(log, group, [entry(1, 0)]).unwrap();
    }
}

#[test]
fn a_quiet_group_does_not_make_the_log_grow() {
    let (env, disk) = sim(1);
    let log = open_with(&env, LOG_SIZE).unwrap();
    start(&log);
    let random = Random::seeded(1);
    for _ in 0..4000 {
        step(&log, &random).unwrap();
        assert!(log.size() <= LOG_SIZE + 2 * 2000, "{} bytes", log.size());
    }
    assert!(
        log.state(B).last.unwrap().index < 300 && log.lock().current > 200,
        "quiet, and much was written"
    );
    let before = [A, B].map(|group| describe(&log, group));
    drop(log);
    disk.crash();
    let log = open_with(&env, LOG_SIZE).unwrap();
    assert_eq!([A, B].map(|group| describe(&log, group)), before);
}

/// Errors of the disk at random moments end the log, then the power goes: what comes back is the state after some step
/// that is not older than the last one acknowledged. The next life reads what this one has moved.
#[test]
fn a_crash_at_any_step_of_cleaning_takes_nothing() {
    let rule =
        |fault, chance| FaultRule { prefix: PathBuf::from("/"), fault, when: When::PerMillion(chance) };
    let faults = DiskFaults {
        rules: vec![
            rule(DiskFault::SyncError, 2000),
            rule(DiskFault::ShortWrite, 2000),
            rule(DiskFault::WriteError, 2000),
            rule(DiskFault::NameError, 50_000),
        ],
        ..DiskFaults::default()
    };
    let mut moved = 0;
    for seed in 0..40 {
        let (env, disk) = sim(seed);
        start(&open_with(&env, LOG_SIZE).unwrap());
        let random = Random::seeded(seed);
        for life in 0..4 {
            let log = open_with(&env, LOG_SIZE).unwrap();
            disk.set_faults(faults.clone());
            let state = || [A, B].map(|group| describe(&log, group));
            let mut possible = vec![state()];
            for _ in 0..1000 {
                let result = step(&log, &random);
                if result.is_ok() {
                    possible.clear();
                }
                possible.push(state());
                moved += log.lock().to_move.len();
                if result.is_err() {
                    break;
                }
            }
            disk.set_faults(DiskFaults::default());
            drop(log);
            disk.crash();
            let log = open_with(&env, LOG_SIZE).unwrap();
            let found = [A, B].map(|group| describe(&log, group));
            assert!(possible.contains(&found), "seed {seed}, life {life}: {found:?} is none of {possible:?}");
        }
    }
    assert!(moved > 0, "errors hit while segments were cleaned");
}

/// A damaged entry is not copied as if it were whole, and its segment stays for whoever repairs it.
#[test]
fn what_is_damaged_stays_where_it_is() {
    let (env, disk) = sim(1);
    let log = open_with(&env, LOG_SIZE).unwrap();
    append(&log, B, [entry(1, 0)]).unwrap();
    drop(log);
    let path = std::path::Path::new("/log/0000000000000001.raftlog");
    let log = open_with(&env, LOG_SIZE).unwrap();
    disk.flip_bit(path, 32 + 50, 1);
    (0..400).for_each(|index| {
        append(&log, A, [entry(1, index)]).unwrap();
        log.purge(A, EntryId { term: 1, index });
    });
    assert!(env.disk.exists(path));
    assert!(log.read(B, 0, 1, u64::MAX).unwrap_err().message().contains("entry 0 of partition 2 is damaged"));
}
