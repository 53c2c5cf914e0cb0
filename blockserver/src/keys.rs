//! The keys that chunks are sealed with: asked of the metaservers, kept in memory only.

use std::sync::{Arc, Mutex};

use chunk::sealed::{SealKey, sealed_with};
use proto::keys::Keys;
use tracing::debug;
use types::limits::KEYS_REFRESH_PERIOD;
use types::{Error, Result, TenantId};

use crate::server::Blockserver;

/// What this node knows of the cluster's keys.
#[derive(Debug, Default)]
pub struct KnownKeys {
    /// Version 0 until they were asked for.
    keys: Mutex<Arc<Keys>>,
    /// One question at a time: who waits for it takes its answer.
    asking: tokio::sync::Mutex<()>,
}

impl KnownKeys {
    fn get(&self) -> Arc<Keys> {
        self.keys.lock().expect("no panic while it is held").clone()
    }

    /// Keeps what was told, unless it is older than what is known.
    fn learn(&self, told: Keys) -> Arc<Keys> {
        let mut keys = self.keys.lock().expect("no panic while it is held");
        if told.version >= keys.version {
            *keys = Arc::new(told);
        }
        keys.clone()
    }
}

/// Asks again now and then for as long as the server lives: so it hears of new keys, and forgets destroyed ones.
pub fn start(server: &Arc<Blockserver>) {
    let this = Arc::downgrade(server);
    env::task::spawn(async move {
        loop {
            env::time::sleep(KEYS_REFRESH_PERIOD).await;
            let Some(server) = this.upgrade() else { return };
            if let Err(e) = server.ask_for_keys(&server.keys.get()).await {
                debug!("the keys could not be refreshed, trying again: {e}");
            }
        }
    });
}

impl Blockserver {
    /// The key that seals what is new.
    pub(crate) async fn current_key(&self) -> Result<SealKey> {
        let mut known = self.keys.get();
        if known.version == 0 {
            known = self.ask_for_keys(&known).await?;
        }
        known.current(TenantId::FIRST).cloned()
    }

    /// The key that a payload is sealed with; `NotFound` when it was destroyed.
    pub(crate) async fn key_of(&self, sealed: &[u8]) -> Result<SealKey> {
        let (tenant, id) = sealed_with(sealed)?;
        let known = self.keys.get();
        if let Some(key) = known.find(tenant, id)? {
            return Ok(key.clone());
        }
        let known = self.ask_for_keys(&known).await?;
        known.find(tenant, id)?.cloned().ok_or_else(|| {
            Error::corrupt(format!(
                "key {id} of tenant {tenant} is none of this cluster's: it cannot be read"
            ))
        })
    }

    /// Keys that are newer than `seen`, if there are.
    async fn ask_for_keys(&self, seen: &Arc<Keys>) -> Result<Arc<Keys>> {
        let _one = self.keys.asking.lock().await;
        let known = self.keys.get();
        if !Arc::ptr_eq(&known, seen) {
            return Ok(known);
        }
        Ok(self.keys.learn(self.links.fetch_keys().await?))
    }
}
