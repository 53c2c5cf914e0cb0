//! Goal: the switchboard's faults are those of a network, on a simulated clock.
//! Method: two addresses, one service; what came of a call, how long it took, how often the service ran.

mod lanes;
mod links;
mod owners;
mod traces;

use std::sync::Mutex;
use std::sync::atomic::Ordering::SeqCst;

use async_trait::async_trait;
use env::time::{self, Instant};
use types::limits::PEER_SILENCE_MS_MAX;
use types::{ErrorKind, Identity, Result};

use super::*;
use crate::conformance::{ECHO, TestService, WAIT, request};
use crate::{Caller, Reply, Request, Target, Transport};

const TIMEOUT: Duration = Duration::from_secs(10);
const SILENCE: Duration = ms(PEER_SILENCE_MS_MAX);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn address(id: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, id], 1))
}

fn link(delay: Duration) -> LinkFaults {
    LinkFaults { delay, ..LinkFaults::default() }
}

/// Loses everything.
fn lossy() -> LinkFaults {
    LinkFaults { loss_per_million: 1_000_000, ..LinkFaults::default() }
}

/// Calls `to`.
async fn call(dial: &Arc<dyn Dial>, to: SocketAddr, request: Request, timeout: Duration) -> Result<Reply> {
    dial.call(&Target { transport: Transport::Tcp, address: to, node: None }, request, timeout).await
}

struct Two {
    network: Switchboard,
    a: SocketAddr,
    b: SocketAddr,
    dial: Arc<dyn Dial>,
    service: Arc<TestService>,
}

impl Two {
    fn new() -> Self {
        let (network, service) = (Switchboard::new(), TestService::new());
        let (a, b) = (address(1), address(2));
        network.attach(b, service.clone());
        let dial = network.dialer(a, Identity::Anonymous);
        Self { network, a, b, dial, service }
    }

    async fn call(&self, method: u16) -> Result<Reply> {
        call(&self.dial, self.b, request(method, b"", ""), TIMEOUT).await
    }

    /// Calls, and says how long it took and what came of it.
    async fn check(&self, method: u16, want: Result<(), &str>, took: Duration) {
        let started = time::now();
        match (self.call(method).await, want) {
            (Ok(_), Ok(())) => {}
            (Err(e), Err(part)) => {
                assert!(e.kind() == ErrorKind::Unavailable && e.message().contains(part), "{e}")
            }
            (got, want) => panic!("got {got:?}, want {want:?}"),
        }
        assert_eq!(started.elapsed().as_millis(), took.as_millis());
    }

    #[track_caller]
    fn check_nothing_left(&self) {
        assert_eq!(self.network.open_calls(), BTreeMap::new());
    }
}

/// Writes down who answers what.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Service for Recorder {
    async fn call(&self, _caller: &Caller, request: Request, _deadline: Instant) -> Result<Reply> {
        let owner = Owner::current().map_or("nobody".to_owned(), |owner| owner.name().to_owned());
        let header = String::from_utf8_lossy(&request.header).into_owned();
        self.0.lock().unwrap().push(format!("{owner} {header}"));
        Ok(Reply::default())
    }
}

#[tokio::test(start_paused = true)]
async fn cuts_are_silent_and_heal() {
    let two = Two::new();
    two.check(ECHO, Ok(()), Duration::ZERO).await;
    two.network.cut(two.a, two.b);
    two.check(ECHO, Err("silent"), SILENCE).await;
    two.network.heal(two.a, two.b);
    two.check(ECHO, Ok(()), Duration::ZERO).await;

    // Only the answer is lost: the call was carried out.
    two.service.gate.add_permits(1);
    two.network.cut_one_way(two.b, two.a);
    two.check(WAIT, Err("silent"), SILENCE).await;
    assert_eq!(two.service.finished.load(SeqCst), 1);
    two.network.heal_all();
    two.check(ECHO, Ok(()), Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_service_on_a_good_link_is_waited_for() {
    let two = Two::new();
    two.check(WAIT, Err("in time"), TIMEOUT).await;
}

#[tokio::test(start_paused = true)]
async fn delay_counts_both_ways() {
    let two = Two::new();
    two.network.set_latency(ms(30));
    two.check(ECHO, Ok(()), ms(60)).await;
    two.network.set_link(two.b, two.a, link(ms(5)));
    two.check(ECHO, Ok(()), ms(35)).await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_process_stops_half_way() {
    let two = Two::new();
    let kill = async {
        two.service.started.notified().await;
        two.network.detach(two.b);
    };
    tokio::join!(two.check(WAIT, Err("closed by the peer"), Duration::ZERO), kill);
    two.service.gate.add_permits(1);
    two.check(ECHO, Err("connection refused"), Duration::ZERO).await;
    assert_eq!(two.service.finished.load(SeqCst), 0);

    let next = TestService::new();
    two.network.attach(two.b, next.clone());
    two.check(ECHO, Ok(()), Duration::ZERO).await;
}
