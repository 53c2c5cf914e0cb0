//! For simulations and tests: a network in memory, whose links can be cut.
//!
//! Behaves as [`crate::Client`] and [`crate::Server`] do (deadlines, load shedding, panics, errors) and passes the same
//! conformance suite, without sockets or certificates. Works on a paused clock.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use env::task::JoinSet;
use env::time::{self, Duration};
use tokio::sync::oneshot;
use types::limits::PEER_SILENCE_MS_MAX;
use types::{ClusterId, Identity, Result};

use crate::admission::{Line, Load};
use crate::desk::{Desk, Outlet};
use crate::frame::{Frame, check_size};
use crate::{Caller, Dial, Reply, Request, Service, Target, explain};

/// The network. Clones are the same network.
#[derive(Clone, Default)]
pub struct Switchboard(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    servers: BTreeMap<SocketAddr, Arc<Attached>>,
    /// Directions in which nothing arrives.
    cuts: BTreeSet<(SocketAddr, SocketAddr)>,
    latency: Duration,
}

struct Attached {
    desk: Arc<Desk>,
    /// Ends with the process: what it was doing stops half-way.
    calls: Mutex<JoinSet<()>>,
}

impl Switchboard {
    /// A network with nobody on it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `service` answer at `address`, instead of whoever did before.
    pub fn attach(&self, address: SocketAddr, service: Arc<dyn Service>) {
        self.attach_with_load(address, service, Load::default());
    }

    /// As [`Switchboard::attach`], refusing more than `load`.
    pub fn attach_with_load(&self, address: SocketAddr, service: Arc<dyn Service>, load: Load) {
        let desk = Desk::new(ClusterId::default(), service, load);
        self.detach(address);
        self.lock().servers.insert(address, Arc::new(Attached { desk, calls: Mutex::default() }));
    }

    /// The process at `address` is killed: its calls stop half-way and fail, new ones are refused.
    pub fn detach(&self, address: SocketAddr) {
        let attached = self.lock().servers.remove(&address);
        if let Some(attached) = attached {
            attached.lock_calls().abort_all();
        }
    }

    /// Nothing arrives any more between `a` and `b`, in both directions and without notice.
    pub fn cut(&self, a: SocketAddr, b: SocketAddr) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Nothing that `from` sends arrives at `to`.
    pub fn cut_one_way(&self, from: SocketAddr, to: SocketAddr) {
        self.lock().cuts.insert((from, to));
    }

    /// Undoes [`Switchboard::cut`] and [`Switchboard::cut_one_way`]. What was lost stays lost.
    pub fn heal(&self, a: SocketAddr, b: SocketAddr) {
        let mut state = self.lock();
        state.cuts.remove(&(a, b));
        state.cuts.remove(&(b, a));
    }

    /// Undoes all cuts.
    pub fn heal_all(&self) {
        self.lock().cuts.clear();
    }

    /// Everything takes this long in each direction.
    pub fn set_latency(&self, latency: Duration) {
        self.lock().latency = latency;
    }

    /// The network as `identity` at `address` uses it.
    pub fn dialer(&self, address: SocketAddr, identity: Identity) -> Arc<dyn Dial> {
        Arc::new(Port { network: self.clone(), address, identity, line: Line::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while it is held")
    }

    /// Returns when a message from `from` has arrived at `to`. One that is lost shows as silence, after the time in
    /// which a real connection notices it.
    async fn travel(&self, from: SocketAddr, to: SocketAddr) -> Result<()> {
        let latency = self.lock().latency;
        if !latency.is_zero() {
            time::sleep(latency).await;
        }
        let lost = self.lock().cuts.contains(&(from, to));
        if lost {
            time::sleep(Duration::from_millis(PEER_SILENCE_MS_MAX)).await;
            return Err(explain::silent());
        }
        Ok(())
    }
}

impl Attached {
    fn spawn(&self, call: impl Future<Output = ()> + Send + 'static) {
        let mut calls = self.lock_calls();
        while calls.try_join_next().is_some() {}
        calls.spawn(call);
    }

    fn lock_calls(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.calls.lock().expect("no panic while it is held")
    }
}

struct Port {
    network: Switchboard,
    address: SocketAddr,
    identity: Identity,
    line: Line,
}

impl Port {
    async fn exchange(&self, target: &Target, request: Request, timeout: Duration) -> Result<Frame> {
        self.network.travel(self.address, target.address).await?;
        let server =
            self.network.lock().servers.get(&target.address).cloned().ok_or_else(explain::refused)?;
        let ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
        let frame = Frame::request(1, request, ms);
        let caller =
            Caller { identity: self.identity.clone(), address: self.address, transport: target.transport };
        let answer = match server.desk.admit(&caller, &self.line, &frame.prefix) {
            Err(refusal) => refusal,
            Ok(ticket) => {
                let (outlet, answer) = oneshot::channel();
                let desk = server.desk.clone();
                server.spawn(async move {
                    desk.answer(&caller, ticket, frame.into_request(), Once(outlet)).await;
                });
                answer.await.map_err(|_| explain::closed())?
            }
        };
        self.network.travel(target.address, self.address).await?;
        Ok(answer)
    }
}

#[async_trait]
impl Dial for Port {
    async fn call(&self, target: &Target, request: Request, timeout: Duration) -> Result<Reply> {
        check_size(request.header.len(), request.body.len())?;
        match time::timeout(timeout, self.exchange(target, request, timeout)).await {
            Ok(Ok(answer)) => answer.into_result(),
            Ok(Err(e)) => Err(e.context(target)),
            Err(time::Elapsed) => Err(explain::late().context(target)),
        }
    }
}

struct Once(oneshot::Sender<Frame>);

impl Outlet for Once {
    async fn deliver(self, answer: Frame) {
        let _ = self.0.send(answer);
    }
}
