//! Goal: a seed replays. Method: the same random operations on two disks with all faults on, compared step by step.

use std::hash::{Hash, Hasher};

use proptest::prelude::*;

use super::model::{Step, dir, file, perform, steps};
use super::*;

const FAULTS: [DiskFault; 9] = [
    DiskFault::ReadError,
    DiskFault::WriteError,
    DiskFault::SyncError,
    DiskFault::NameError,
    DiskFault::ShortRead,
    DiskFault::ShortWrite,
    DiskFault::LostWrite,
    DiskFault::MisdirectedWrite,
    DiskFault::MisdirectedRead,
];

/// Everything on, now and then.
fn everything() -> DiskFaults {
    let rule = |fault| FaultRule { prefix: PathBuf::from("/"), fault, when: When::PerMillion(100_000) };
    DiskFaults { rules: FAULTS.into_iter().map(rule).collect(), capacity: 40_000, ..DiskFaults::default() }
}

/// What a step, a look at all files, and some rot say.
fn trace(disk: &SimDisk, step: &Step) -> String {
    let result = perform(disk, step).map_err(|error| error.raw_os_error());
    let hash = |bytes: Vec<u8>| {
        let mut hasher = std::hash::DefaultHasher::new();
        bytes.hash(&mut hasher);
        hasher.finish()
    };
    let files: Vec<_> = (0..10).map(|index| disk.read(&file(index)).ok().map(hash)).collect();
    let names: Vec<_> = (0..5).map(|index| disk.read_dir(&dir(index)).ok()).collect();
    format!("{step:?}: {result:?} {files:?} {names:?} {} {:?}", disk.rot(path("/"), 1), disk.counts())
}

proptest! {
    #[test]
    fn a_seed_replays(seed in any::<u64>(), steps in steps()) {
        let run = || {
            let disk = SimDisk::new(seed);
            disk.set_faults(everything());
            steps.iter().map(|step| trace(&disk, step)).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }
}

#[test]
fn every_fault_happens_and_seeds_differ() {
    let mut total: Vec<(&str, u64)> = Vec::new();
    let mut traces = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let script = |index: usize| match index % 12 {
            0 => Step::CreateDir { dir: index % 5 },
            1 => Step::Crash,
            2 => Step::SyncDir { dir: index % 5 },
            3 => Step::Rename { source: index % 10, target: (index + 1) % 10 },
            4 | 5 => Step::Sync { file: index % 10 },
            _ => Step::Write { file: index % 7, offset: 0, size: 100 * index, byte: 1 },
        };
        disk.set_faults(everything());
        traces.insert((0..150).map(|index| trace(&disk, &script(index))).collect::<String>());
        let counts = disk.counts().rows();
        total = counts
            .iter()
            .enumerate()
            .map(|(i, (name, count))| (*name, count + total.get(i).map_or(0, |t| t.1)))
            .collect();
    }
    assert_eq!(traces.len(), 20);
    let never: Vec<_> = total.into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect();
    assert_eq!(never, ["slow", "hung", "stale", "rollbacks"], "those have tests of their own");
}
