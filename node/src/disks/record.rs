//! What a node remembers of its disks: the file `disks` in its data directory (docs/formats/node-disks.md).
//!
//! Owns: the bytes, and what follows from a disk that was seen, given or forgotten.
//! Knows nothing of: what is in a directory now.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use types::{DiskId, DiskUuid, Epoch, Error, ErrorKind, Result};

use crate::home::Home;

const FILE: &str = "disks";
const MAGIC: [u8; 4] = *b"CSDK";
const VERSION: u8 = 2;

/// What a node remembers. Nothing in it is forgotten unless somebody says so: a disk that is not found is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Directories for disks, beside those of the configuration.
    pub places: BTreeSet<PathBuf>,
    /// The disk that was last seen in a directory. When such a directory is empty, its disk is missing: it is never formatted
    /// unasked.
    pub seen: BTreeMap<PathBuf, DiskUuid>,
    /// Directories that may be formatted although a disk was seen there: somebody has said so.
    pub cleared: BTreeSet<PathBuf>,
    /// Disks of other nodes that were given to this one and do not say so themselves yet.
    pub given: BTreeMap<PathBuf, DiskUuid>,
    /// All disks of the node.
    pub disks: BTreeMap<DiskUuid, KnownDisk>,
}

/// A disk of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownDisk {
    /// Where it was last seen.
    pub path: PathBuf,
    /// Its id and an epoch whose map has it; `None` before it was registered.
    pub id: Option<(DiskId, Epoch)>,
}

impl Record {
    /// Reads it; empty on a node that has had no disk yet.
    pub fn load(home: &Home) -> Result<Self> {
        match home.read(FILE) {
            Ok(bytes) => Self::parse(&bytes).map_err(|e| e.context(home.join(FILE).display())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e),
        }
    }

    /// Writes it, durably.
    pub fn save(&self, home: &Home) -> Result<()> {
        home.write(FILE, &self.to_bytes())
    }

    fn to_bytes(&self) -> Vec<u8> {
        proto::encode(&(MAGIC, VERSION, self)).into()
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let plain = proto::open(bytes)?;
        match plain.strip_prefix(&MAGIC) {
            Some([VERSION, record @ ..]) => proto::decode_plain(record),
            Some([version, ..]) => {
                Err(Error::invalid(format!("its version is {version}, not {VERSION}: update this program")))
            }
            Some([]) => Err(Error::corrupt("it ends after its first bytes")),
            None => Err(Error::corrupt("it does not begin like what a node remembers of its disks")),
        }
    }

    /// All directories to look at, in order.
    pub fn places(&self, configured: &[PathBuf]) -> BTreeSet<PathBuf> {
        let last = self.disks.values().map(|disk| &disk.path);
        configured.iter().chain(&self.places).chain(last).cloned().collect()
    }

    /// A disk is in this directory.
    pub fn see(&mut self, uuid: DiskUuid, path: &Path) {
        self.seen.insert(path.to_owned(), uuid);
        self.cleared.remove(path);
        let known = self.disks.entry(uuid).or_insert_with(|| KnownDisk { path: path.to_owned(), id: None });
        path.clone_into(&mut known.path);
    }

    /// The disk that was last seen in a directory has an id.
    pub fn has_named(&self, path: &Path) -> bool {
        let known = self.seen.get(path).and_then(|uuid| self.disks.get(uuid));
        known.is_some_and(|known| known.id.is_some())
    }

    /// A disk has this id, and the map of this epoch knows it.
    pub fn name(&mut self, uuid: DiskUuid, id: DiskId, since: Epoch) {
        if let Some(known) = self.disks.get_mut(&uuid)
            && known.id.is_none_or(|(old, _)| old != id)
        {
            known.id = Some((id, since));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let mut record = Record { places: [PathBuf::from("/b")].into(), ..Record::default() };
        record.see(DiskUuid([7; 16]), Path::new("/a"));
        record.name(DiskUuid([7; 16]), DiskId(3), Epoch(9));
        record.given.insert("/c".into(), DiskUuid([8; 16]));
        record.cleared.insert("/d".into());
        record
    }

    #[test]
    fn its_bytes_are_frozen() {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let (seven, eight) = ("10".to_owned() + &"07".repeat(16), "10".to_owned() + &"08".repeat(16));
        let parts = [
            "01004353444b02".to_owned(),
            "01022f62".to_owned(),
            format!("01022f61{seven}"),
            "01022f64".to_owned(),
            format!("01022f63{eight}"),
            format!("01{seven}022f61010309"),
        ];
        let want = parts.concat();
        assert_eq!(hex(&record().to_bytes()), want);
        assert_eq!(Record::parse(&record().to_bytes()), Ok(record()));
    }

    #[test]
    fn damage_and_other_versions_are_refused() {
        let bytes = record().to_bytes();
        for cut in 0..bytes.len() {
            assert!(Record::parse(&bytes[..cut]).is_err(), "{cut}");
        }
        let mut newer = bytes.clone();
        newer[6] = VERSION + 1;
        let error = Record::parse(&newer).unwrap_err();
        assert!(error.message().contains("update this program"), "{error}");
    }

    #[test]
    fn where_to_look() {
        let mut record = record();
        record.see(DiskUuid([9; 16]), Path::new("/e"));
        assert_eq!(["/a", "/e", "/x"].map(|path| record.has_named(Path::new(path))), [true, false, false]);
        record.see(DiskUuid([7; 16]), Path::new("/f"));
        let places = record.places(&["/x".into(), "/b".into()]);
        assert_eq!(places, ["/b", "/e", "/f", "/x"].map(PathBuf::from).into());
        assert_eq!(record.seen[Path::new("/a")], DiskUuid([7; 16]), "it is not forgotten where it was");
        assert_eq!(record.disks[&DiskUuid([7; 16])].id, Some((DiskId(3), Epoch(9))));
    }
}
