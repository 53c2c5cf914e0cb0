//! I-LIN with three voters: what a replica may answer that is behind, cut off, or no leader any more.

use std::collections::BTreeSet;

use expect_test::expect;
use futures::future::join;
use proto::Method;
use proto::catalog::{CreateNamespace, FindNamespace, NamespaceFound};

use proto::map::ROOT;
use proto::namespace::{Expect, FetchNamespace, Freshness, JournalPage, Mode, PullJournal, Stat, View};
use types::{ErrorKind, NamespaceId, NamespaceName, PartitionId, Result, Seq};

use super::doors::questions;
use super::words::{ANNS, admin, ann, at_least, eventually, later, mkdir, newest, node, p, refused, save};
use super::world::World;

/// The partition of Ann's namespace.
const PARTITION: PartitionId = PartitionId(2);

/// The position of the state in which a node finds a path of Ann's namespace.
async fn stat(world: &World, id: u64, view: View, path: &str) -> Result<Seq> {
    world.ask(id, &ann(), &Stat { view, path: p(path) }).await.map(|found| found.seq)
}

/// Position of Ann's namespace in the state that a node has applied.
fn applied(world: &World, id: u64) -> Seq {
    world.group(id, PARTITION).read(|state| tree::namespace::head(state, ANNS)).unwrap().seq
}

/// Asked for the newest, it sends away; asked for what it has, it answers.
#[tokio::test(start_paused = true)]
async fn what_a_follower_answers() {
    let world = World::three().await;
    world.write(vec![mkdir("/a")]).await;
    let mut table = String::new();
    for request in questions(&world).await {
        let method = Method::from_number(request.method).unwrap();
        let answer = world.send(2, &node(1), request).await;
        let outcome = answer.map_or_else(|e| format!("{:?}", e.kind()), |_| "ok".into());
        table += &format!("{method:?} {outcome}\n");
    }
    expect![[r#"
        Heartbeat StaleEpoch
        Join StaleEpoch
        FetchStatus StaleEpoch
        CreateToken Denied
        CreateNamespace Denied
        FindNamespace ok
        RegisterDisks StaleEpoch
        FinishSync StaleEpoch
        ConfirmJoin StaleEpoch
        RegisterStore StaleEpoch
        RemoveNode Denied
        RemoveDisk Denied
        FetchDigest Denied
        ListTokens Denied
        RevokeToken Denied
        RenewCertificate StaleEpoch
        IssueCertificate Denied
        ListCertificates Denied
        RevokeCertificates Denied
        Raft Invalid
        WriteNamespace StaleEpoch
        Stat StaleEpoch
        ListDir StaleEpoch
        OpenVersion StaleEpoch
        ListVersions StaleEpoch
        PullJournal ok
        RenewTickets StaleEpoch
        FetchNamespace StaleEpoch
        ListTrash StaleEpoch
        SetOwner Denied
        DeleteNamespace Denied
        ListNamespaces StaleEpoch
        Pin StaleEpoch
        Register StaleEpoch
        FetchIndexStats StaleEpoch
        ListChunks StaleEpoch
        LookUp StaleEpoch
        Amend StaleEpoch
        ListLost Denied
        FetchKeys StaleEpoch
        ListKeys Denied
        RotateKeys Denied
        DestroyKeys Denied
    "#]]
    .assert_eq(&table);
    assert_eq!(stat(&world, 2, at_least(Seq(1)), "/a").await, Ok(Seq(1)));
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_is_a_little_behind_catches_up_before_it_answers() {
    let world = World::three().await;
    world.write(vec![mkdir("/a")]).await;
    later(1000).await;
    world.net.hold(2);
    let seq = world.write(vec![mkdir("/b")]).await.seq;
    assert!(applied(&world, 2) < seq);
    let release = async {
        later(10).await;
        assert!(applied(&world, 2) < seq);
        world.net.release(2);
    };
    let (found, ()) = join(stat(&world, 2, at_least(seq), "/b"), release).await;
    assert_eq!(found, Ok(seq));
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_is_cut_off_answers_from_what_it_has_and_no_more() {
    let world = World::three().await;
    let old = world.write(vec![mkdir("/a")]).await.seq;
    later(1000).await;
    world.net.cut(2);
    let new = world.write(vec![mkdir("/b")]).await.seq;
    assert_eq!(stat(&world, 2, at_least(old), "/a").await, Ok(old));
    refused(stat(&world, 2, at_least(old), "/b").await, ErrorKind::NotFound, "/b does not exist");
    refused(stat(&world, 2, at_least(new), "/b").await, ErrorKind::StaleEpoch, "node 2 is behind");
    refused(stat(&world, 2, newest(), "/a").await, ErrorKind::StaleEpoch, "does not lead");
    assert_eq!(stat(&world, 3, at_least(new), "/b").await, Ok(new), "others go on");
    world.net.mend(2);
    eventually("the new state", async || stat(&world, 2, at_least(new), "/b").await.ok()).await;
}

/// Only a leader knows that there is nothing newer.
#[tokio::test(start_paused = true)]
async fn what_a_follower_has_not_seen_may_exist() {
    let world = World::three().await;
    let ahead = at_least(Seq(9));
    let unknown = View { namespace: NamespaceId(77), freshness: Freshness::AtLeast(Seq(0)) };
    refused(stat(&world, 1, ahead, "/").await, ErrorKind::Invalid, "position 9 is ahead");
    refused(stat(&world, 1, unknown, "/").await, ErrorKind::NotFound, "namespace 77 does not exist");
    for view in [ahead, unknown] {
        refused(stat(&world, 3, view, "/").await, ErrorKind::StaleEpoch, "ask another voter");
    }
    let pull = PullJournal { namespace: ANNS, after: Seq(9), limit: 9, wait_ms: 0 };
    refused(world.ask(1, &ann(), &pull).await, ErrorKind::Invalid, "position 9 is ahead");
    refused(world.ask(3, &ann(), &pull).await, ErrorKind::StaleEpoch, "ask another voter");
    let find = FindNamespace { name: NamespaceName::parse("team").unwrap() };
    refused(world.ask(1, &ann(), &find).await, ErrorKind::NotFound, "create it first");
    refused(world.ask(3, &ann(), &find).await, ErrorKind::StaleEpoch, "does not lead partition 2");
}

/// A leader without its majority acknowledges nothing and proves nothing.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_promises_nothing() {
    let world = World::three().await;
    let old = world.write(vec![mkdir("/a")]).await.seq;
    world.net.cut(1);
    later(2000).await;
    let batch = world.batch(Mode::Atomic, vec![mkdir("/lost")]);
    let lost = world.ask(1, &ann(), &batch).await.unwrap_err();
    assert!(lost.is_transient(), "{lost}");
    for view in [newest(), at_least(Seq(9))] {
        let error = stat(&world, 1, view, "/a").await.unwrap_err();
        assert!(error.is_transient(), "{error}");
    }
    assert_eq!(stat(&world, 1, at_least(old), "/a").await, Ok(old));
    let leader = world.leader(PARTITION).await;
    assert_ne!(leader, 1);
    let batch = world.batch(Mode::Atomic, vec![mkdir("/b")]);
    let new = world.ask(leader, &ann(), &batch).await.unwrap().seq;
    world.net.mend(1);
    eventually("the new state", async || stat(&world, 1, at_least(new), "/b").await.ok()).await;
    refused(stat(&world, 1, at_least(new), "/lost").await, ErrorKind::NotFound, "/lost does not exist");
}

#[tokio::test(start_paused = true)]
async fn the_next_leader_remembers_what_was_answered() {
    let world = World::three().await;
    let batch = world.batch(Mode::Atomic, vec![mkdir("/a")]);
    let first = world.ask(1, &ann(), &batch).await.unwrap();
    world.transfer(PARTITION, 3).await;
    refused(world.ask(1, &ann(), &batch).await, ErrorKind::StaleEpoch, "does not lead partition 2");
    assert_eq!(world.ask(3, &ann(), &batch).await, Ok(first.clone()));
    assert_eq!(stat(&world, 3, newest(), "/a").await, Ok(first.seq), "it is not done twice");
}

/// I-DET: equal positions, equal trees.
#[tokio::test(start_paused = true)]
async fn replicas_at_one_position_have_one_digest() {
    let world = World::three().await;
    world.write(vec![mkdir("/a"), save("/a/f", Expect::Absent, "1")]).await;
    let seq = world.write(vec![save("/a/f", Expect::Any, "2"), mkdir("/b")]).await.seq;
    later(1000).await;
    let mut digests = BTreeSet::new();
    for id in 1..=3 {
        let totals = world.ask(id, &ann(), &FetchNamespace { view: at_least(seq) }).await.unwrap();
        assert_eq!(totals.seq, seq);
        digests.insert(totals.totals.digest);
    }
    assert_eq!(digests.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_journal_can_be_followed_on_every_replica() {
    let world = World::three().await;
    world.write(vec![mkdir("/a")]).await;
    let pull = |id, wait_ms| {
        let world = &world;
        let question = PullJournal { namespace: ANNS, after: Seq(1), limit: 9, wait_ms };
        async move { world.ask(id, &ann(), &question).await }
    };
    later(1000).await;
    for id in 1..=3 {
        assert_eq!(pull(id, 100).await, Ok(JournalPage { records: vec![], head: Seq(1), floor: Seq(0) }));
    }
    let waiting = futures::future::join_all((1..=3).map(|id| pull(id, 60_000)));
    let write = async {
        later(100).await;
        world.write(vec![mkdir("/b")]).await
    };
    for page in join(waiting, write).await.0 {
        let page = page.unwrap();
        assert_eq!((page.records.len(), page.records[0].seq, page.head), (1, Seq(2), Seq(2)));
    }
}

/// The leader of the partition that has the name, whoever leads the others.
#[tokio::test(start_paused = true)]
async fn a_namespace_is_made_by_one_leader() {
    let world = World::three().await;
    world.transfer(PARTITION, 2).await;
    let name = NamespaceName::parse("ann").unwrap();
    assert_eq!(world.leader(ROOT).await, 1);
    let create = CreateNamespace { name: name.clone(), owner: Some(ann().to_string()) };
    for id in [1, 3] {
        refused(world.ask(id, &admin(), &create).await, ErrorKind::StaleEpoch, "does not lead partition");
    }
    assert_eq!(world.ask(2, &admin(), &create).await, Ok(NamespaceFound { namespace: ANNS }));
    let find = FindNamespace { name };
    assert_eq!(world.ask(3, &ann(), &find).await, Ok(NamespaceFound { namespace: ANNS }));
}
