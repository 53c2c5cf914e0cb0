//! The key ring: opened here, told to nodes with disks, rotated and destroyed; and the inline content that it seals.

use std::sync::Arc;

use access::{Action, acting_node, authorize};
use chunk::manifest::{Content, Manifest};
use chunk::sealed::sealed_with;
use net::Caller;
use proto::command::RootCommand;
use proto::keys::{DestroyKeys, FetchKeys, KeyList, KeyRing, Keys, KeysDestroyed, ListKeys, RotateKeys};
use proto::map::{ROOT, Role};
use proto::namespace::{NewContent, Op, WriteNamespace};
use raft::State;
use tracing::info;
use tree::root;
use types::{Error, NodeId, Result, TenantId};

use super::Metaserver;

impl Metaserver {
    /// Refuses to serve with a key that is not the cluster's, if this node's copy of the ring can tell.
    pub(super) fn check_unlocking(&self) -> Result<()> {
        match self.ring() {
            Ok(ring) => self.keychain.open(&ring).map(drop),
            // Nothing was applied here yet, or heard.
            Err(_) => Ok(()),
        }
    }

    /// The ring as this node's copy of the root partition has it; where there is none, as the root's leader has told it.
    fn ring(&self) -> Result<KeyRing> {
        match self.root() {
            Ok(root) => root.read(|state| root::key_ring(state)),
            Err(_) => self.keychain.heard().ok_or_else(|| {
                Error::unavailable(format!(
                    "node {} has not heard of the cluster's keys yet: ask another, or try again",
                    self.node
                ))
            }),
        }
    }

    /// Takes note of the ring that the root's leader has.
    pub fn hear_ring(&self, ring: KeyRing) {
        self.keychain.hear(ring);
    }

    fn keys(&self) -> Result<Arc<Keys>> {
        self.keychain.open(&self.ring()?)
    }

    /// Seals what a write carries inline: from here on it is plain nowhere.
    pub(super) fn seal_content(&self, write: &mut WriteNamespace, tenant: TenantId) -> Result<()> {
        let mut plain: Vec<&mut Manifest> = write.ops.iter_mut().filter_map(inline).collect();
        if plain.is_empty() {
            return Ok(());
        }
        let keys = self.keys()?;
        let key = keys.current(tenant)?;
        plain.iter_mut().for_each(|manifest| **manifest = manifest.clone().sealed(key));
        Ok(())
    }

    /// Opens what [`Metaserver::seal_content`] has sealed; `NotFound` when its key was destroyed.
    pub(super) fn open_content(&self, manifest: Manifest) -> Result<Manifest> {
        let Content::Sealed { form, .. } = &manifest.content else { return Ok(manifest) };
        let (tenant, id) = sealed_with(&form.bytes)?;
        match self.keys()?.find(tenant, id)? {
            Some(key) => manifest.opened(key),
            // This copy of the root partition may be behind, that of the content is not.
            None => Err(Error::stale_epoch(format!(
                "node {} does not know key {id} of tenant {tenant} yet: ask another voter",
                self.node
            ))),
        }
    }

    pub(super) async fn fetch_keys(&self, caller: &Caller, request: FetchKeys) -> Result<Keys> {
        self.must_hold_disks(acting_node(&caller.identity)?)?;
        let ring = match request.stale_ok {
            true => self.ring()?,
            false => self.newest_ring().await?,
        };
        self.keychain.open(&ring).map(|keys| Keys::clone(&keys))
    }

    /// `Denied` unless the map says that the node keeps what the keys open.
    pub(super) fn must_hold_disks(&self, node: NodeId) -> Result<()> {
        match self.map.borrow().nodes.get(&node) {
            Some(info) if info.roles.contains(&Role::Block) => Ok(()),
            Some(_) => Err(Error::denied(format!(
                "node {node} holds no disks: it may neither have keys nor register chunks"
            ))),
            None => Err(Error::stale_epoch(format!("node {node} is not in the map of node {}", self.node))),
        }
    }

    pub(super) async fn list_keys(&self, caller: &Caller, _: ListKeys) -> Result<KeyList> {
        authorize(&caller.identity, Action::AdministerCluster)?;
        Ok(root::list_keys(&self.newest_ring().await?))
    }

    pub(super) async fn rotate_keys(&self, caller: &Caller, _: RotateKeys) -> Result<KeyList> {
        authorize(&caller.identity, Action::AdministerCluster)?;
        let ring = self.newest_ring().await?;
        let (unlock, now) = (&self.keychain.unlocking.key, self.env.clock.wall());
        let next = root::rotate_ring(&ring, unlock, &mut || self.env.random.bytes(), now)?;
        self.change_keys(next.clone()).await?;
        info!(version = next.version, "the keys were rotated");
        Ok(root::list_keys(&next))
    }

    pub(super) async fn destroy_keys(&self, caller: &Caller, request: DestroyKeys) -> Result<KeysDestroyed> {
        authorize(&caller.identity, Action::AdministerCluster)?;
        let DestroyKeys { tenant, dry_run } = request;
        let ring = self.newest_ring().await?;
        let keys = root::doomed_keys(&ring, tenant)?;
        if !dry_run {
            self.change_keys(root::destroy_keys(&ring, tenant, self.env.clock.wall())?).await?;
            info!(%tenant, ?keys, "the keys of a tenant were destroyed");
        }
        Ok(KeysDestroyed { keys })
    }

    async fn change_keys(&self, next: KeyRing) -> Result<()> {
        self.propose(ROOT, RootCommand::ChangeKeys(Box::new(next))).await
    }

    async fn newest_ring(&self) -> Result<KeyRing> {
        self.read_newest(&self.root()?, |state: &State| root::key_ring(state)).await
    }
}

/// The manifest of a commit that carries its content.
fn inline(op: &mut Op) -> Option<&mut Manifest> {
    match op {
        Op::CommitVersion { content: NewContent::File { manifest, .. }, .. }
            if matches!(manifest.content, Content::Inline(_)) =>
        {
            Some(manifest)
        }
        _ => None,
    }
}
