//! The files of this machine, made to fail on purpose: for tests with real processes.
//!
//! Owns: the rules, their text (docs/ops/disks.md), and when each applies. Without [`FAULTS_VARIABLE`] nobody meets this.
//! Knows nothing of: what reads and writes without this crate, as RocksDB does.

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use types::limits::HUNG_DISK_PERIOD;

use super::{Disk, File, Metadata, OpenMode, RealDisk, Space};

/// Names a file with rules: what goes wrong from now on. It is read again whenever it is changed.
pub const FAULTS_VARIABLE: &str = "CLOUDSYNC_DISK_FAULTS";

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
                std::thread::sleep(HUNG_DISK_PERIOD);
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
