//! The ports by which callers come in.
//!
//! Owns: accepting TLS on TCP until the server stops, letting go of who is refused, saying why a port cannot be opened.
//! Knows nothing of: what is said once a connection is secured.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use env::task::JoinSet;
use env::time::{self, Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use types::limits::{ACCEPT_PAUSE, CONNECTION_COUNT_MAX, HANDSHAKE_MS_MAX};
use types::{Error, Serial};

use super::stop::Stop;
use crate::passport::Ouster;
use crate::tls::{self, Socket};
use crate::{Caller, Passport, Transport, explain};

/// A TCP port with TLS.
pub(super) struct Door {
    listener: TcpListener,
    tls: TlsAcceptor,
    transport: Transport,
    own: Passport,
    pub(super) stop: Stop,
}

impl Door {
    pub(super) fn new(
        listener: TcpListener,
        tls: rustls::ServerConfig,
        transport: Transport,
        own: Passport,
        stop: Stop,
    ) -> Self {
        Self { listener, tls: TlsAcceptor::from(Arc::new(tls)), transport, own, stop }
    }

    /// Accepts connections until the server stops, each in its own task, and then waits for these tasks.
    pub(super) async fn accept<F>(
        mut self,
        serve: impl Fn(TlsStream<Socket>, Caller, Ouster) -> F + Clone + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = self.stop.wait() => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept(), if connections.len() < CONNECTION_COUNT_MAX => accepted,
            };
            match accepted {
                Ok((socket, address)) => {
                    let (tls, transport, serve) = (self.tls.clone(), self.transport, serve.clone());
                    let own = self.own.clone();
                    connections.spawn(async move {
                        if let Some((stream, caller, serial)) = secure(&tls, socket, address, transport).await
                        {
                            serve(stream, caller, own.ouster(serial)).await;
                        }
                    });
                }
                // Out of file handles, most likely: others must close first.
                Err(e) => {
                    tracing::warn!(%e, "cannot accept a connection");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }
}

/// The server's half of a TLS handshake, and who the caller is. Refusals are told to the caller by TLS itself.
async fn secure(
    tls: &TlsAcceptor,
    socket: TcpStream,
    address: SocketAddr,
    transport: Transport,
) -> Option<(TlsStream<Socket>, Caller, Option<Serial>)> {
    let accept = tls.accept(tls::socket(socket)).into_fallible();
    let handshake = time::timeout(Duration::from_millis(HANDSHAKE_MS_MAX), accept);
    let (error, socket) = match handshake.await {
        Ok(Ok(stream)) => {
            let (_, session) = stream.get_ref();
            let (identity, serial) = tls::peer_of(session.peer_certificates()).ok()?;
            return Some((stream, Caller { identity, address, transport }, serial));
        }
        Ok(Err((error, socket))) => (explain::from_io(&error), socket),
        Err(time::Elapsed) => return None,
    };
    tracing::debug!(%address, %error, "refused a caller");
    linger(socket).await;
    None
}

/// Ends a refused connection so that the peer can read why: closing with unread bytes would take the reason away.
pub(super) async fn linger(mut socket: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let drain = async {
        let _ = socket.shutdown().await;
        let mut sink = [0; 4096];
        let mut left = 256;
        while left > 0 && socket.read(&mut sink).await.is_ok_and(|count| count > 0) {
            left -= 1;
        }
    };
    let _ = time::timeout(Duration::from_millis(HANDSHAKE_MS_MAX), drain).await;
}

/// Why a port cannot be opened.
pub(crate) fn bind_error(address: SocketAddr, error: &std::io::Error) -> Error {
    Error::unavailable(format!(
        "cannot listen on {address}: {error}; choose another port or stop what uses it"
    ))
}
