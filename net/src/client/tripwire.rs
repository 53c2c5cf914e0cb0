//! Notices at once that nobody listens at the other end of a QUIC connection any more.
//!
//! A killed process leaves a closed port, and the system answers what is sent there with "port unreachable", which a
//! connected UDP socket reports once. quinn drops that report with whichever packet it hits and would wait for its idle
//! timeout. So this stands between quinn and the socket and checks: after each send (one cheap system call per up to
//! ten packets), and when the report comes later, as from another machine.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use tokio::sync::Notify;

/// Tells when a socket's other end is gone.
#[derive(Clone)]
pub(super) struct Tripwire(Arc<Wire>);

struct Wire {
    /// A second handle on the same socket: reports can be read from either.
    socket: tokio::net::UdpSocket,
    refused: Notify,
}

impl Tripwire {
    /// Connects `socket` to `address`; quinn is to use the socket that comes back.
    pub(super) fn new(socket: UdpSocket, address: SocketAddr) -> io::Result<(Self, Arc<dyn AsyncUdpSocket>)> {
        // Elsewhere a connected socket refuses the explicit addresses that quinn sends to.
        if cfg!(target_os = "linux") {
            socket.connect(address)?;
        }
        socket.set_nonblocking(true)?;
        let handle = tokio::net::UdpSocket::from_std(socket.try_clone()?)?;
        let wire = Self(Arc::new(Wire { socket: handle, refused: Notify::new() }));
        let inner = TokioRuntime.wrap_udp_socket(socket)?;
        Ok((wire.clone(), Arc::new(WatchedSocket { inner, wire })))
    }

    /// Returns when nobody listens at the other end; never, on systems that do not tell.
    pub(super) async fn refused(&self) {
        tokio::select! {
            () = self.0.refused.notified() => {}
            () = self.reported_later() => {}
        }
    }

    #[cfg(target_os = "linux")]
    async fn reported_later(&self) {
        let look = || if self.is_refused() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) };
        if self.0.socket.async_io(tokio::io::Interest::ERROR, look).await.is_err() {
            std::future::pending().await
        }
    }

    #[cfg(not(target_os = "linux"))]
    async fn reported_later(&self) {
        std::future::pending().await
    }

    /// Takes the socket's report. Reports other than a refusal (about packet sizes) quinn finds out on its own.
    fn is_refused(&self) -> bool {
        matches!(self.0.socket.take_error(), Ok(Some(e)) if e.kind() == io::ErrorKind::ConnectionRefused)
    }
}

/// quinn's socket, with a look at what sending reports.
struct WatchedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    wire: Tripwire,
}

impl AsyncUdpSocket for WatchedSocket {
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let sent = self.inner.try_send(transmit);
        if self.wire.is_refused() {
            self.wire.0.refused.notify_one();
        }
        sent
    }

    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(cx, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

impl fmt::Debug for WatchedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
