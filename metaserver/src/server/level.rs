//! The feature level of the cluster: goes up when all meta nodes can follow, never down.

use proto::command::Logged;
use raft::Group;
use tracing::info;
use tree::root;
use types::{FeatureLevel, Result};

use super::Metaserver;

impl Metaserver {
    /// Raises what this node leads: the root partition to what every meta node knows, and the others to where the root is.
    /// So no partition is ahead of the root, whose level decides who may join.
    pub(super) async fn raise_levels(&self) -> Result<()> {
        if self.root().is_leader() {
            self.raise_root().await?;
        }
        let cluster = self.root().read(|state| tree::level(state))?;
        for group in self.host.groups().iter().filter(|group| group.is_leader()) {
            if group.read(|state| tree::level(state))? < cluster {
                self.raise(group, cluster).await?;
            }
        }
        Ok(())
    }

    async fn raise_root(&self) -> Result<()> {
        // Nobody joins between the look at who is there and the raise.
        let _one = self.changing.lock().await;
        let Some(map) = self.root().read(|state| root::map(state))? else { return Ok(()) };
        let common = {
            let liveness = self.liveness.lock().expect("no panic while it is held");
            liveness.as_ref().and_then(|liveness| liveness.level(self.now_ms(), &map))
        };
        match common {
            Some(level) if level > self.root().read(|state| tree::level(state))? => {
                self.raise(&self.root(), level).await
            }
            _ => Ok(()),
        }
    }

    async fn raise(&self, group: &Group, level: FeatureLevel) -> Result<()> {
        let reached: FeatureLevel = self.put_through(group, Logged::set_level(level)).await?;
        info!(partition = %group.id(), level = %reached, "the feature level is raised");
        Ok(())
    }
}
