//! The serving side of a process.
//!
//! Owns: listening, connections of callers, orderly shutdown.
//! Knows nothing of: what the service does.

mod grpc;
mod quic;
mod tcp;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use env::Env;
use env::task::JoinSet;
use env::time::{self, Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use types::limits::{
    ACCEPT_PAUSE, CONNECTION_COUNT_MAX, CONNECTION_REQUEST_COUNT_MAX, HANDSHAKE_MS_MAX,
    NODE_REQUEST_BYTES_MAX, NODE_REQUEST_COUNT_MAX, SHUTDOWN_MS_MAX,
};
use types::{Error, Result};

use crate::desk::Desk;
use crate::tls::{self, Certificate, Socket};
use crate::{Caller, Counters, Credentials, Service, Transport, explain};

/// How much a server takes on before it answers `Busy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests in progress on one connection.
    pub connection_requests: usize,
    /// Requests in progress on all.
    pub node_requests: usize,
    /// Bytes of requests in progress on all.
    pub node_bytes: usize,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            connection_requests: CONNECTION_REQUEST_COUNT_MAX as usize,
            node_requests: NODE_REQUEST_COUNT_MAX,
            node_bytes: NODE_REQUEST_BYTES_MAX,
        }
    }
}

/// Where to listen. Port 0 lets the system choose.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// QUIC on this UDP port and TLS on this TCP port; callers must have a certificate.
    pub native: SocketAddr,
    /// gRPC, if any; callers without a certificate are let in as `Anonymous`: the service decides what they may do.
    pub control: Option<SocketAddr>,
    /// When to answer `Busy`.
    pub load: Load,
}

/// A running server. Dropping it ends it at once; calls in progress go on without their callers.
pub struct Server {
    native: SocketAddr,
    control: Option<SocketAddr>,
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    doors: Mutex<JoinSet<()>>,
}

impl Server {
    /// Serves until [`Server::shutdown`]. `Unavailable` when a port is taken, `Invalid` if `own` is not a node's.
    pub async fn start(
        env: &Env,
        config: ServerConfig,
        own: &Credentials,
        service: Arc<dyn Service>,
    ) -> Result<Self> {
        let desk = Desk::new(own.cluster(), service, config.load);
        let counters = desk.counters.clone();
        let (stop, stopping) = watch::channel(false);
        let stopping = Stop(stopping);
        let mut doors = JoinSet::new();

        let native_tls = tls::server(env, own, Certificate::Required, tls::ALPN_NATIVE)?;
        let (listener, endpoint) = bind_native(config.native, &native_tls).await?;
        let native = listener.local_addr().map_err(|e| bind_error(config.native, &e))?;
        let door = Door::new(listener, native_tls, Transport::Tcp, stopping.clone());
        doors.spawn(tcp::serve(door, desk.clone()));
        doors.spawn(quic::serve(endpoint, desk.clone(), stopping.clone()));

        let mut control = None;
        if let Some(address) = config.control {
            let listener = TcpListener::bind(address).await.map_err(|e| bind_error(address, &e))?;
            control = Some(listener.local_addr().map_err(|e| bind_error(address, &e))?);
            let control_tls = tls::server(env, own, Certificate::Optional, tls::ALPN_CONTROL)?;
            doors.spawn(grpc::serve(Door::new(listener, control_tls, Transport::Grpc, stopping), desk));
        }
        Ok(Self { native, control, counters, stop, doors: Mutex::new(doors) })
    }

    /// Where QUIC and TLS/TCP listen.
    pub fn native_address(&self) -> SocketAddr {
        self.native
    }

    /// Where gRPC listens; `None` when it does not.
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.control
    }

    /// What was received and sent.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Stops accepting and waits until calls in progress are answered, but not longer than `SHUTDOWN_MS_MAX`. The
    /// ports are free afterwards.
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        let mut doors = std::mem::take(&mut *self.doors.lock().expect("no panic while it is held"));
        let all_closed = async { while doors.join_next().await.is_some() {} };
        if time::timeout(Duration::from_millis(SHUTDOWN_MS_MAX), all_closed).await.is_err() {
            tracing::warn!(
                "calls in progress did not finish in {SHUTDOWN_MS_MAX} ms; their callers are cut off"
            );
            doors.shutdown().await;
        }
    }
}

/// Becomes true once, when the server stops.
#[derive(Clone)]
struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Waits until the server stops.
    async fn wait(&mut self) {
        // An error means that the server was dropped, which is stopping too.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    fn is_set(&self) -> bool {
        *self.0.borrow()
    }
}

/// A TCP port with TLS.
struct Door {
    listener: TcpListener,
    tls: TlsAcceptor,
    transport: Transport,
    stop: Stop,
}

impl Door {
    fn new(listener: TcpListener, tls: rustls::ServerConfig, transport: Transport, stop: Stop) -> Self {
        Self { listener, tls: TlsAcceptor::from(Arc::new(tls)), transport, stop }
    }

    /// Accepts connections until the server stops, each in its own task, and then waits for these tasks.
    async fn accept<F>(mut self, serve: impl Fn(TlsStream<Socket>, Caller) -> F + Clone + Send + 'static)
    where
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
                    connections.spawn(async move {
                        if let Some((stream, caller)) = secure(&tls, socket, address, transport).await {
                            serve(stream, caller).await;
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
) -> Option<(TlsStream<Socket>, Caller)> {
    let accept = tls.accept(tls::socket(socket)).into_fallible();
    let handshake = time::timeout(Duration::from_millis(HANDSHAKE_MS_MAX), accept);
    let (error, socket) = match handshake.await {
        Ok(Ok(stream)) => {
            let (_, session) = stream.get_ref();
            let identity = tls::identity_of(session.peer_certificates()).ok()?;
            return Some((stream, Caller { identity, address, transport }));
        }
        Ok(Err((error, socket))) => (explain::from_io(&error), socket),
        Err(time::Elapsed) => return None,
    };
    tracing::debug!(%address, %error, "refused a caller");
    linger(socket).await;
    None
}

/// Ends a refused connection so that the peer can read why: closing with unread bytes would take the reason away.
async fn linger(mut socket: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
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

/// Binds TCP and UDP to the same port number.
async fn bind_native(
    address: SocketAddr,
    tls: &rustls::ServerConfig,
) -> Result<(TcpListener, quinn::Endpoint)> {
    // A port that the system chose for TCP can be taken for UDP.
    let attempts = if address.port() == 0 { 16 } else { 1 };
    let mut attempt = 0;
    loop {
        attempt += 1;
        let listener = TcpListener::bind(address).await.map_err(|e| bind_error(address, &e))?;
        let chosen = listener.local_addr().map_err(|e| bind_error(address, &e))?;
        match quic::bind(chosen, tls) {
            Ok(endpoint) => return Ok((listener, endpoint)),
            Err(e) if attempt == attempts => return Err(e),
            Err(_) => {}
        }
    }
}

fn bind_error(address: SocketAddr, error: &std::io::Error) -> Error {
    Error::unavailable(format!(
        "cannot listen on {address}: {error}; choose another port or stop what uses it"
    ))
}
