//! Changes of the map: computed here, installed by `apply` if nobody was faster (decision 0015).

use proto::command::{MapChange, MapChanged};
use proto::map::ROOT;
use tree::root;
use types::limits::MAP_CHANGE_TRY_COUNT_MAX;
use types::{ErrorKind, Result};

use super::Metaserver;

impl Metaserver {
    /// Computes what follows from a change and proposes both. Changes wait for each other here, so that a conflict needs
    /// two leaders.
    pub(super) async fn change_map(&self, change: MapChange) -> Result<MapChanged> {
        self.must_lead_root()?;
        let _one = self.changing.lock().await;
        let mut tries = 1;
        loop {
            let (root, change) = (self.root()?, change.clone());
            let plan = move || root.read_snapshot(|state, _| root::plan_change(state, change));
            let command = env::task::blocking(plan).await?;
            match self.propose(ROOT, command).await {
                Err(e) if e.kind() == ErrorKind::Conflict && tries < MAP_CHANGE_TRY_COUNT_MAX => {
                    tries += 1;
                    self.root()?.linearize().await?;
                }
                done => return done,
            }
        }
    }
}
