//! The keys that chunks are sealed with: asked of the metaservers, kept in memory only.

use std::sync::{Arc, Mutex};

use chunk::sealed::{SealKey, sealed_with};
use proto::keys::Keys;
use tracing::debug;
use types::limits::KEYS_REFRESH_PERIOD;
use types::{Error, KeyId, Result, TenantId};

use crate::links::Links;

/// What this node knows of the cluster's keys.
pub struct KnownKeys {
    links: Arc<dyn Links>,
    /// Version 0 until they were asked for.
    keys: Mutex<Arc<Keys>>,
    /// One question at a time: who waits for it takes its answer.
    asking: tokio::sync::Mutex<()>,
}

impl KnownKeys {
    /// Nothing is known yet. Once it is, it is asked for again now and then for as long as somebody needs it: so new keys
    /// are heard of, and destroyed ones forgotten.
    pub fn start(links: Arc<dyn Links>) -> Arc<Self> {
        let known = Arc::new(Self { links, keys: Mutex::default(), asking: Default::default() });
        let this = Arc::downgrade(&known);
        env::task::spawn(async move {
            loop {
                env::time::sleep(KEYS_REFRESH_PERIOD).await;
                let Some(known) = this.upgrade() else { return };
                if let Err(e) = known.ask(&known.get()).await {
                    debug!("the keys could not be refreshed, trying again: {e}");
                }
            }
        });
        known
    }

    /// The key that seals what is new of a tenant.
    pub async fn current(&self, tenant: TenantId) -> Result<SealKey> {
        let mut known = self.get();
        if known.version == 0 {
            known = self.ask(&known).await?;
        }
        known.current(tenant).cloned()
    }

    /// The key that a payload is sealed with; `NotFound` when it was destroyed.
    pub async fn of(&self, sealed: &[u8]) -> Result<SealKey> {
        let (tenant, id) = sealed_with(sealed)?;
        self.named(tenant, id).await
    }

    /// The key of this name; `NotFound` when it was destroyed.
    pub async fn named(&self, tenant: TenantId, id: KeyId) -> Result<SealKey> {
        let known = self.get();
        if let Some(key) = known.find(tenant, id)? {
            return Ok(key.clone());
        }
        let known = self.ask(&known).await?;
        known.find(tenant, id)?.cloned().ok_or_else(|| {
            Error::corrupt(format!(
                "key {id} of tenant {tenant} is none of this cluster's: it cannot be read"
            ))
        })
    }

    /// Keys that are newer than `seen`, if there are.
    async fn ask(&self, seen: &Arc<Keys>) -> Result<Arc<Keys>> {
        let _one = self.asking.lock().await;
        let known = self.get();
        if !Arc::ptr_eq(&known, seen) {
            return Ok(known);
        }
        let told = self.links.fetch_keys().await?;
        let mut keys = self.keys.lock().expect("no panic while it is held");
        // A metaserver may be behind another one that was asked before.
        if told.version >= keys.version {
            *keys = Arc::new(told);
        }
        Ok(keys.clone())
    }

    fn get(&self) -> Arc<Keys> {
        self.keys.lock().expect("no panic while it is held").clone()
    }
}
