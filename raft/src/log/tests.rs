//! The log against crashes, rot and a failing disk. Every test writes through the public calls and opens again.
#![allow(clippy::cast_possible_truncation, reason = "sizes of tests are small")]

mod rubbish;

use std::path::Path;
use std::sync::mpsc;

use env::disk::{DiskFaults, SimDisk};
use env::task::DiskQueue;
use env::testing::temp_dir;
use types::ErrorKind;

use super::*;

pub(in crate::log) const A: PartitionId = PartitionId(1);
pub(in crate::log) const B: PartitionId = PartitionId(2);

pub(in crate::log) fn sim(seed: u64) -> (Env, SimDisk) {
    let disk = SimDisk::new(seed);
    (Env { disk: Arc::new(disk.clone()), ..Env::simulated(seed) }, disk)
}

pub(in crate::log) fn open(env: &Env) -> Result<Log> {
    open_with(env, u64::MAX)
}

/// With small segments; cleaned when the log has more than `log` bytes.
pub(in crate::log) fn open_with(env: &Env, log: u64) -> Result<Log> {
    Log::open_with(env, "/log".into(), DiskQueue::inline(), Sizes { segment: 2000, log, step: 500 })
}

pub(in crate::log) fn entry(term: u64, index: u64) -> LogEntry {
    LogEntry { id: EntryId { term, index }, body: Bytes::from(format!("{term}.{index}").repeat(10)) }
}

/// Appends and waits until it is durable.
pub(in crate::log) fn append(
    log: &Log,
    group: PartitionId,
    entries: impl IntoIterator<Item = LogEntry>,
) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel();
    log.append(group, entries.into_iter().collect(), Box::new(move |result| sender.send(result).unwrap()))
        .unwrap();
    receiver.recv().unwrap()
}

fn vote(log: &Log, group: PartitionId, term: u64) {
    log.save_vote(group, SavedVote { term, node: 7, committed: true }, Box::new(|result| result.unwrap()));
}

/// Vote, purged, entries, last and committed of a group as one line; checks that the entries say what they are.
pub(in crate::log) fn describe(log: &Log, group: PartitionId) -> String {
    let state = log.state(group);
    let entries = log.read(group, 0, u64::MAX, u64::MAX).unwrap();
    entries.iter().for_each(|found| assert_eq!(*found, entry(found.id.term, found.id.index)));
    let id = |id: Option<EntryId>| id.map_or("-".into(), |id| format!("{}.{}", id.term, id.index));
    let ids: Vec<String> = entries.iter().map(|entry| id(Some(entry.id))).collect();
    format!(
        "vote {} purged {} [{}] last {} committed {}",
        state.vote.map_or(0, |vote| vote.term),
        id(state.purged),
        ids.join(" "),
        id(state.last),
        id(state.committed)
    )
}

fn fill(log: &Log) {
    vote(log, A, 1);
    append(log, A, (0..4).map(|index| entry(1, index))).unwrap();
    log.purge(B, EntryId { term: 4, index: 2 });
    append(log, B, [entry(5, 3)]).unwrap();
    log.save_committed(A, EntryId { term: 1, index: 1 });
    log.truncate(A, 3);
    log.purge(A, EntryId { term: 1, index: 0 });
    append(log, A, [entry(2, 3), entry(2, 4)]).unwrap();
}

const FILLED_A: &str = "vote 1 purged 1.0 [1.1 1.2 2.3 2.4] last 2.4 committed 1.1";
const FILLED_B: &str = "vote 0 purged 4.2 [5.3] last 5.3 committed -";

#[test]
fn comes_back_as_it_was() {
    let (env, disk) = sim(1);
    let log = open(&env).unwrap();
    assert_eq!(describe(&log, A), "vote 0 purged - [] last - committed -");
    fill(&log);
    assert_eq!(describe(&log, A), FILLED_A);
    assert_eq!(describe(&log, B), FILLED_B);
    drop(log);
    disk.crash();
    let log = open(&env).unwrap();
    assert_eq!(describe(&log, A), FILLED_A);
    assert_eq!(describe(&log, B), FILLED_B);
    assert_eq!(log.usage_upto(B, u64::MAX), (1, record::entry_size(30) as u64));

    // An empty log that is told to continue elsewhere, as after a snapshot.
    log.truncate(A, 0);
    log.purge(A, EntryId { term: 3, index: 9 });
    append(&log, A, [entry(3, 10)]).unwrap();
    assert!(log.append(A, vec![entry(3, 12)], Box::new(|_| ())).is_err(), "a hole is refused");
    drop(log);
    assert_eq!(describe(&open(&env).unwrap(), A), "vote 1 purged 3.9 [3.10] last 3.10 committed 1.1");
}

#[test]
fn a_thread_commits_for_all_groups() {
    let dir = temp_dir();
    let env = Env::real();
    let log = Arc::new(Log::open(&env, dir.join("log"), DiskQueue::start("raft-log", &env.disk)).unwrap());
    let writers: Vec<_> = (0..8)
        .map(|group| {
            let log = log.clone();
            env::task::thread("writer", move || {
                (0..100).for_each(|index| append(&log, PartitionId(group), [entry(1, index)]).unwrap());
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let commits = log.lock().commit;
    assert!(commits < 800, "{commits} commits for 800 appends: nothing was grouped");
    log.close();
    assert!(append(&log, A, [entry(1, 100)]).is_err(), "closed");
    drop(log);
    let log = Log::open(&env, dir.join("log"), DiskQueue::start("raft-log", &env.disk)).unwrap();
    for group in 0..8 {
        assert_eq!(log.read(PartitionId(group), 0, 1000, u64::MAX).unwrap().len(), 100);
    }
}

/// Segments go when all their entries are purged, in any order; what they knew beside entries is not lost.
#[test]
fn empty_segments_are_deleted() {
    let (env, disk) = sim(1);
    let log = open(&env).unwrap();
    let count = || disk.read_dir(Path::new("/log")).unwrap().len();
    log.purge(B, EntryId { term: 4, index: 2 });
    append(&log, B, [entry(5, 3)]).unwrap();
    vote(&log, A, 4);
    (0..200).for_each(|index| append(&log, A, [entry(1, index)]).unwrap());
    assert!(count() > 5, "{} segments", count());
    log.purge(A, EntryId { term: 1, index: 197 });
    append(&log, A, [entry(1, 200)]).unwrap();
    assert!(count() <= 3, "the first (partition B), the last, and perhaps one more: {}", count());
    drop(log);
    disk.crash();
    let log = open(&env).unwrap();
    assert_eq!(describe(&log, A), "vote 4 purged 1.197 [1.198 1.199 1.200] last 1.200 committed -");
    assert_eq!(describe(&log, B), FILLED_B);
}

/// Cuts the file at every length: what was durable before the last commit is always there, and the log goes on.
/// Of a group that is forgotten the vote stays, and its segments can go; what it has later is not mixed with what it had,
/// whichever segments are left. The others stay as they are.
#[test]
fn a_forgotten_group_keeps_its_vote_and_no_more() {
    const NOTHING: &str = "vote 1 purged - [] last - committed -";
    for rounds in [0, 30, 100] {
        let (env, disk) = sim(rounds);
        let log = open(&env).unwrap();
        fill(&log);
        (5..5 + rounds).for_each(|index| append(&log, A, [entry(2, index)]).unwrap());
        let (sender, durable) = mpsc::channel();
        log.forget(A, Box::new(move |result| sender.send(result).unwrap()));
        durable.recv().unwrap().unwrap();
        assert_eq!((describe(&log, A), describe(&log, B)), (NOTHING.into(), FILLED_B.into()));
        assert_eq!((log.groups(), log.usage_upto(A, u64::MAX)), (vec![B], (0, 0)));
        drop(log);
        disk.crash();
        let log = open(&env).unwrap();
        assert_eq!((describe(&log, A), describe(&log, B)), (NOTHING.into(), FILLED_B.into()));
        // A new copy, filled by a state that ends in the middle of what there was.
        log.purge(A, EntryId { term: 3, index: 9 });
        append(&log, A, [entry(3, 10), entry(3, 11)]).unwrap();
        (4..4 + rounds).for_each(|index| append(&log, B, [entry(5, index)]).unwrap());
        drop(log);
        disk.crash();
        let log = open(&env).unwrap();
        assert_eq!(describe(&log, A), "vote 1 purged 3.9 [3.10 3.11] last 3.11 committed -");
        assert_eq!(log.read(B, 0, u64::MAX, u64::MAX).unwrap().len() as u64, 1 + rounds);
    }
}

#[test]
fn a_torn_tail_is_cut_wherever_it_tears() {
    let (env, disk) = sim(1);
    let log = open(&env).unwrap();
    let path = Path::new("/log/0000000000000001.raftlog");
    append(&log, A, [entry(1, 0), entry(1, 1)]).unwrap();
    let durable = disk.metadata(path).unwrap().size;
    append(&log, A, [entry(1, 2), entry(1, 3)]).unwrap();
    drop(log);
    let whole = disk.read(path).unwrap();
    for len in durable..=whole.len() as u64 {
        disk.write_atomic(path, &whole[..len as usize]).unwrap();
        let log = open(&env).unwrap();
        let want = if len < whole.len() as u64 { "[1.0 1.1]" } else { "[1.0 1.1 1.2 1.3]" };
        assert!(describe(&log, A).contains(want), "cut at {len}: {}", describe(&log, A));
        let next = log.state(A).last.unwrap().index + 1;
        append(&log, A, [entry(2, next)]).unwrap();
        drop(log);
        assert_eq!(open(&env).unwrap().state(A).last, Some(EntryId { term: 2, index: next }));
    }
}

/// Rot before the last commit is an error that says so; rot in the last commit looks like a torn write and is cut.
#[test]
fn rot_is_refused_before_the_end() {
    let (env, disk) = sim(1);
    let log = open(&env).unwrap();
    let path = Path::new("/log/0000000000000001.raftlog");
    (0..3).for_each(|index| append(&log, A, [entry(1, index)]).unwrap());
    drop(log);
    let whole = disk.read(path).unwrap();
    let commit_size = (whole.len() - segment::HEADER_SIZE) / 3;
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        disk.write_atomic(path, &bytes).unwrap();
        match open(&env) {
            Ok(log) => {
                assert!(at >= whole.len() - commit_size, "byte {at} of {} was ignored", whole.len());
                assert_eq!(log.state(A).last, Some(EntryId { term: 1, index: 1 }));
            }
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}");
                assert!(at < whole.len() - commit_size && e.message().contains("add it again"), "{at}: {e}");
            }
        }
    }
}

#[test]
fn rot_under_a_running_log_is_told_to_the_reader() {
    let (env, disk) = sim(1);
    let log = open(&env).unwrap();
    let path = Path::new("/log/0000000000000001.raftlog");
    append(&log, A, [entry(1, 0)]).unwrap();
    drop(log);
    let log = open(&env).unwrap();
    disk.flip_bit(path, segment::HEADER_SIZE as u64 + 50, 1);
    assert_eq!(log.read(A, 0, 1, u64::MAX).unwrap_err().kind(), ErrorKind::Corrupt);
}

/// A lost segment, or one that lost whole commits at its end, shows at the next segment.
#[test]
fn lost_commits_are_noticed() {
    let (env, disk) = sim(1);
    let log = open(&env).unwrap();
    (0..40).for_each(|index| append(&log, A, [entry(1, index)]).unwrap());
    drop(log);
    let path = Path::new("/log/0000000000000001.raftlog");
    let whole = disk.read(path).unwrap();
    disk.remove_file(path).unwrap();
    assert_eq!(open(&env).unwrap_err().kind(), ErrorKind::Corrupt);
    disk.write_atomic(path, &whole[..whole.len() - 50]).unwrap();
    assert_eq!(open(&env).unwrap_err().kind(), ErrorKind::Corrupt);
    let mut other = whole.clone();
    other[8] = 9;
    let crc = crc32fast::hash(&other[..28]);
    other[28..32].copy_from_slice(&crc.to_le_bytes());
    disk.write_atomic(path, &other).unwrap();
    assert!(open(&env).unwrap_err().message().contains("version 9"));
}

/// After a failed sync nothing is acknowledged any more, not even what might be on disk.
#[test]
fn a_failed_sync_is_final() {
    let (env, disk) = sim(1);
    let log = open(&env).unwrap();
    append(&log, A, [entry(1, 0)]).unwrap();
    disk.fail_syncs(Path::new("/log/0000000000000001.raftlog"));
    for index in 1..4 {
        assert!(append(&log, A, [entry(1, index)]).is_err());
    }
    assert_eq!(log.broken().unwrap().kind(), ErrorKind::Unavailable);
    drop(log);
    assert!(open(&env).is_err(), "what it shows must be durable");
    disk.crash();
    disk.set_faults(DiskFaults::default());
    let last = open(&env).unwrap().state(A).last.unwrap();
    assert!(last.index <= 1, "only the commit that failed may be there, not a later one: {last:?}");
}

#[test]
fn reads_are_bounded_and_old_entries_come_from_the_files() {
    let (env, _disk) = sim(1);
    let log = Log::open_with(&env, "/log".into(), DiskQueue::inline(), Sizes { segment: 1 << 30, ..SIZES })
        .unwrap();
    let big = |index| LogEntry { id: EntryId { term: 1, index }, body: vec![index as u8; 300_000].into() };
    (0..40).for_each(|index| append(&log, A, [big(index)]).unwrap());
    assert_eq!(log.read(A, 0, 40, u64::MAX).unwrap(), (0..40).map(big).collect::<Vec<_>>());
    assert_eq!(log.read(A, 5, 40, 1_000_000).unwrap().len(), 3);
    assert_eq!(log.read(A, 39, 100, 1).unwrap().len(), 1, "at least one, however large");
    assert_eq!(log.read(B, 0, 9, 9).unwrap(), []);
    assert_eq!(log.tail_start(A, 10, u64::MAX), 30);
    assert_eq!(log.tail_start(A, u64::MAX, 1_000_000), 37);
    assert!(
        log.append(
            A,
            vec![LogEntry { id: EntryId { term: 1, index: 40 }, body: vec![0; 17 << 20].into() }],
            Box::new(|_| ())
        )
        .is_err()
    );
}

/// The format, frozen: later versions must read these bytes.
#[test]
fn reads_v2() {
    let (env, disk) = sim(1);
    let path = Path::new("/log/0000000000000001.raftlog");
    let golden = include_bytes!("../../golden/raft_log_v2.bin");
    let log = Log::open(&env, "/log".into(), DiskQueue::inline()).unwrap();
    fill(&log);
    drop(log);
    assert!(disk.read(path).unwrap() == golden, "the bytes changed: a new format needs a new version");
    let log = open(&env).unwrap();
    assert_eq!(describe(&log, A), FILLED_A);
    assert_eq!(describe(&log, B), FILLED_B);

    let state = GroupState {
        vote: Some(SavedVote { term: 1, node: 2, committed: true }),
        purged: None,
        last: Some(EntryId { term: 3, index: 4 }),
        committed: Some(EntryId { term: 5, index: 6 }),
    };
    let states = [state, GroupState::default(), GroupState { purged: state.last, ..state }];
    let moved = Record::Moved(EntryId { term: 1, index: 2 }, Bytes::from_static(b"body"));
    for record in states.map(Record::State).into_iter().chain([moved]) {
        let mut bytes = Vec::new();
        record::encode(&mut bytes, A, 9, &record);
        let (framed, size) = record::decode(&bytes.clone().into()).unwrap();
        assert_eq!((framed.record, size), (record, bytes.len()));
    }
}

/// What a log shows after it was opened is durable, whatever a process that was killed had synced before: entries (I-ACK)
/// and the names of segments.
#[test]
fn what_a_killed_process_left_is_durable_once_it_is_read() {
    let path = Path::new("/log/0000000000000001.raftlog");
    let (env, disk) = sim(0);
    let log = open(&env).unwrap();
    append(&log, A, [entry(1, 0)]).unwrap();
    let size = disk.metadata(path).unwrap().size as usize;
    append(&log, A, [entry(1, 1)]).unwrap();
    drop(log);
    let bytes = disk.read(path).unwrap();
    for seed in 0..40 {
        // Killed between sync_data and sync_dir of the new segment, or between write_at and sync_data.
        for synced in [size, bytes.len()] {
            let (env, disk) = sim(seed);
            disk.create_dir_durably(Path::new("/log")).unwrap();
            let file = disk.open(path, env::OpenMode::CreateNew).unwrap();
            file.write_at(&[&bytes[..synced]], 0).unwrap();
            file.sync_data().unwrap();
            file.write_at(&[&bytes[synced..]], synced as u64).unwrap();
            drop(file);
            let log = open(&env).unwrap();
            assert_eq!(log.state(A).last.unwrap().index, 1);
            disk.crash();
            drop(log);
            let log = open(&Env { disk: Arc::new(disk.reopen()), ..env }).unwrap();
            let last = log.state(A).last.map(|last| last.index);
            assert_eq!(last, Some(1), "seed {seed}, {synced} bytes were synced");
        }
    }
}
