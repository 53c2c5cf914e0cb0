//! The disks of this node: which are open, and what is known of those that are not. They come and go while it runs.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use proto::cluster::DiskReport;
use proto::map::DiskState;
use segments::DiskStore;
use types::DiskId;

/// The disks of a node.
#[derive(Debug, Default)]
pub struct Disks(RwLock<BTreeMap<DiskId, Known>>);

/// What the node has of a disk.
#[derive(Debug)]
enum Known {
    Open(Arc<DiskStore>),
    /// Missing or failed.
    Away(DiskReport),
}

impl Disks {
    /// An open disk.
    pub fn get(&self, id: &DiskId) -> Option<Arc<DiskStore>> {
        match self.known().get(id) {
            Some(Known::Open(disk)) => Some(disk.clone()),
            _ => None,
        }
    }

    /// All open disks.
    pub fn open(&self) -> BTreeMap<DiskId, Arc<DiskStore>> {
        let known = self.known();
        let open = known.iter().filter_map(|(id, known)| match known {
            Known::Open(disk) => Some((*id, disk.clone())),
            Known::Away(_) => None,
        });
        open.collect()
    }

    /// A disk is open from now on, in place of what was known of it.
    pub fn insert(&self, id: DiskId, disk: Arc<DiskStore>) {
        self.known_mut().insert(id, Known::Open(disk));
    }

    /// A disk of this node is not there, or answers nothing: `why`. Returns the store that was open.
    pub fn set_away(&self, id: DiskId, state: DiskState, why: String) -> Option<Arc<DiskStore>> {
        let report = DiskReport { state, problem: why, used_bytes: 0, free_bytes: 0, records: 0 };
        match self.known_mut().insert(id, Known::Away(report)) {
            Some(Known::Open(disk)) => Some(disk),
            _ => None,
        }
    }

    /// Nothing more is said of a disk. Returns the store that was open.
    pub fn forget(&self, id: DiskId) -> Option<Arc<DiskStore>> {
        match self.known_mut().remove(&id) {
            Some(Known::Open(disk)) => Some(disk),
            _ => None,
        }
    }

    /// What this node says of each of its disks.
    pub fn reports(&self) -> BTreeMap<DiskId, DiskReport> {
        let report = |known: &Known| match known {
            Known::Open(disk) => report(disk),
            Known::Away(report) => report.clone(),
        };
        self.known().iter().map(|(id, known)| (*id, report(known))).collect()
    }

    fn known(&self) -> RwLockReadGuard<'_, BTreeMap<DiskId, Known>> {
        self.0.read().expect("no panic while it is held")
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<DiskId, Known>> {
        self.0.write().expect("no panic while it is held")
    }
}

impl FromIterator<(DiskId, Arc<DiskStore>)> for Disks {
    fn from_iter<T: IntoIterator<Item = (DiskId, Arc<DiskStore>)>>(open: T) -> Self {
        let known = open.into_iter().map(|(id, disk)| (id, Known::Open(disk)));
        Self(RwLock::new(known.collect()))
    }
}

fn report(disk: &DiskStore) -> DiskReport {
    match disk.stats() {
        Ok(stats) => {
            let (state, problem) = match stats.state {
                segments::DiskState::Healthy if stats.is_rebuilding => {
                    (DiskState::Healthy, "its index is being rebuilt".to_owned())
                }
                segments::DiskState::Healthy if stats.lost > 0 => {
                    (DiskState::Healthy, format!("{} damaged parts are being rebuilt", stats.lost))
                }
                segments::DiskState::Healthy => (DiskState::Healthy, String::new()),
                segments::DiskState::Slow => (DiskState::Slow, "much slower than the others".to_owned()),
                segments::DiskState::BackfillFull => {
                    (DiskState::BackfillFull, "nearly full: add disks or remove data".to_owned())
                }
                segments::DiskState::Full => (DiskState::Full, "full: add disks or remove data".to_owned()),
                segments::DiskState::ReadOnly(why) => (DiskState::ReadOnly, why),
                segments::DiskState::Failed(why) => (DiskState::Failed, why),
            };
            DiskReport {
                state,
                problem,
                used_bytes: stats.bytes,
                free_bytes: stats.free,
                records: stats.records,
            }
        }
        Err(e) => {
            let (used_bytes, free_bytes, records) = Default::default();
            DiskReport { state: DiskState::Failed, problem: e.to_string(), used_bytes, free_bytes, records }
        }
    }
}
