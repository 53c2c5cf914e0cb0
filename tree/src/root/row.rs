//! Rows of the root partition. Format: `docs/formats/metadata-rows.md`.

use std::collections::BTreeMap;

use bytes::Bytes;
use proto::certificates::Grant;
use proto::keys::KeyRing;
use proto::map::ClusterMap;
use serde::{Deserialize, Serialize};
use types::{Error, FeatureLevel, Identity, Millis, NodeId, Result, Serial};

use crate::failure::Halt;
use crate::replica::unknown_table;
use crate::row::{canonical, rows};

/// Key of the cluster map.
pub const MAP: &[u8] = b"m";
/// Key of [`SealedSecrets`].
pub const SECRETS: &[u8] = b"b";
/// Key of the key ring.
pub const KEY_RING: &[u8] = b"k";
/// Key of the number of nodes there have been.
pub const NODE_COUNT: &[u8] = b"cn";
/// Key of the number of disks there have been.
pub const DISK_COUNT: &[u8] = b"cd";

/// Key of the number of certificates that were issued.
pub const CERTIFICATE_COUNT: &[u8] = b"ci";
/// Key of who is not accepted any more.
pub const REVOKED: &[u8] = b"r";
/// Key of how often that has changed.
pub const REVOKED_VERSION: &[u8] = b"cr";
/// What the keys of certificates begin with.
pub const CERTIFICATES: &[u8] = b"i";
/// What the keys of tokens begin with.
pub const TOKENS: &[u8] = b"t";

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRow {
    /// Who its holder is.
    pub identity: Identity,
    /// BLAKE3 of the request that it answers.
    pub request: [u8; 32],
    /// When it was issued.
    pub issued: Millis,
    /// When it ends.
    pub expires: Millis,
}

/// The certificates that nobody accepts although they have not run out, each with the time when it ends anyway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedRow(pub BTreeMap<Serial, Millis>);

/// A token: its key has the hash of its secret, which is nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRow {
    /// What it is good for.
    pub grant: Grant,
    /// How often.
    pub uses: u32,
    /// Not valid after this time.
    pub expires: Millis,
    /// By whom it was used, in order.
    pub used: Vec<TokenUse>,
}

/// One use of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUse {
    /// BLAKE3 of the request that came with it: the same one again is the same use.
    pub request: [u8; 32],
    /// The node that was let in.
    pub node: NodeId,
    /// The certificate that it was given.
    pub certificate: Serial,
}

/// What lets a meta node admit others ([`super::Secrets`]), sealed by the unlock key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecrets(pub Bytes);

rows! {
    "cluster map" = ClusterMap;
    "secrets" = SealedSecrets;
    "key ring" = KeyRing;
    "tokens" = TokenRow;
    "certificates" = CertificateRow;
    "revoked certificates" = RevokedRow;
}

/// A row as every replica at this level has it.
pub fn canonical_of(key: &[u8], value: &[u8], level: FeatureLevel) -> Result<Vec<u8>, Halt> {
    let canonical = match key {
        MAP => canonical::<ClusterMap>,
        SECRETS => canonical::<SealedSecrets>,
        KEY_RING => canonical::<KeyRing>,
        NODE_COUNT | DISK_COUNT | CERTIFICATE_COUNT | REVOKED_VERSION => canonical::<u64>,
        REVOKED => canonical::<RevokedRow>,
        [b't', ..] => canonical::<TokenRow>,
        [b'i', ..] => canonical::<CertificateRow>,
        _ => return Err(unknown_table(key)),
    };
    canonical(value, level)
}

/// Key of a token.
pub fn token_key(hash: &[u8; 32]) -> Vec<u8> {
    [TOKENS, hash].concat()
}

/// The hash in the key of a token.
pub fn hash_of(key: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    key.iter().skip(TOKENS.len()).zip(&mut hash).for_each(|(from, to)| *to = *from);
    hash
}

/// Key of a certificate: in the order of the serials.
pub fn certificate_key(serial: Serial) -> Vec<u8> {
    [CERTIFICATES, &serial.0.to_be_bytes()].concat()
}

/// The serial in the key of a certificate.
pub fn serial_of(key: &[u8]) -> Result<Serial, Halt> {
    match key.strip_prefix(CERTIFICATES).and_then(|serial| serial.try_into().ok()) {
        Some(serial) => Ok(Serial(u64::from_be_bytes(serial))),
        None => Err(Halt::new(Error::corrupt(format!("a certificate has the key {}", key.escape_ascii())))),
    }
}
