//! New disks get ids from the cluster: all that are found together at once, so that the cluster plans once for all of them.
//!
//! Owns: when to ask, and for whom.
//! Knows nothing of: how disks are found.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use blockserver::report_of;
use proto::cluster::RegisterDisks;
use segments::DiskStore;
use tracing::warn;
use types::limits::DISK_REGISTER_PAUSE;
use types::{DiskId, DiskUuid, Error, Result};

use super::keeper::{DiskKeeper, State};
use super::spot::Stage;

impl DiskKeeper {
    /// Names the disks that are new, unless others are just being opened that may be new as well.
    pub(super) fn begin_naming(self: &Arc<Self>) {
        let new = self.unnamed(&self.state());
        if new.is_empty() || self.is_naming.swap(true, Ordering::Relaxed) {
            return;
        }
        let keeper = self.clone();
        env::task::spawn(async move {
            keeper.name(new).await;
            keeper.is_naming.store(false, Ordering::Relaxed);
            keeper.wanted.notify_one();
        });
    }

    /// New disks, in the order of the configuration; none while one that may be new as well is being opened.
    fn unnamed(&self, state: &State) -> Vec<(PathBuf, Arc<DiskStore>)> {
        let is_coming = |(path, spot): (&PathBuf, &super::spot::Spot)| {
            matches!(spot.stage, Stage::Opening) && !state.record.has_named(path)
        };
        if state.spots.iter().any(is_coming) {
            return Vec::new();
        }
        let new = state.spots.iter().filter_map(|(path, spot)| match &spot.stage {
            Stage::New(store) => Some((path.clone(), store.clone())),
            _ => None,
        });
        let mut new: Vec<_> = new.collect();
        let place = |path: &PathBuf| self.duties.configured.iter().position(|known| known == path);
        new.sort_by_key(|(path, _)| (place(path).is_none(), place(path), path.clone()));
        new
    }

    async fn name(&self, new: Vec<(PathBuf, Arc<DiskStore>)>) {
        let (paths, stores): (Vec<_>, Vec<_>) = new.iter().cloned().unzip();
        let named = async {
            let ids = self.register(sizes(stores.clone()).await?).await?;
            let work = move || {
                let named = paths.iter().zip(&stores).zip(&ids);
                named
                    .map(|((path, store), id)| {
                        store.assign(*id)?;
                        Ok((*id, report_of(store, path.display().to_string())))
                    })
                    .collect::<Result<Vec<_>>>()
            };
            env::task::blocking(work).await
        };
        let named = named.await;
        let mut state = self.state();
        match named {
            Ok(named) => {
                for ((path, store), (id, report)) in new.into_iter().zip(named) {
                    self.serve(&mut state, &path, store, id, report);
                }
            }
            Err(e) => {
                warn!("new disks have no id: {e}");
                for (path, _) in new {
                    let spot = state.spots.entry(path).or_default();
                    let pause = spot.begin_open();
                    spot.fail(env::time::now(), e.message().to_owned(), pause);
                }
            }
        }
    }

    /// Asks the root partition for ids until it answers: a cluster that is just starting has no leader yet.
    pub(super) async fn register(&self, disks: Vec<(DiskUuid, u64)>) -> Result<Vec<DiskId>> {
        let question = RegisterDisks { node: self.duties.membership.node, disks };
        loop {
            match self.duties.cluster.ask_root(&question).await {
                Ok(registered) if registered.ids.len() == question.disks.len() => {
                    let uuids = question.disks.iter().map(|(uuid, _)| *uuid);
                    uuids.zip(&registered.ids).for_each(|(uuid, id)| {
                        self.state().record.name(uuid, *id, registered.epoch);
                    });
                    self.save().await;
                    return Ok(registered.ids);
                }
                Ok(registered) => {
                    let (found, wanted) = (registered.ids.len(), question.disks.len());
                    return Err(Error::internal(format!("the cluster has {found} ids for {wanted} disks")));
                }
                Err(e) if e.is_transient() => warn!("new disks have no id yet, trying again: {e}"),
                Err(e) => return Err(e.context("registering disks")),
            }
            env::time::sleep(DISK_REGISTER_PAUSE).await;
        }
    }
}

/// Which disks, and how large they are.
async fn sizes(stores: Vec<Arc<DiskStore>>) -> Result<Vec<(DiskUuid, u64)>> {
    let work = move || stores.iter().map(|store| Ok((store.uuid(), store.stats()?.total))).collect();
    env::task::blocking(work).await
}
