//! The disks of this node: which are open, and what is known of those that are not. They come and go while it runs.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use proto::cluster::{DiskErrors, DiskReport};
use proto::map::DiskState;
use segments::DiskStore;
use types::DiskId;

/// The disks of a node.
#[derive(Debug, Default)]
pub struct Disks(RwLock<BTreeMap<DiskId, Known>>);

/// What the node has of a disk.
#[derive(Debug)]
struct Known {
    /// `None` while it is missing or failed.
    open: Option<Arc<DiskStore>>,
    /// As it was when somebody looked at it last: a disk that hangs must not keep those who only ask for its state.
    report: DiskReport,
}

impl Disks {
    /// An open disk.
    pub fn get(&self, id: &DiskId) -> Option<Arc<DiskStore>> {
        self.known().get(id)?.open.clone()
    }

    /// All open disks.
    pub fn open(&self) -> BTreeMap<DiskId, Arc<DiskStore>> {
        let known = self.known();
        known.iter().filter_map(|(id, known)| Some((*id, known.open.clone()?))).collect()
    }

    /// A disk is open from now on, in place of what was known of it; `report` is what [`report_of`] says of it.
    pub fn insert(&self, id: DiskId, disk: Arc<DiskStore>, report: DiskReport) {
        self.known_mut().insert(id, Known { open: Some(disk), report });
    }

    /// What is said of an open disk from now on.
    pub fn set_report(&self, id: DiskId, report: DiskReport) {
        if let Some(known) = self.known_mut().get_mut(&id).filter(|known| known.open.is_some()) {
            known.report = report;
        }
    }

    /// A disk of this node is not there, or answers nothing: `why`; `path` is where it was. Returns the store that was
    /// open.
    pub fn set_away(
        &self,
        id: DiskId,
        state: DiskState,
        why: String,
        path: String,
    ) -> Option<Arc<DiskStore>> {
        let report = DiskReport { state, problem: why, path, ..DiskReport::default() };
        self.known_mut().insert(id, Known { open: None, report })?.open
    }

    /// Nothing more is said of a disk. Returns the store that was open.
    pub fn forget(&self, id: DiskId) -> Option<Arc<DiskStore>> {
        self.known_mut().remove(&id)?.open
    }

    /// What this node says of each of its disks.
    pub fn reports(&self) -> BTreeMap<DiskId, DiskReport> {
        self.known().iter().map(|(id, known)| (*id, known.report.clone())).collect()
    }

    fn known(&self) -> RwLockReadGuard<'_, BTreeMap<DiskId, Known>> {
        self.0.read().expect("no panic while it is held")
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<DiskId, Known>> {
        self.0.write().expect("no panic while it is held")
    }
}

/// For nodes whose disks do not come and go.
impl FromIterator<(DiskId, Arc<DiskStore>)> for Disks {
    fn from_iter<T: IntoIterator<Item = (DiskId, Arc<DiskStore>)>>(open: T) -> Self {
        let disks = Self::default();
        for (id, disk) in open {
            let report = report_of(&disk, String::new());
            disks.insert(id, disk, report);
        }
        disks
    }
}

/// What an open disk says of itself. Asks its file system, which blocks, for as long as the disk hangs.
pub fn report_of(disk: &DiskStore, path: String) -> DiskReport {
    let stats = match disk.stats() {
        Ok(stats) => stats,
        Err(e) => {
            return DiskReport {
                state: DiskState::Failed,
                problem: e.to_string(),
                path,
                ..DiskReport::default()
            };
        }
    };
    let (state, problem) = state_of(&stats);
    let segments::DiskFailures { media_read_errors, media_write_errors, unreadable, damaged, timeouts } =
        stats.failures;
    let errors = DiskErrors {
        media_read: media_read_errors,
        media_write: media_write_errors,
        unreadable,
        damaged,
        timeouts,
    };
    DiskReport {
        state,
        problem,
        path,
        used_bytes: stats.bytes,
        free_bytes: stats.free,
        records: stats.records,
        read_micros: stats.read_micros,
        sync_micros: stats.sync_micros,
        errors,
    }
}

/// What a disk can do, and what is wrong with it.
fn state_of(stats: &segments::DiskStats) -> (DiskState, String) {
    use segments::DiskState as Own;
    match &stats.state {
        Own::Healthy if stats.is_rebuilding => (DiskState::Healthy, "its index is being rebuilt".to_owned()),
        Own::Healthy if stats.lost > 0 => {
            (DiskState::Healthy, format!("{} damaged parts are being rebuilt", stats.lost))
        }
        Own::Healthy => (DiskState::Healthy, String::new()),
        Own::Slow => (DiskState::Slow, "much slower than the others".to_owned()),
        Own::BackfillFull => (DiskState::BackfillFull, "nearly full: add disks or remove data".to_owned()),
        Own::Full => (DiskState::Full, "full: add disks or remove data".to_owned()),
        Own::ReadOnly(why) => (DiskState::ReadOnly, why.clone()),
        Own::Failed(why) => (DiskState::Failed, why.clone()),
    }
}
