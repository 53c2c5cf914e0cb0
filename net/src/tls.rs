//! TLS 1.3 with certificates on both sides, the same for all transports.
//!
//! Owns: which ciphers are offered, how a peer's certificate is checked, what a TCP socket below TLS is like.
//! Knows nothing of: connecting and accepting, what is said.

use std::fmt;
use std::sync::Arc;

use env::{Clock, Env};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{self, cipher_suite};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore,
    ServerConfig, SignatureScheme, version,
};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use types::limits::KIB;
use types::{Error, Identity, Result, Serial};

use crate::pki::{Facts, NODE_DNS_NAME, Trust};
use crate::{Passport, explain};

/// Protocol of the native port: our frames. Changes only when even hello is not understood any more.
pub(crate) const ALPN_NATIVE: &[u8] = b"cloudsync/1";
/// Protocol of the control port: HTTP/2.
pub(crate) const ALPN_CONTROL: &[u8] = b"h2";

/// A socket below TLS. rustls asks for 4 KiB at a time: with a buffer it gets them without a system call each.
pub(crate) type Socket = BufReader<TcpStream>;

/// Bytes that one system call reads.
const SOCKET_BUFFER_SIZE: usize = 64 * KIB;

/// Prepares a connected socket for TLS.
pub(crate) fn socket(stream: TcpStream) -> Socket {
    // Fails only for a socket that is broken, which its next use tells.
    let _ = stream.set_nodelay(true);
    BufReader::with_capacity(SOCKET_BUFFER_SIZE, stream)
}

/// Whether a caller without a certificate is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certificate {
    Required,
    Optional,
}

/// For callers.
pub(crate) fn client(env: &Env, own: &Passport, alpn: &[u8]) -> Result<ClientConfig> {
    let roots = roots(own.trust())?;
    let chain = WebPkiServerVerifier::builder_with_provider(roots, provider()).build().map_err(internal)?;
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(Time(env.clock.clone())))
        .with_protocol_versions(&[&version::TLS13])
        .map_err(internal)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(NodeVerifier { chain, own: own.clone() }))
        .with_client_cert_resolver(Arc::new(own.clone()));
    config.alpn_protocols = vec![alpn.to_vec()];
    // A resumed session would skip the check of certificates that have expired meanwhile, to save a millisecond.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// For servers.
pub(crate) fn server(env: &Env, own: &Passport, callers: Certificate, alpn: &[u8]) -> Result<ServerConfig> {
    let identity = own.credentials().map_or(Identity::Anonymous, |own| own.identity().clone());
    if !identity.is_node() {
        return Err(Error::invalid(format!("credentials of {identity} cannot serve; use those of a node")));
    }
    let mut verifier = WebPkiClientVerifier::builder_with_provider(roots(own.trust())?, provider());
    if callers == Certificate::Optional {
        verifier = verifier.allow_unauthenticated();
    }
    let chain = verifier.build().map_err(internal)?;
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(Time(env.clock.clone())))
        .with_protocol_versions(&[&version::TLS13])
        .map_err(internal)?
        .with_client_cert_verifier(Arc::new(CallerVerifier { chain, own: own.clone() }))
        .with_cert_resolver(Arc::new(own.clone()));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Who a peer with these verified certificates is, and by which one; `Anonymous` without any.
pub(crate) fn peer_of(certificates: Option<&[CertificateDer<'_>]>) -> Result<(Identity, Option<Serial>)> {
    match certificates.and_then(<[_]>::first) {
        Some(own) => {
            let Facts { identity, serial, .. } = Facts::read(own)?;
            Ok((identity, Some(serial)))
        }
        None => Ok((Identity::Anonymous, None)),
    }
}

/// AES-128 first: as safe for our purpose, and the fastest where there is AES hardware.
fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
    ];
    Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() })
}

fn roots(trust: &Trust) -> Result<Arc<RootCertStore>> {
    let mut store = RootCertStore::empty();
    store.add(trust.certificate().clone()).map_err(internal)?;
    Ok(Arc::new(store))
}

fn internal(error: impl fmt::Display) -> Error {
    Error::internal(format!("TLS cannot be set up: {error}"))
}

/// Certificates are checked against the wall clock of the environment.
struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(env::time::Duration::from_millis(self.0.wall().0)))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

/// What both verifiers leave to the library. The two traits say the same under different names.
macro_rules! signatures_by_chain {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            own: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            self.chain.verify_tls12_signature(message, own, signed)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            own: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            self.chain.verify_tls13_signature(message, own, signed)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.chain.supported_verify_schemes()
        }
    };
}

/// The caller's check: is this a node of our cluster?
#[derive(Debug)]
struct NodeVerifier {
    chain: Arc<WebPkiServerVerifier>,
    own: Passport,
}

impl NodeVerifier {
    fn check(&self, facts: &Facts) -> Result<()> {
        let cluster = self.own.trust().cluster();
        if facts.cluster != cluster {
            return Err(Error::denied(format!(
                "the node belongs to cluster {}, our credentials to {cluster}; check the address and the credential file",
                facts.cluster
            )));
        }
        if !facts.identity.is_node() {
            let who = &facts.identity;
            return Err(Error::denied(format!("the server is {who}, not a node; check the address")));
        }
        if self.own.is_revoked(facts.serial) {
            let who = &facts.identity;
            return Err(Error::denied(format!("the certificate of {who} was revoked; stop that node")));
        }
        Ok(())
    }
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _asked_for: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let refuse =
            |e| rustls::Error::from(CertificateError::Other(OtherError(Arc::new(explain::Refusal(e)))));
        let foreign = |e: Error| {
            refuse(Error::denied(format!("the server's certificate is not accepted: {}", e.message())))
        };
        self.check(&Facts::read(own).map_err(foreign)?).map_err(refuse)?;
        let name = ServerName::try_from(NODE_DNS_NAME).expect("the constant is a DNS name");
        self.chain
            .verify_server_cert(own, intermediates, &name, ocsp, now)
            .map_err(|e| refuse(explain::bad_node_certificate(&e, now)))
    }

    signatures_by_chain!();
}

/// The server's check: is this a member of our cluster? Its errors stay the library's own, because they choose the
/// alert from which the caller learns the reason.
#[derive(Debug)]
struct CallerVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    own: Passport,
}

impl ClientCertVerifier for CallerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(own, intermediates, now)?;
        match Facts::read(own) {
            Ok(facts) if self.own.is_revoked(facts.serial) => Err(CertificateError::Revoked.into()),
            Ok(facts) if facts.cluster == self.own.trust().cluster() => Ok(verified),
            Ok(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
            Err(_) => Err(CertificateError::BadEncoding.into()),
        }
    }

    signatures_by_chain!();
}
