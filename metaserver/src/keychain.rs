//! The keys of the cluster on a meta node: opened with its unlock key, kept in memory only.

use std::sync::{Arc, Mutex};

use proto::keys::{KeyRing, Keys, Unlock, UnlockKey};
use tree::root;
use types::Result;

/// How this node opens the key ring.
#[derive(Clone, Debug)]
pub struct Unlocking {
    /// The key that does it.
    pub key: UnlockKey,
    /// How other meta nodes come by it.
    pub how: Unlock,
}

/// The ring as it was last opened.
#[derive(Debug)]
pub struct Keychain {
    /// What opens it.
    pub unlocking: Unlocking,
    open: Mutex<Arc<Keys>>,
}

impl Keychain {
    /// Nothing is open yet.
    pub fn new(unlocking: Unlocking) -> Self {
        Self { unlocking, open: Mutex::default() }
    }

    /// The keys of a ring. `Denied` when this node has not the unlock key of this cluster.
    pub fn open(&self, ring: &KeyRing) -> Result<Arc<Keys>> {
        let mut open = self.open.lock().expect("no panic while it is held");
        if open.version != ring.version {
            *open = Arc::new(root::open_ring(ring, &self.unlocking.key)?);
        }
        Ok(open.clone())
    }
}
