//! The feature level of the cluster: goes up when all meta nodes can follow, never down.

use std::sync::MutexGuard;

use proto::command::Logged;
use proto::map::ROOT;
use raft::Group;
use tracing::info;
use types::{FeatureLevel, Result};

use super::Metaserver;

impl Metaserver {
    /// Raises what this node leads: the root partition to what every meta node knows, and the others to where the root is.
    /// So no partition is ahead of the root, whose level decides who may join.
    pub(super) async fn raise_levels(&self) -> Result<()> {
        if let Some(root) = self.host.group(ROOT) {
            if root.is_leader() {
                self.raise_root(&root).await?;
            }
            self.hear_level(root.read(|state| tree::level(state))?);
        }
        let cluster = *self.lock_level();
        for group in self.host.groups().iter().filter(|group| group.is_leader()) {
            if group.read(|state| tree::level(state))? < cluster {
                self.raise(group, cluster).await?;
            }
        }
        Ok(())
    }

    /// Takes note of the root's level, where the root is not. Levels only go up.
    pub fn hear_level(&self, level: FeatureLevel) {
        let mut heard = self.lock_level();
        *heard = level.max(*heard);
    }

    fn lock_level(&self) -> MutexGuard<'_, FeatureLevel> {
        self.cluster_level.lock().expect("no panic while it is held")
    }

    async fn raise_root(&self, root: &Group) -> Result<()> {
        // Nobody joins between the look at who is there and the raise.
        let _one = self.changing.lock().await;
        let Some(map) = root.read(|state| tree::root::map(state))? else { return Ok(()) };
        let common = {
            let liveness = self.liveness.lock().expect("no panic while it is held");
            liveness.as_ref().and_then(|liveness| liveness.level(self.now_ms(), &map))
        };
        match common {
            Some(level) if level > root.read(|state| tree::level(state))? => self.raise(root, level).await,
            _ => Ok(()),
        }
    }

    async fn raise(&self, group: &Group, level: FeatureLevel) -> Result<()> {
        let reached: FeatureLevel = self.put_through(group, Logged::set_level(level)).await?;
        info!(partition = %group.id(), level = %reached, "the feature level is raised");
        Ok(())
    }
}
