//! Goal: before a crash the disk is a plain file system; after one, what was synced is there and what was synced away
//! is not. Method: random operations on it and on a map of paths that also keeps what may be expected.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const DIRS: [&str; 5] = ["/", "/d", "/e", "/d/f", "/e/f"];
const NAMES: [&str; 2] = ["a", "b"];

/// One step; paths are indexes into the lists above.
#[derive(Clone, Debug)]
pub enum Step {
    Write { file: usize, offset: u64, size: usize, byte: u8 },
    SetLen { file: usize, len: u64 },
    Sync { file: usize },
    Rename { source: usize, target: usize },
    RemoveFile { file: usize },
    CreateDir { dir: usize },
    RenameDir { source: usize, target: usize },
    RemoveDir { dir: usize },
    SyncDir { dir: usize },
    Crash,
}

pub fn dir(index: usize) -> PathBuf {
    PathBuf::from(DIRS[index % DIRS.len()])
}

pub fn file(index: usize) -> PathBuf {
    dir(index).join(NAMES[index / DIRS.len() % NAMES.len()])
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (file, dir) = (0..DIRS.len() * NAMES.len(), 0..DIRS.len());
    let lens = prop_oneof![0..20u64, Just(511), Just(4096), 0..9000u64];
    let step = prop_oneof![
        6 => (file.clone(), lens.clone(), prop_oneof![0..20usize, 0..9000usize], 1..=255u8)
            .prop_map(|(file, offset, size, byte)| Step::Write { file, offset, size, byte }),
        1 => (file.clone(), lens).prop_map(|(file, len)| Step::SetLen { file, len }),
        4 => file.clone().prop_map(|file| Step::Sync { file }),
        3 => (file.clone(), file.clone()).prop_map(|(source, target)| Step::Rename { source, target }),
        2 => file.prop_map(|file| Step::RemoveFile { file }),
        4 => dir.clone().prop_map(|dir| Step::CreateDir { dir }),
        2 => (dir.clone(), dir.clone()).prop_map(|(source, target)| Step::RenameDir { source, target }),
        1 => (1..DIRS.len()).prop_map(|dir| Step::RemoveDir { dir }),
        5 => dir.prop_map(|dir| Step::SyncDir { dir }),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Does a step on the disk.
pub fn perform(disk: &SimDisk, step: &Step) -> io::Result<()> {
    match *step {
        Step::Write { file: at, offset, size, byte } => {
            disk.open(&file(at), OpenMode::Create)?.write_at(&[&vec![byte; size]], offset)
        }
        Step::SetLen { file: at, len } => disk.open(&file(at), OpenMode::ReadWrite)?.set_len(len),
        Step::Sync { file: at } => disk.open(&file(at), OpenMode::Read)?.sync_data(),
        Step::Rename { source, target } => disk.rename(&file(source), &file(target)),
        Step::RemoveFile { file: at } => disk.remove_file(&file(at)),
        Step::CreateDir { dir: at } => disk.create_dir_all(&dir(at)),
        Step::RenameDir { source, target } => disk.rename(&dir(source), &dir(target)),
        Step::RemoveDir { dir: at } => disk.remove_dir_all(&dir(at)),
        Step::SyncDir { dir: at } => disk.sync_dir(&dir(at)),
        Step::Crash => {
            disk.crash();
            Ok(())
        }
    }
}

/// A file or, without bytes, a directory.
#[derive(Clone, Default)]
struct Entry {
    bytes: Option<Vec<u8>>,
    /// The bytes at the last sync, and the first one that was changed since.
    synced: Vec<u8>,
    dirty_from: u64,
    /// Its name was synced.
    is_named: bool,
    /// Its name was durable once, and so were those of the directories above: a crash leaves it somewhere.
    is_safe: bool,
}

#[derive(Debug, Default)]
struct Model {
    entries: BTreeMap<PathBuf, Entry>,
    /// Names that nothing has any more, and whether that was synced.
    gone: BTreeMap<PathBuf, bool>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = self.bytes.as_ref().map(Vec::len);
        let Self { synced, dirty_from, is_safe, .. } = self;
        write!(f, "{size:?}, {} synced, dirty from {dirty_from:x}, safe {is_safe}", synced.len())
    }
}

impl Entry {
    fn change(&mut self, from: u64, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.bytes.as_mut().expect("a file"));
        self.dirty_from = self.dirty_from.min(from);
    }

    /// True when these can be the bytes after a crash.
    fn allows(&self, bytes: &[u8]) -> bool {
        let kept = self.synced.len().min(usize::try_from(self.dirty_from).unwrap_or(usize::MAX));
        let is_clean = self.dirty_from == u64::MAX;
        bytes.starts_with(&self.synced[..kept]) && (!is_clean || bytes.len() == self.synced.len())
    }
}

impl Model {
    /// What is there after a crash is what counts from now on.
    fn adopt(disk: &SimDisk) -> Self {
        let mut model = Self::default();
        let mut dirs = vec![PathBuf::from("/")];
        while let Some(dir) = dirs.pop() {
            for at in disk.read_dir(&dir).unwrap().into_iter().map(|name| dir.join(name)) {
                let bytes = disk.read(&at).ok();
                dirs.extend(bytes.is_none().then(|| at.clone()));
                let synced = bytes.clone().unwrap_or_default();
                let (is_named, is_safe) = (true, true);
                let entry = Entry { bytes, synced, dirty_from: u64::MAX, is_named, is_safe };
                model.entries.insert(at, entry);
            }
        }
        model
    }

    /// Does a step that has succeeded on the disk.
    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Write { file: at, offset, size, byte } => {
                let entry = self.create(&file(at), Some(Vec::new()));
                let end = offset as usize + size;
                entry.change(if size == 0 { u64::MAX } else { offset }, |bytes| {
                    if size > 0 {
                        bytes.resize(bytes.len().max(end), 0);
                        bytes[offset as usize..end].fill(byte);
                    }
                });
            }
            Step::SetLen { file: at, len } => {
                self.at(&file(at)).change(len, |bytes| bytes.resize(len as usize, 0));
            }
            Step::Sync { file: at } => {
                let entry = self.at(&file(at));
                (entry.synced, entry.dirty_from) = (entry.bytes.clone().expect("a file"), u64::MAX);
            }
            Step::Rename { source, target } => self.rename(&file(source), &file(target)),
            Step::RenameDir { source, target } => self.rename(&dir(source), &dir(target)),
            Step::RemoveFile { file: at } => self.remove(&file(at)),
            Step::RemoveDir { dir: at } => self.remove(&dir(at)),
            Step::CreateDir { dir: at } => {
                for above in at_and_above(&dir(at)).iter().rev() {
                    self.create(above, None);
                }
            }
            Step::SyncDir { dir: at } => self.sync_dir(&dir(at)),
            Step::Crash => {}
        }
    }

    /// What is at `path`, which is new when it is not there.
    fn create(&mut self, path: &Path, bytes: Option<Vec<u8>>) -> &mut Entry {
        if !self.entries.contains_key(path) {
            // Names in a directory that was here before were not in this one.
            self.gone.retain(|at, _| !at.starts_with(path));
        }
        self.entries.entry(path.to_owned()).or_insert(Entry { bytes, ..Entry::default() })
    }

    fn at(&mut self, path: &Path) -> &mut Entry {
        self.entries.get_mut(path).expect("the disk found it")
    }

    fn below(&self, path: &Path) -> Vec<PathBuf> {
        self.entries.keys().filter(|at| at.starts_with(path)).cloned().collect()
    }

    fn rename(&mut self, source: &Path, target: &Path) {
        if source == target {
            return;
        }
        self.gone.retain(|at, _| !at.starts_with(source) && !at.starts_with(target));
        for at in self.below(source) {
            let mut entry = self.entries.remove(&at).expect("just found");
            entry.is_named &= at != source;
            self.entries.insert(join(target, at.strip_prefix(source).expect("below it")), entry);
        }
        self.gone.insert(source.to_owned(), false);
    }

    fn remove(&mut self, path: &Path) {
        for at in self.below(path) {
            self.entries.remove(&at);
            self.gone.insert(at, false);
        }
    }

    fn sync_dir(&mut self, dir: &Path) {
        let is_in = |at: &Path| at.parent() == Some(dir);
        // Another directory may come back under this name as long as it is not safe itself.
        let is_safe = self.is_named(dir);
        self.gone.iter_mut().filter(|(at, _)| is_in(at)).for_each(|(_, is_synced)| *is_synced |= is_safe);
        self.entries.iter_mut().filter(|(at, _)| is_in(at)).for_each(|(_, entry)| entry.is_named = true);
        let named: BTreeSet<PathBuf> = self.entries.keys().filter(|at| self.is_named(at)).cloned().collect();
        for (_, entry) in self.entries.iter_mut().filter(|(at, _)| named.contains(*at)) {
            entry.is_safe = true;
        }
    }

    fn is_named(&self, path: &Path) -> bool {
        at_and_above(path).iter().all(|at| self.entries[at].is_named)
    }

    /// Compares with the disk before a crash.
    fn check(&self, disk: &SimDisk) {
        let found = Self::adopt(disk);
        let bytes = |model: &Self| -> BTreeMap<PathBuf, Option<Vec<u8>>> {
            model.entries.iter().map(|(at, entry)| (at.clone(), entry.bytes.clone())).collect()
        };
        assert!(bytes(self) == bytes(&found), "{:?} instead of {:?}", found.entries, self.entries);
        let used: usize = self.entries.values().filter_map(|entry| Some(entry.bytes.as_ref()?.len())).sum();
        let space = disk.space(path("/")).unwrap();
        assert_eq!(space.total - space.free, used as u64, "removed files take no space");
    }

    /// Compares with the disk after a crash.
    fn check_crashed(&self, disk: &SimDisk) {
        let found = Self::adopt(disk);
        let is_kept = |entry: &Entry, found: &Entry| match (&entry.bytes, &found.bytes) {
            (Some(_), Some(bytes)) => entry.allows(bytes),
            (None, None) => true,
            _ => false,
        };
        for (at, entry) in self.entries.iter().filter(|(_, entry)| entry.is_safe) {
            let is_there = found.entries.get(at).is_some_and(|found| is_kept(entry, found));
            // What moves is at its old or its new place, in directories that may move themselves.
            let is_moving = !self.is_named(at);
            let is_somewhere = || found.entries.values().any(|found| is_kept(entry, found));
            assert!(
                is_there || is_moving && is_somewhere(),
                "{} is lost: {entry:?} in {found:?}",
                at.display()
            );
        }
        for (at, _) in self.gone.iter().filter(|(_, is_synced)| **is_synced) {
            assert!(!found.entries.contains_key(at), "{} is back", at.display());
        }
    }
}

fn at_and_above(path: &Path) -> Vec<PathBuf> {
    path.ancestors().filter(|at| at.file_name().is_some()).map(Path::to_owned).collect()
}

/// Unlike `Path::join` without a slash at the end for an empty `rest`.
fn join(path: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { path.to_owned() } else { path.join(rest) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    #[test]
    fn synced_files_survive(seed in any::<u64>(), steps in steps()) {
        let disk = SimDisk::new(seed);
        let mut model = Model::default();
        for step in steps.iter().chain([&Step::Crash]) {
            let result = perform(&disk, step);
            if let Step::Crash = step {
                model.check_crashed(&disk);
                model = Model::adopt(&disk);
            } else if result.is_ok() {
                model.apply(step);
            }
            model.check(&disk);
        }
    }
}
