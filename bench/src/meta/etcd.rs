//! etcd: three members, one value of 300 bytes per file, through its gRPC interface.
//!
//! Owns: starting the members, finding the leader, requests over HTTP/2 by hand: with no library between, etcd is not
//! charged for one.
//! Knows nothing of: what is measured.

mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use h2::client::SendRequest;
use tokio::net::TcpStream;
use types::{Error, Result};

use super::ports::{free_ports, wait_until_free};
use super::server::{Servers, wait_until};
use super::system::{Client, System};
use crate::context::Bench;
use crate::data::noise;
use wire::Message;

/// Debian's `etcd-server`.
const PROGRAM: &str = "/usr/bin/etcd";
const MEMBERS: usize = 3;
/// A file's metadata.
const VALUE_SIZE: usize = 300;
/// Operations that a transaction may have unless the server was told otherwise.
const TXN_OP_COUNT_MAX: usize = 128;
/// A listing is one answer, so the window must not be what it waits for.
const WINDOW_SIZE: u32 = 16 << 20;

/// Three members on loopback.
pub struct Etcd {
    dir: PathBuf,
    ports: Vec<u16>,
    servers: Servers,
}

impl Etcd {
    /// True when the program is installed.
    pub fn is_installed(bench: &Bench) -> bool {
        bench.env.disk.exists(Path::new(PROGRAM))
    }

    /// Starts a new cluster and waits for its leader.
    pub async fn start_new(bench: &Bench) -> Result<Self> {
        let dir = bench.scratch.join("etcd");
        bench.env.disk.create_dir_all(&dir)?;
        let mut etcd = Self { dir, ports: free_ports(&bench.env, 2 * MEMBERS)?, servers: Servers::default() };
        etcd.start().await?;
        wait_until("etcd has a leader", async || etcd.leader().await.map(drop)).await?;
        Ok(etcd)
    }

    /// Where the leader listens: to the others, every write would be one more hop.
    async fn leader(&self) -> Result<SocketAddr> {
        for port in &self.ports[..MEMBERS] {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
            let Ok(mut connection) = Connection::open(address).await else { continue };
            let status = connection.call("/etcdserverpb.Maintenance/Status", Message::default()).await?;
            if wire::is_leader(wire::unframed(&status)?)? {
                return Ok(address);
            }
        }
        Err(Error::unavailable("etcd has no leader"))
    }
}

#[async_trait]
impl System for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn pids(&self) -> Vec<u32> {
        self.servers.pids()
    }

    async fn connect(&self) -> Result<Box<dyn Client>> {
        let connection = Connection::open(self.leader().await?).await?;
        Ok(Box::new(EtcdClient { connection, value: noise("etcd value", VALUE_SIZE) }))
    }

    fn batch_size(&self) -> usize {
        TXN_OP_COUNT_MAX
    }

    async fn kill(&self) -> Result<()> {
        self.servers.kill();
        wait_until_free(&self.ports).await
    }

    async fn start(&mut self) -> Result<()> {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let (clients, peers) = self.ports.split_at(MEMBERS);
        let all: Vec<String> =
            peers.iter().enumerate().map(|(index, port)| format!("m{index}={}", url(*port))).collect();
        for index in 0..MEMBERS {
            let data = self.dir.join(format!("m{index}"));
            let (client, peer) = (url(clients[index]), url(peers[index]));
            let options = [
                ("name", format!("m{index}")),
                ("data-dir", data.display().to_string()),
                ("listen-client-urls", client.clone()),
                ("advertise-client-urls", client),
                ("listen-peer-urls", peer.clone()),
                ("initial-advertise-peer-urls", peer),
                ("initial-cluster", all.join(",")),
                ("initial-cluster-state", "new".to_owned()),
                // More than a million files need; the default is 2 GiB.
                ("quota-backend-bytes", (8_u64 << 30).to_string()),
                ("logger", "zap".to_owned()),
                ("log-level", "error".to_owned()),
            ];
            let args: Vec<String> = options.iter().map(|(name, value)| format!("--{name}={value}")).collect();
            self.servers.start(Path::new(PROGRAM), &args, &self.dir.join(format!("log{index}")))?;
        }
        Ok(())
    }
}

struct EtcdClient {
    connection: Connection,
    value: Bytes,
}

#[async_trait]
impl Client for EtcdClient {
    async fn make_dir(&mut self, _: &str) -> Result<()> {
        Ok(())
    }

    async fn commit(&mut self, dir: &str, names: &[String]) -> Result<()> {
        let keys: Vec<Vec<u8>> = names.iter().map(|name| format!("{dir}/{name}").into_bytes()).collect();
        let (method, message) = match keys.as_slice() {
            [key] => ("/etcdserverpb.KV/Put", wire::put(key, &self.value)),
            keys => ("/etcdserverpb.KV/Txn", wire::put_all(keys, &self.value)),
        };
        self.connection.call(method, message).await.map(drop)
    }

    async fn list(&mut self, dir: &str, limit: Option<usize>) -> Result<usize> {
        let message = wire::range(format!("{dir}/").as_bytes(), limit.unwrap_or(0) as u64);
        let answer = self.connection.call("/etcdserverpb.KV/Range", message).await?;
        wire::count_pairs(wire::unframed(&answer)?)
    }
}

/// A connection that carries one call at a time.
struct Connection {
    authority: String,
    send: SendRequest<Bytes>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW_SIZE).initial_connection_window_size(WINDOW_SIZE);
        let (send, connection) = builder.handshake(stream).await.map_err(broken)?;
        // Its end shows in the calls.
        drop(env::task::spawn(async move { drop(connection.await) }));
        Ok(Self { authority: address.to_string(), send })
    }

    /// The frame of the answer.
    async fn call(&mut self, method: &str, message: Message) -> Result<Vec<u8>> {
        let request = http::Request::post(format!("http://{}{method}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(broken)?;
        let mut send = self.send.clone().ready().await.map_err(broken)?;
        let (response, mut body) = send.send_request(request, false).map_err(broken)?;
        body.send_data(message.framed().into(), true).map_err(broken)?;
        let response = response.await.map_err(broken)?;
        let in_header = status(response.headers());
        let (mut body, mut answer) = (response.into_body(), Vec::new());
        while let Some(piece) = body.data().await {
            let piece = piece.map_err(broken)?;
            answer.extend_from_slice(&piece);
            body.flow_control().release_capacity(piece.len()).map_err(broken)?;
        }
        let in_trailer = body.trailers().await.map_err(broken)?.as_ref().and_then(status);
        match in_trailer.or(in_header).as_deref() {
            Some("0") => Ok(answer),
            other => Err(Error::unavailable(format!("etcd: {method}: {}", other.unwrap_or("no status")))),
        }
    }
}

/// The status of a call, and what is said about it.
fn status(headers: &http::HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Some(match (text("grpc-status")?, text("grpc-message")) {
        (status, Some(message)) if status != "0" => format!("{status} {message}"),
        (status, _) => status,
    })
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::unavailable(format!("etcd: {error}"))
}
