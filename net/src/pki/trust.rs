//! What a cluster's peers are checked against.

use rustls::pki_types::CertificateDer;
use types::{ClusterId, Error, Result};

use super::certificate;

/// The certificate that a cluster's peers are checked against. Public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    pub(super) cluster: ClusterId,
    pub(super) certificate: CertificateDer<'static>,
}

impl Trust {
    /// Reads the authority's certificate; `Invalid` when there is none. Other parts of the text are ignored.
    pub fn from_pem(text: &str) -> Result<Self> {
        let certificates = certificate::all_in(text)?;
        let found = certificates.into_iter().find_map(|c| Some((certificate::authority_cluster(&c)?, c)));
        let (cluster, certificate) = found.ok_or_else(|| {
            Error::invalid("no certificate of a CloudSync authority in this text; copy all of it")
        })?;
        Ok(Self { cluster, certificate })
    }

    /// The certificate as text.
    pub fn to_pem(&self) -> String {
        certificate::pem_block("CERTIFICATE", &self.certificate)
    }

    /// Whose authority this is.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }
}
