//! The disks of a node: opened, recognised, and known to the cluster by an id.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blockserver::Disks;
use client::Cluster;
use env::Env;
use proto::cluster::RegisterDisks;
use segments::{DiskConfig, DiskStore};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use types::limits::DISK_REGISTER_PAUSE;
use types::{DiskId, DiskUuid, Error, Result};

use crate::config::NodeConfig;
use crate::home::{Home, Membership};
use crate::platform::Platform;

/// File that says which disk was last seen where: an empty directory in its place is a missing disk, not a new one.
const KNOWN: &str = "disks";

#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    disks: BTreeMap<PathBuf, DiskUuid>,
}

/// Opens all disks of the configuration; new ones are formatted and get an id from the cluster.
pub async fn open(
    env: &Env,
    platform: &Arc<dyn Platform>,
    home: &Arc<Home>,
    config: &NodeConfig,
    membership: &Membership,
    cluster: &Cluster,
) -> Result<Disks> {
    let opener = Opener { env: env.clone(), platform: platform.clone(), membership: membership.clone() };
    let kept = home.join(KNOWN);
    let paths = config.disks.clone();
    let disks = env::task::blocking(move || opener.open_all(&paths, &kept)).await?;
    let ids = if disks.iter().all(|disk| disk.id().is_some()) {
        disks.iter().filter_map(|disk| disk.id()).collect()
    } else {
        register(membership, &disks, cluster).await?
    };
    for (disk, id) in disks.iter().zip(&ids) {
        disk.assign(*id)?;
    }
    Ok(ids.into_iter().zip(disks).collect())
}

struct Opener {
    env: Env,
    platform: Arc<dyn Platform>,
    membership: Membership,
}

impl Opener {
    fn open_all(&self, paths: &[PathBuf], kept: &Path) -> Result<Vec<Arc<DiskStore>>> {
        let mut known: Known = match self.env.disk.read(kept) {
            Ok(bytes) => proto::decode(&bytes).map_err(|e| e.context(kept.display()))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Known::default(),
            Err(e) => return Err(Error::from(e).context(kept.display())),
        };
        let mut disks = Vec::new();
        for path in paths {
            let expected = known.disks.get(path).copied();
            let config = DiskConfig::new(path, self.membership.cluster, self.membership.node, expected);
            let platform = self.platform.clone();
            let disk = DiskStore::open(&self.env, config, move |path| platform.open_kv(path))
                .map_err(|e| e.context(format!("disk {}", path.display())))?;
            if expected.is_none() {
                known.disks.insert(path.clone(), disk.uuid());
                self.env.disk.write_atomic(kept, &proto::encode(&known))?;
                info!(path = %path.display(), uuid = %disk.uuid(), "a new disk");
            }
            disks.push(disk);
        }
        Ok(disks)
    }
}

/// Asks the root partition for ids until it answers: a cluster that is just starting has no leader yet.
async fn register(
    membership: &Membership,
    disks: &[Arc<DiskStore>],
    cluster: &Cluster,
) -> Result<Vec<DiskId>> {
    let mut found = Vec::new();
    for disk in disks {
        found.push((disk.uuid(), disk.stats()?.total));
    }
    let question = RegisterDisks { node: membership.node, disks: found };
    loop {
        match cluster.ask_root(&question).await {
            Ok(registered) => return Ok(registered.ids),
            Err(e) if e.is_transient() => warn!("the disks are not registered yet, trying again: {e}"),
            Err(e) => return Err(e.context("registering the disks")),
        }
        env::time::sleep(DISK_REGISTER_PAUSE).await;
    }
}
