//! Measures the transports on loopback, client and server in one process.
//!
//! `cargo run --release -p net --example speed [seconds per point]`
#![allow(clippy::print_stdout, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use bytes::Bytes;
use env::Env;
use env::process::cpu_seconds;
use env::time::{self, Duration, Instant};
use net::{
    Authority, Caller, Client, ClientConfig, Dial, Load, Reply, Request, Server, ServerConfig, Service,
    Target, Transport,
};
use types::{ClusterId, Identity, NodeId, Result};

struct Echo;

#[async_trait]
impl Service for Echo {
    async fn call(&self, _caller: &Caller, request: Request, _deadline: Instant) -> Result<Reply> {
        match request.method {
            0 => Ok(Reply::default()),
            _ => Ok(Reply { header: request.header, body: request.body }),
        }
    }
}

struct Bench {
    client: Arc<Client>,
    target: Target,
    duration: Duration,
}

impl Bench {
    /// Calls from `in_flight` tasks until the time is over; returns calls, seconds and CPU seconds.
    async fn run(&self, in_flight: usize, request: Request) -> Result<(f64, f64, f64)> {
        self.client.call(&self.target, request.clone(), Duration::from_secs(5)).await?;
        let done = Arc::new(AtomicU64::new(0));
        let (started, cpu) = (time::now(), cpu_total());
        let end = started + self.duration;
        let mut callers = env::task::JoinSet::new();
        for _ in 0..in_flight {
            let (client, target, request, done) =
                (self.client.clone(), self.target, request.clone(), done.clone());
            callers.spawn(async move {
                while time::now() < end {
                    client.call(&target, request.clone(), Duration::from_secs(10)).await?;
                    done.fetch_add(1, Relaxed);
                }
                Ok::<_, types::Error>(())
            });
        }
        while let Some(caller) = callers.join_next().await {
            caller.expect("no panic")?;
        }
        Ok((done.load(Relaxed) as f64, started.elapsed().as_secs_f64(), cpu_total() - cpu))
    }
}

fn cpu_total() -> f64 {
    let (user, system) = cpu_seconds();
    user + system
}

fn main() -> Result<()> {
    env::task::run(measure())
}

async fn measure() -> Result<()> {
    let seconds = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(2.5);
    let env = Env::real();
    let authority = Authority::create(&env, ClusterId([1; 16]))?;
    let hour = Duration::from_secs(3600);
    let any = "127.0.0.1:0".parse().expect("an address");
    let config = ServerConfig { native: any, control: Some(any), load: Load::default() };
    let node = |id| authority.issue(&Identity::Node(NodeId(id)), hour, &env);
    let server = Server::start(&env, config, &node(1)?, Arc::new(Echo)).await?;
    let own = node(2)?;

    println!("{:<22} {:>10} {:>12}", "1 MiB bodies up", "GB/s", "cpu-s/GB");
    let body = Bytes::from(vec![7; 1 << 20]);
    for (transport, connections, in_flight) in [
        (Transport::Quic, 1, 8),
        (Transport::Quic, 2, 8),
        (Transport::Tcp, 1, 8),
        (Transport::Tcp, 2, 8),
        (Transport::Grpc, 1, 8),
    ] {
        let bench = bench(&env, &own, &server, transport, connections, seconds)?;
        let (calls, wall, cpu) =
            bench.run(in_flight, Request { method: 0, header: Bytes::new(), body: body.clone() }).await?;
        let gigabytes = calls * (1 << 20) as f64 / 1e9;
        println!(
            "{:<22} {:>10.2} {:>12.2}",
            label(transport, connections, in_flight),
            gigabytes / wall,
            cpu / gigabytes
        );
    }
    println!("{:<22} {:>10} {:>12}", "1 KiB echo", "calls/s", "cpu-us/call");
    let body = Bytes::from(vec![7; 1 << 10]);
    for (transport, connections, in_flight) in [
        (Transport::Quic, 1, 1),
        (Transport::Quic, 2, 64),
        (Transport::Tcp, 1, 1),
        (Transport::Tcp, 1, 64),
        (Transport::Tcp, 2, 64),
        (Transport::Grpc, 1, 64),
    ] {
        let bench = bench(&env, &own, &server, transport, connections, seconds)?;
        let (calls, wall, cpu) =
            bench.run(in_flight, Request { method: 1, header: Bytes::new(), body: body.clone() }).await?;
        println!(
            "{:<22} {:>10.0} {:>12.1}",
            label(transport, connections, in_flight),
            calls / wall,
            cpu / calls * 1e6
        );
    }
    server.shutdown().await;
    Ok(())
}

fn bench(
    env: &Env,
    own: &net::Credentials,
    server: &Server,
    transport: Transport,
    connections: usize,
    seconds: f64,
) -> Result<Bench> {
    let config = ClientConfig { tcp_connections: connections, quic_connections: connections };
    let address = match transport {
        Transport::Grpc => server.control_address().expect("started with one"),
        _ => server.native_address(),
    };
    let client = Arc::new(Client::new(env, own, config)?);
    Ok(Bench {
        client,
        target: Target { transport, address, node: None },
        duration: Duration::from_secs_f64(seconds),
    })
}

fn label(transport: Transport, connections: usize, in_flight: usize) -> String {
    format!("{transport} {connections} conn {in_flight} calls")
}
