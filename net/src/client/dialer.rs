//! What connections of every kind are opened with.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use types::limits::{CONNECT_MS_MAX, HANDSHAKE_MS_MAX};
use types::{ClusterId, Result};

use crate::tls::{self, Socket};
use crate::{Counters, explain, pki};

/// What connections are opened with.
pub(super) struct Dialer {
    pub(super) cluster: ClusterId,
    pub(super) native: TlsConnector,
    pub(super) control: TlsConnector,
    pub(super) quic: quinn::ClientConfig,
    pub(super) counters: Arc<Counters>,
}

/// Opens TLS on TCP.
pub(super) async fn secure(connector: &TlsConnector, address: SocketAddr) -> Result<TlsStream<Socket>> {
    let connect = async { TcpStream::connect(address).await.map_err(|e| explain::from_io(&e)) };
    let socket = explain::within(CONNECT_MS_MAX, connect).await?;
    let name = pki::NODE_DNS_NAME.try_into().expect("the constant is a DNS name");
    let handshake =
        async { connector.connect(name, tls::socket(socket)).await.map_err(|e| explain::from_io(&e)) };
    explain::within(HANDSHAKE_MS_MAX, handshake).await
}
