//! Who gets in: tokens, joining, certificates.

use bytes::Bytes;
use net::{Credentials, KeyPair, Request};
use proto::Method;
use proto::certificates::{
    CreateToken, Grant, IssueCertificate, ListCertificates, ListTokens, RenewCertificate, RevokeCertificates,
    RevokeToken, Which,
};
use proto::cluster::{Heartbeat, Join, RegisterStore};
use proto::map::{ROOT, Role};
use types::limits::NODE_CERTIFICATE_VALIDITY;
use types::{ErrorKind, Identity, NodeId, Result, Serial};

use super::words::{
    CLUSTER, SECRET, TOKEN_MS, admin, ann, heartbeat, join_with, later, new_node, node, of_roles, refused,
    store, token_for,
};
use super::world::World;

async fn token(world: &World, valid_ms: u64) -> [u8; 32] {
    world.ask(1, &admin(), &CreateToken { valid_ms, ..token_for(1) }).await.unwrap().secret
}

/// A good join in all but its token.
fn join(secret: [u8; 32]) -> Join {
    join_with(secret, KeyPair::create().unwrap().request().unwrap(), 2, &[Role::Block])
}

#[tokio::test(start_paused = true)]
async fn a_token_admits_a_node_under_a_new_id() {
    let world = World::one().await;
    let key = KeyPair::create().unwrap();
    let join = join_with(token(&world, TOKEN_MS).await, key.request().unwrap(), 2, &[Role::Block]);
    let joined = world.ask(1, &Identity::Anonymous, &join).await.unwrap();
    assert_eq!((joined.node, joined.cluster, joined.secret), (NodeId(2), CLUSTER, SECRET));
    let credentials = Credentials::from_parts(&joined.certificate, &key).unwrap();
    assert_eq!((credentials.identity(), credentials.cluster()), (&node(2), CLUSTER));
    let (found, new) = (&joined.map.nodes[&NodeId(2)], new_node(2, &[Role::Block]));
    assert_eq!((&found.zone, &found.roles), (&new.zone, &new.roles));
    assert_eq!((found.native, found.control, found.up), (new.native, new.control, false));
    assert_eq!(world.decided(), joined.map);
}

/// Who is told of one token can start as many nodes as it was made for, at once too; who asks again is the same node.
#[tokio::test(start_paused = true)]
async fn a_token_admits_as_many_nodes_as_it_was_made_for() {
    let world = World::one().await;
    let secret = world.ask(1, &admin(), &token_for(3)).await.unwrap().secret;
    let joins: Vec<Join> = (0..5).map(|_| join(secret)).collect();
    let ask = async |join| world.ask(1, &Identity::Anonymous, join).await;
    let first = futures::future::join_all(joins.iter().map(ask)).await;
    let ids: Vec<NodeId> = first.iter().flatten().map(|joined| joined.node).collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
    for (join, first) in joins.iter().zip(first) {
        match (first, ask(join).await) {
            (Ok(first), Ok(again)) => assert_eq!(first.node, again.node),
            (Err(_), again) => refused(again, ErrorKind::Denied, "was used already"),
            (Ok(first), Err(e)) => panic!("{} was admitted before: {e}", first.node),
        }
    }
    assert_eq!(world.decided().nodes.len(), 4);
    let list = world.ask(1, &admin(), &ListTokens {}).await.unwrap().tokens;
    assert_eq!(list[0].used_by.len(), 3);
    world.ask(1, &admin(), &RevokeToken { id: list[0].id }).await.unwrap();
    assert!(world.ask(1, &admin(), &ListTokens {}).await.unwrap().tokens.is_empty());
}

fn block_token() -> CreateToken {
    CreateToken { grant: Grant::Join(Role::Block), ..token_for(1) }
}

/// What lets a node into the metadata is its token: not what it says of itself, now or later.
#[tokio::test(start_paused = true)]
async fn a_node_for_storage_does_not_become_one_for_metadata() {
    let world = World::one().await;
    let secret = world.ask(1, &admin(), &block_token()).await.unwrap().secret;
    let request = KeyPair::create().unwrap().request().unwrap();
    let as_meta = join_with(secret, request.clone(), 2, &[Role::Meta]);
    refused(world.ask(1, &Identity::Anonymous, &as_meta).await, ErrorKind::Denied, "--role meta");
    let as_block = join_with(secret, request, 2, &[Role::Block]);
    let joined = world.ask(1, &Identity::Anonymous, &as_block).await.unwrap();
    assert_eq!((joined.node, joined.unlock), (NodeId(2), None), "the unlock key is for meta nodes");
    refused(world.ask(1, &node(2), &heartbeat(2)).await, ErrorKind::Denied, "speaks for no store");
    let register = RegisterStore { node: NodeId(2), store: store(2) };
    refused(
        world.ask(1, &node(2), &register).await,
        ErrorKind::Denied,
        "not joined as one that holds metadata",
    );
    let raft = Request { method: Method::Raft as u16, body: Bytes::from_static(b"?"), ..Request::default() };
    world.until("its map is known", || world.map(1).nodes.contains_key(&NodeId(2))).await;
    refused(world.send(1, &node(2), raft).await, ErrorKind::Denied, "no say in it");
    let seen = world.ask(1, &node(2), &of_roles(heartbeat(2), &[Role::Block])).await.unwrap();
    assert_eq!(seen.keys, None);
}

#[tokio::test(start_paused = true)]
async fn without_a_valid_token_nobody_joins() {
    let world = World::one().await;
    let expired = token(&world, TOKEN_MS).await;
    later(TOKEN_MS + 1).await;
    let valid = token(&world, TOKEN_MS).await;
    let hash = *blake3::hash(&valid).as_bytes();
    let before = world.state(1);
    for (secret, words) in [(expired, "expired"), ([7; 32], "not one of"), (hash, "not one of")] {
        refused(world.ask(1, &Identity::Anonymous, &join(secret)).await, ErrorKind::Denied, words);
    }
    assert_eq!(world.state(1), before);
    assert!(world.ask(1, &Identity::Anonymous, &join(valid)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_bad_certificate_request_is_refused_and_leaves_nothing() {
    let world = World::one().await;
    let good = join(token(&world, TOKEN_MS).await);
    let bad = Join { request: "rubbish".into(), ..good.clone() };
    let before = world.state(1);
    refused(world.ask(1, &Identity::Anonymous, &bad).await, ErrorKind::Invalid, "not a certificate request");
    assert_eq!(world.state(1), before);
    assert!(world.ask(1, &Identity::Anonymous, &good).await.is_ok(), "the token is as good as before");
}

struct Renewal(KeyPair, RenewCertificate);

impl Renewal {
    fn of(id: u64, secret: Option<[u8; 32]>) -> Self {
        let key = KeyPair::create().unwrap();
        let request = key.request().unwrap();
        Self(key, RenewCertificate { node: NodeId(id), request, secret })
    }

    async fn ask(&self, world: &World, who: &Identity) -> Result<Credentials> {
        let answer = world.ask(1, who, &self.1).await?;
        Credentials::from_parts(&answer.certificate, &self.0)
    }
}

async fn listed(world: &World) -> Vec<(u64, String, bool)> {
    let list = world.ask(1, &admin(), &ListCertificates {}).await.unwrap().certificates;
    list.into_iter().map(|c| (c.serial.0, c.identity.to_string(), c.revoked)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_node_renews_its_own_certificate_and_no_other() {
    let world = World::one().await;
    world.join(2, &[Role::Block]).await;
    let renewal = Renewal::of(2, None);
    for who in [node(1), admin(), ann(), Identity::Anonymous] {
        refused(renewal.ask(&world, &who).await, ErrorKind::Denied, "act for node 2");
    }
    let own = renewal.ask(&world, &node(2)).await.unwrap();
    assert_eq!((own.identity(), own.serial()), (&node(2), Serial(4)));
    let life = own.expires().since(own.issued());
    assert!(life.abs_diff(NODE_CERTIFICATE_VALIDITY.as_millis() as u64) < 2000, "{life}");
    assert_eq!(renewal.ask(&world, &node(2)).await.unwrap().serial(), own.serial(), "asked twice");
    let all = [(1, "node/1"), (2, "admin/admin"), (3, "node/2"), (4, "node/2")];
    assert_eq!(listed(&world).await, all.map(|(serial, who)| (serial, who.to_owned(), false)));
}

/// A heartbeat brings the list to whoever has another; a token brings who was revoked back.
#[tokio::test(start_paused = true)]
async fn who_is_revoked_is_known_everywhere_and_comes_back_with_a_token() {
    let world = World::one().await;
    world.join(2, &[Role::Block]).await;
    let (which, own) = (Which::Of(node(2)), None);
    let revoke = RevokeCertificates { which, own, force: false };
    for who in [node(1), ann(), Identity::Anonymous] {
        refused(world.ask(1, &who, &revoke).await, ErrorKind::Denied, "administer the cluster");
    }
    let revoked = world.ask(1, &admin(), &revoke).await.unwrap();
    assert_eq!(revoked.serials, [Serial(3)]);
    let seen = async |revoked_version| {
        let heartbeat = Heartbeat { revoked_version, ..heartbeat(1) };
        world.ask(1, &node(1), &heartbeat).await.unwrap().revoked
    };
    let list = seen(0).await.unwrap();
    assert_eq!((list.version, list.until.into_keys().collect::<Vec<_>>()), (1, vec![Serial(3)]));
    assert_eq!(seen(1).await, None);
    refused(Renewal::of(2, None).ask(&world, &node(2)).await, ErrorKind::Denied, "--renew");
    let token = CreateToken { grant: Grant::Renew(NodeId(2)), ..token_for(1) };
    let secret = world.ask(1, &admin(), &token).await.unwrap().secret;
    refused(Renewal::of(1, Some(secret)).ask(&world, &node(1)).await, ErrorKind::Denied, "good for renewing");
    let renewal = Renewal::of(2, Some(secret));
    for _ in 0..2 {
        let own = renewal.ask(&world, &Identity::Anonymous).await.unwrap();
        assert_eq!((own.identity(), own.serial()), (&node(2), Serial(4)));
    }
    let stolen = Renewal::of(2, Some(secret)).ask(&world, &Identity::Anonymous).await;
    refused(stolen, ErrorKind::Denied, "was used already");
}

#[tokio::test(start_paused = true)]
async fn administrators_get_certificates_from_each_other() {
    let world = World::one().await;
    let key = KeyPair::create().unwrap();
    let issue = |identity, valid_ms| IssueCertificate { identity, request: key.request().unwrap(), valid_ms };
    let bobs = issue(Identity::Admin("bob".into()), 1000);
    refused(world.ask(1, &node(1), &bobs).await, ErrorKind::Denied, "administer the cluster");
    let issued = world.ask(1, &admin(), &bobs).await.unwrap();
    let own = Credentials::from_parts(&issued.certificate, &key).unwrap();
    assert_eq!((own.identity(), own.serial()), (&Identity::Admin("bob".into()), issued.issued.serial));
    for (bad, words) in [
        (issue(node(1), 1000), "by joining"),
        (issue(Identity::User("a b".into()), 1000), "cannot be used in a certificate"),
        (issue(Identity::User("ann".into()), 0), "1 to 1825 days"),
        (issue(Identity::User("ann".into()), u64::MAX), "1 to 1825 days"),
    ] {
        refused(world.ask(1, &admin(), &bad).await, ErrorKind::Invalid, words);
    }
    // What has run out is forgotten, unasked.
    let count = || world.row_count(1, ROOT);
    let before = count();
    later(3_600_000 + 700_000).await;
    assert_eq!(count(), before - 1, "Bob's was valid for a second");
}
