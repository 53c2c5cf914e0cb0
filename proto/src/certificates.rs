//! Messages about who gets in: join tokens, certificates, and which of those are revoked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::{Identity, Millis, NodeId, Result, Serial, TokenId};

use crate::map::Role;

/// What a token lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Grant {
    /// Join as a node. With [`Role::Block`] one without metadata, with [`Role::Meta`] any: a meta node can read
    /// everything anyway.
    Join(Role),
    /// Get a new certificate for this node, whose own has run out or was revoked.
    Renew(NodeId),
}

impl Grant {
    /// True when it lets a node in that is to have these roles.
    pub fn admits(self, roles: &[Role]) -> bool {
        match self {
            Grant::Join(Role::Meta) => true,
            Grant::Join(Role::Block) => !roles.contains(&Role::Meta),
            Grant::Renew(_) => false,
        }
    }
}

impl std::fmt::Display for Grant {
    /// As one would go on after "the token is good for".
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Grant::Join(Role::Meta) => f.write_str("joining as a node with any role"),
            Grant::Join(Role::Block) => f.write_str("joining as a node with role block"),
            Grant::Renew(node) => write!(f, "renewing the certificate of node {node}"),
        }
    }
}

/// Asks for a token. For administrators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateToken {
    /// What it is good for.
    pub grant: Grant,
    /// How often it can be used.
    pub uses: u32,
    /// Milliseconds from now until it expires.
    pub valid_ms: u64,
}

/// Answer to [`CreateToken`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCreated {
    /// What its holder shows. The cluster keeps only a hash of it.
    #[serde(with = "serde_bytes")]
    pub secret: [u8; 32],
    /// What it is listed and revoked by.
    pub id: TokenId,
}

/// The id of the token with this hash.
pub fn token_id(hash: &[u8; 32]) -> TokenId {
    TokenId(*hash.first_chunk().expect("a hash is longer than an id"))
}

/// Asks for all tokens that have not expired. For administrators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListTokens {}

/// Answer to [`ListTokens`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenList {
    /// In the order of their ids.
    pub tokens: Vec<TokenInfo>,
}

/// What may be told of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenInfo {
    /// What it is listed and revoked by.
    pub id: TokenId,
    /// What it is good for.
    pub grant: Grant,
    /// How often it can be used in all.
    pub uses: u32,
    /// The nodes that have used it, in order.
    pub used_by: Vec<NodeId>,
    /// Not valid after this time.
    pub expires: Millis,
}

/// Makes a token useless. For administrators; `NotFound` when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeToken {
    /// Which one.
    pub id: TokenId,
}

/// A node asks for a new certificate of its own, for a new key. `Denied` for anybody else, unless a token proves the right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewCertificate {
    /// Whose certificate: the caller, or the node that the token names.
    pub node: NodeId,
    /// Certificate signing request, PEM. The same one again gets the same certificate.
    pub request: String,
    /// From a token for this node, when its certificate does not prove who it is any more.
    pub secret: Option<[u8; 32]>,
}

/// Answer to [`RenewCertificate`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRenewed {
    /// The certificate, PEM.
    pub certificate: String,
}

/// Asks for a certificate for a person or a program. For administrators; nodes get theirs by joining.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueCertificate {
    /// Who its holder will be.
    pub identity: Identity,
    /// Certificate signing request, PEM.
    pub request: String,
    /// Milliseconds from now until it ends.
    pub valid_ms: u64,
}

/// Answer to [`IssueCertificate`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateIssued {
    /// The certificate, PEM.
    pub certificate: String,
    /// What it is listed by, and when it ends.
    pub issued: Issued,
}

/// A certificate that the root partition has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// What it is listed and revoked by.
    pub serial: Serial,
    /// When it ends.
    pub expires: Millis,
}

/// Asks for all certificates that have not run out. For administrators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListCertificates {}

/// Answer to [`ListCertificates`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateList {
    /// In the order of their serials.
    pub certificates: Vec<CertificateInfo>,
}

/// What is known of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateInfo {
    /// What it is listed and revoked by.
    pub serial: Serial,
    /// Who its holder is.
    pub identity: Identity,
    /// When it was issued.
    pub issued: Millis,
    /// When it ends.
    pub expires: Millis,
    /// Nobody accepts it any more.
    pub revoked: bool,
}

/// Which certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Which {
    /// The one with this serial.
    Serial(Serial),
    /// All of this holder.
    Of(Identity),
}

impl Which {
    /// Reads a serial, such as `17`; an identity, such as `node/3`; or the name of an administrator. Else `Invalid`.
    pub fn parse(text: &str) -> Result<Self> {
        if let Ok(serial) = text.parse() {
            return Ok(Which::Serial(Serial(serial)));
        }
        holder(text).map(Which::Of)
    }
}

/// Reads an identity, such as `user/ann`, or the name of an administrator.
pub fn holder(text: &str) -> Result<Identity> {
    match text.contains('/') {
        true => Identity::parse(text),
        false => Identity::parse(&format!("admin/{text}")),
    }
}

/// Has every node turn certificates away, also on connections that are open. For administrators. `NotFound` when there
/// are none; `Conflict` when nobody could administer the cluster any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeCertificates {
    /// Which ones.
    pub which: Which,
    /// The one that the caller shows: `Conflict` when it is among them.
    pub own: Option<Serial>,
    /// Whatever follows from it.
    pub force: bool,
}

/// Answer to [`RevokeCertificates`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificatesRevoked {
    /// Those that nobody accepts any more, also when they were revoked before.
    pub serials: Vec<Serial>,
}

/// The certificates that nobody accepts although they have not run out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Grows by one with every change.
    pub version: u64,
    /// Each with the time when it ends anyway.
    pub until: BTreeMap<Serial, Millis>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_named_by_serial_holder_or_administrator() {
        let of = |identity| Ok(Which::Of(identity));
        assert_eq!(Which::parse("17"), Ok(Which::Serial(Serial(17))));
        assert_eq!(Which::parse("node/3"), of(Identity::Node(NodeId(3))));
        assert_eq!(Which::parse("user/ann"), of(Identity::User("ann".into())));
        assert_eq!(Which::parse("bob"), of(Identity::Admin("bob".into())));
        for bad in ["", "node/x", "root/x", "a b", "-1"] {
            // "-1" is a name like any other.
            assert_eq!(Which::parse(bad).is_err(), bad != "-1", "{bad}");
        }
    }

    #[test]
    fn a_token_admits_what_it_is_bound_to() {
        let (meta, block, renew) =
            (Grant::Join(Role::Meta), Grant::Join(Role::Block), Grant::Renew(NodeId(1)));
        let roles = [&[Role::Meta, Role::Block][..], &[Role::Meta], &[Role::Block]];
        assert_eq!(roles.map(|roles| meta.admits(roles)), [true; 3]);
        assert_eq!(roles.map(|roles| block.admits(roles)), [false, false, true]);
        assert_eq!(roles.map(|roles| renew.admits(roles)), [false; 3]);
    }
}
