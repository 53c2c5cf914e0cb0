//! Reading certificates and their text form, and what the library that makes them finds wrong.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use types::limits::CLOCK_SKEW_MAX;
use types::{ClusterId, Error, Identity, Millis, Result, Serial};
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate};

use crate::identity::{parse_cluster_uri, parse_identity_uri};

/// What a peer's certificate says. The chain proves whether it is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub cluster: ClusterId,
    pub identity: Identity,
    pub serial: Serial,
    pub issued: Millis,
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
        let millis = |at: ASN1Time| Millis(u64::try_from(at.timestamp()).unwrap_or(0).saturating_mul(1000));
        let validity = certificate.validity();
        Ok(Self {
            cluster,
            identity,
            serial: serial(&certificate)?,
            issued: millis(validity.not_before).plus(CLOCK_SKEW_MAX.as_millis() as u64),
            expires: millis(validity.not_after),
        })
    }
}

/// A serial of ours is a number of 8 bytes.
fn serial(certificate: &X509Certificate<'_>) -> Result<Serial> {
    let bytes = certificate.raw_serial();
    let digits = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    if digits.len() > size_of::<u64>() {
        return Err(Error::invalid("the certificate has a serial that no CloudSync cluster gives"));
    }
    Ok(Serial(digits.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))))
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
