//! One QUIC connection: one stream per request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use env::time::Instant;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint, SendStream, TokioRuntime};
use types::limits::{CONNECT_MS_MAX, HANDSHAKE_MS_MAX};
use types::{Error, Identity, Result};

use super::attempt::{Failure, deadline_ms};
use super::dialer::Dialer;
use super::tripwire::Tripwire;
use crate::frame::{Frame, Hello};
use crate::pki::NODE_DNS_NAME;
use crate::quic::{ABANDONED, GONE, read_frame, transport_config, write_frame};
use crate::{Counters, Request, explain, hello, quic};

pub(super) fn config(tls: &rustls::ClientConfig) -> Result<quinn::ClientConfig> {
    let crypto =
        QuicClientConfig::try_from(tls.clone()).map_err(|e| Error::internal(format!("QUIC: {e}")))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport_config());
    Ok(config)
}

pub(super) struct QuicLink {
    connection: Connection,
    counters: Arc<Counters>,
    /// Who answers, as its certificate says.
    pub(super) server: Identity,
}

impl QuicLink {
    pub(super) async fn open(dialer: &Dialer, address: SocketAddr) -> Result<Self> {
        let (endpoint, tripwire) = endpoint(address)?;
        let connecting = endpoint
            .connect_with(dialer.quic.clone(), address, NODE_DNS_NAME)
            .map_err(|e| Error::invalid(format!("{e}; check the address")))?;
        let connect = async {
            tokio::select! {
                connected = connecting => connected.map_err(|e| explain::from_quic(&e)),
                () = tripwire.refused() => Err(explain::refused()),
            }
        };
        let connection = explain::within(CONNECT_MS_MAX, connect).await?;
        env::task::spawn(guard(connection.clone(), tripwire));
        let (server, _) = quic::peer(&connection)?;
        let link = Self { connection, counters: dialer.counters.clone(), server };
        let ours = hello::ours(dialer.cluster);
        let greet = async {
            let first = link.exchange(Frame::hello(&ours)).await.map_err(|failure| failure.error)?;
            hello::check(&ours, &Hello::decode(&first)?)
        };
        // A refused certificate is announced only now, as the end of the connection.
        explain::within(HANDSHAKE_MS_MAX, greet).await.map_err(|e| link.end_reason().unwrap_or(e))?;
        Ok(link)
    }

    pub(super) async fn call(&self, request: Request, deadline: Instant) -> Result<Frame, Failure> {
        self.exchange(Frame::request(1, request, deadline_ms(deadline))).await
    }

    pub(super) fn is_alive(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    fn end_reason(&self) -> Option<Error> {
        self.connection.close_reason().map(|e| explain::from_quic(&e))
    }

    async fn exchange(&self, frame: Frame) -> Result<Frame, Failure> {
        let (send, mut receive) =
            self.connection.open_bi().await.map_err(|e| Failure::unsent(explain::from_quic(&e)))?;
        let mut send = Sending(Some(send));
        // A server that does not want the rest has already answered.
        write_frame(send.stream(), frame, &self.counters).await.map_err(Failure::broken)?;
        let answer = read_frame(&mut receive, &self.counters).await.map_err(Failure::broken);
        send.0 = None;
        answer
    }
}

/// An endpoint of its own for each connection: receiving is then not limited to one core, and the socket can be
/// connected, which the tripwire needs.
fn endpoint(address: SocketAddr) -> Result<(Endpoint, Tripwire)> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let make = || {
        let socket = UdpSocket::bind((any, 0))?;
        quic::enlarge_buffers(&socket)?;
        let (tripwire, socket) = Tripwire::new(socket, address)?;
        let runtime = Arc::new(TokioRuntime);
        Ok((Endpoint::new_with_abstract_socket(quic::endpoint_config(), None, socket, runtime)?, tripwire))
    };
    make().map_err(|e| explain::from_io(&e))
}

/// Ends the connection when the server's process is gone.
async fn guard(connection: Connection, tripwire: Tripwire) {
    tokio::select! {
        _ = connection.closed() => {}
        () = tripwire.refused() => connection.close(GONE, b""),
    }
}

/// The stream of a call in progress. If the caller gives up, it is reset and what was not sent is dropped; quinn on its
/// own would send the rest, or end it half-way as if it were complete.
struct Sending(Option<SendStream>);

impl Sending {
    fn stream(&mut self) -> &mut SendStream {
        self.0.as_mut().expect("taken only after the last use")
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(stream) = &mut self.0 {
            let _ = stream.reset(ABANDONED);
        }
    }
}
