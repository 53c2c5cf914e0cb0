//! Goal: what holds for the machines of every kind: outcome or halt, equal digests, feature levels. Method: one log per
//! kind with commands of all sorts, over stores that fail, are copied, or are of another build.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use kv::{Batch, Durability, Kv, MemKv, Order, Overlay, Read, Visit};
use proto::command::{LEVEL_NEWEST, Logged, NamespaceCommand, Stamped};
use types::{Error, FeatureLevel, Millis, NamespaceName, PartitionId, Result, TenantId};

use crate::index::IndexMachine;
use crate::namespace::NamespaceMachine;
use crate::root::RootMachine;
use crate::{Digest, Halt, Machine, Replica, decode_answer, digest_of, index, namespace, root};

const PARTITION: PartitionId = PartitionId(3);

/// A store of which one read fails, after it has shown what it was asked for.
struct Failing<'a> {
    rows: &'a dyn Read,
    /// Its number, from 0.
    fails: usize,
    count: AtomicUsize,
}

impl<'a> Failing<'a> {
    fn new(rows: &'a dyn Read, fails: usize) -> Self {
        Self { rows, fails, count: AtomicUsize::new(0) }
    }

    fn count(&self) -> Result<()> {
        match self.count.fetch_add(1, Ordering::Relaxed) == self.fails {
            true => Err(Error::corrupt("a block does not match its checksum")),
            false => Ok(()),
        }
    }

    fn has_failed(&self) -> bool {
        self.count.load(Ordering::Relaxed) > self.fails
    }
}

impl Read for Failing<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.count()?;
        self.rows.get(key)
    }

    fn scan(&self, start: &[u8], end: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<()> {
        self.rows.scan(start, end, order, visit)?;
        self.count()
    }
}

/// A kind of partition, with a log that has commands of all sorts.
struct Kind<M> {
    machine: fn() -> M,
    log: fn() -> Vec<Bytes>,
}

const NAMESPACES: Kind<NamespaceMachine> =
    Kind { machine: NamespaceMachine::default, log: namespace::tests::log };
const INDEX: Kind<IndexMachine> = Kind { machine: IndexMachine::default, log: index::tests::log };
const ROOT: Kind<RootMachine> = Kind { machine: || RootMachine, log: root::tests::log };

impl<M: Machine> Kind<M> {
    fn replica(&self) -> Replica<M> {
        Replica::new(PARTITION, (self.machine)())
    }

    /// The state after a log, and every answer.
    fn after(&self, log: &[Bytes]) -> (MemKv, Vec<Bytes>) {
        let (kv, replica) = (MemKv::new(0), self.replica());
        let answers = (1..).zip(log).map(|(index, command)| step(&replica, &kv, index, command).unwrap());
        let answers = answers.collect();
        (kv, answers)
    }
}

/// Applies one command.
fn step<M: Machine>(replica: &Replica<M>, kv: &MemKv, index: u64, command: &[u8]) -> Result<Bytes, Halt> {
    let mut overlay = Overlay::new(kv);
    let answer = replica.apply(&mut overlay, index, command)?;
    kv.write(overlay.into_batch(), Durability::Buffered).unwrap();
    Ok(answer)
}

fn rows(read: &dyn Read) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    read.scan(b"", b"", Order::Forward, visit).unwrap();
    rows
}

/// A store with these rows.
fn store(rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> MemKv {
    let mut batch = Batch::new();
    rows.into_iter().for_each(|(key, value)| batch.put(&key, &value));
    let kv = MemKv::new(0);
    kv.write(batch, Durability::Buffered).unwrap();
    kv
}

fn digest<M: Machine>(_: &Kind<M>, state: &dyn Read) -> Digest {
    digest_of::<M>(state).unwrap()
}

/// Whichever read of whichever command fails: no outcome, no change, and afterwards all goes on as if nothing had been.
fn check_halts<M: Machine>(kind: &Kind<M>) {
    let log = (kind.log)();
    let (reference, answers) = kind.after(&log);
    let (kv, replica) = (MemKv::new(0), kind.replica());
    let mut halts = 0;
    for ((index, command), want) in (1..).zip(&log).zip(&answers) {
        for fails in 0.. {
            let failing = Failing::new(&kv, fails);
            let mut overlay = Overlay::new(&failing);
            match replica.apply(&mut overlay, index, command) {
                Ok(answer) => {
                    assert_eq!(answer, *want);
                    assert!(!failing.has_failed(), "read {fails} of command {index} fails and is an outcome");
                    break;
                }
                Err(halt) => {
                    let (halt, place) =
                        (halt.to_string(), format!("partition 3 stops before command {index}"));
                    assert!(halt.contains(&place) && halt.contains("checksum"), "{halt}");
                    assert!(overlay.is_empty(), "command {index} halts and leaves a trace");
                    halts += 1;
                }
            }
        }
        assert_eq!(step(&replica, &kv, index, command).unwrap(), *want, "command {index} after a halt");
    }
    assert!(halts > log.len(), "every command reads something");
    assert_eq!(rows(&kv), rows(&reference));
}

#[test]
fn a_failed_read_is_a_halt_and_never_an_outcome() {
    check_halts(&NAMESPACES);
    check_halts(&INDEX);
    check_halts(&ROOT);
}

fn check_digests<M: Machine>(kind: &Kind<M>) {
    let log = (kind.log)();
    let (kv, _) = kind.after(&log);
    let want = digest(kind, &kv);
    assert_eq!(digest(kind, &kind.after(&log).0), want, "one log, applied twice");
    // All commands as one batch.
    let (whole, replica) = (MemKv::new(0), kind.replica());
    let mut overlay = Overlay::new(&whole);
    for (index, command) in (1..).zip(&log) {
        replica.apply(&mut overlay, index, command).unwrap();
    }
    assert_eq!(digest(kind, &overlay), want, "in other batches");
    // A snapshot that another build has stored without compression.
    let plain = |(key, value): (Vec<u8>, Vec<u8>)| {
        let plain = proto::open(&value[1..]).unwrap();
        (key, [&value[..1], &[1, 0], &plain].concat())
    };
    let copy = store(rows(&kv).into_iter().map(plain));
    assert_eq!(digest(kind, &copy), want, "stored in another way");
    for (at, (key, value)) in rows(&kv).iter().enumerate() {
        let mut others = rows(&kv);
        others.remove(at);
        assert_ne!(digest(kind, &store(others.clone())), want, "without {}", key.escape_ascii());
        let mut moved = key.clone();
        *moved.last_mut().unwrap() ^= 1;
        if others.iter().all(|(other, _)| *other != moved) {
            others.push((moved, value.clone()));
            if let Ok(found) = digest_of::<M>(&store(others)) {
                assert_ne!(found, want, "{} has another key", key.escape_ascii());
            }
        }
    }
}

/// I-DET
#[test]
fn equal_states_have_equal_digests_and_others_do_not() {
    check_digests(&NAMESPACES);
    check_digests(&INDEX);
    check_digests(&ROOT);
}

/// Every byte of every row means something: a row with one byte changed is unreadable or changes the digest. Only the
/// words of a remembered answer are any build's own; what was asked for stands before them.
fn check_fields<M: Machine>(kind: &Kind<M>) {
    let (kv, _) = kind.after(&(kind.log)());
    let want = digest(kind, &kv);
    let all = rows(&kv);
    for at in 0..all.len() {
        let plain = proto::open(&all[at].1[1..]).unwrap().into_owned();
        let meant = if all[at].0.get(2) == Some(&b'r') { 16 } else { plain.len().min(200) };
        for byte in 0..meant {
            let mut damaged = plain.clone();
            damaged[byte] ^= 1;
            let mut others = all.clone();
            others[at].1 = [&all[at].1[..1], &[1, 0], &damaged].concat();
            if let Ok(found) = digest_of::<M>(&store(others)) {
                assert_ne!(found, want, "byte {byte} of {}", all[at].0.escape_ascii());
            }
        }
    }
}

#[test]
fn every_field_of_every_row_is_in_the_digest() {
    check_fields(&NAMESPACES);
    check_fields(&INDEX);
    check_fields(&ROOT);
}

/// The level of a state, and what came of a command.
fn at_level(kv: &MemKv) -> FeatureLevel {
    crate::level(kv).unwrap()
}

fn check_levels<M: Machine>(kind: &Kind<M>) {
    let newest = FeatureLevel(7);
    let (new, old) = (kind.replica().of_build(newest), kind.replica().of_build(FeatureLevel(4)));
    let (kv, behind) = (MemKv::new(0), MemKv::new(0));
    let mut log = (kind.log)();
    log.insert(1, Logged::set_level(FeatureLevel(4)));
    log.push(Logged::set_level(FeatureLevel(3)));
    for (index, command) in (1..).zip(&log) {
        assert_eq!(step(&new, &kv, index, command), step(&old, &behind, index, command));
        assert_eq!(digest(kind, &kv), digest(kind, &behind), "two builds after command {index}");
    }
    assert_eq!(at_level(&kv), FeatureLevel(4), "a level is never lowered");
    let index = log.len() as u64 + 1;
    let raise = Logged::set_level(FeatureLevel(5));
    let halt = step(&old, &behind, index, &raise).unwrap_err().to_string();
    assert!(halt.contains("knows levels up to 4: update this node"), "{halt}");
    assert_eq!(at_level(&behind), FeatureLevel(4));
    assert_eq!(decode_answer(&step(&new, &kv, index, &raise).unwrap()), Ok(FeatureLevel(5)));
    // What the newer build has made is nothing for the older one: neither a log to go on with nor a state to open.
    let halt = step(&old, &kv, index + 1, &log[0]).unwrap_err().to_string();
    assert!(halt.contains("is at feature level 5"), "{halt}");
    assert!(old.restored(&kv).is_err() && new.restored(&kv).is_ok() && old.restored(&behind).is_ok());
}

#[test]
fn an_old_build_goes_with_a_new_one_up_to_its_level_and_halts_there() {
    check_levels(&NAMESPACES);
    check_levels(&INDEX);
    check_levels(&ROOT);
}

/// Builds that know a command and builds that do not must agree about it until the level is reached.
#[test]
fn a_command_above_the_level_is_refused_by_every_build() {
    let future = [&[1, 1, 6, 0, 0, 0], &b"a command of level 6"[..]].concat();
    let kv = MemKv::new(0);
    for newest in [1, 6, 9].map(FeatureLevel) {
        let replica = NAMESPACES.replica().of_build(newest);
        let error = decode_answer::<()>(&step(&replica, &kv, 1, &future).unwrap()).unwrap_err();
        assert!(error.message().contains("needs feature level 6, partition 3 is at 1"), "{error}");
        assert!(rows(&kv).is_empty());
    }
}

#[test]
fn what_cannot_be_read_is_a_halt_that_says_what_to_do() {
    let create = NamespaceCommand::Create {
        name: NamespaceName::parse("a").unwrap(),
        owner: "a".into(),
        tenant: TenantId::FIRST,
    };
    let good = Stamped { time: Millis(1), command: create }.encode();
    let mut of_no_level = good.to_vec();
    of_no_level[2] = 0;
    let log = [&b"rubbish"[..], b"", &good[..good.len() - 1], &[&good[..], &[0]].concat(), &of_no_level];
    for command in log {
        let kv = MemKv::new(0);
        let halt = step(&NAMESPACES.replica(), &kv, 77, command).unwrap_err().to_string();
        for part in ["partition 3 stops before command 77", "update this node", "skip it"] {
            assert!(halt.contains(part), "{halt}");
        }
        assert!(rows(&kv).is_empty());
    }
}

/// A row of the future or of a damaged disk, wherever a command meets it.
#[test]
fn a_row_that_cannot_be_read_is_a_halt() {
    let log = (NAMESPACES.log)();
    let (kv, _) = NAMESPACES.after(&log[..1]);
    for value in [&[9, 1, 0][..], &[1, 1, 0], &[]] {
        let kv = store(rows(&kv).into_iter().map(|(key, _)| (key, value.to_vec())));
        let before = rows(&kv);
        let halt = step(&NAMESPACES.replica(), &kv, 2, &log[1]).unwrap_err().to_string();
        assert!(halt.contains("partition 3 stops before command 2"), "{halt}");
        assert_eq!(rows(&kv), before);
    }
}

/// Only the next build has something at the next level.
#[test]
fn the_newest_level_is_the_one_that_this_build_was_made_for() {
    assert_eq!(LEVEL_NEWEST.0, 1 + u32::from(cfg!(feature = "next-level")));
}

#[cfg(feature = "next-level")]
mod next {
    use super::*;

    fn mark() -> Bytes {
        Stamped {
            time: Millis(1),
            command: NamespaceCommand::Mark { namespace: crate::namespace::tests::NS },
        }
        .encode()
    }

    /// What comes with a level is not written before the log has reached it, and then everywhere.
    #[test]
    fn what_comes_with_the_next_level_is_written_from_then_on() {
        let (kv, replica) = (MemKv::new(0), NAMESPACES.replica());
        let version = || kv.get(b"\x3d\x9bn\0\0\0\0\0\x01").unwrap().unwrap()[0];
        let log = (NAMESPACES.log)();
        for (index, command) in (1..).zip(&log) {
            step(&replica, &kv, index, command).unwrap();
            assert_eq!(version(), 1);
        }
        let refused = decode_answer::<()>(&step(&replica, &kv, 50, &mark()).unwrap());
        assert!(refused.is_err_and(|e| e.message().contains("needs feature level 2")));
        step(&replica, &kv, 51, &Logged::set_level(FeatureLevel(2))).unwrap();
        let before = digest(&NAMESPACES, &kv);
        assert_eq!(version(), 1, "read in either version");
        assert_eq!(decode_answer::<()>(&step(&replica, &kv, 52, &mark()).unwrap()), Ok(()));
        assert_eq!(version(), 2);
        assert_ne!(digest(&NAMESPACES, &kv), before, "one more command is counted");
    }
}
