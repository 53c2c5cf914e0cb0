//! The key ring: how it is made, opened and changed. Pure: whoever proposes a change draws the keys.
//!
//! A row, a command and so a log have keys sealed only: `apply` compares rings and opens none.

use bytes::Bytes;
use chunk::sealed::{SealKey, open_secret, seal_secret};
use proto::keys::{KeyInfo, KeyList, KeyMatter, KeyRing, KeyState, Keys, RingKey, TenantKey, UnlockKey};
use proto::seal::ClusterSecret;
use serde::{Deserialize, Serialize};
use types::limits::KEY_COUNT_MAX;
use types::{Error, KeyId, Millis, Result, TenantId};

/// 32 random bytes for a new key.
pub type Draw<'a> = &'a mut dyn FnMut() -> [u8; 32];

/// What lets a meta node admit others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// Certificate and key of the cluster's authority, PEM.
    pub authority: String,
    /// The secret all nodes share.
    pub secret: ClusterSecret,
}

/// What [`Secrets`] are sealed for.
const SECRETS: &str = "the secrets of the cluster";

impl Secrets {
    /// As they stand in a row.
    pub fn seal(&self, unlock: &UnlockKey) -> Bytes {
        seal_secret(&unlocking(unlock), SECRETS, &proto::encode_plain(self))
    }

    /// Reads what [`Secrets::seal`] made; `Denied` with another key.
    pub fn open(sealed: &[u8], unlock: &UnlockKey) -> Result<Self> {
        proto::decode_plain(&open_secret(&unlocking(unlock), SECRETS, sealed).map_err(|_| wrong_key())?)
    }
}

/// The ring that a cluster begins with: a ring key and a key of the first tenant.
pub fn found_ring(unlock: &UnlockKey, draw: Draw<'_>, now: Millis) -> KeyRing {
    let ring_key = new_ring_key(KeyId(1), draw);
    let first = SealKey { tenant: TenantId::FIRST, id: KeyId(2), secret: draw() };
    KeyRing {
        version: 1,
        key_count: 2,
        ring_key: seal_ring_key(&ring_key, unlock, now),
        tenant_keys: vec![seal_tenant_key(&first, &ring_key, now)],
    }
}

/// All keys of a ring. `Denied` when the unlock key is not the cluster's.
pub fn open_ring(ring: &KeyRing, unlock: &UnlockKey) -> Result<Keys> {
    let ring_key = open_ring_key(ring, unlock)?;
    let mut keys = Keys { version: ring.version, ..Keys::default() };
    for key in &ring.tenant_keys {
        match &key.matter {
            KeyMatter::Destroyed(_) => keys.destroyed.push((key.id, key.tenant)),
            KeyMatter::Sealed(sealed) => {
                let secret = open_32(&ring_key, &tenant_purpose(key.id), sealed)?;
                keys.keys.push(SealKey { tenant: key.tenant, id: key.id, secret });
            }
        }
    }
    Ok(keys)
}

/// The next ring: a new key for every tenant that has one, and a new ring key that seals them all.
pub fn rotate_ring(ring: &KeyRing, unlock: &UnlockKey, draw: Draw<'_>, now: Millis) -> Result<KeyRing> {
    let keys = open_ring(ring, unlock)?;
    let mut tenants: Vec<TenantId> = keys.keys.iter().map(|key| key.tenant).collect();
    tenants.sort();
    tenants.dedup();
    let mut key_count = ring.key_count;
    let mut next = || {
        key_count += 1;
        KeyId(key_count)
    };
    let ring_key = new_ring_key(next(), draw);
    let mut sealed_again = keys.keys.iter();
    let mut tenant_keys = ring.tenant_keys.clone();
    for key in tenant_keys.iter_mut().filter(|key| matches!(key.matter, KeyMatter::Sealed(_))) {
        let open = sealed_again.next().expect("every sealed key was opened, in this order");
        *key = seal_tenant_key(open, &ring_key, key.created);
    }
    for tenant in tenants {
        let new = SealKey { tenant, id: next(), secret: draw() };
        tenant_keys.push(seal_tenant_key(&new, &ring_key, now));
    }
    let ring_key = seal_ring_key(&ring_key, unlock, now);
    Ok(KeyRing { version: ring.version + 1, key_count, ring_key, tenant_keys })
}

/// The keys that [`destroy_keys`] would destroy; `NotFound` when there are none.
pub fn doomed_keys(ring: &KeyRing, tenant: TenantId) -> Result<Vec<KeyId>> {
    let is_doomed = |key: &&TenantKey| key.tenant == tenant && matches!(key.matter, KeyMatter::Sealed(_));
    let doomed: Vec<KeyId> = ring.tenant_keys.iter().filter(is_doomed).map(|key| key.id).collect();
    match doomed.is_empty() {
        true => Err(Error::not_found(format!("tenant {tenant} has no key that could be destroyed"))),
        false => Ok(doomed),
    }
}

/// The next ring: without what was left of the keys of a tenant, whose ids stay known.
pub fn destroy_keys(ring: &KeyRing, tenant: TenantId, now: Millis) -> Result<KeyRing> {
    let doomed = doomed_keys(ring, tenant)?;
    let mut next = KeyRing { version: ring.version + 1, ..ring.clone() };
    for key in next.tenant_keys.iter_mut().filter(|key| doomed.contains(&key.id)) {
        key.matter = KeyMatter::Destroyed(now);
    }
    Ok(next)
}

/// What may be told of the keys of a ring.
pub fn list_keys(ring: &KeyRing) -> KeyList {
    let RingKey { id, created, .. } = ring.ring_key;
    let of_ring = KeyInfo { id, tenant: TenantId::CLUSTER, created, state: KeyState::Current };
    let info = |key: &TenantKey| {
        let is_last =
            |tenant| ring.tenant_keys.iter().rev().find(|other| other.tenant == tenant) == Some(key);
        let state = match key.matter {
            KeyMatter::Destroyed(when) => KeyState::Destroyed(when),
            KeyMatter::Sealed(_) if is_last(key.tenant) => KeyState::Current,
            KeyMatter::Sealed(_) => KeyState::Old,
        };
        KeyInfo { id: key.id, tenant: key.tenant, created: key.created, state }
    };
    let mut keys: Vec<KeyInfo> = std::iter::once(of_ring).chain(ring.tenant_keys.iter().map(info)).collect();
    keys.sort_by_key(|key| key.id);
    KeyList { keys }
}

/// `Conflict` unless `next` was made from `ring`, `Invalid` when it forgets a key, brings one back or uses an id again.
pub(super) fn check_next(ring: &KeyRing, next: &KeyRing) -> Result<()> {
    if next.version != ring.version + 1 {
        return Err(Error::conflict(format!(
            "the key ring was changed meanwhile (to version {}): do it again",
            ring.version
        )));
    }
    let invalid = |what: &str| Err(Error::invalid(format!("a key ring cannot follow: {what}")));
    if next.key_count as usize > KEY_COUNT_MAX {
        return Err(Error::invalid(format!(
            "the cluster has had {} keys, {KEY_COUNT_MAX} is the limit",
            ring.key_count
        )));
    }
    let (kept, new) = next.tenant_keys.split_at(ring.tenant_keys.len().min(next.tenant_keys.len()));
    let is_kept = |(old, now): (&TenantKey, &TenantKey)| {
        let is_gone = matches!(old.matter, KeyMatter::Destroyed(_));
        (old.id, old.tenant, old.created) == (now.id, now.tenant, now.created)
            && (!is_gone || old.matter == now.matter)
    };
    if kept.len() < ring.tenant_keys.len() || !ring.tenant_keys.iter().zip(kept).all(is_kept) {
        return invalid("it does not have the keys that there were");
    }
    let is_new = |id: KeyId| id.0 > ring.key_count && id.0 <= next.key_count;
    let new: Vec<KeyId> = new.iter().map(|key| key.id).collect();
    let same_ring_key = next.ring_key.id == ring.ring_key.id;
    if (!same_ring_key && (!is_new(next.ring_key.id) || new.contains(&next.ring_key.id)))
        || !new.iter().all(|id| is_new(*id))
        || !new.is_sorted_by(|a, b| a < b)
    {
        return invalid("an id is not new");
    }
    Ok(())
}

fn unlocking(unlock: &UnlockKey) -> SealKey {
    SealKey { tenant: TenantId::CLUSTER, id: KeyId(0), secret: unlock.0 }
}

fn new_ring_key(id: KeyId, draw: Draw<'_>) -> SealKey {
    SealKey { tenant: TenantId::CLUSTER, id, secret: draw() }
}

fn seal_ring_key(key: &SealKey, unlock: &UnlockKey, created: Millis) -> RingKey {
    let sealed = seal_secret(&unlocking(unlock), &ring_purpose(key.id), &key.secret);
    RingKey { id: key.id, created, sealed }
}

fn open_ring_key(ring: &KeyRing, unlock: &UnlockKey) -> Result<SealKey> {
    let RingKey { id, sealed, .. } = &ring.ring_key;
    let secret = open_32(&unlocking(unlock), &ring_purpose(*id), sealed).map_err(|_| wrong_key())?;
    Ok(SealKey { tenant: TenantId::CLUSTER, id: *id, secret })
}

fn seal_tenant_key(key: &SealKey, ring_key: &SealKey, created: Millis) -> TenantKey {
    let sealed = seal_secret(ring_key, &tenant_purpose(key.id), &key.secret);
    TenantKey { id: key.id, tenant: key.tenant, created, matter: KeyMatter::Sealed(sealed) }
}

fn open_32(key: &SealKey, purpose: &str, sealed: &[u8]) -> Result<[u8; 32]> {
    let secret = open_secret(key, purpose, sealed)?;
    let whole = <[u8; 32]>::try_from(&secret[..]);
    whole.map_err(|_| Error::corrupt(format!("{purpose} has {} bytes, not 32", secret.len())))
}

fn ring_purpose(id: KeyId) -> String {
    format!("ring key {id}")
}

fn tenant_purpose(id: KeyId) -> String {
    format!("tenant key {id}")
}

fn wrong_key() -> Error {
    Error::denied(
        "the unlock key of this node is not that of the cluster: put back its key file (keys/cluster.key in the data \
         directory, a copy from another meta node will do), or name the right passphrase file",
    )
}

#[cfg(test)]
mod tests {
    use types::ErrorKind;

    use super::*;

    const UNLOCK: UnlockKey = UnlockKey([1; 32]);

    /// Numbered keys: each is told from the others.
    fn draw(mut count: u8) -> impl FnMut() -> [u8; 32] {
        move || {
            count += 1;
            [count; 32]
        }
    }

    fn founded() -> KeyRing {
        found_ring(&UNLOCK, &mut draw(10), Millis(1))
    }

    fn rotated(ring: &KeyRing) -> KeyRing {
        rotate_ring(ring, &UNLOCK, &mut draw(100), Millis(2)).unwrap()
    }

    #[test]
    fn a_rotation_adds_a_key_and_seals_all_by_another() {
        let (first, second) = (founded(), rotated(&founded()));
        let (old, new) = (open_ring(&first, &UNLOCK).unwrap(), open_ring(&second, &UNLOCK).unwrap());
        assert_eq!(old.keys, new.keys[..1]);
        assert_eq!(new.current(TenantId::FIRST).unwrap().id, KeyId(4));
        assert_ne!(first.tenant_keys[0].matter, second.tenant_keys[0].matter, "sealed by another key");
        assert_eq!(check_next(&first, &second), Ok(()));
        let states: Vec<_> =
            list_keys(&second).keys.iter().map(|key| (key.id.0, key.tenant.0, key.state)).collect();
        assert_eq!(states, [(2, 1, KeyState::Old), (3, 0, KeyState::Current), (4, 1, KeyState::Current)]);
    }

    #[test]
    fn what_is_destroyed_is_gone_and_the_others_are_not() {
        let mut ring = rotated(&founded());
        let other = SealKey { tenant: TenantId(2), id: KeyId(5), secret: [7; 32] };
        let ring_key = open_ring_key(&ring, &UNLOCK).unwrap();
        ring.tenant_keys.push(seal_tenant_key(&other, &ring_key, Millis(3)));
        ring.key_count = 5;
        let next = destroy_keys(&ring, TenantId(1), Millis(4)).unwrap();
        assert_eq!(check_next(&ring, &next), Ok(()));
        let keys = open_ring(&next, &UNLOCK).unwrap();
        assert_eq!(keys.keys, [other]);
        assert_eq!(keys.find(TenantId(1), KeyId(2)).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(destroy_keys(&next, TenantId(1), Millis(5)).unwrap_err().kind(), ErrorKind::NotFound);
        // A rotation does not bring it back.
        let later = rotated(&next);
        assert_eq!(check_next(&next, &later), Ok(()));
        assert!(open_ring(&later, &UNLOCK).unwrap().current(TenantId(1)).is_err());
        assert_eq!(open_ring(&later, &UNLOCK).unwrap().current(TenantId(2)).unwrap().id, KeyId(7));
    }

    #[test]
    fn rings_that_do_not_follow_are_refused() {
        let ring = rotated(&founded());
        let gone = destroy_keys(&ring, TenantId(1), Millis(4)).unwrap();
        let check = |ring: &KeyRing, change: &dyn Fn(&mut KeyRing), want: ErrorKind| {
            let mut next = rotated(ring);
            change(&mut next);
            assert_eq!(check_next(ring, &next).unwrap_err().kind(), want);
        };
        check(&ring, &|next| next.version += 1, ErrorKind::Conflict);
        check(&ring, &|next| next.version -= 1, ErrorKind::Conflict);
        check(&ring, &|next| next.tenant_keys.truncate(1), ErrorKind::Invalid);
        check(&ring, &|next| next.tenant_keys.swap(0, 1), ErrorKind::Invalid);
        check(&ring, &|next| next.tenant_keys[0].tenant = TenantId(9), ErrorKind::Invalid);
        check(&ring, &|next| next.tenant_keys[2].id = KeyId(4), ErrorKind::Invalid);
        check(&ring, &|next| next.tenant_keys[2].id = KeyId(9), ErrorKind::Invalid);
        check(&ring, &|next| next.ring_key.id = KeyId(2), ErrorKind::Invalid);
        check(&ring, &|next| next.ring_key.id = KeyId(6), ErrorKind::Invalid);
        check(&ring, &|next| next.key_count = KEY_COUNT_MAX as u32 + 1, ErrorKind::Invalid);
        let back = |next: &mut KeyRing| next.tenant_keys[0].matter = ring.tenant_keys[0].matter.clone();
        check(&gone, &back, ErrorKind::Invalid);
    }

    #[test]
    fn nothing_opens_with_another_key() {
        let wrong = UnlockKey([2; 32]);
        let secrets = Secrets { authority: "pem".into(), secret: ClusterSecret::first([3; 32]) };
        let sealed = secrets.seal(&UNLOCK);
        assert_eq!(Secrets::open(&sealed, &UNLOCK), Ok(secrets));
        for error in [Secrets::open(&sealed, &wrong).unwrap_err(), open_ring(&founded(), &wrong).unwrap_err()]
        {
            assert!(
                error.kind() == ErrorKind::Denied && error.message().contains("keys/cluster.key"),
                "{error}"
            );
        }
    }

    /// No key is in the clear in what is stored or logged.
    #[test]
    fn a_ring_shows_no_key() {
        let bytes = proto::encode_plain(&rotated(&founded()));
        let shows = |key: u8| bytes.windows(8).any(|run| run == [key; 8]);
        assert!(![11, 12, 101, 102].into_iter().any(shows));
    }
}
