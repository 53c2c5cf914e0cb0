//! The files of this machine, made to fail on purpose: for tests with real processes.
//!
//! Owns: the rules, their text (docs/ops/disks.md), and when each applies. Without [`FAULTS_VARIABLE`] nobody meets this.
//! Knows nothing of: what reads and writes without this crate, as RocksDB does.

use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;

use super::{Disk, File, Metadata, OpenMode, RealDisk, Space};

/// Names a file with rules: what goes wrong from now on. It is read again whenever it is changed.
pub const FAULTS_VARIABLE: &str = "CLOUDSYNC_DISK_FAULTS";
/// How often something that hangs looks whether it still does.
const HANG_LOOK: Duration = Duration::from_millis(50);

/// What is asked of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Open,
    Read,
    Write,
    Sync,
    /// Of names: looking, listing, creating, renaming, removing.
    Name,
    Space,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Fails with this error of the operating system.
    Error(i32),
    /// Takes so much longer.
    Delay(Duration),
    /// Does not end for as long as the rule stands.
    Hang,
    /// A bit of what is read is the other way round.
    Flip,
    /// There is no room.
    Full,
}

/// What goes wrong where.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    prefix: PathBuf,
    /// `None`: whatever is asked.
    operation: Option<Operation>,
    fault: Fault,
}

/// The rules as they were last read.
#[derive(Debug, Default)]
struct Rules {
    stamp: Option<(u64, u64)>,
    rules: Vec<Rule>,
}

/// The file system of this machine, under rules. Clones share them.
#[derive(Clone, Debug)]
pub struct FaultyDisk(Arc<Plan>);

#[derive(Debug)]
struct Plan {
    path: PathBuf,
    rules: Mutex<Rules>,
}

#[derive(Debug)]
struct FaultyFile {
    plan: Arc<Plan>,
    path: PathBuf,
    file: Arc<dyn File>,
}

/// The files of this machine; under rules when the variable names some.
pub(crate) fn real_or_faulty() -> Arc<dyn Disk> {
    match std::env::var_os(FAULTS_VARIABLE) {
        None => Arc::new(RealDisk),
        Some(path) => {
            let path = PathBuf::from(path);
            eprintln!(
                "cloudsync: WARNING: {FAULTS_VARIABLE} is set: files fail on purpose, as {} says. Never use this where data \
                 matters.",
                path.display()
            );
            Arc::new(FaultyDisk::new(path))
        }
    }
}

impl FaultyDisk {
    /// Under the rules of a file; none while there is no such file.
    pub fn new(rules: PathBuf) -> Self {
        Self(Arc::new(Plan { path: rules, rules: Mutex::default() }))
    }

    fn meet(&self, path: &Path, operation: Operation) -> io::Result<()> {
        self.0.meet(path, operation).map(drop)
    }
}

impl Plan {
    /// Waits and fails as the rules for a path say; returns what else is to go wrong.
    fn meet(&self, path: &Path, operation: Operation) -> io::Result<Vec<Fault>> {
        loop {
            let faults = self.faults(path, operation);
            if faults.contains(&Fault::Hang) {
                std::thread::sleep(HANG_LOOK);
                continue;
            }
            for fault in &faults {
                match fault {
                    Fault::Delay(time) => std::thread::sleep(*time),
                    Fault::Error(code) => return Err(io::Error::from_raw_os_error(*code)),
                    Fault::Full if operation == Operation::Write => {
                        return Err(io::Error::from_raw_os_error(libc::ENOSPC));
                    }
                    Fault::Hang | Fault::Flip | Fault::Full => {}
                }
            }
            return Ok(faults);
        }
    }

    fn faults(&self, path: &Path, operation: Operation) -> Vec<Fault> {
        let mut known = self.rules.lock().expect("no panic while it is held");
        let stamp = RealDisk.metadata(&self.path).ok().map(|found| found.stamp);
        if known.stamp != stamp {
            known.stamp = stamp;
            match RealDisk.read(&self.path).map(|bytes| parse(&String::from_utf8_lossy(&bytes))) {
                Ok(Ok(rules)) => known.rules = rules,
                Ok(Err(problem)) => {
                    eprintln!("cloudsync: {}: {problem}; the rules before stay", self.path.display())
                }
                Err(_) => known.rules.clear(),
            }
        }
        let applies = |rule: &&Rule| {
            path.starts_with(&rule.prefix) && rule.operation.is_none_or(|wanted| wanted == operation)
        };
        known.rules.iter().filter(applies).map(|rule| rule.fault).collect()
    }
}

/// Reads rules: a line each, `PATH OPERATION FAULT`, or a comment.
fn parse(text: &str) -> Result<Vec<Rule>, String> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(number, line)| rule(line).ok_or(format!("line {number} is no rule: {line}"))).collect()
}

fn rule(line: &str) -> Option<Rule> {
    let mut words = line.split_whitespace();
    let prefix = PathBuf::from(words.next()?);
    let operation = match words.next()? {
        "any" => None,
        "open" => Some(Operation::Open),
        "read" => Some(Operation::Read),
        "write" => Some(Operation::Write),
        "sync" => Some(Operation::Sync),
        "name" => Some(Operation::Name),
        "space" => Some(Operation::Space),
        _ => return None,
    };
    let fault = match (words.next()?, words.next(), words.next()) {
        ("delay", Some(ms), None) => Fault::Delay(Duration::from_millis(ms.parse().ok()?)),
        ("hang", None, None) => Fault::Hang,
        ("flip", None, None) => Fault::Flip,
        ("full", None, None) => Fault::Full,
        (name, None, None) => Fault::Error(code(name)?),
        _ => return None,
    };
    Some(Rule { prefix, operation, fault })
}

fn code(name: &str) -> Option<i32> {
    let codes = [
        ("EIO", libc::EIO),
        ("ENOSPC", libc::ENOSPC),
        ("EMFILE", libc::EMFILE),
        ("ENOMEM", libc::ENOMEM),
        ("EROFS", libc::EROFS),
        ("ENODEV", libc::ENODEV),
        ("EUCLEAN", libc::EUCLEAN),
    ];
    codes.iter().find(|(known, _)| *known == name).map(|(_, code)| *code)
}

fn flip(faults: &[Fault], bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    if faults.contains(&Fault::Flip)
        && let Some(byte) = bytes.get_mut(middle)
    {
        *byte ^= 0x10;
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.meet(path, Operation::Open)?;
        let file = RealDisk.open(path, mode)?;
        Ok(Arc::new(FaultyFile { plan: self.0.clone(), path: path.to_owned(), file }))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.meet(path, Operation::Name)?;
        RealDisk.metadata(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.meet(path, Operation::Name)?;
        RealDisk.read_dir(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.meet(path, Operation::Name)?;
        RealDisk.create_dir_all(path)
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        self.meet(source, Operation::Name)?;
        self.meet(target, Operation::Name)?;
        RealDisk.rename(source, target)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.meet(path, Operation::Name)?;
        RealDisk.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.meet(path, Operation::Name)?;
        RealDisk.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.meet(path, Operation::Sync)?;
        RealDisk.sync_dir(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let faults = self.0.meet(path, Operation::Space)?;
        let space = RealDisk.space(path)?;
        Ok(if faults.contains(&Fault::Full) { Space { free: 0, ..space } } else { space })
    }
}

impl FaultyFile {
    fn meet(&self, operation: Operation) -> io::Result<Vec<Fault>> {
        self.plan.meet(&self.path, operation)
    }
}

impl File for FaultyFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let faults = self.meet(Operation::Read)?;
        let count = self.file.read_at(bytes, offset)?;
        flip(&faults, &mut bytes[..count]);
        Ok(count)
    }

    fn read_append(&self, bytes: &mut BytesMut, count: usize, offset: u64) -> io::Result<usize> {
        let (faults, start) = (self.meet(Operation::Read)?, bytes.len());
        let count = self.file.read_append(bytes, count, offset)?;
        flip(&faults, &mut bytes[start..]);
        Ok(count)
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        self.meet(Operation::Write)?;
        self.file.write_at(parts, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.meet(Operation::Sync)?;
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.meet(Operation::Name)?;
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.meet(Operation::Write)?;
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.meet(Operation::Write)?;
        self.file.allocate(len)
    }

    fn uncache(&self, range: Range<u64>) {
        self.file.uncache(range);
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.meet(Operation::Name)?;
        self.file.try_lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::temp_dir;

    #[track_caller]
    fn check(text: &str, want: Result<&[Fault], &str>) {
        let faults = parse(text).map(|rules| rules.iter().map(|rule| rule.fault).collect::<Vec<_>>());
        match (faults, want) {
            (Ok(faults), Ok(want)) => assert_eq!(faults, want),
            (Err(problem), Err(part)) => assert!(problem.contains(part), "{problem}"),
            (faults, want) => panic!("{faults:?} is not {want:?}"),
        }
    }

    #[test]
    fn rules_are_lines() {
        check("", Ok(&[]));
        check(
            "# nothing\n\n/a read EIO\n /b  any delay 20 \n",
            Ok(&[Fault::Error(libc::EIO), Fault::Delay(Duration::from_millis(20))]),
        );
        check("/a any hang\n/a read flip\n/a any full", Ok(&[Fault::Hang, Fault::Flip, Fault::Full]));
        for line in [
            "/a",
            "/a read",
            "/a eat EIO",
            "/a read EWHAT",
            "/a read delay",
            "/a read delay x",
            "/a read EIO 3",
        ] {
            check(&format!("/a read EIO\n{line}"), Err("line 2"));
        }
    }

    /// A disk with two files, and the place of its rules.
    fn disk(dir: &Path) -> (FaultyDisk, Arc<dyn File>, Arc<dyn File>) {
        let disk = FaultyDisk::new(dir.join("rules"));
        let open = |name: &str| {
            RealDisk.create_dir_all(&dir.join(name)).unwrap();
            let file = disk.open(&dir.join(name).join("f"), OpenMode::Create).unwrap();
            file.write_at(&[b"0123456789"], 0).unwrap();
            file
        };
        let (bad, good) = (open("bad"), open("badly"));
        (disk, bad, good)
    }

    fn say(dir: &Path, rules: &str) {
        let text = rules.replace("DIR", dir.to_str().unwrap());
        RealDisk.write_atomic(&dir.join("rules"), text.as_bytes()).unwrap();
    }

    fn read(file: &Arc<dyn File>) -> Result<Vec<u8>, i32> {
        let mut bytes = vec![0; 10];
        file.read_exact_at(&mut bytes, 0).map_err(|e| e.raw_os_error().unwrap_or_default())?;
        Ok(bytes)
    }

    #[test]
    fn what_goes_wrong_goes_wrong_there_and_nowhere_else() {
        let dir = temp_dir();
        let dir = dir.path();
        let (disk, bad, good) = disk(dir);
        say(dir, "DIR/bad read EIO");
        assert_eq!((read(&bad), read(&good).is_ok()), (Err(libc::EIO), true));
        bad.write_at(&[b"x"], 0).unwrap();
        say(dir, "DIR/bad write ENOSPC\nDIR/bad sync EIO");
        assert_eq!(read(&bad).unwrap(), b"x123456789");
        assert_eq!(bad.write_at(&[b"x"], 0).unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(bad.sync_data().unwrap_err().raw_os_error(), Some(libc::EIO));
        good.sync_data().unwrap();
        say(dir, "DIR/bad read flip");
        assert_eq!(read(&bad).unwrap(), b"x1234%6789");
        assert_eq!(read(&good).unwrap(), b"0123456789");
        say(dir, "DIR/bad any full");
        assert_eq!(disk.space(&dir.join("bad")).unwrap().free, 0);
        assert_ne!(disk.space(&dir.join("badly")).unwrap().free, 0);
        assert!(bad.write_at(&[b"x"], 0).is_err() && read(&bad).is_ok());
        say(dir, "DIR/bad open EMFILE");
        assert_eq!(
            disk.open(&dir.join("bad/f"), OpenMode::Read).unwrap_err().raw_os_error(),
            Some(libc::EMFILE)
        );
        say(dir, "rubbish");
        assert!(disk.open(&dir.join("bad/f"), OpenMode::Read).is_err(), "the rules before stay");
        RealDisk.remove_file(&dir.join("rules")).unwrap();
        assert!(disk.open(&dir.join("bad/f"), OpenMode::Read).is_ok());
    }

    #[test]
    fn what_hangs_does_so_until_the_rule_is_gone() {
        let dir = temp_dir();
        let (_, bad, good) = disk(dir.path());
        say(dir.path(), "DIR/bad read hang");
        let reader = std::thread::spawn(move || read(&bad));
        assert!(read(&good).is_ok());
        say(dir.path(), "");
        assert_eq!(reader.join().unwrap().unwrap(), b"0123456789");
    }
}
