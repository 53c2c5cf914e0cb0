//! Goal: whatever bytes are found in the place of a log, it is refused, or what is read of it was written.
//! Method: random bytes, good logs with random damage, and records that match their checksum but make no sense.

use proptest::prelude::*;
use proptest::sample::Index;
use types::limits::COUNTER_MAX;

use super::*;

fn path(number: u64) -> PathBuf {
    segment::path(Path::new("/log"), number)
}

/// Opens what is there, reads it and goes on with it: the last entries that were found; `None` when it is refused.
#[track_caller]
fn open_and_go_on(env: &Env) -> Option<[EntryId; 2]> {
    let log = match open_with(env, 3000) {
        Ok(log) => log,
        Err(e) => {
            assert!(matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::Invalid), "{e}");
            return None;
        }
    };
    let found = last(&log);
    for (group, EntryId { term, index }) in [A, B].into_iter().zip(found) {
        let _ = log.read(group, 0, u64::MAX, u64::MAX);
        log.usage_upto(group, u64::MAX);
        let next = LogEntry { id: EntryId { term, index: index + 1 }, body: Bytes::from(vec![7; 3000]) };
        let _ = log.append(group, vec![next], Box::new(|_| ()));
        log.purge(group, EntryId { term, index });
    }
    Some(found)
}

fn last(log: &Log) -> [EntryId; 2] {
    [A, B].map(|group| log.state(group).last.unwrap_or_default())
}

/// What was found and gone on with is there the next time.
#[track_caller]
fn check_kept(env: &Env, found: Option<[EntryId; 2]>) {
    let Some(found) = found else { return };
    let now = last(&open_with(env, 3000).unwrap());
    assert!(now[0].index > found[0].index && now[1].index > found[1].index, "{found:?} then {now:?}");
}

fn rubbish(size: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..size)
}

/// Numbers, those at the ends of what is possible more often than others.
fn number() -> impl Strategy<Value = u64> {
    let ends = [COUNTER_MAX - 1000, COUNTER_MAX + 1, u64::MAX - 1, u64::MAX];
    prop_oneof![6 => 0u64..6, 2 => proptest::sample::select(ends.to_vec()), 1 => any::<u64>()]
}

fn id() -> impl Strategy<Value = EntryId> {
    (number(), number()).prop_map(|(term, index)| EntryId { term, index })
}

fn a_record() -> impl Strategy<Value = Record> {
    let vote = || {
        (number(), number(), any::<bool>()).prop_map(|(term, node, committed)| SavedVote {
            term,
            node,
            committed,
        })
    };
    let ids = || proptest::option::of(id());
    let state = (proptest::option::of(vote()), ids(), ids(), ids())
        .prop_map(|(vote, purged, last, committed)| GroupState { vote, purged, last, committed });
    prop_oneof![
        4 => (id(), rubbish(9)).prop_map(|(id, body)| Record::Entry(id, body.into())),
        1 => (id(), rubbish(9)).prop_map(|(id, body)| Record::Moved(id, body.into())),
        1 => vote().prop_map(Record::Vote),
        1 => number().prop_map(Record::Truncate),
        1 => id().prop_map(Record::Purge),
        1 => id().prop_map(Record::Committed),
        1 => state.prop_map(Record::State),
        3 => Just(Record::End),
    ]
}

proptest! {
    #[test]
    fn random_bytes_are_no_log(bytes in rubbish(300), first in number()) {
        let header = segment::encode(segment::Header { number: 1, commit_first: first });
        for bytes in [&bytes[..], &[&header[..], &bytes[..]].concat()] {
            let (env, disk) = sim(1);
            disk.create_dir_all(Path::new("/log")).unwrap();
            disk.write_atomic(&path(1), bytes).unwrap();
            let found = open_and_go_on(&env);
            prop_assert_eq!(found.unwrap_or_default(), [EntryId::default(); 2]);
            check_kept(&env, found);
        }
    }

    /// Entries are those that were written, from the first one on, wherever the bytes are damaged.
    #[test]
    fn what_is_left_of_a_damaged_log_was_written(
        segment: Index, at: Index, bytes in rubbish(200), cuts: bool
    ) {
        let (env, disk) = sim(1);
        let log = open(&env).unwrap();
        (0..40).for_each(|index| append(&log, A, [entry(1, index)]).unwrap());
        drop(log);
        let names = disk.read_dir(Path::new("/log")).unwrap();
        let path = Path::new("/log").join(segment.get(&names));
        let good = disk.read(&path).unwrap();
        let (before, after) = good.split_at(at.index(good.len()));
        let after = if cuts { &[][..] } else { after.get(bytes.len()..).unwrap_or_default() };
        disk.write_atomic(&path, &[before, &bytes, after].concat()).unwrap();
        if let Ok(log) = open(&env) {
            describe(&log, A);
            let state = log.state(A);
            prop_assert_eq!(state.purged, None);
            prop_assert!(state.last.is_none_or(|last| last.index < 40));
        }
        check_kept(&env, open_and_go_on(&env));
    }

    /// A checksum says that bytes are as they were written, not that they make sense.
    #[test]
    fn records_that_cannot_be_are_no_records(
        records in proptest::collection::vec((1u32..3, prop_oneof![9 => Just(0), 1 => number()], a_record()), 1..12),
        first in prop_oneof![4 => Just(1), 1 => number()],
        number in prop_oneof![4 => Just(1), 1 => number()],
    ) {
        let mut bytes = segment::encode(segment::Header { number, commit_first: first }).to_vec();
        let mut commit = first;
        for (group, other, record) in records {
            let group = if record == Record::End { PartitionId(0) } else { PartitionId(group) };
            record::encode(&mut bytes, group, if other == 0 { commit } else { other }, &record);
            commit = commit.wrapping_add(u64::from(record == Record::End));
        }
        record::encode(&mut bytes, PartitionId(0), commit, &Record::End);
        let (env, disk) = sim(1);
        disk.create_dir_all(Path::new("/log")).unwrap();
        disk.write_atomic(&path(number), &bytes).unwrap();
        if open_and_go_on(&env).is_some() {
            open_and_go_on(&env);
        }
    }
}
