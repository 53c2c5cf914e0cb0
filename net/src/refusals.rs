//! Goal: whatever can be wrong between two processes is told to the caller, quickly, with its cause and a remedy.
//! Method: real sockets on loopback, one table of wrong credentials and addresses, then servers that break.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use env::Env;
use env::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use types::{ClusterId, ErrorKind, Identity, NodeId};

use crate::conformance::{ECHO, LONG, TestService, WAIT, WHO, authority, loopback, node, request, target};
use crate::*;

const HOUR: Duration = Duration::from_secs(3600);
const NATIVE: [Transport; 2] = [Transport::Quic, Transport::Tcp];

async fn serve(own: &Credentials) -> Server {
    Server::start(&Env::real(), loopback(), own, TestService::new()).await.unwrap()
}

fn client(own: &Credentials) -> Client {
    Client::new(&Env::real(), own, ClientConfig::default()).unwrap()
}

fn address_of(transport: Transport, address: SocketAddr) -> Target {
    Target { transport, address, node: None }
}

async fn check(client: &Client, target: Target, kind: ErrorKind, part: &str) {
    let error = client.call(&target, request(ECHO, b"", ""), LONG).await.unwrap_err();
    assert!(
        error.kind() == kind && error.message().contains(part),
        "{target}: want {kind} {part:?}, got: {error}"
    );
    assert!(error.message().contains(&target.to_string()), "names the target: {error}");
}

/// Credentials whose certificate ended an hour ago.
fn expired(authority: &Authority, identity: &Identity) -> Credentials {
    authority.issue(identity, Duration::ZERO, &long_ago()).unwrap()
}

/// A machine whose clock is far behind.
fn long_ago() -> Env {
    Env::simulated(0)
}

/// An address that another node has now: what was meant for the one before does not reach it.
#[tokio::test]
async fn another_node_at_the_address() {
    let ours = authority(1);
    let server = serve(&node(&ours, 1)).await;
    let caller = client(&node(&ours, 2));
    for transport in NATIVE {
        let to = |id| Target { node: Some(NodeId(id)), ..target(&server, transport) };
        caller.call(&to(1), request(ECHO, b"", ""), LONG).await.unwrap();
        check(&caller, to(3), ErrorKind::StaleEpoch, "node/1 answers at").await;
    }
}

#[tokio::test]
async fn wrong_callers() {
    let (ours, theirs) = (authority(1), authority(2));
    // An authority that signs for a cluster that is not its own, as a mistake or an attack would.
    let server = serve(&node(&ours, 1)).await;
    let twin = authority(1);
    for transport in Transport::ALL {
        let to = target(&server, transport);
        check(&client(&node(&theirs, 2)), to, ErrorKind::Denied, "belongs to cluster 0101").await;
        check(&client(&node(&twin, 2)), to, ErrorKind::Denied, "not signed by our cluster's authority").await;
        check(&client(&expired(&ours, &Identity::User("a".into()))), to, ErrorKind::Denied, "has expired")
            .await;
    }
    let anonymous = Client::anonymous(&Env::real(), ours.trust(), ClientConfig::default()).unwrap();
    for transport in NATIVE {
        check(&anonymous, target(&server, transport), ErrorKind::Denied, "give a credential file").await;
    }
    let reply = anonymous.call(&target(&server, Transport::Grpc), request(WHO, b"", ""), LONG).await.unwrap();
    assert!(reply.header.starts_with(b"anonymous "), "{reply:?}");
}

/// The caller accepts the server, but its own certificate is signed by somebody else.
#[tokio::test]
async fn callers_with_a_foreign_certificate() {
    let (ours, twin) = (authority(1), authority(1));
    let server = serve(&node(&ours, 1)).await;
    let foreign = node(&twin, 2).to_pem();
    let (certificate, rest) =
        foreign.split_at(foreign.find("-----END").unwrap() + "-----END CERTIFICATE-----\n".len());
    let key = &rest[rest.find("-----BEGIN PRIVATE").unwrap()..];
    let mixed = Credentials::from_pem(&(certificate.to_owned() + &ours.trust().to_pem() + key)).unwrap();
    for transport in Transport::ALL {
        check(&client(&mixed), target(&server, transport), ErrorKind::Denied, "refuses our certificate")
            .await;
    }
}

#[tokio::test]
async fn wrong_servers() {
    let ours = authority(1);
    let caller = client(&node(&ours, 2));
    let stale = expired(&ours, &Identity::Node(types::NodeId(1)));
    let server = serve(&stale).await;
    for transport in Transport::ALL {
        check(
            &caller,
            target(&server, transport),
            ErrorKind::Denied,
            "the node's certificate is not accepted: it has expired",
        )
        .await;
    }
    let user = ours.issue(&Identity::User("eve".into()), HOUR, &Env::real()).unwrap();
    let refused = Server::start(&Env::real(), loopback(), &user, TestService::new()).await.err().unwrap();
    assert!(refused.message().contains("cannot serve"), "{refused}");
}

#[tokio::test]
async fn wrong_ports() {
    let ours = authority(1);
    let caller = client(&node(&ours, 2));
    let server = serve(&node(&ours, 1)).await;
    let (native, control) = (server.native_address(), server.control_address().unwrap());
    check(&caller, address_of(Transport::Tcp, control), ErrorKind::Invalid, "another protocol").await;
    check(&caller, address_of(Transport::Grpc, native), ErrorKind::Invalid, "another protocol").await;
    // Ports where nobody listens: they were free a moment ago.
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for transport in Transport::ALL {
        check(&caller, address_of(transport, free), ErrorKind::Unavailable, "connection refused").await;
    }
}

/// A server that is not CloudSync: says nothing, nonsense, or hangs up.
#[tokio::test]
async fn strangers() {
    let caller = Arc::new(client(&node(&authority(1), 2)));
    for (says, kind, part) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], ErrorKind::Invalid, "does not speak TLS"),
        (b"", ErrorKind::Unavailable, "closed by the peer"),
    ] {
        for transport in [Transport::Tcp, Transport::Grpc] {
            let stranger = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = stranger.local_addr().unwrap();
            let answer = async {
                let (mut socket, _) = stranger.accept().await.unwrap();
                let mut heard = [0; 1024];
                let _ = socket.read(&mut heard).await.unwrap();
                socket.write_all(says).await.unwrap();
            };
            tokio::join!(answer, check(&caller, address_of(transport, address), kind, part));
        }
    }
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for (transport, address) in [
        (Transport::Tcp, silent.local_addr().unwrap()),
        (Transport::Grpc, silent.local_addr().unwrap()),
        (Transport::Quic, silent_udp.local_addr().unwrap()),
    ] {
        check(&caller, address_of(transport, address), ErrorKind::Unavailable, "no connection within").await;
    }
    // A caller with less time than the connection may take does not wait for it.
    let to = address_of(Transport::Tcp, silent.local_addr().unwrap());
    let error = caller.call(&to, request(ECHO, b"", ""), Duration::from_millis(20)).await.unwrap_err();
    assert!(error.message().contains("within the time of this call"), "{error}");
}

#[tokio::test]
async fn a_server_survives_nonsense() {
    let ours = authority(1);
    let server = serve(&node(&ours, 1)).await;
    let random = env::Random::seeded(3);
    for address in [server.native_address(), server.control_address().unwrap()] {
        for size in [1, 5, 100, 5000] {
            let mut bytes = vec![0; size];
            random.fill(&mut bytes);
            let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
            let _ = socket.write_all(&bytes).await;
            std::net::UdpSocket::bind("127.0.0.1:0")
                .unwrap()
                .send_to(&bytes[..size.min(1200)], address)
                .unwrap();
        }
    }
    let caller = client(&node(&ours, 2));
    for transport in Transport::ALL {
        caller.call(&target(&server, transport), request(ECHO, b"", ""), LONG).await.unwrap();
    }
}

/// Inside TLS, an impossible frame is answered with the reason, and then the connection ends.
#[tokio::test]
async fn a_broken_frame_ends_its_connection_with_a_reason() {
    let ours = authority(1);
    let own = node(&ours, 2);
    let server = serve(&node(&ours, 1)).await;
    let tls = tls::client(&Env::real(), &Passport::from(&own), tls::ALPN_NATIVE).unwrap();
    let hello = frame::Frame::hello(&hello::ours(ClusterId([1; 16])));
    let stranger = frame::Frame::hello(&hello::ours(ClusterId([9; 16])));
    let future = frame::Frame::hello(&frame::Hello { version: 9, oldest: 8, cluster: ClusterId([1; 16]) });
    let oversize = [&[255; 4][..], &[2], &[0; 19]].concat();
    for (first, then, part) in [
        (hello.clone(), &oversize[..], "over the limit"),
        (hello.clone(), &[7; 24], "unknown kind 7"),
        (stranger, &[], "the other to 0909"),
        (future, &[], "8 to 9"),
        (frame::Frame::request(1, Request::default(), 1), &[], "does not begin with hello"),
    ] {
        let socket = tokio::net::TcpStream::connect(server.native_address()).await.unwrap();
        let name = pki::NODE_DNS_NAME.try_into().unwrap();
        let mut stream =
            tokio_rustls::TlsConnector::from(Arc::new(tls.clone())).connect(name, socket).await.unwrap();
        let counters = Counters::default();
        tcp::write_now(&mut stream, first, &counters).await.unwrap();
        stream.write_all(then).await.unwrap();
        let mut reader = tcp::FrameReader::new(stream, LONG, Arc::default());
        let error = loop {
            let frame = reader.frame().await.unwrap();
            if frame.prefix.kind == frame::Kind::Error {
                break frame.into_result().unwrap_err();
            }
        };
        assert!(error.message().contains(part), "want {part:?}: {error}");
        assert!(reader.prefix().await.is_ok_and(|next| next.is_none()), "the connection ends");
    }
}

/// The same address serves again after a restart, and the first call already finds it.
#[tokio::test]
async fn restarts_are_followed_at_once() {
    let ours = authority(1);
    let (own, caller) = (node(&ours, 1), client(&node(&ours, 2)));
    let mut server = serve(&own).await;
    let config =
        ServerConfig { native: server.native_address(), control: server.control_address(), ..loopback() };
    for _ in 0..3 {
        for transport in Transport::ALL {
            caller.call(&target(&server, transport), request(ECHO, b"", ""), LONG).await.unwrap();
        }
        server.shutdown().await;
        for transport in Transport::ALL {
            check(&caller, target(&server, transport), ErrorKind::Unavailable, "").await;
        }
        server = Server::start(&Env::real(), config.clone(), &own, TestService::new()).await.unwrap();
    }
}

/// Calls in progress are answered before a server stops; what comes later is refused.
#[tokio::test]
async fn shutdown_lets_calls_finish() {
    for transport in Transport::ALL {
        let (ours, service) = (authority(1), TestService::new());
        let server = Server::start(&Env::real(), loopback(), &node(&ours, 1), service.clone()).await.unwrap();
        let (caller, to) = (client(&node(&ours, 2)), target(&server, transport));
        let call = caller.call(&to, request(WAIT, b"", ""), LONG);
        let stop = async {
            service.started.notified().await;
            let open = async { service.gate.add_permits(1) };
            tokio::join!(server.shutdown(), open);
        };
        let (answer, ()) = tokio::join!(call, stop);
        answer.unwrap_or_else(|e| panic!("{to}: {e}"));
        assert_eq!(service.finished.load(SeqCst), 1);
    }
}

/// A process that dies without a word: its callers learn of it long before their timeout.
#[tokio::test]
async fn a_killed_server_is_noticed() {
    for transport in Transport::ALL {
        let ours = authority(1);
        let (own, service) = (node(&ours, 1), TestService::new());
        let (ready, address) = std::sync::mpsc::channel();
        let dying = service.clone();
        // A runtime of its own, so that all of the server's tasks and sockets vanish at once.
        let process = env::testing::process("victim", async move {
            let server = Server::start(&Env::real(), loopback(), &own, dying.clone()).await.unwrap();
            ready.send(target(&server, transport)).unwrap();
            dying.started.notified().await;
            std::mem::forget(server);
        });
        let to = address.recv().unwrap();
        let caller = client(&node(&ours, 2));
        let error = caller.call(&to, request(WAIT, b"", ""), LONG).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("closed by the peer"), "{transport}: {error}");
        process.join().unwrap();
    }
}

#[tokio::test]
async fn both_sides_count_bytes() {
    let ours = authority(1);
    let (server, caller) = (serve(&node(&ours, 1)).await, client(&node(&ours, 2)));
    for transport in Transport::ALL {
        for _ in 0..3 {
            caller
                .call(&target(&server, transport), request(ECHO, b"h", vec![1; 100_000]), LONG)
                .await
                .unwrap();
        }
        for (name, traffic) in
            [("server", server.counters().of(transport)), ("client", caller.counters().of(transport))]
        {
            assert_eq!((traffic.requests, traffic.errors), (3, 0), "{name} {transport}");
            for bytes in [traffic.received, traffic.sent] {
                assert!((300_000..310_000).contains(&bytes), "{name} {transport}: {traffic:?}");
            }
        }
    }
    assert_eq!(server.counters().total().requests, 9);
}

/// A caller that is killed while it sends: the service never sees the request, but its bytes are counted.
#[tokio::test]
async fn half_a_request_is_nothing() {
    let ours = authority(1);
    let (own, service) = (node(&ours, 2), TestService::new());
    let server = Server::start(&Env::real(), loopback(), &node(&ours, 1), service.clone()).await.unwrap();
    service.gate.add_permits(10);
    let whole = frame::Frame::request(1, request(WAIT, b"", vec![0; 1_000_000]), 5000);
    let bytes = [&whole.prefix.encode()[..], &whole.body[..500_000]].concat();

    let tls = tls::client(&Env::real(), &Passport::from(&own), tls::ALPN_NATIVE).unwrap();
    let socket = tokio::net::TcpStream::connect(server.native_address()).await.unwrap();
    let name = pki::NODE_DNS_NAME.try_into().unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, socket).await.unwrap();
    let greeting = frame::Frame::hello(&hello::ours(ClusterId([1; 16])));
    tcp::write_now(&mut stream, greeting, &Counters::default()).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut end = Vec::new();
    stream.read_to_end(&mut end).await.unwrap();
    let traffic = server.counters().of(Transport::Tcp);
    assert!(traffic.received > 500_000 && traffic.requests == 1, "{traffic:?}");

    // Over QUIC a call is dropped while its body is on its way; the next call arrives after it.
    let (caller, to) = (client(&own), target(&server, Transport::Quic));
    caller.call(&to, request(ECHO, b"", ""), LONG).await.unwrap();
    {
        let upload = caller.call(&to, request(WAIT, b"", vec![0; 16 << 20]), LONG);
        tokio::select! {
            _ = upload => panic!("polled once only"),
            () = std::future::ready(()) => {}
        }
    }
    caller.call(&to, request(ECHO, b"", ""), LONG).await.unwrap();
    assert_eq!(service.finished.load(SeqCst), 0);
    // What was admitted has been given back.
    server.shutdown().await;
}
