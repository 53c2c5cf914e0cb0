//! Who may ask what (I-AUTH), and what is no question at all.

use std::collections::BTreeSet;

use bytes::Bytes;
use expect_test::expect;
use net::{KeyPair, Request};
use proto::catalog::{CreateNamespace, DeleteNamespace, FindNamespace, ListNamespaces, SetOwner};
use proto::certificates::{
    CreateToken, IssueCertificate, ListCertificates, ListTokens, RenewCertificate, RevokeCertificates,
    RevokeToken, Which,
};
use proto::cluster::{
    ConfirmJoin, FetchDigest, FetchStatus, FinishSync, RegisterDisks, RegisterStore, RemoveNode,
};
use proto::disks::{ListLost, RemoveDisk};
use proto::index::{Amend, FetchIndexStats, ListChunks, LookUp, Pin, Register};
use proto::keys::{DestroyKeys, FetchKeys, ListKeys, RotateKeys};
use proto::map::Role;
use proto::namespace::{
    FetchNamespace, ListTrash, ListVersions, Mode, OpenVersion, PullJournal, RenewTickets, Stat,
};
use proto::{Call, Method};
use types::{
    ChunkId, DiskId, DiskUuid, Epoch, ErrorKind, Identity, NamespaceName, NodeId, PartitionId, Scope, Seq,
    TenantId, TokenId,
};

use super::super::routes;
use super::words::{
    ANNS, HOME, admin, ann, at_least, bob, heartbeat, join_with, list, mkdir, newest, node, p, refused,
    store, token_for,
};
use super::world::World;

/// A question of every verb: about node 1, about Ann's namespace.
pub async fn questions(world: &World) -> Vec<Request> {
    fn of<Q: Call>(question: Q) -> Request {
        Request::of(&question, Bytes::new())
    }
    // One more than is asked for is left.
    let token = world.ask(1, &admin(), &token_for(20)).await.unwrap().secret;
    let request = KeyPair::create().unwrap().request().unwrap();
    let name = || NamespaceName::parse("home").unwrap();
    let (view, path, partition) = (newest(), p("/a"), PartitionId(3));
    vec![
        of(heartbeat(1)),
        of(join_with(token, request.clone(), 2, &[Role::Block])),
        of(FetchStatus {}),
        of(CreateToken { valid_ms: 1, ..token_for(1) }),
        of(CreateNamespace { name: NamespaceName::parse("new").unwrap(), owner: None }),
        of(FindNamespace { name: name() }),
        of(RegisterDisks { node: NodeId(1), disks: vec![(DiskUuid([1; 16]), 1)] }),
        of(FinishSync { slots: vec![] }),
        of(ConfirmJoin { node: NodeId(1) }),
        of(RegisterStore { node: NodeId(1), store: store(1) }),
        of(RemoveNode { node: NodeId(9), force: false, dry_run: true }),
        of(RemoveDisk { disk: DiskId(9), force: false, dry_run: true }),
        of(FetchDigest { partition }),
        of(ListTokens {}),
        of(RevokeToken { id: TokenId([1; 8]) }),
        of(RenewCertificate { node: NodeId(1), request: request.clone(), secret: None }),
        of(IssueCertificate { identity: bob(), request: request.clone(), valid_ms: 1000 }),
        of(ListCertificates {}),
        of(RevokeCertificates { which: Which::Of(bob()), own: None, force: false }),
        Request { method: Method::Raft as u16, header: Bytes::new(), body: Bytes::from_static(b"?") },
        of(world.batch(Mode::PerItem, vec![mkdir("/b")])),
        of(Stat { view, path: path.clone() }),
        of(list(view, "/a", None, 1)),
        of(OpenVersion { view, path: path.clone(), version: None }),
        of(ListVersions { view, path, before: None, limit: 1 }),
        of(PullJournal { namespace: ANNS, after: Seq(0), limit: 1, wait_ms: 0 }),
        of(RenewTickets { view, tickets: vec![] }),
        of(FetchNamespace { view }),
        of(ListTrash { view, under: p("/"), before: None, limit: 1 }),
        of(SetOwner { namespace: HOME, owner: "user/bob".into() }),
        of(DeleteNamespace { namespace: HOME, force: true }),
        of(ListNamespaces { partition: PartitionId(1), after: None, limit: 1 }),
        of(Pin { partition, scope: Scope::FIRST, chunks: vec![] }),
        of(Register { partition, chunks: vec![] }),
        of(FetchIndexStats { partition }),
        of(ListChunks {
            partition,
            first: ChunkId([0; 32]),
            last: ChunkId([0xff; 32]),
            after: None,
            flagged: false,
            fence: Epoch(0),
        }),
        of(LookUp { partition, chunks: vec![] }),
        of(Amend { partition, amendments: vec![] }),
        of(ListLost { partition, after: None }),
        of(FetchKeys { stale_ok: false }),
        of(ListKeys {}),
        of(RotateKeys {}),
        of(DestroyKeys { tenant: TenantId(9), dry_run: true }),
    ]
}

/// One line per verb: a letter for whoever is let in, a dot for whoever is not.
#[tokio::test(start_paused = true)]
async fn who_may_ask_what() {
    let world = World::one().await;
    let callers = [
        ('1', node(1)),
        ('2', node(2)),
        ('A', admin()),
        ('o', ann()),
        ('u', bob()),
        ('-', Identity::Anonymous),
    ];
    let mut table = String::new();
    let mut asked = BTreeSet::new();
    for request in questions(&world).await {
        let method = Method::from_number(request.method).unwrap();
        asked.insert(method);
        table += &format!("{method:?} ");
        for (letter, who) in &callers {
            let before = world.state(1);
            let answer = world.send(1, who, request.clone()).await;
            let denied = answer.is_err_and(|e| e.kind() == ErrorKind::Denied);
            assert!(!denied || world.state(1) == before, "{method:?} was denied to {who} and done");
            table.push(if denied { '.' } else { *letter });
        }
        table.push('\n');
    }
    assert_eq!(asked, routes().methods().collect(), "every verb is in the table");
    expect![[r#"
        Heartbeat 1.....
        Join 12Aou-
        FetchStatus 12Aou.
        CreateToken ..A...
        CreateNamespace ..A...
        FindNamespace 12Aou.
        RegisterDisks 1.....
        FinishSync 12....
        ConfirmJoin 1.....
        RegisterStore 1.....
        RemoveNode ..A...
        RemoveDisk ..A...
        FetchDigest ..A...
        ListTokens ..A...
        RevokeToken ..A...
        RenewCertificate 1.....
        IssueCertificate ..A...
        ListCertificates ..A...
        RevokeCertificates ..A...
        Raft 1.....
        WriteNamespace 12Ao..
        Stat 12Ao..
        ListDir 12Ao..
        OpenVersion 12Ao..
        ListVersions 12Ao..
        PullJournal 12Ao..
        RenewTickets 12Ao..
        FetchNamespace 12Ao..
        ListTrash 12Ao..
        SetOwner ..A...
        DeleteNamespace ..A...
        ListNamespaces 12Aou-
        Pin 12Aou.
        Register 12....
        FetchIndexStats 12Aou.
        ListChunks 12....
        LookUp 12....
        Amend 12....
        ListLost ..A...
        FetchKeys 12....
        ListKeys ..A...
        RotateKeys ..A...
        DestroyKeys ..A...
    "#]]
    .assert_eq(&table);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_invalid() {
    let world = World::one().await;
    let before = world.state(1);
    for good in questions(&world).await {
        let whole = if good.header.is_empty() { &good.body } else { &good.header };
        let longer = [&whole[..], b"x"].concat();
        let newer = [&[whole[0] + 1], &whole[1..]].concat();
        for bad in [b"".to_vec(), b"\xff\xff".to_vec(), whole[..whole.len() - 1].to_vec(), longer, newer] {
            let bad = Bytes::from(bad);
            let request = Request { method: good.method, header: bad.clone(), body: bad.clone() };
            let error = world.send(1, &node(1), request).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{} {bad:?}: {error}", good.method);
        }
    }
    assert_ne!(before, world.state(1), "the token for the questions");
}

#[tokio::test(start_paused = true)]
async fn verbs_of_others_and_of_nobody_are_invalid() {
    let world = World::one().await;
    let strange =
        [0, 13, u16::MAX, Method::FetchMap as u16, Method::PutChunk as u16, Method::GetShard as u16];
    for method in strange {
        let request = Request { method, ..Request::default() };
        refused(world.send(1, &node(1), request).await, ErrorKind::Invalid, "does not answer method");
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_its_owners() {
    let world = World::one().await;
    world.write(vec![mkdir("/a")]).await;
    for (who, open) in [(ann(), true), (admin(), true), (bob(), false), (Identity::Anonymous, false)] {
        for view in [newest(), at_least(Seq(0))] {
            let answer = world.ask(1, &who, &Stat { view, path: p("/a") }).await;
            if open {
                assert_eq!(answer.unwrap().entry.name, "a");
            } else {
                refused(answer, ErrorKind::Denied, "ask its owner");
            }
        }
        let answer = world.ask(1, &who, &world.batch(Mode::Atomic, vec![])).await;
        assert_eq!(answer.is_ok(), open, "{who}");
    }
}

/// I-AUTH: who may not read a namespace does not learn how far it is, whatever position it shows.
#[tokio::test(start_paused = true)]
async fn a_stranger_learns_nothing_about_a_namespace() {
    let world = World::one().await;
    world.write(vec![mkdir("/a")]).await;
    for who in [bob(), Identity::Anonymous] {
        let stat = world.ask(1, &who, &Stat { view: at_least(Seq(9)), path: p("/") }).await;
        refused(stat, ErrorKind::Denied, "may not use this namespace");
        let pull = PullJournal { namespace: ANNS, after: Seq(9), limit: 1, wait_ms: 0 };
        refused(world.ask(1, &who, &pull).await, ErrorKind::Denied, "may not use this namespace");
    }
}
