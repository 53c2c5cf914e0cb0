//! Reading certificates and their text form, and what the library that makes them finds wrong.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use types::{ClusterId, Error, Identity, Millis, Result};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::identity::{parse_cluster_uri, parse_identity_uri};

/// What a peer's certificate says. The chain proves whether it is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub cluster: ClusterId,
    pub identity: Identity,
    pub expires: Millis,
}

impl Facts {
    /// Reads a node's, admin's or user's certificate.
    pub(crate) fn read(der: &CertificateDer<'_>) -> Result<Self> {
        let certificate = parse(der)?;
        let uri = only_uri(&certificate).ok_or_else(|| {
            Error::invalid("the certificate does not name a member of a CloudSync cluster; use a CloudSync credential file")
        })?;
        let (cluster, identity) = parse_identity_uri(&uri)?;
        let expires = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
        Ok(Self { cluster, identity, expires: Millis(expires.saturating_mul(1000)) })
    }
}

/// The cluster whose authority this certificate belongs to, if it is an authority's.
pub(super) fn authority_cluster(der: &CertificateDer<'_>) -> Option<ClusterId> {
    let certificate = parse(der).ok()?;
    if !certificate.is_ca() {
        return None;
    }
    parse_cluster_uri(&only_uri(&certificate)?).ok()
}

/// All certificates in a text.
pub(super) fn all_in(text: &str) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| Error::invalid(format!("certificate text is damaged: {e}; copy the file again")))
}

/// The private key's block of a text.
pub(super) fn private_key_in(text: &str) -> Result<&str> {
    const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
    const END: &str = "-----END PRIVATE KEY-----";
    let missing = || Error::invalid("no private key in this text; copy the whole file");
    let start = text.find(BEGIN).ok_or_else(missing)?;
    let len = text[start..].find(END).ok_or_else(missing)? + END.len();
    Ok(&text[start..start + len])
}

/// `der` as text.
pub(super) fn pem_block(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let lines: Vec<&str> =
        (0..encoded.len()).step_by(64).map(|at| &encoded[at..encoded.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// An error of the library that makes certificates.
pub(super) fn internal(error: rcgen::Error) -> Error {
    Error::internal(format!("certificate: {error}"))
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>> {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => Ok(certificate),
        Err(e) => Err(Error::invalid(format!("certificate cannot be read: {e}; copy the file again"))),
    }
}

/// The URI among the alternative names; `None` unless there is exactly one, so that nobody can be two.
fn only_uri(certificate: &X509Certificate<'_>) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    let first = uris.next()?;
    uris.next().is_none().then_some(first)
}
