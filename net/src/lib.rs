//! Carries requests and replies between processes: over QUIC, TLS on TCP, and gRPC, between certified peers.
//!
//! Owns: frames, connections and their pools, certificates, deadlines on the wire, load shedding, and the words in
//! which a connection that fails is explained.
//! Knows nothing of: what a request means, who may do what, where a node lives.
//!
//! A room that serves implements [`Service`] and starts a [`Server`]; a room that calls holds an `Arc<dyn Dial>`,
//! which is a [`Client`] in a process and a [`testing::Switchboard`] in a simulation. No call ever hangs: each
//! returns by its timeout.

mod admission;
mod call;
mod client;
mod counters;
mod desk;
mod explain;
mod frame;
mod grpc;
mod hello;
mod identity;
mod lane;
mod pages;
mod passport;
pub mod pki;
mod quic;
mod seat;
mod server;
mod tcp;
pub mod testing;
mod tls;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod renewals;

use std::fmt;
use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;
use env::time::{Duration, Instant};
use types::{Identity, NodeId, Result};

pub use admission::{Allowance, Load};
pub use call::Routes;
pub use client::{Client, ClientConfig};
pub use counters::{BusyReason, Counters, LaneTraffic, Traffic};
pub use lane::Lane;
pub use pages::{Page, PageServer};
pub use passport::Passport;
pub use pki::{Authority, Credentials, KeyPair, Terms, Trust};
pub use seat::step_aside;
pub use server::{Server, ServerConfig};

/// What a caller asks; [`Request::of`] builds one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Which verb; the numbers belong to `proto`.
    pub method: u16,
    /// The encoded message.
    pub header: Bytes,
    /// Raw bytes that go with it, a chunk for example.
    pub body: Bytes,
}

/// What a service answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The encoded message.
    pub header: Bytes,
    /// Raw bytes that go with it.
    pub body: Bytes,
}

/// How bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// QUIC on UDP: the open internet.
    Quic,
    /// TLS on TCP: between nodes, and where UDP is blocked.
    Tcp,
    /// gRPC: control and administration.
    Grpc,
}

impl Transport {
    /// All transports.
    pub const ALL: [Transport; 3] = [Transport::Quic, Transport::Tcp, Transport::Grpc];
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Quic => "quic",
            Transport::Tcp => "tcp",
            Transport::Grpc => "grpc",
        })
    }
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Decides how to speak to the address.
    pub transport: Transport,
    /// The server's control port for gRPC, its native port otherwise.
    pub address: SocketAddr,
    /// The node that must answer there; `None` takes any of the cluster. Addresses change hands, certificates do not.
    pub node: Option<NodeId>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.transport, self.address)
    }
}

/// Who sent a request. The identity was proven with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What its certificate says; `Anonymous` without one.
    pub identity: Identity,
    /// From where.
    pub address: SocketAddr,
    /// How the request came.
    pub transport: Transport,
}

/// What a server does with requests.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Answers one request. After `deadline` nobody is waiting any more; the call is not cancelled then, nor when the
    /// connection dies, so that a write that was received is completed. A panic is answered with `Internal`.
    async fn call(&self, caller: &Caller, request: Request, deadline: Instant) -> Result<Reply>;
}

/// What a caller needs: [`Client`] and [`testing::Switchboard`] pass the same conformance suite.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// Sends one request and waits for its reply, for at most `timeout`.
    ///
    /// `Unavailable` means that the request may or may not have been carried out. It is never sent twice.
    async fn call(&self, target: &Target, request: Request, timeout: Duration) -> Result<Reply>;
}
