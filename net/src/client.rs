//! The calling side of a process.
//!
//! Owns: connections to servers, opened when needed, shared by all calls, replaced when they break.
//! Knows nothing of: what is asked, which server to ask, whether to ask again.

mod grpc;
mod pool;
mod quic;
mod tcp;
mod tripwire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use env::Env;
use env::time::{self, Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use types::limits::{CONNECT_MS_MAX, HANDSHAKE_MS_MAX};
use types::{ClusterId, Error, ErrorKind, Result};

use crate::frame::{Frame, check_size};
use crate::{Counters, Credentials, Dial, Reply, Request, Target, Transport, Trust, explain, pki, tls};
use pool::Pool;
use tls::Socket;

/// How a client uses connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// TLS/TCP connections per target. Each keeps one core busy at full speed.
    pub tcp_connections: usize,
    /// QUIC connections per target. Each keeps one core busy at full speed.
    pub quic_connections: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self { tcp_connections: 2, quic_connections: 2 }
    }
}

/// Calls servers. Cheap to share as `Arc<dyn Dial>`.
pub struct Client {
    config: ClientConfig,
    dialer: Arc<Dialer>,
    pools: Mutex<BTreeMap<Target, Arc<Pool>>>,
}

impl Client {
    /// A client that proves who it is.
    pub fn new(env: &Env, credentials: &Credentials, config: ClientConfig) -> Result<Self> {
        Self::build(env, credentials.trust(), Some(credentials), config)
    }

    /// A client without a certificate: only control ports let it in.
    pub fn anonymous(env: &Env, trust: &Trust, config: ClientConfig) -> Result<Self> {
        Self::build(env, trust, None, config)
    }

    fn build(env: &Env, trust: &Trust, own: Option<&Credentials>, config: ClientConfig) -> Result<Self> {
        if config.tcp_connections == 0 || config.quic_connections == 0 {
            return Err(Error::invalid("a client needs at least one connection per target"));
        }
        let native = tls::client(env, trust, own, tls::ALPN_NATIVE)?;
        let control = tls::client(env, trust, own, tls::ALPN_CONTROL)?;
        let dialer = Dialer {
            cluster: trust.cluster(),
            quic: quic::config(&native)?,
            native: TlsConnector::from(Arc::new(native)),
            control: TlsConnector::from(Arc::new(control)),
            counters: Arc::default(),
        };
        Ok(Self { config, dialer: Arc::new(dialer), pools: Mutex::default() })
    }

    /// What was sent and received.
    pub fn counters(&self) -> Arc<Counters> {
        self.dialer.counters.clone()
    }

    fn pool(&self, target: &Target) -> Arc<Pool> {
        let mut pools = self.pools.lock().expect("no panic while it is held");
        if let Some(pool) = pools.get(target) {
            return pool.clone();
        }
        let connections = match target.transport {
            Transport::Quic => self.config.quic_connections,
            Transport::Tcp => self.config.tcp_connections,
            Transport::Grpc => 1,
        };
        let pool = Arc::new(Pool::new(*target, connections, self.dialer.clone()));
        pools.insert(*target, pool.clone());
        pool
    }
}

#[async_trait]
impl Dial for Client {
    async fn call(&self, target: &Target, request: Request, timeout: Duration) -> Result<Reply> {
        let tally = self.dialer.counters.tally(target.transport);
        tally.count_request();
        let deadline = time::now() + timeout;
        let result = match check_size(request.header.len(), request.body.len()) {
            Ok(()) => self.pool(target).call(request, deadline).await,
            Err(e) => Err(e),
        };
        if result.is_err() {
            tally.count_error();
        }
        result
    }
}

/// Opens connections.
struct Dialer {
    cluster: ClusterId,
    native: TlsConnector,
    control: TlsConnector,
    quic: quinn::ClientConfig,
    counters: Arc<Counters>,
}

impl Dialer {
    async fn dial(&self, target: Target) -> Result<Link> {
        let link = match target.transport {
            Transport::Tcp => Link::Tcp(tcp::TcpLink::open(self, target.address).await?),
            Transport::Quic => Link::Quic(quic::QuicLink::open(self, target.address).await?),
            Transport::Grpc => Link::Grpc(grpc::GrpcLink::open(self, target.address).await?),
        };
        Ok(link)
    }
}

/// One connection that is ready for requests.
enum Link {
    Tcp(tcp::TcpLink),
    Quic(quic::QuicLink),
    Grpc(grpc::GrpcLink),
}

impl Link {
    async fn call(&self, request: Request, deadline: Instant) -> Result<Frame, Failure> {
        let exchange = async {
            match self {
                Link::Tcp(link) => link.call(request, deadline).await,
                Link::Quic(link) => link.call(request, deadline).await,
                Link::Grpc(link) => link.call(request, deadline).await,
            }
        };
        time::timeout_at(deadline, exchange).await.unwrap_or_else(|time::Elapsed| {
            Err(Failure::broken(Error::unavailable(
                "no answer in time; the peer is slow or stuck, try again",
            )))
        })
    }

    fn is_alive(&self) -> bool {
        match self {
            Link::Tcp(link) => link.is_alive(),
            Link::Quic(link) => link.is_alive(),
            Link::Grpc(link) => link.is_alive(),
        }
    }
}

/// A call that a connection could not complete.
#[derive(Clone, Debug)]
struct Failure {
    error: Error,
    /// The peer cannot have seen the request.
    unsent: bool,
}

impl Failure {
    fn unsent(error: Error) -> Self {
        Self { error, unsent: true }
    }

    /// The peer may have seen the request. Whatever broke, the caller's question is whether it was carried out.
    fn broken(error: Error) -> Self {
        let transient = error.kind() == ErrorKind::Unavailable;
        let error = if transient { error } else { Error::unavailable(error.message()) };
        Self { error, unsent: false }
    }
}

/// Opens TLS on TCP.
async fn secure(connector: &TlsConnector, address: std::net::SocketAddr) -> Result<TlsStream<Socket>> {
    let connect = async { TcpStream::connect(address).await.map_err(|e| explain::from_io(&e)) };
    let socket = explain::within(CONNECT_MS_MAX, connect).await?;
    let name = pki::NODE_DNS_NAME.try_into().expect("the constant is a DNS name");
    let handshake =
        async { connector.connect(name, tls::socket(socket)).await.map_err(|e| explain::from_io(&e)) };
    explain::within(HANDSHAKE_MS_MAX, handshake).await
}

/// What the server is told: how long the caller still waits.
fn deadline_ms(deadline: Instant) -> u32 {
    let left = deadline.saturating_duration_since(time::now()).as_millis();
    u32::try_from(left).unwrap_or(u32::MAX).max(1)
}
