//! What a member of a cluster holds: its certificate, its private key and the authority's certificate.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use types::{ClusterId, Error, Identity, Millis, Result, Serial};

use super::certificate::{self, Facts, internal};
use super::trust::Trust;

/// A private key that has no certificate yet: a joining node creates one and never sends it anywhere.
pub struct KeyPair(rcgen::KeyPair);

impl KeyPair {
    /// Creates a new key.
    pub fn create() -> Result<Self> {
        rcgen::KeyPair::generate().map(Self).map_err(internal)
    }

    /// Reads what [`KeyPair::to_pem`] wrote; `Invalid` when there is no such key in it.
    pub fn from_pem(text: &str) -> Result<Self> {
        rcgen::KeyPair::from_pem(certificate::private_key_in(text)?)
            .map(Self)
            .map_err(|e| Error::invalid(format!("the private key cannot be read: {e}; copy the whole file")))
    }

    /// The private key as text.
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// The public key as a certificate request: what [`super::Authority::sign`] takes. It names nobody: the authority
    /// decides who the holder is.
    pub fn request(&self) -> Result<String> {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.serialize_request(&self.0).and_then(|request| request.pem()).map_err(internal)
    }
}

impl fmt::Debug for KeyPair {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair")
    }
}

/// Proof of who one is in a cluster. As text it is what a credential file holds; keep it private.
#[derive(Clone)]
pub struct Credentials {
    trust: Trust,
    facts: Facts,
    certified: Arc<CertifiedKey>,
    key_pem: String,
}

impl Credentials {
    /// Reads a credential file and checks that its parts belong together; `Invalid` if not.
    pub fn from_pem(text: &str) -> Result<Self> {
        Self::from_parts(text, &KeyPair::from_pem(text)?)
    }

    /// Joins what [`super::Authority::sign`] returned with the key it was made for.
    pub fn from_parts(certificates: &str, key: &KeyPair) -> Result<Self> {
        let trust = Trust::from_pem(certificates)?;
        let own = certificate::all_in(certificates)?
            .into_iter()
            .find(|c| c != trust.certificate())
            .ok_or_else(|| Error::invalid("no certificate besides the authority's; copy the whole file"))?;
        let facts = Facts::read(&own)?;
        if facts.cluster != trust.cluster {
            return Err(Error::invalid(format!(
                "the certificate is of cluster {} but the authority of {}; copy the whole file again",
                facts.cluster, trust.cluster
            )));
        }
        let certified = Arc::new(certified(own, key)?);
        Ok(Self { trust, facts, certified, key_pem: key.to_pem() })
    }

    /// Certificate, authority's certificate and private key as one text.
    pub fn to_pem(&self) -> String {
        certificate::pem_block("CERTIFICATE", &self.certified.cert[0]) + &self.trust.to_pem() + &self.key_pem
    }

    /// What peers are checked with.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The cluster these are for.
    pub fn cluster(&self) -> ClusterId {
        self.facts.cluster
    }

    /// Whom they identify.
    pub fn identity(&self) -> &Identity {
        &self.facts.identity
    }

    /// What they are listed and revoked by.
    pub fn serial(&self) -> Serial {
        self.facts.serial
    }

    /// When they were issued.
    pub fn issued(&self) -> Millis {
        self.facts.issued
    }

    /// When they stop being accepted.
    pub fn expires(&self) -> Millis {
        self.facts.expires
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }
}

impl fmt::Debug for Credentials {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} of {})", self.facts.identity, self.facts.cluster)
    }
}

fn certified(certificate: CertificateDer<'static>, key: &KeyPair) -> Result<CertifiedKey> {
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.0.serialize_der()));
    let signer = rustls::crypto::ring::sign::any_supported_type(&der).map_err(|e| {
        Error::invalid(format!("the private key is of a kind we cannot use: {e}; ask for new credentials"))
    })?;
    let certified = CertifiedKey::new(vec![certificate], signer);
    certified.keys_match().map_err(|_| {
        Error::invalid("the private key does not belong to the certificate; copy the whole file again")
    })?;
    Ok(certified)
}
