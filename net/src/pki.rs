//! Certificates: who belongs to a cluster, and as what.
//!
//! Owns: creating, signing, reading and writing certificates and keys as text.
//! Knows nothing of: where credential files lie, who may ask for a certificate.
//!
//! Each cluster has its own authority. Keys come from the system's secure random source, never from `Env::random`: a
//! simulation's seed must not be able to make a key. The wall clock does come from `Env`.

mod certificate;
mod credentials;
#[cfg(test)]
mod tests;
mod trust;

use std::fmt;

use env::Env;
use env::time::Duration;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;
use types::limits::{AUTHORITY_VALIDITY, CLOCK_SKEW_MAX};
use types::{ClusterId, Error, Identity, Millis, Result, Serial};

pub(crate) use certificate::Facts;
pub use credentials::{Credentials, KeyPair};
pub use trust::Trust;

use crate::identity::{cluster_uri, identity_uri};
use certificate::internal;

/// The name in every node's certificate. Clients check the chain, the cluster and that the peer is a node, not which
/// machine it runs on: addresses change.
pub(crate) const NODE_DNS_NAME: &str = "node.cloudsync.internal";

/// What a certificate says of its holder, who has a key of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Who the holder is.
    pub identity: Identity,
    /// What it is listed and revoked by.
    pub serial: Serial,
    /// When it ends. It begins now.
    pub expires: Millis,
}

impl Terms {
    /// Terms that no root partition knows of: the certificate cannot be listed, and ends after `validity`.
    pub fn uncounted(identity: &Identity, validity: Duration, env: &Env) -> Self {
        let expires = env.clock.wall().plus(validity.as_millis() as u64);
        Self { identity: identity.clone(), serial: Serial::uncounted(env.random.u64()), expires }
    }
}

/// The right to say who belongs to a cluster. Its text is the cluster's most valuable secret.
pub struct Authority {
    trust: Trust,
    key: rcgen::KeyPair,
}

impl Authority {
    /// Creates the authority of a new cluster.
    pub fn create(env: &Env, cluster: ClusterId) -> Result<Self> {
        let key = rcgen::KeyPair::generate().map_err(internal)?;
        let expires = env.clock.wall().plus(AUTHORITY_VALIDITY.as_millis() as u64);
        let mut params = params(env, expires, &format!("cloudsync {cluster}"), &cluster_uri(cluster))?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(internal)?.der().clone();
        Ok(Self { trust: Trust { cluster, certificate }, key })
    }

    /// Reads what [`Authority::to_pem`] wrote; `Invalid` when a part is missing or damaged.
    pub fn from_pem(text: &str) -> Result<Self> {
        let trust = Trust::from_pem(text)?;
        let key = rcgen::KeyPair::from_pem(certificate::private_key_in(text)?)
            .map_err(|e| Error::invalid(format!("the authority's private key cannot be read: {e}")))?;
        Ok(Self { trust, key })
    }

    /// Certificate and private key as text.
    pub fn to_pem(&self) -> String {
        self.trust.to_pem() + &self.key.serialize_pem()
    }

    /// What peers check certificates of this authority with.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Creates a key and its certificate, which no root partition knows of; valid from now for `validity`.
    pub fn issue(&self, identity: &Identity, validity: Duration, env: &Env) -> Result<Credentials> {
        self.issue_on(&Terms::uncounted(identity, validity, env), env)
    }

    /// Creates a key and its certificate.
    pub fn issue_on(&self, terms: &Terms, env: &Env) -> Result<Credentials> {
        let key = KeyPair::create()?;
        Credentials::from_parts(&self.sign(&key.request()?, terms, env)?, &key)
    }

    /// Signs a public key that somebody else created: `request` is [`KeyPair::request`]. The result is public: the
    /// certificate and the authority's, for [`Credentials::from_parts`]. Nothing the request says but its key is used.
    pub fn sign(&self, request: &str, terms: &Terms, env: &Env) -> Result<String> {
        let Terms { identity, serial, expires } = terms;
        identity.check()?;
        let request = CertificateSigningRequestParams::from_pem(request).map_err(|e| {
            Error::invalid(format!("this is not a certificate request: {e}; create a new one"))
        })?;
        let cluster = self.trust.cluster;
        let mut params = params(env, *expires, &identity.to_string(), &identity_uri(cluster, identity))?;
        params.serial_number = Some(serial.0.into());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        if identity.is_node() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
            params.subject_alt_names.push(SanType::DnsName(NODE_DNS_NAME.try_into().map_err(internal)?));
        }
        let issuer = Issuer::from_ca_cert_der(&self.trust.certificate, &self.key).map_err(internal)?;
        let certificate = params.signed_by(&request.public_key, &issuer).map_err(internal)?;
        Ok(certificate::pem_block("CERTIFICATE", certificate.der()) + &self.trust.to_pem())
    }
}

impl fmt::Debug for Authority {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.trust.cluster)
    }
}

fn params(env: &Env, expires: Millis, name: &str, uri: &str) -> Result<CertificateParams> {
    let begins = env.clock.wall().0.saturating_sub(CLOCK_SKEW_MAX.as_millis() as u64);
    let mut params = CertificateParams::default();
    params.not_before = date(Millis(begins))?;
    params.not_after = date(expires)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![SanType::URI(uri.try_into().map_err(internal)?)];
    Ok(params)
}

fn date(at: Millis) -> Result<OffsetDateTime> {
    i64::try_from(at.0 / 1000)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or_else(|| Error::invalid("a certificate cannot be valid that long; choose fewer days"))
}
