//! The calling side of a process.
//!
//! Owns: connections to servers, opened when needed, shared by all calls, replaced when they break.
//! Knows nothing of: what is asked, which server to ask, whether to ask again.

mod attempt;
mod dialer;
mod grpc;
mod link;
mod pool;
mod quic;
mod tcp;
mod tripwire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use env::Env;
use env::time::{self, Duration};
use tokio_rustls::TlsConnector;
use types::{Error, Result};

use crate::frame::check_size;
use crate::{Counters, Dial, Passport, Reply, Request, Target, Transport, Trust, tls};
use dialer::Dialer;
use pool::Pool;

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
    /// A client that proves who it is: with credentials, or with what a passport shows when a connection is opened.
    pub fn new(env: &Env, own: impl Into<Passport>, config: ClientConfig) -> Result<Self> {
        Self::build(env, &own.into(), config)
    }

    /// A client without a certificate: only control ports let it in.
    pub fn anonymous(env: &Env, trust: &Trust, config: ClientConfig) -> Result<Self> {
        Self::build(env, &Passport::anonymous(trust), config)
    }

    fn build(env: &Env, own: &Passport, config: ClientConfig) -> Result<Self> {
        if config.tcp_connections == 0 || config.quic_connections == 0 {
            return Err(Error::invalid("a client needs at least one connection per target"));
        }
        let native = tls::client(env, own, tls::ALPN_NATIVE)?;
        let control = tls::client(env, own, tls::ALPN_CONTROL)?;
        let dialer = Dialer {
            cluster: own.trust().cluster(),
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
