//! One connection, whatever its transport.

use env::time::{self, Instant};
use types::{Error, Result};

use super::attempt::Failure;
use super::dialer::Dialer;
use super::grpc::GrpcLink;
use super::quic::QuicLink;
use super::tcp::TcpLink;
use crate::frame::Frame;
use crate::{Request, Target, Transport};

/// One connection that is ready for requests.
pub(super) enum Link {
    Tcp(TcpLink),
    Quic(QuicLink),
    Grpc(GrpcLink),
}

impl Link {
    /// Opens a connection and greets the server.
    pub(super) async fn open(dialer: &Dialer, target: Target) -> Result<Self> {
        let link = match target.transport {
            Transport::Tcp => Link::Tcp(TcpLink::open(dialer, target.address).await?),
            Transport::Quic => Link::Quic(QuicLink::open(dialer, target.address).await?),
            Transport::Grpc => Link::Grpc(GrpcLink::open(dialer, target.address).await?),
        };
        link.check_server(target)?;
        Ok(link)
    }

    /// `StaleEpoch` when somebody else has the address now.
    fn check_server(&self, target: Target) -> Result<()> {
        let server = match self {
            Link::Tcp(link) => &link.server,
            Link::Quic(link) => &link.server,
            // For joining and administration, where any node will do.
            Link::Grpc(_) => return Ok(()),
        };
        match target.node {
            Some(node) if !server.is_of(node) => {
                Err(Error::stale_epoch(format!("{server} answers at {}, not node {node}", target.address)))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn call(&self, request: Request, deadline: Instant) -> Result<Frame, Failure> {
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

    pub(super) fn is_alive(&self) -> bool {
        match self {
            Link::Tcp(link) => link.is_alive(),
            Link::Quic(link) => link.is_alive(),
            Link::Grpc(link) => link.is_alive(),
        }
    }
}
