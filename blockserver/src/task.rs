//! What there is to look after: the slots of this node's disks.

use types::{DiskId, Epoch, PgId};

/// A slot of a disk of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Task {
    pub(crate) pg: PgId,
    pub(crate) slot: u8,
    pub(crate) disk: DiskId,
    /// Since when it is being filled.
    pub(crate) since: Epoch,
}
