//! The network: our own client and server on loopback with a service that does nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use env::time::Instant;
use futures::stream::{self, StreamExt, TryStreamExt};
use net::{
    Authority, Caller, Client, ClientConfig, Dial, Load, Reply, Request, Server, ServerConfig, Service,
    Target, Transport,
};
use types::limits::MIB;
use types::{ClusterId, Identity, NodeId, Result};

use crate::context::Bench;
use crate::data::noise;
use crate::figure::Figure;

/// Requests under way at once; as many chunks as a download fetches at once.
const IN_FLIGHT: usize = 16;
/// A request that needs longer means that something is broken.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Method of a request that asks for a body; any other brings one.
const SEND_BODY: u16 = 1;
const TCP_IN: &str = "TLS/TCP loopback, requests of 1 MiB";

/// What the network can do.
pub struct NetworkLimits {
    /// Requests with 1 MiB over QUIC, MB/s.
    pub quic_in: Figure,
    /// Replies with 1 MiB over QUIC, MB/s.
    pub quic_out: Figure,
    /// Requests with 1 MiB over TLS on TCP, MB/s.
    pub tcp_in: Figure,
    /// Seconds of a core per GB over QUIC, both ends.
    pub quic_cpu: Figure,
    /// Seconds of a core per GB over TLS on TCP, both ends.
    pub tcp_cpu: Figure,
}

/// Takes bodies, or gives one.
struct Peer {
    body: Bytes,
}

#[async_trait]
impl Service for Peer {
    async fn call(&self, _: &Caller, request: Request, _: Instant) -> Result<Reply> {
        let body = if request.method == SEND_BODY { self.body.clone() } else { Bytes::new() };
        Ok(Reply { header: Bytes::new(), body })
    }
}

/// Both ends of a loopback connection.
struct Loopback {
    client: Client,
    address: SocketAddr,
    body: Bytes,
    /// Serves until it is dropped.
    _server: Server,
}

/// Measures all directions.
pub async fn measure(bench: &Bench) -> Result<NetworkLimits> {
    let loopback = Loopback::start(bench).await?;
    let quic_in = loopback.run(bench, Transport::Quic, 0).await?;
    let quic_out = loopback.run(bench, Transport::Quic, SEND_BODY).await?;
    let tcp_in = loopback.run(bench, Transport::Tcp, 0).await?;
    let cpu = |moved: &[Moved]| moved.iter().map(|m| m.cpu_per_gb).collect();
    Ok(NetworkLimits {
        quic_cpu: Figure::new("QUIC, both ends", "s/GB", cpu(&quic_in)),
        tcp_cpu: Figure::new("TLS on TCP, both ends", "s/GB", cpu(&tcp_in)),
        quic_in: Figure::new("QUIC loopback, requests of 1 MiB", "MB/s", rates(&quic_in)),
        quic_out: Figure::new("QUIC loopback, replies of 1 MiB", "MB/s", rates(&quic_out)),
        tcp_in: Figure::new(TCP_IN, "MB/s", rates(&tcp_in)),
    })
}

/// Measures TLS on TCP only.
pub async fn measure_tcp(bench: &Bench) -> Result<Figure> {
    let moved = Loopback::start(bench).await?.run(bench, Transport::Tcp, 0).await?;
    Ok(Figure::new(TCP_IN, "MB/s", rates(&moved)))
}

fn rates(moved: &[Moved]) -> Vec<f64> {
    moved.iter().map(|m| m.bytes_per_second / 1e6).collect()
}

struct Moved {
    bytes_per_second: f64,
    cpu_per_gb: f64,
}

impl Loopback {
    async fn start(bench: &Bench) -> Result<Self> {
        let env = &bench.env;
        let authority = Authority::create(env, ClusterId(env.random.bytes()))?;
        let issue = |identity| authority.issue(&identity, Duration::from_secs(24 * 3600), env);
        let body = noise("network probe", MIB);
        let native = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = ServerConfig { native, control: None, load: Load::default() };
        let service = Arc::new(Peer { body: body.clone() });
        let server = Server::start(env, config, &issue(Identity::Node(NodeId(1)))?, service).await?;
        let client = Client::new(env, &issue(Identity::Admin("bench".to_owned()))?, ClientConfig::default())?;
        Ok(Self { client, address: server.native_address(), body, _server: server })
    }

    async fn run(&self, bench: &Bench, transport: Transport, method: u16) -> Result<Vec<Moved>> {
        // The first calls open the connections.
        self.exchange(transport, method, IN_FLIGHT).await?;
        let count = usize::try_from(bench.plan.probe_size).unwrap_or(usize::MAX) / MIB;
        let mut results = Vec::new();
        for _ in 0..bench.plan.runs {
            let (user, system) = env::process::cpu_seconds();
            let start = env::time::now();
            self.exchange(transport, method, count).await?;
            let bytes = (count * MIB) as f64;
            let (user_after, system_after) = env::process::cpu_seconds();
            results.push(Moved {
                bytes_per_second: bytes / start.elapsed().as_secs_f64(),
                cpu_per_gb: (user_after - user + system_after - system) / (bytes / 1e9),
            });
        }
        Ok(results)
    }

    async fn exchange(&self, transport: Transport, method: u16, count: usize) -> Result<()> {
        let target = Target { transport, address: self.address, node: None };
        let body = if method == SEND_BODY { Bytes::new() } else { self.body.clone() };
        let request = Request { method, header: Bytes::new(), body };
        stream::iter(0..count)
            .map(|_| self.client.call(&target, request.clone(), TIMEOUT))
            .buffer_unordered(IN_FLIGHT)
            .try_for_each(|_| async { Ok(()) })
            .await
    }
}
