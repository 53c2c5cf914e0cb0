//! A state that cannot be read gives no answers: whoever asks goes elsewhere, and the store is known to be damaged,
//! whichever read has met it first.

use std::future::Future;
use std::pin::Pin;

use futures::FutureExt;
use proto::Call;
use proto::catalog::{CreateNamespace, FindNamespace};
use proto::cluster::{FetchDigest, FetchStatus};
use proto::index::{FetchIndexStats, Register, Registration};
use proto::map::ROOT;
use proto::namespace::{
    Expect, FetchNamespace, Freshness, ListVersions, Mode, OpenVersion, PullJournal, Stat, View,
};
use raft::Trouble;
use types::{ChunkId, ErrorKind, GcEpoch, Generation, Identity, NamespaceName, PartitionId, Result, Seq};

use super::words::{
    ANNS, admin, ann, at_least, list, mkdir, newest, node, p, pin, refused, registration, save,
};
use super::world::World;

/// The partition of chunks whose first byte is below 128.
const INDEX: PartitionId = PartitionId(3);

type Asked<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

fn ask<'a, Q: Call + 'a>(world: &'a World, who: Identity, question: Q) -> Asked<'a> {
    async move { world.ask(1, &who, &question).await.map(drop) }.boxed_local()
}

fn name() -> NamespaceName {
    NamespaceName::parse("home").unwrap()
}

fn stored() -> Registration {
    let generation = Generation::new(GcEpoch(0), 1);
    registration(ChunkId([0; 32]), generation, 100)
}

/// One of each way to read a state, by its name.
fn questions(world: &World) -> Vec<(&'static str, Asked<'_>)> {
    let (view, path) = (newest(), p("/d/a"));
    let stale = View { freshness: Freshness::Stale, ..view };
    let list = list(view, "/d", None, 9);
    let pull = PullJournal { namespace: ANNS, after: Seq(0), limit: 9, wait_ms: 0 };
    let write = world.batch(Mode::Atomic, vec![mkdir("/e")]);
    let pin = pin(INDEX, vec![stored().stored.chunk.id]);
    vec![
        ("stat", ask(world, ann(), Stat { view, path: path.clone() })),
        ("stale stat", ask(world, ann(), Stat { view: stale, path: path.clone() })),
        ("stat at", ask(world, ann(), Stat { view: at_least(Seq(1)), path: path.clone() })),
        ("list", ask(world, ann(), list)),
        ("open", ask(world, ann(), OpenVersion { view, path: path.clone(), version: None })),
        ("versions", ask(world, ann(), ListVersions { view, path, before: None, limit: 9 })),
        ("journal", ask(world, ann(), pull)),
        ("stats", ask(world, ann(), FetchNamespace { view })),
        ("write", ask(world, ann(), write)),
        ("pin", ask(world, ann(), pin)),
        ("index stats", ask(world, ann(), FetchIndexStats { partition: INDEX })),
        ("status", ask(world, admin(), FetchStatus {})),
        ("digest", ask(world, admin(), FetchDigest { partition: ROOT })),
        ("find namespace", ask(world, admin(), FindNamespace { name: name() })),
        ("create namespace", ask(world, admin(), CreateNamespace { name: name(), owner: None })),
    ]
}

/// Every question, each to a state of its own that nobody has met since it was harmed.
async fn check(harm: impl Fn(&World), what: &str) {
    let count = questions(&World::one().await).len();
    for at in 0..count {
        let world = World::one().await;
        world.add_disks().await;
        world.write(vec![mkdir("/d"), save("/d/a", Expect::Absent, "1")]).await;
        world.ask(1, &node(1), &Register { partition: INDEX, chunks: vec![stored()] }).await.unwrap();
        harm(&world);
        let (name, asked) = questions(&world).swap_remove(at);
        let error = asked.await.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{name}: {error}");
        let trouble = world.server(1).trouble();
        world.until(name, || trouble.borrow().is_some()).await;
        let found = trouble.borrow().clone().unwrap();
        assert!(matches!(&found, Trouble::State(e) if e.message().contains(what)), "{name}: {found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rot_on_the_disk_is_no_answer() {
    check(|world| world.kv(1).rot(), "checksum").await;
}

#[tokio::test(start_paused = true)]
async fn rows_that_no_build_has_written_are_no_answer() {
    check(World::scribble, "cannot be read").await;
}

/// The neighbours have the answer.
#[tokio::test(start_paused = true)]
async fn another_replica_answers() {
    let world = World::three().await;
    let written = world.write(vec![mkdir("/d")]).await;
    let stat = Stat { view: at_least(written.seq), path: p("/d") };
    world.kv(3).rot();
    refused(world.ask(3, &ann(), &stat).await, ErrorKind::Unavailable, "ask another node");
    assert!(world.ask(2, &ann(), &stat).await.is_ok());
}
