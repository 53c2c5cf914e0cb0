//! What is known of disks that parts go around.

use std::collections::BTreeMap;
use std::sync::Arc;

use env::time::Instant;
use placement::Ladder;
use types::{DiskId, Epoch};

use crate::patience::Patience;

/// What lets coordinators go around disks: known for one map, or learned from them.
#[derive(Debug, Default)]
pub(crate) struct Detours {
    pub(crate) ladder: Option<(Epoch, Arc<Ladder>)>,
    /// Disks that have just failed, and until when they are spared: their node may be gone, and the map not know it yet.
    pub(crate) suspects: BTreeMap<DiskId, Instant>,
    pub(crate) patience: Patience,
}
