//! Says why a connection could not be made or broke: what happened, and what a person can do.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustls::CertificateError;
use rustls::pki_types::UnixTime;
use types::{Error, Result};

/// What a certificate verifier of ours found, on its way through a TLS library's error.
#[derive(Debug)]
pub(crate) struct Refusal(pub Error);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.message())
    }
}

impl StdError for Refusal {}

/// An error of a socket or of TLS on it.
pub(crate) fn from_io(error: &io::Error) -> Error {
    if let Some(tls) = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        return from_tls(tls);
    }
    use io::ErrorKind as Io;
    match error.kind() {
        Io::ConnectionRefused => refused(),
        Io::TimedOut => silent(),
        Io::UnexpectedEof
        | Io::ConnectionReset
        | Io::ConnectionAborted
        | Io::BrokenPipe
        | Io::NotConnected => closed(),
        Io::NetworkUnreachable | Io::HostUnreachable => {
            Error::unavailable("there is no route to this address; check the address and the network")
        }
        _ => Error::unavailable(format!("{error}; check the address and the network")),
    }
}

/// An error of TLS.
pub(crate) fn from_tls(error: &rustls::Error) -> Error {
    use rustls::Error as Tls;
    match error {
        Tls::AlertReceived(alert) => from_alert(u8::from(*alert)),
        Tls::InvalidCertificate(CertificateError::Other(other)) => match other.0.downcast_ref::<Refusal>() {
            Some(refusal) => refusal.0.clone(),
            None => Error::denied(format!("the peer's certificate is not accepted: {other}")),
        },
        Tls::InvalidCertificate(e) => Error::denied(format!("the peer's certificate is not accepted: {e}")),
        Tls::NoCertificatesPresented => no_certificate(),
        Tls::NoApplicationProtocol => other_protocol(),
        Tls::InvalidMessage(_)
        | Tls::InappropriateMessage { .. }
        | Tls::InappropriateHandshakeMessage { .. } => not_tls(),
        other => Error::invalid(format!(
            "the TLS handshake failed: {other}; is this the address of a CloudSync node?"
        )),
    }
}

/// An error of a QUIC connection.
pub(crate) fn from_quic(error: &quinn::ConnectionError) -> Error {
    use quinn::ConnectionError as Quic;
    match error {
        Quic::TransportError(e) => from_our_side_of_quic(e.code, &e.reason),
        Quic::ConnectionClosed(close) => match alert_of(close.error_code) {
            Some(alert) => from_alert(alert),
            None => closed(),
        },
        Quic::ApplicationClosed(_) | Quic::LocallyClosed | Quic::Reset => closed(),
        Quic::TimedOut => silent(),
        Quic::VersionMismatch => other_protocol(),
        Quic::CidsExhausted => Error::internal("QUIC ran out of connection ids"),
    }
}

/// What this side found wrong.
fn from_our_side_of_quic(code: quinn::TransportErrorCode, reason: &str) -> Error {
    const OURS: &str = "other error: ";
    match alert_of(code) {
        Some(120) => other_protocol(),
        Some(_) => match reason.split_once(OURS) {
            Some((_, message)) => Error::denied(message),
            None => Error::denied(format!("the peer's certificate is not accepted: {reason}")),
        },
        // quinn's endpoint is gone, with its socket.
        None if code == quinn::TransportErrorCode::INTERNAL_ERROR => closed(),
        None => Error::invalid(format!("{code}: {reason}; is this the address of a CloudSync node?")),
    }
}

fn alert_of(code: quinn::TransportErrorCode) -> Option<u8> {
    u8::try_from(u64::from(code).checked_sub(0x100)?).ok()
}

/// The peer refused us. In TLS 1.3 this arrives after our side of the handshake succeeded.
fn from_alert(alert: u8) -> Error {
    match alert {
        45 => Error::denied(
            "the peer refuses our certificate: it has expired or is not valid yet; ask an administrator for new credentials, and check both clocks",
        ),
        44 => Error::denied(
            "the peer refuses our certificate: it was revoked; ask an administrator for new credentials",
        ),
        48 | 51 => Error::denied(
            "the peer refuses our certificate: it is not signed by the authority of the peer's cluster; use credentials of that cluster",
        ),
        49 => Error::denied(
            "the peer refuses our certificate: it belongs to another cluster; use credentials of that cluster",
        ),
        41..=46 => Error::denied(format!(
            "the peer refuses our certificate (TLS alert {alert}); use another credential file"
        )),
        116 => no_certificate(),
        120 => other_protocol(),
        40 | 70 => {
            Error::invalid("the peer does not speak TLS 1.3; is this the address of a CloudSync node?")
        }
        0 => closed(),
        _ => Error::unavailable(format!("the peer ended the handshake (TLS alert {alert}); see its log")),
    }
}

/// Why we do not accept the certificate of a node.
pub(crate) fn bad_node_certificate(error: &rustls::Error, now: UnixTime) -> Error {
    let rustls::Error::InvalidCertificate(found) = error else { return from_tls(error) };
    let why = match found {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!(
                "it has expired (our clock says {} s since 1970); renew it, and check both clocks",
                now.as_secs()
            )
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; check both clocks".to_owned()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "it is not signed by our cluster's authority; check the address and the credential file"
                .to_owned()
        }
        other => format!("{other}; issue a new one"),
    };
    Error::denied(format!("the node's certificate is not accepted: {why}"))
}

/// Looks under layers of library errors for a cause that was explained already, or else for one of the system.
pub(crate) fn from_chain(error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut cause = Some(error);
    let mut found = None;
    while let Some(e) = cause {
        if let Some(ours) = e.downcast_ref::<Error>() {
            return Some(ours.clone());
        }
        if let Some(io) = e.downcast_ref::<io::Error>() {
            // An explained error may itself travel inside an I/O error.
            match io.get_ref().and_then(|e| e.downcast_ref::<Error>()) {
                Some(ours) => return Some(ours.clone()),
                None => found = Some(from_io(io)),
            }
        }
        cause = e.source();
    }
    found
}

/// Nobody listens.
pub(crate) fn refused() -> Error {
    Error::unavailable(
        "connection refused: nothing listens there; check that the node runs and the address is right",
    )
}

/// The connection ended.
pub(crate) fn closed() -> Error {
    Error::unavailable("the connection was closed by the peer; it may have stopped or restarted, try again")
}

/// Nothing arrives.
pub(crate) fn silent() -> Error {
    Error::unavailable("the peer is silent; check that it runs, and the network in between")
}

/// The connection is healthy, but the answer takes longer than its caller waits.
pub(crate) fn late() -> Error {
    Error::unavailable("no answer in time; the peer is slow or stuck, try again")
}

/// The other side speaks TLS but not our protocol.
pub(crate) fn other_protocol() -> Error {
    Error::invalid(
        "the peer speaks another protocol on this port (cloudsync/1 belongs to the native port, gRPC to the control port); \
         check the port, and upgrade the older side",
    )
}

fn no_certificate() -> Error {
    Error::denied("no certificate was presented, but this port requires one; give a credential file")
}

fn not_tls() -> Error {
    Error::invalid("the peer does not speak TLS; is this the address of a CloudSync node?")
}

/// Runs one step of opening a connection, for at most `ms`; `Unavailable` after that.
pub(crate) async fn within<T>(ms: u64, step: impl Future<Output = Result<T>>) -> Result<T> {
    match env::time::timeout(env::time::Duration::from_millis(ms), step).await {
        Ok(result) => result,
        Err(env::time::Elapsed) => Err(Error::unavailable(format!(
            "no connection within {ms} ms; check that the node runs, the address and firewalls"
        ))),
    }
}
