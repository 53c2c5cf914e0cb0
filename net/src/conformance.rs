//! Goal: the four ways to call a service behave the same.
//! Method: one suite, run over QUIC, TLS/TCP and gRPC on loopback and over the switchboard in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;
use bytes::Bytes;
use env::Env;
use env::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};
use types::limits::MIB;
use types::{ClusterId, Error, ErrorKind, Identity, NodeId, Result};

use crate::testing::Switchboard;
use crate::*;

/// Long enough for a busy machine; a call that takes it has failed.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// What the test service does for each method; none of them is a verb.
pub(crate) const ECHO: u16 = 1001;
pub(crate) const FAIL: u16 = 1002;
pub(crate) const PANIC: u16 = 1003;
/// Waits for the gate, then counts as finished.
pub(crate) const WAIT: u16 = 1004;
pub(crate) const WHO: u16 = 1005;
const OVERSIZE: u16 = 1006;

pub(crate) struct TestService {
    pub gate: Semaphore,
    pub started: Notify,
    pub finished: AtomicUsize,
}

impl TestService {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { gate: Semaphore::new(0), started: Notify::new(), finished: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Service for TestService {
    async fn call(&self, caller: &Caller, request: Request, _deadline: Instant) -> Result<Reply> {
        match request.method {
            ECHO => Ok(Reply { header: request.header, body: request.body }),
            FAIL => {
                let kind = ErrorKind::ALL[usize::from(request.header[0])];
                Err(if kind == ErrorKind::Busy {
                    Error::busy("as asked", 123)
                } else {
                    Error::new(kind, "as asked")
                })
            }
            PANIC => panic!("as asked"),
            WAIT => {
                self.started.notify_one();
                self.gate.acquire().await.expect("never closed").forget();
                self.finished.fetch_add(1, SeqCst);
                Ok(Reply::default())
            }
            WHO => {
                let text = format!("{} {} {}", caller.identity, caller.address.ip(), caller.transport);
                Ok(Reply { header: text.into(), body: Bytes::new() })
            }
            OVERSIZE => Ok(Reply { header: Bytes::new(), body: vec![0; 17 * MIB].into() }),
            other => Err(Error::invalid(format!("method {other}"))),
        }
    }
}

pub(crate) fn request(method: u16, header: &'static [u8], body: impl Into<Bytes>) -> Request {
    Request { method, header: Bytes::from_static(header), body: body.into() }
}

pub(crate) fn authority(id: u8) -> Authority {
    Authority::create(&Env::real(), ClusterId([id; 16])).unwrap()
}

pub(crate) fn node(authority: &Authority, id: u64) -> Credentials {
    authority.issue(&Identity::Node(NodeId(id)), Duration::from_secs(3600), &Env::real()).unwrap()
}

pub(crate) fn loopback() -> ServerConfig {
    let any = "127.0.0.1:0".parse().unwrap();
    ServerConfig { native: any, control: Some(any), load: Load::default() }
}

pub(crate) fn target(server: &Server, transport: Transport) -> Target {
    let address = match transport {
        Transport::Grpc => server.control_address().unwrap(),
        _ => server.native_address(),
    };
    Target { transport, address, node: None }
}

/// A service and somebody who calls it.
struct Line {
    dial: Arc<dyn Dial>,
    target: Target,
    service: Arc<TestService>,
    _server: Option<Server>,
}

impl Line {
    async fn real(transport: Transport, load: Load) -> Self {
        let (env, authority, service) = (Env::real(), authority(1), TestService::new());
        let config = ServerConfig { load, ..loopback() };
        let server = Server::start(&env, config, &node(&authority, 1), service.clone()).await.unwrap();
        let client = Client::new(&env, &node(&authority, 2), ClientConfig::default()).unwrap();
        Self { dial: Arc::new(client), target: target(&server, transport), service, _server: Some(server) }
    }

    fn simulated(load: Load) -> Self {
        let (network, service) = (Switchboard::new(), TestService::new());
        let (from, to) = ("127.0.0.1:1".parse().unwrap(), "10.0.0.2:1".parse().unwrap());
        network.attach_with_load(to, service.clone(), load);
        let dial = network.dialer(from, Identity::Node(NodeId(2)));
        Self {
            dial,
            target: Target { transport: Transport::Tcp, address: to, node: None },
            service,
            _server: None,
        }
    }

    async fn call(&self, request: Request, timeout: Duration) -> Result<Reply> {
        self.dial.call(&self.target, request, timeout).await
    }

    #[track_caller]
    fn check(&self, got: Result<Reply>, kind: ErrorKind, part: &str) {
        let error = got.unwrap_err();
        assert!(error.kind() == kind && error.message().contains(part), "{}: {error}", self.target);
    }
}

macro_rules! suite {
    ($($case:ident),* $(,)?) => {
        mod quic { $(#[tokio::test] async fn $case() { super::$case(super::Line::real(super::Transport::Quic, super::small_load()).await).await })* }
        mod tcp { $(#[tokio::test] async fn $case() { super::$case(super::Line::real(super::Transport::Tcp, super::small_load()).await).await })* }
        mod grpc { $(#[tokio::test] async fn $case() { super::$case(super::Line::real(super::Transport::Grpc, super::small_load()).await).await })* }
        mod switchboard { $(#[tokio::test(start_paused = true)] async fn $case() { super::$case(super::Line::simulated(super::small_load())).await })* }
    };
}

suite!(
    echo,
    large_body,
    many_at_once,
    errors_arrive,
    late,
    broken_service,
    sheds_load,
    caller_is_known,
    too_large,
    gives_up
);

/// Enough for every case but the one about too much.
fn small_load() -> Load {
    Load::even(300, Allowance { requests: 600, bytes: 64 * MIB })
}

async fn echo(line: Line) {
    for (header, body) in [(&b""[..], &b""[..]), (b"h", b""), (b"", b"b"), (b"header", b"body")] {
        let reply = line.call(request(ECHO, header, body), LONG).await.unwrap();
        assert_eq!((&reply.header[..], &reply.body[..]), (header, body));
    }
}

async fn large_body(line: Line) {
    let body: Bytes = (0..4 * MIB).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let calls = (0..6).map(|_| line.call(request(ECHO, b"large", body.clone()), LONG));
    for reply in futures::future::join_all(calls).await {
        assert!(reply.unwrap().body == body);
    }
}

async fn many_at_once(line: Line) {
    let calls = (0..200u32).map(|i| {
        let body = Bytes::copy_from_slice(&i.to_le_bytes().repeat(i as usize * 10));
        let line = &line;
        async move { (line.call(request(ECHO, b"n", body.clone()), LONG).await.unwrap().body, body) }
    });
    for (got, sent) in futures::future::join_all(calls).await {
        assert!(got == sent);
    }
}

async fn errors_arrive(line: Line) {
    for (i, kind) in ErrorKind::ALL.into_iter().enumerate() {
        let want =
            if kind == ErrorKind::Busy { Error::busy("as asked", 123) } else { Error::new(kind, "as asked") };
        let header = Bytes::from(vec![u8::try_from(i).unwrap()]);
        let got = line.call(Request { method: FAIL, header, body: Bytes::new() }, LONG).await;
        assert_eq!(got, Err(want));
    }
}

/// Calls that may be on their way when one of them has arrived.
const LATE_COUNT_MAX: usize = 1_000;

/// Nobody waits for the answer any more, but the call is carried out.
async fn late(line: Line) {
    // On a busy machine nothing may get there in so little time: until one has.
    let patience = Duration::from_millis(50);
    loop {
        line.check(line.call(request(WAIT, b"", ""), patience).await, ErrorKind::Unavailable, "");
        if env::time::timeout(patience, line.service.started.notified()).await.is_ok() {
            break;
        }
    }
    line.service.gate.add_permits(LATE_COUNT_MAX);
    line.call(request(WAIT, b"", ""), LONG).await.unwrap();
    while line.service.finished.load(SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
}

async fn broken_service(line: Line) {
    line.check(
        line.call(request(PANIC, b"", ""), LONG).await,
        ErrorKind::Internal,
        "failed while it answered",
    );
    line.call(request(ECHO, b"", ""), LONG).await.unwrap();
}

/// One more request than the node takes is refused at once; room that is given back is used again.
async fn sheds_load(line: Line) {
    let line = Arc::new(line);
    let mut waiting = env::task::JoinSet::new();
    for _ in 0..301 {
        let line = line.clone();
        waiting.spawn(async move { line.call(request(WAIT, b"", ""), LONG).await });
    }
    line.check(waiting.join_next().await.unwrap().unwrap(), ErrorKind::Busy, "in progress");
    line.service.gate.add_permits(300);
    while let Some(done) = waiting.join_next().await {
        done.unwrap().unwrap();
    }
    let too_many_bytes = (0..5).map(|_| line.call(request(ECHO, b"", vec![0; 16 * MIB]), LONG));
    for got in futures::future::join_all(too_many_bytes).await {
        if let Err(error) = got {
            assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        }
    }
    line.call(request(ECHO, b"", ""), LONG).await.unwrap();
}

async fn caller_is_known(line: Line) {
    let reply = line.call(request(WHO, b"", ""), LONG).await.unwrap();
    assert_eq!(reply.header, format!("node/2 127.0.0.1 {}", line.target.transport));
}

async fn too_large(line: Line) {
    line.check(
        line.call(request(ECHO, b"", vec![0; 16 * MIB + 1]), LONG).await,
        ErrorKind::Invalid,
        "over the limit",
    );
    let header = vec![0; 8 * MIB + 1].into();
    let got = line.call(Request { method: ECHO, header, body: Bytes::new() }, LONG).await;
    line.check(got, ErrorKind::Invalid, "over the limit");
    line.check(line.call(request(OVERSIZE, b"", ""), LONG).await, ErrorKind::Internal, "over the limit");
    line.call(request(ECHO, b"", vec![0; 16 * MIB]), LONG).await.unwrap();
}

/// A caller that is dropped leaves no trace: what was received is carried out, the connection goes on.
async fn gives_up(line: Line) {
    {
        let call = line.call(request(WAIT, b"", ""), LONG);
        tokio::select! {
            _ = call => panic!("the gate is closed"),
            () = line.service.started.notified() => {}
        }
    }
    line.service.gate.add_permits(1);
    while line.service.finished.load(SeqCst) < 1 {
        tokio::task::yield_now().await;
    }
    line.call(request(ECHO, b"", ""), LONG).await.unwrap();
}
