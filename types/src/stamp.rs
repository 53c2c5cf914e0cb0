//! How a metadata store introduces itself, so that a copy, an older state or a stranger is not taken for it.

use serde::{Deserialize, Serialize};

use crate::{ReplicaId, StoreUuid};

/// One start of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The store that was started.
    pub store: StoreUuid,
    /// Starts so far, this one included: durable before anything is said.
    pub count: u64,
    /// Drawn anew at every start: tells two processes apart that run from copies of one store.
    pub nonce: u64,
}

/// Who speaks, and how much it has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The node, and which of its stores speaks.
    pub replica: ReplicaId,
    /// The start that its process began with.
    pub start: Start,
    /// Number of the last commit of its log that is durable. A store that says less than it once did has been set back.
    pub mark: u64,
}
