//! The keys of the cluster on a meta node: opened with its unlock key, kept in memory only.

use std::sync::{Arc, Mutex, MutexGuard};

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
    /// The newest ring that the root's leader has told.
    heard: Mutex<Option<KeyRing>>,
}

impl Keychain {
    /// Nothing is open yet.
    pub fn new(unlocking: Unlocking) -> Self {
        Self { unlocking, open: Mutex::default(), heard: Mutex::default() }
    }

    /// The newest ring that was heard.
    pub fn heard(&self) -> Option<KeyRing> {
        self.lock_heard().clone()
    }

    /// Keeps a ring, unless a newer one is known.
    pub fn hear(&self, ring: KeyRing) {
        let mut heard = self.lock_heard();
        if heard.as_ref().is_none_or(|known| known.version < ring.version) {
            *heard = Some(ring);
        }
    }

    fn lock_heard(&self) -> MutexGuard<'_, Option<KeyRing>> {
        self.heard.lock().expect("no panic while it is held")
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
