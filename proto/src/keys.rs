//! The key ring and messages about it (`docs/formats/keys.md`).
//!
//! Three layers: the unlock key is on the meta nodes only and seals the ring key; the ring key seals the keys of tenants;
//! those seal what is stored. A key is never in the clear in a command, a row or a log.

use std::fmt;

use bytes::Bytes;
use chunk::sealed::SealKey;
use serde::{Deserialize, Serialize};
use types::{Error, KeyId, Millis, Result, TenantId};

/// Opens a cluster's key ring and its secrets. Kept on meta nodes, beside what it opens or not at all.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlockKey(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl fmt::Debug for UnlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnlockKey(…)")
    }
}

/// How a meta node comes by the unlock key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unlock {
    /// It is in a file.
    File(UnlockKey),
    /// It is derived from a passphrase that each node is told on its own.
    Passphrase(Derivation),
}

/// From a passphrase to a key: Argon2id. No secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Derivation {
    /// Drawn when the cluster was created.
    pub salt: [u8; 16],
    /// Memory it takes, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub pass_count: u32,
}

/// All keys of a cluster, sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRing {
    /// Grows by one with every change.
    pub version: u64,
    /// Keys there have been: no id is used twice.
    pub key_count: u32,
    /// Seals the others.
    pub ring_key: RingKey,
    /// The keys of tenants, in order of their ids.
    pub tenant_keys: Vec<TenantKey>,
}

/// The key that seals the keys of tenants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingKey {
    /// Which key.
    pub id: KeyId,
    /// When it was made.
    pub created: Millis,
    /// Its 32 bytes, sealed by the unlock key.
    pub sealed: Bytes,
}

/// A key of a tenant. The tenant's last one seals what is new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantKey {
    /// Which key.
    pub id: KeyId,
    /// Whose data it seals.
    pub tenant: TenantId,
    /// When it was made.
    pub created: Millis,
    /// The key itself, if it still is.
    pub matter: KeyMatter,
}

/// What is left of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyMatter {
    /// Its 32 bytes, sealed by the ring key.
    Sealed(Bytes),
    /// Nothing, since then: what it sealed cannot be read any more.
    Destroyed(Millis),
}

/// A node that holds disks asks for the keys of what is on them. Keeps them in memory only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchKeys {
    /// Any meta node may answer from what it has, for when the metadata has no quorum.
    pub stale_ok: bool,
}

/// The keys of a cluster in the clear, and the answer to [`FetchKeys`]: in memory and between nodes only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// Of the ring they are from.
    pub version: u64,
    /// In order of their ids.
    pub keys: Vec<SealKey>,
    /// Keys that were destroyed, and whose they were.
    pub destroyed: Vec<(KeyId, TenantId)>,
}

impl Keys {
    /// The key that seals what is new for a tenant; `NotFound` when all it had were destroyed.
    pub fn current(&self, tenant: TenantId) -> Result<&SealKey> {
        let current = self.keys.iter().rev().find(|key| key.tenant == tenant);
        current.ok_or_else(|| {
            let had = self.destroyed.iter().any(|(_, of)| *of == tenant);
            let why = if had { "its keys were destroyed" } else { "it never had one" };
            Error::not_found(format!("tenant {tenant} has no key ({why}): nothing can be stored for it"))
        })
    }

    /// A key that something is sealed with; `None` when it is not one of these, `NotFound` when it was destroyed.
    pub fn find(&self, tenant: TenantId, id: KeyId) -> Result<Option<&SealKey>> {
        if self.destroyed.contains(&(id, tenant)) {
            return Err(Error::not_found(format!(
                "key {id} of tenant {tenant} was destroyed: what it sealed cannot be read any more"
            )));
        }
        Ok(self.keys.iter().find(|key| key.id == id && key.tenant == tenant))
    }
}

/// Asks which keys there are. For administrators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListKeys {}

/// Answer to [`ListKeys`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyList {
    /// In order of their ids; the ring key is one of tenant 0.
    pub keys: Vec<KeyInfo>,
}

/// What may be told of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Which key.
    pub id: KeyId,
    /// Whose data it seals; 0 for the ring key.
    pub tenant: TenantId,
    /// When it was made.
    pub created: Millis,
    /// What it is good for.
    pub state: KeyState,
}

/// What a key is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyState {
    /// Seals what is new, and opens what it has sealed.
    Current,
    /// Opens what it has sealed.
    Old,
    /// Nothing, since then.
    Destroyed(Millis),
}

/// Makes a new key for every tenant, and a new ring key that seals all. For administrators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateKeys {}

/// Destroys all keys of a tenant: what is stored for it cannot be read any more, by nobody. For administrators.
/// `NotFound` for a tenant without keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestroyKeys {
    /// Whose keys.
    pub tenant: TenantId,
    /// Only says what would happen.
    pub dry_run: bool,
}

/// Answer to [`DestroyKeys`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysDestroyed {
    /// The keys that are, or would be, no more.
    pub keys: Vec<KeyId>,
}

#[cfg(test)]
mod tests {
    use types::ErrorKind;

    use super::*;

    #[test]
    fn a_tenants_newest_key_seals_and_all_it_has_open() {
        let key = |tenant, id| SealKey { tenant: TenantId(tenant), id: KeyId(id), secret: [id as u8; 32] };
        let keys = vec![key(1, 2), key(2, 3), key(1, 5)];
        let keys =
            Keys { version: 4, keys, destroyed: vec![(KeyId(1), TenantId(1)), (KeyId(4), TenantId(3))] };
        assert_eq!(keys.current(TenantId(1)), Ok(&key(1, 5)));
        assert_eq!(keys.current(TenantId(2)), Ok(&key(2, 3)));
        for (tenant, why) in [(3, "its keys were destroyed"), (4, "it never had one")] {
            let error = keys.current(TenantId(tenant)).unwrap_err();
            assert!(error.kind() == ErrorKind::NotFound && error.message().contains(why), "{error}");
        }
        assert_eq!(keys.find(TenantId(1), KeyId(2)), Ok(Some(&key(1, 2))));
        assert_eq!(keys.find(TenantId(2), KeyId(2)), Ok(None), "another tenant's");
        assert_eq!(keys.find(TenantId(1), KeyId(9)), Ok(None));
        let error = keys.find(TenantId(1), KeyId(1)).unwrap_err();
        assert_eq!(
            error.message(),
            "key 1 of tenant 1 was destroyed: what it sealed cannot be read any more"
        );
    }

    /// A log or an error shows which keys, and never what they are.
    #[test]
    fn keys_are_not_shown() {
        let key = SealKey { tenant: TenantId(1), id: KeyId(2), secret: [171; 32] };
        let shown = format!("{:?} {:?}", Keys { keys: vec![key], ..Keys::default() }, UnlockKey([171; 32]));
        assert!(!shown.contains("171") && !shown.contains("ab"), "{shown}");
    }
}
