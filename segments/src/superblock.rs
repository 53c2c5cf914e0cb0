//! Says whose disk this is. Two copies, written in turn: a torn write leaves the other (docs/formats/segment.md).
//!
//! Owns: the bytes, the choice between the copies, and the refusal of a disk that is not the expected one, or in use.
//! Knows nothing of: what is stored on the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::{Disk, File};
use types::limits::COUNTER_MAX;
use types::{ClusterId, DiskId, DiskUuid, Error, NodeId, Result};

const MAGIC: [u8; 8] = *b"CSSUPER\0";
const VERSION: u16 = 2;
const SIZE: usize = 80;
const CRC_AT: usize = 76;
const NAMES: [&str; 2] = ["SUPER.a", "SUPER.b"];

/// Identity of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) cluster: ClusterId,
    pub(crate) uuid: DiskUuid,
    pub(crate) node: NodeId,
    /// Assigned by the cluster after the disk was formatted.
    pub(crate) disk: Option<DiskId>,
    /// A write or sync failed once: never write to it again.
    pub(crate) failed: bool,
    /// The copy with the larger one is the newer.
    pub(crate) generation: u64,
}

impl Superblock {
    pub(crate) fn to_bytes(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10] = self.failed.into();
        bytes[11] = self.disk.is_some().into();
        bytes[12..16].copy_from_slice(&self.disk.unwrap_or_default().0.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.cluster.0);
        bytes[32..48].copy_from_slice(&self.uuid.0);
        bytes[48..56].copy_from_slice(&self.node.0.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.generation.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// What may follow a superblock: the same disk, and no way back from an id or a failure.
    pub(crate) fn check_after(&self, before: &Superblock) {
        assert_eq!(self.generation, before.generation + 1, "the next copy is the newer one");
        assert_eq!(
            (self.cluster, self.uuid, self.node),
            (before.cluster, before.uuid, before.node),
            "a disk stays whose it is (I-DISK)"
        );
        assert!(before.disk.is_none() || self.disk == before.disk, "a disk keeps its id");
        assert!(!before.failed || self.failed, "a failed sync is final (I-DISK)");
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Superblock> {
        if bytes.len() != SIZE || bytes[..8] != MAGIC {
            return Err(Error::corrupt("no superblock"));
        }
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if bytes[CRC_AT..] != crc32fast::hash(&bytes[..CRC_AT]).to_le_bytes() {
            return Err(Error::corrupt("the superblock does not match its checksum"));
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(Error::invalid(format!(
                "the disk has format version {version}, not {VERSION}: update this program"
            )));
        }
        if number(56) > COUNTER_MAX {
            return Err(Error::corrupt("the superblock was written more often than can be"));
        }
        let disk = DiskId(u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes")));
        Ok(Superblock {
            cluster: ClusterId(bytes[16..32].try_into().expect("16 bytes")),
            uuid: DiskUuid(bytes[32..48].try_into().expect("16 bytes")),
            node: NodeId(number(48)),
            disk: (bytes[11] != 0).then_some(disk),
            failed: bytes[10] != 0,
            generation: number(56),
        })
    }
}

/// Who the disk should be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    /// The disk the node remembers at this path.
    pub(crate) uuid: Option<DiskUuid>,
}

/// The newest superblock of the disk at `root`; `None` for an empty directory, or none at all, that may be formatted.
/// Any doubt is an error: writing to the wrong disk, or to the empty mount point below a missing one, loses data.
pub(crate) fn identify(disk: &dyn Disk, root: &Path, expected: Expected) -> Result<Option<Superblock>> {
    let refuse = |what: String| Err(Error::invalid(format!("disk {}: {what}", root.display())));
    let Some(found) = newest(disk, root)? else {
        if let Some(uuid) = expected.uuid {
            return refuse(format!(
                "disk {uuid} should be here, but the directory has none; mount it, or remove the disk from the cluster"
            ));
        }
        return Ok(None);
    };
    if found.cluster != expected.cluster {
        return refuse(format!(
            "belongs to cluster {}, not {}; use another disk",
            found.cluster, expected.cluster
        ));
    }
    if found.node != expected.node {
        return refuse(format!(
            "belongs to node {}, not {}; put it back or wipe it",
            found.node, expected.node
        ));
    }
    if let Some(uuid) = expected.uuid.filter(|uuid| *uuid != found.uuid) {
        return refuse(format!("this is disk {}, not {uuid} as expected; were mounts swapped?", found.uuid));
    }
    Ok(Some(found))
}

/// The newer of the good copies; `None` when nothing says that the directory was ever a disk.
pub(crate) fn newest(disk: &dyn Disk, root: &Path) -> Result<Option<Superblock>> {
    let mut best: Option<Superblock> = None;
    let mut problem = Error::invalid("not a disk of this cluster");
    for path in NAMES.map(|name| root.join(name)) {
        if !disk.exists(&path) {
            continue;
        }
        match disk.read(&path).map_err(Error::from).and_then(|bytes| Superblock::parse(&bytes)) {
            Ok(found) if best.is_none_or(|best| best.generation < found.generation) => best = Some(found),
            Ok(_) => {}
            Err(error) => problem = error,
        }
    }
    if best.is_some() {
        return Ok(best);
    }
    match foreign_names(disk, root)?.first() {
        Some(name) => {
            let advice = format!(
                "disk {}: holds {name:?}, but no good superblock; use an empty directory",
                root.display()
            );
            Err(problem.context(advice))
        }
        None => Ok(None),
    }
}

/// Opens the lock file of a disk and locks it.
pub(crate) fn lock(disk: &dyn Disk, root: &Path) -> Result<Arc<dyn File>> {
    let file = disk.open(&root.join("LOCK"), env::OpenMode::Create)?;
    if !file.try_lock()? {
        return Err(Error::conflict(format!(
            "disk {} is in use by another process; stop that first",
            root.display()
        )));
    }
    Ok(file)
}

/// True when a superblock is there: what else is missing is missing, not the whole disk.
pub(crate) fn is_there(disk: &dyn Disk, root: &Path) -> bool {
    NAMES.iter().any(|name| disk.exists(&root.join(name)))
}

/// What a directory holds besides what a fresh file system or a crash during formatting leaves.
fn foreign_names(disk: &dyn Disk, root: &Path) -> Result<Vec<String>> {
    if !disk.exists(root) {
        return Ok(Vec::new());
    }
    let harmless = |name: &str| {
        let empty = || disk.read_dir(&root.join(name)).is_ok_and(|names| names.is_empty());
        NAMES.contains(&name) || ["lost+found", "LOCK"].contains(&name) || (name == "seg" && empty())
    };
    let names = disk.read_dir(root)?.into_iter().map(|name| name.to_string_lossy().into_owned());
    Ok(names.filter(|name| !harmless(name)).collect())
}

/// Makes what [`identify`] read durable: a process that was killed may have left it in memory only.
pub(crate) fn sync(disk: &dyn Disk, root: &Path) -> Result<()> {
    for path in NAMES.map(|name| root.join(name)).iter().filter(|path| disk.exists(path)) {
        disk.open(path, env::OpenMode::ReadWrite)?.sync_data()?;
    }
    Ok(disk.sync_dir(root)?)
}

/// Writes the next generation over the older copy; the newer one stays until this one is durable.
pub(crate) fn write(disk: &dyn Disk, root: &Path, superblock: Superblock) -> Result<()> {
    let path: PathBuf = root.join(NAMES[usize::from(superblock.generation % 2 == 1)]);
    let file = disk.open(&path, env::OpenMode::Create)?;
    file.write_at(&[&superblock.to_bytes()], 0)?;
    file.sync_data()?;
    Ok(disk.sync_dir(root)?)
}
