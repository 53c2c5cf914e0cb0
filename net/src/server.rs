//! The serving side of a process.
//!
//! Owns: listening, connections of callers, orderly shutdown.
//! Knows nothing of: what the service does.

mod door;
mod grpc;
mod quic;
mod stop;
mod tcp;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use env::Env;
use env::task::JoinSet;
use env::time::{self, Duration};
use tokio::net::TcpListener;
use tokio::sync::watch;
use types::Result;
use types::limits::SHUTDOWN_MS_MAX;

use crate::admission::Load;
use crate::desk::Desk;
use crate::tls::{self, Certificate};
use crate::{Counters, Passport, Service, Transport};
use door::Door;
pub(crate) use door::bind_error;
use stop::Stop;

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
    /// Serves until [`Server::shutdown`]. `own` are credentials, or the passport that shows the ones of the
    /// moment. `Unavailable` when a port is taken, `Invalid` if `own` is not a node's.
    pub async fn start(
        env: &Env,
        config: ServerConfig,
        own: impl Into<Passport>,
        service: Arc<dyn Service>,
    ) -> Result<Self> {
        let own = own.into();
        let desk = Desk::new(own.trust().cluster(), service, config.load);
        let counters = desk.counters.clone();
        let (stop, stopping) = watch::channel(false);
        let stopping = Stop::new(stopping);
        let mut doors = JoinSet::new();

        let native_tls = tls::server(env, &own, Certificate::Required, tls::ALPN_NATIVE)?;
        let (listener, endpoint) = bind_native(config.native, &native_tls).await?;
        let native = listener.local_addr().map_err(|e| bind_error(config.native, &e))?;
        let door =
            |listener, tls, transport| Door::new(listener, tls, transport, own.clone(), stopping.clone());
        doors.spawn(tcp::serve(door(listener, native_tls, Transport::Tcp), desk.clone()));
        doors.spawn(quic::serve(endpoint, desk.clone(), own.clone(), stopping.clone()));

        let mut control = None;
        if let Some(address) = config.control {
            let listener = TcpListener::bind(address).await.map_err(|e| bind_error(address, &e))?;
            control = Some(listener.local_addr().map_err(|e| bind_error(address, &e))?);
            let control_tls = tls::server(env, &own, Certificate::Optional, tls::ALPN_CONTROL)?;
            doors.spawn(grpc::serve(door(listener, control_tls, Transport::Grpc), desk));
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
