//! Goal: no state that a power loss can leave makes the disk lose what it acknowledged, or answer wrongly (I-ACK, I-READ).
//! Method: seeded sequences of puts, deletes, losses, sealing and rebuilding, in small segments. The power is cut at
//! every operation of each of them, before and after it takes effect; from there every subset of the writes and names
//! that are not durable, with every prefix of the index's own and without an index, is opened and compared with a
//! reference. `CASES=100000 cargo test --release -p segments crash_states -- --nocapture` says how many states at least.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use env::{Choices, Random};

use super::*;
use crate::index::Known;

const KEYS: u64 = 8;
const STEPS: u64 = 12;
/// States of the disk that are tried at one crash: all, where there are not more.
const SUBSETS_MAX: usize = 48;
/// Where there are more, so many that chance picks: with torn writes, too.
const TORN: u64 = 6;
/// Prefixes of the index that are tried with each of them.
const PREFIXES_MAX: u64 = 4;
const CASES_DEFAULT: u64 = 4_000;

/// What a reader may find under a key.
const ABSENT: u8 = 1;
const PRESENT: u8 = 2;
const LOST: u8 = 4;

#[derive(Clone, Copy, Debug)]
enum Action {
    Put(u64),
    Delete(u64),
    Distrust(u64),
    Seal,
    LoseIndex,
    RebuildIndex,
}

/// A sequence of batches, and what they do to a reference.
struct Script {
    seed: u64,
    batches: Vec<Vec<Action>>,
}

/// Where a script stands when the power is cut.
struct Crashed {
    disk: FaultyDisk,
    kv: MemKv,
    allowed: Vec<u8>,
}

#[test]
fn every_crash_state_keeps_what_was_acknowledged() {
    let cases = std::env::var("CASES").map_or(CASES_DEFAULT, |cases| cases.parse().expect("a number"));
    let (mut count, mut seed) = (0, 0);
    while count < cases {
        count += Script::new(seed).check_all();
        seed += 1;
    }
    println!("{count} crash states of {seed} scripts: nothing lost, nothing wrong");
}

impl Script {
    fn new(seed: u64) -> Self {
        let random = Random::seeded(seed);
        let action = || {
            let key = random.below(KEYS);
            match random.below(14) {
                0..=5 => Action::Put(key),
                6..=8 => Action::Delete(key),
                9 => Action::Distrust(key),
                10 => Action::Seal,
                11 => Action::LoseIndex,
                _ => Action::RebuildIndex,
            }
        };
        let batch = |_| (0..=random.below(2)).map(|_| action()).collect();
        Self { seed, batches: (0..STEPS).map(batch).collect() }
    }

    /// Returns how many states there were.
    fn check_all(&self) -> u64 {
        let mut count = 0;
        for cut in 0.. {
            for last_happens in [false, true] {
                let crashed = self.run(cut, last_happens);
                count += crashed.check_all(&format!("seed {}, cut at {cut}, {last_happens}", self.seed));
                if !crashed.disk.is_cut() {
                    return count;
                }
            }
        }
        unreachable!("a script ends")
    }

    /// Runs until the power is cut.
    fn run(&self, cut: u64, last_happens: bool) -> Crashed {
        let (disk, kv) = (FaultyDisk::new(self.seed), MemKv::new(self.seed));
        let mut crashed = Crashed { disk, kv, allowed: vec![ABSENT; KEYS as usize] };
        crashed.disk.cut_after(cut, last_happens);
        let Ok(mut engine) = open(&crashed.disk, &crashed.kv) else { return crashed };
        engine.segment_size = 5 << 10;
        for batch in &self.batches {
            if crashed.disk.is_cut() {
                break;
            }
            crashed.step(&mut engine, batch);
        }
        crashed
    }
}

impl Crashed {
    fn step(&mut self, engine: &mut Engine, batch: &[Action]) {
        let change = |action: &Action| match *action {
            Action::Put(n) => Some((n, PRESENT, put(n))),
            Action::Delete(n) => Some((n, ABSENT, Change::Delete { key: key(n) })),
            Action::Distrust(n) => Some((n, LOST, Change::Distrust { key: key(n) })),
            Action::Seal | Action::LoseIndex | Action::RebuildIndex => None,
        };
        let changes: Vec<(u64, u8, Change)> = batch.iter().filter_map(change).collect();
        let wanted: Vec<(usize, u8)> = changes.iter().map(|(n, want, _)| (*n as usize, *want)).collect();
        let changes: Vec<Change> = changes.into_iter().map(|(.., change)| change).collect();
        for (result, (n, want)) in engine.commit(&changes).into_iter().zip(wanted) {
            let allowed = &mut self.allowed[n];
            match result {
                // Only what is there can be distrusted; nothing else has an effect on what is lost or absent already.
                Ok(()) if want == LOST && *allowed != PRESENT => {}
                Ok(()) => *allowed = want,
                // Nobody knows what there is to distrust.
                Err(_)
                    if want == LOST && engine.shared.index.mode() != Mode::Ready && !self.disk.is_cut() => {}
                Err(error) => {
                    assert!(self.disk.is_cut(), "{error}");
                    // Without an index, what is left of a record that was not acknowledged may count as lost; not when
                    // the same bytes were there before.
                    *allowed |= if want == PRESENT && *allowed != PRESENT { PRESENT | LOST } else { want };
                }
            }
        }
        for action in batch {
            match action {
                Action::Seal => seal::seal_all(&engine.shared),
                Action::LoseIndex if !self.disk.is_cut() => {
                    engine.shared.index.set_mode(Mode::Lost);
                    let begun = engine.begin_rebuild();
                    assert!(begun.is_ok() || self.disk.is_cut(), "{begun:?}");
                }
                Action::RebuildIndex if !self.disk.is_cut() => {
                    let restored = restore(engine);
                    assert!(restored.is_ok() || self.disk.is_cut(), "{restored:?}");
                }
                _ => {}
            }
        }
    }

    fn check_all(&self, when: &str) -> u64 {
        let mut seen = BTreeSet::new();
        let choices = Choices::new(|bound| match bound {
            2 => vec![0, 1],
            5 => vec![4, 0], // A write survives, or does not.
            _ => vec![0],
        });
        let mut is_all = false;
        while !is_all && seen.len() < SUBSETS_MAX {
            self.check(&choices.random(), &mut seen, when);
            is_all = !choices.advance();
        }
        for torn in 0..TORN {
            self.check(&Random::seeded(torn), &mut seen, when);
        }
        seen.len() as u64
    }

    /// Opens one state of the disk with several of the index.
    fn check(&self, chance: &Random, seen: &mut BTreeSet<u64>, when: &str) {
        let disk = self.disk.sim.after_crash(chance);
        let mut hasher = DefaultHasher::new();
        disk.image().hash(&mut hasher);
        let image = hasher.finish();
        let unsynced = self.kv.unsynced_count();
        let steps = PREFIXES_MAX.min(unsynced + 1);
        let kept = (0..steps).map(|step| Some(unsynced - step * unsynced / steps.max(1)));
        for kept in kept.chain([None]) {
            let mut hasher = DefaultHasher::new();
            (image, kept).hash(&mut hasher);
            if !seen.insert(hasher.finish()) {
                continue;
            }
            let kv = kept.map_or_else(|| MemKv::new(9), |kept| self.kv.after_crash(kept));
            let disk = FaultyDisk::of(disk.after_crash(&Random::seeded(0)));
            let mut engine = open(&disk, &kv).unwrap();
            let when = format!("{when}, image {image:x}, index {kept:?}");
            self.check_answers(&engine, &when);
            // It goes on from there.
            assert_eq!(engine.commit(&[put(50)]), [Ok(())], "{when}");
            assert_eq!(read(&engine, 50).unwrap(), payload(50), "{when}");
        }
    }

    fn check_answers(&self, engine: &Engine, when: &str) {
        let tables = engine.shared.index.tables();
        let (mut records, mut lost) = (0, 0);
        for (n, allowed) in (0..KEYS).zip(&self.allowed) {
            let found = match tables.known(&key(n)).unwrap() {
                Known::Stored(_) => {
                    assert_eq!(read(engine, n).unwrap(), payload(n), "{when}: wrong bytes under key {n}");
                    records += 1;
                    PRESENT
                }
                Known::Lost(_) => {
                    lost += 1;
                    LOST
                }
                Known::Absent => ABSENT,
                Known::Unknown => panic!("{when}: the index does not know key {n}"),
            };
            assert!(found & allowed != 0, "{when}: key {n} is {found}, not {allowed}");
        }
        let status = engine.shared.status().clone();
        assert_eq!((status.totals.records, status.damage.lost), (records, lost), "{when}");
    }
}
