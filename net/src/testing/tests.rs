//! Goal: the switchboard's faults are those of a network, on a simulated clock.

use std::sync::atomic::Ordering::SeqCst;

use types::{ErrorKind, Identity};

use super::*;
use crate::Transport;
use crate::conformance::{ECHO, TestService, WAIT, request};

const TIMEOUT: Duration = Duration::from_secs(10);

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
        let (a, b) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:1".parse().unwrap());
        network.attach(b, service.clone());
        let dial = network.dialer(a, Identity::Anonymous);
        Self { network, a, b, dial, service }
    }

    async fn call(&self, method: u16) -> Result<Reply> {
        let target = Target { transport: Transport::Tcp, address: self.b };
        self.dial.call(&target, request(method, b"", ""), TIMEOUT).await
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
}

#[tokio::test(start_paused = true)]
async fn cuts_are_silent_and_heal() {
    let two = Two::new();
    two.check(ECHO, Ok(()), Duration::ZERO).await;
    let silence = Duration::from_millis(PEER_SILENCE_MS_MAX);
    two.network.cut(two.a, two.b);
    two.check(ECHO, Err("silent"), silence).await;
    two.network.heal(two.a, two.b);
    two.check(ECHO, Ok(()), Duration::ZERO).await;

    // Only the answer is lost: the call was carried out.
    two.service.gate.add_permits(1);
    two.network.cut_one_way(two.b, two.a);
    two.check(WAIT, Err("silent"), silence).await;
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
async fn latency_counts_both_ways() {
    let two = Two::new();
    two.network.set_latency(Duration::from_millis(30));
    two.check(ECHO, Ok(()), Duration::from_millis(60)).await;
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
