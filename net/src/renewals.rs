//! Goal: credentials change while they are used and no request fails; who is revoked is out at once, and is told why.
//! Method: real sockets on loopback; time passes on a clock that is set.

use std::collections::BTreeSet;
use std::sync::Arc;

use env::Env;
use types::{ErrorKind, Identity, NodeId, Serial};

use crate::conformance::{ECHO, LONG, TestService, WAIT, authority, loopback, node, request, target};
use crate::*;

const HOUR_MS: i64 = 3_600_000;

async fn serve(env: &Env, own: &Passport) -> Server {
    serve_with(env, own, TestService::new()).await
}

async fn serve_with(env: &Env, own: &Passport, service: Arc<TestService>) -> Server {
    Server::start(env, loopback(), own, service).await.unwrap()
}

fn client(env: &Env, own: &Passport) -> Client {
    Client::new(env, own, ClientConfig::default()).unwrap()
}

/// Real sockets and a clock of our own, which the real one starts.
fn env() -> Env {
    let env = Env { clock: Env::simulated(0).clock, ..Env::real() };
    env.clock.jump(Env::real().clock.wall().0 as i64 - env.clock.wall().0 as i64);
    env
}

#[tokio::test]
async fn who_is_revoked_is_out_at_once_and_is_told() {
    let (env, ours) = (Env::real(), authority(1));
    let (own, service) = (Passport::from(&node(&ours, 1)), TestService::new());
    let server = serve_with(&env, &own, service.clone()).await;
    for (transport, id) in Transport::ALL.into_iter().zip(2..) {
        let (eve, other) = (node(&ours, id), client(&env, &Passport::from(&node(&ours, 9))));
        let caller = Arc::new(client(&env, &Passport::from(&eve)));
        let to = target(&server, transport);
        for client in [&*caller, &other] {
            client.call(&to, request(ECHO, b"", ""), LONG).await.unwrap();
        }
        let asked = caller.clone();
        let waiting = env::task::spawn(async move { asked.call(&to, request(WAIT, b"", ""), LONG).await });
        service.started.notified().await;
        own.refuse(BTreeSet::from([eve.serial()]));
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Unavailable,
            "{transport}: what was sent may have been done: {error}"
        );
        let error = caller.call(&to, request(ECHO, b"", ""), LONG).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Denied, "{transport}: {error}");
        assert!(error.message().contains("it was revoked; ask an administrator"), "{transport}: {error}");
        other.call(&to, request(ECHO, b"", ""), LONG).await.unwrap();
    }
}

#[tokio::test]
async fn a_revoked_server_is_not_believed() {
    let (env, ours) = (Env::real(), authority(1));
    let eve = node(&ours, 1);
    let server = serve(&env, &Passport::from(&eve)).await;
    let own = Passport::from(&node(&ours, 2));
    own.refuse(BTreeSet::from([eve.serial()]));
    for transport in Transport::ALL {
        let error = client(&env, &own).call(&target(&server, transport), request(ECHO, b"", ""), LONG).await;
        let error = error.unwrap_err();
        assert!(
            error.kind() == ErrorKind::Denied && error.message().contains("node/1 was revoked"),
            "{error}"
        );
    }
}

/// Old connections go on, new ones show what is new, and nobody misses anything.
#[tokio::test]
async fn credentials_are_renewed_while_they_are_used() {
    let (env, ours) = (env(), authority(1));
    let issue = |id, serial| {
        let expires = env.clock.wall().plus(HOUR_MS as u64);
        ours.issue_on(&Terms { identity: Identity::Node(NodeId(id)), serial: Serial(serial), expires }, &env)
            .unwrap()
    };
    let (one, two) = (Passport::from(&issue(1, 1)), Passport::from(&issue(2, 2)));
    let (server, caller) = (serve(&env, &one).await, client(&env, &two));
    let ask = async |caller: &Client, transport| {
        caller.call(&target(&server, transport), request(ECHO, b"", ""), LONG).await
    };
    for transport in Transport::ALL {
        ask(&caller, transport).await.unwrap();
    }
    env.clock.jump(HOUR_MS * 3 / 4);
    let renewed = (issue(1, 3), issue(2, 4));
    env.clock.jump(HOUR_MS / 2);
    for transport in Transport::ALL {
        let error = ask(&client(&env, &two), transport).await.unwrap_err();
        assert!(error.message().contains("has expired"), "{error}");
    }
    one.renew(&renewed.0).unwrap();
    for transport in Transport::ALL {
        let error = ask(&client(&env, &two), transport).await.unwrap_err();
        assert!(error.message().contains("refuses our certificate: it has expired"), "{error}");
    }
    two.renew(&renewed.1).unwrap();
    for transport in Transport::ALL {
        ask(&client(&env, &two), transport).await.unwrap();
        ask(&caller, transport).await.unwrap();
    }
}

#[test]
fn a_passport_is_renewed_by_its_holder_alone() {
    let (ours, twin) = (authority(1), authority(1));
    let own = Passport::from(&node(&ours, 1));
    own.renew(&node(&ours, 1)).unwrap();
    for other in [node(&ours, 2), node(&twin, 1)] {
        assert_eq!(own.renew(&other).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert!(Passport::anonymous(ours.trust()).renew(&node(&ours, 1)).is_err());
}
