//! Takes a directory that an administrator gives to a node while it runs: a new disk, one that was away, or one of another
//! node whose machine died.
//!
//! Owns: what of this is written down before anything is done, and the way of a disk from one node to another.
//! Knows nothing of: who may ask for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::time::Duration;
use proto::disks::DiskAdopted;
use segments::DiskIdentity;
use tracing::{info, warn};
use types::limits::{DISK_ADOPT_LOOK_PERIOD, DISK_ADOPT_PATIENCE, NODE_DISK_COUNT_MAX};
use types::{DiskId, Error, ErrorKind, Result};

use super::judge::{Finding, Use};
use super::keeper::{DiskKeeper, find};
use super::spot::Stage;

impl DiskKeeper {
    /// Takes a directory. Waits for a while until it serves. `NotFound` when it is not there, `Invalid` for one that holds
    /// something else or a disk of another cluster, `Conflict` for one that cannot be opened.
    pub async fn adopt(self: &Arc<Self>, path: &str) -> Result<DiskAdopted> {
        let path = PathBuf::from(path);
        if !path.is_absolute() {
            return Err(Error::invalid(format!("{} is no absolute path", path.display())));
        }
        let at = path.clone();
        let look = self.duties.env.disk.submit(move |disk| Ok(find(disk, &at)));
        let looked = env::time::timeout(DISK_ADOPT_PATIENCE, look).await;
        let finding = looked.unwrap_or_else(|_| Err(Error::unavailable("it does not answer")));
        let finding = finding.map_err(|e| e.context(path.display()))?;
        let from = self.accept(&path, &finding)?;
        self.save().await;
        self.wanted.notify_one();
        let (disk, uuid) = self.wait_for(&path).await?;
        let is_open = disk.is_some_and(|disk| self.disks.get(&disk).is_some());
        Ok(DiskAdopted { uuid, disk, is_open, from })
    }

    /// Notes what follows from what is there; returns the node that it was of, if that was another.
    fn accept(&self, path: &Path, finding: &Finding) -> Result<Option<types::NodeId>> {
        let refuse = |what: String| Err(Error::invalid(format!("{}: {what}", path.display())));
        let (membership, mut state) = (&self.duties.membership, self.state());
        let record = &mut state.record;
        let places = record.places(&self.duties.configured);
        if places.len() >= NODE_DISK_COUNT_MAX && !places.contains(path) {
            return refuse(format!("a node can have at most {NODE_DISK_COUNT_MAX} disks"));
        }
        let mut from = None;
        match finding {
            Finding::Absent => {
                let what =
                    format!("{} is not there: mount the disk, or create the directory", path.display());
                return Err(Error::not_found(what));
            }
            Finding::Unusable(why) => return Err(Error::invalid(why.clone())),
            Finding::Silent => return refuse("it does not answer".to_owned()),
            Finding::Disk(DiskIdentity { cluster, .. }) if *cluster != membership.cluster => {
                return refuse(format!("belongs to cluster {cluster}: wipe it to use it here"));
            }
            Finding::Disk(DiskIdentity { uuid, node, .. }) if *node != membership.node => {
                record.given.insert(path.to_owned(), *uuid);
                from = Some(*node);
            }
            Finding::Disk(_) => {}
            Finding::Empty => drop(record.cleared.insert(path.to_owned())),
        }
        record.places.insert(path.to_owned());
        // Whatever has failed there is tried again at once.
        if let Some(spot) =
            state.spots.get_mut(path).filter(|spot| matches!(spot.stage, Stage::Failed { .. }))
        {
            spot.stage = Stage::Idle;
        }
        Ok(from)
    }

    /// Which disk it is, once it is open or time is up.
    async fn wait_for(&self, path: &Path) -> Result<(Option<DiskId>, Option<types::DiskUuid>)> {
        let deadline = env::time::now() + DISK_ADOPT_PATIENCE;
        loop {
            let now = env::time::now();
            {
                let state = self.state();
                let spot = state.spots.get(path);
                if let Some(Stage::Open(store, id)) = spot.map(|spot| &spot.stage) {
                    return Ok((Some(*id), Some(store.uuid())));
                }
                if now >= deadline {
                    // Not before: what fails at first, because it was used a moment ago, is tried again.
                    if let Some(Use::Failed(why)) = spot.and_then(|spot| spot.used(now)) {
                        return Err(Error::conflict(format!("{}: {why}", path.display())));
                    }
                    if let Some(problem) = state.problem_in(path) {
                        return Err(Error::conflict(problem));
                    }
                    let uuid = state.record.seen.get(path).copied();
                    let known = uuid.and_then(|uuid| state.record.disks.get(&uuid)?.id);
                    return Ok((known.map(|(id, _)| id), uuid));
                }
            }
            env::time::sleep(DISK_ADOPT_LOOK_PERIOD).await;
        }
    }

    /// Makes a disk of another node one of this node: first the cluster says so, then the disk, then it is opened like any
    /// other. Whatever is interrupted is done once more.
    pub(super) async fn take(self: Arc<Self>, path: PathBuf, identity: DiskIdentity, pause: Duration) {
        let taken = self.try_take(&path, &identity).await;
        {
            let mut state = self.state();
            match &taken {
                Ok(()) => {
                    state.record.given.remove(&path);
                }
                Err(e) => {
                    warn!(path = %path.display(), "the disk of another node cannot be taken: {e}");
                    if e.kind() == ErrorKind::Invalid {
                        // Its node is up. When that is down one day, this must not be done unasked.
                        state.record.given.remove(&path);
                    }
                }
            }
            let spot = state.spots.entry(path).or_default();
            match taken {
                Ok(()) => spot.enter(Stage::Idle),
                Err(e) => spot.fail(env::time::now(), e.message().to_owned(), pause),
            }
        }
        self.save().await;
        self.wanted.notify_one();
    }

    async fn try_take(&self, path: &Path, identity: &DiskIdentity) -> Result<()> {
        let (root, env) = (path.to_owned(), self.duties.env.clone());
        let space = env.disk.submit(move |disk| Ok(disk.space(&root)?)).await?;
        let DiskIdentity { uuid, node, .. } = *identity;
        let ids = self.register(vec![(uuid, space.total)]).await?;
        let id = ids.first().copied().expect("register() has one for each");
        info!(disk = %id, path = %path.display(), "a disk of node {node} is this node's from now on");
        let (root, own) = (path.to_owned(), self.duties.membership.node);
        env.disk.submit(move |disk| segments::hand_over(disk, &root, uuid, own, id)).await
    }
}
