//! Following a namespace's journal (I-JRN): at once when there is something, later when there is nothing yet.

use std::time::Duration;

use expect_test::expect;
use futures::future::join;
use proto::namespace::{Change, Expect, JournalPage, Mode, Op, PullJournal};
use types::{ErrorKind, Identity, NamespaceId, Result, Seq};

use super::words::{ANNS, ann, bob, later, mkdir, mv, p, refused, rm, save};
use super::world::World;

async fn pull(world: &World, who: &Identity, after: u64, limit: u32, wait_ms: u32) -> Result<JournalPage> {
    world.ask(1, who, &PullJournal { namespace: ANNS, after: Seq(after), limit, wait_ms }).await
}

/// Positions of the records of a page.
fn positions(page: &JournalPage) -> Vec<u64> {
    page.records.iter().map(|record| record.seq.0).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_there_comes_at_once_and_in_pages() {
    let world = World::one().await;
    world.write((1..=5).map(|n| mkdir(&format!("/{n}"))).collect()).await;
    let before = env::time::now();
    for (after, limit, want) in [
        (0, 9, vec![1, 2, 3, 4, 5]),
        (0, 2, vec![1, 2]),
        (2, 2, vec![3, 4]),
        (4, 2, vec![5]),
        (0, 0, vec![1]),
    ] {
        let page = pull(&world, &ann(), after, limit, 60_000).await.unwrap();
        assert_eq!((positions(&page), page.head), (want, Seq(5)), "{limit} behind {after}");
    }
    assert_eq!(env::time::now(), before, "nobody waited");
}

#[tokio::test(start_paused = true)]
async fn every_change_is_in_it() {
    let world = World::one().await;
    world.write(vec![mkdir("/d"), save("/d/f", Expect::Absent, "1")]).await;
    world.write(vec![mv("/d/f", "/g")]).await;
    world.write(vec![rm("/g"), Op::Undelete { path: p("/g") }]).await;
    let page = pull(&world, &ann(), 0, 9, 0).await.unwrap();
    let lines = page.records.iter().map(|record| {
        let change = match &record.change {
            Change::Created { entry, .. } => format!("new {:?} {}", entry.kind, entry.name),
            Change::Moved { source, entry, .. } => format!("moved {} to {}", source.name, entry.name),
            Change::Removed { entry, .. } => format!("removed {}", entry.name),
            Change::Returned { entry, .. } => format!("{} bytes are back as {}", entry.size, entry.name),
            other => panic!("nobody asked for {other:?}"),
        };
        format!("{} {} {change}\n", record.seq, record.author)
    });
    expect![[r#"
        1 user/ann new Dir d
        2 user/ann new File f
        3 user/ann moved f to g
        4 user/ann removed g
        5 user/ann 1 bytes are back as g
    "#]]
    .assert_eq(&lines.collect::<String>());
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_waits_gets_the_next_record() {
    let world = World::one().await;
    world.write(vec![mkdir("/a")]).await;
    let write = async {
        later(50).await;
        world.write(vec![mkdir("/b")]).await;
        env::time::now()
    };
    let (page, written) = join(pull(&world, &ann(), 1, 9, 60_000), write).await;
    assert_eq!(positions(&page.unwrap()), [2]);
    assert_eq!(env::time::now(), written, "as soon as it was there");
}

/// Others' changes wake a reader, but are no answer.
#[tokio::test(start_paused = true)]
async fn a_reader_waits_for_its_own_namespace() {
    let world = World::one().await;
    let neighbour = world.give("bob", &bob()).await;
    assert_eq!(world.map(1).namespace_partition(neighbour), world.map(1).namespace_partition(ANNS));
    let changes = async {
        for n in 0..5 {
            later(50).await;
            let batch = world.batch(Mode::Atomic, vec![mkdir(&format!("/{n}"))]);
            let write = proto::namespace::WriteNamespace { namespace: neighbour, ..batch };
            world.ask(1, &bob(), &write).await.unwrap();
        }
        world.write(vec![mkdir("/mine")]).await;
    };
    let (page, ()) = join(pull(&world, &ann(), 0, 9, 60_000), changes).await;
    let page = page.unwrap();
    assert_eq!((page.records.len(), page.head), (1, Seq(1)));
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_empty_and_no_later_than_a_minute() {
    let world = World::one().await;
    world.write(vec![mkdir("/a")]).await;
    let empty = JournalPage { records: vec![], head: Seq(1), floor: Seq(0) };
    for (wait_ms, limit_ms) in [(0, 0), (20, 20), (u32::MAX, 60_000)] {
        let before = env::time::now();
        let page = env::time::timeout(Duration::from_secs(120), pull(&world, &ann(), 1, 9, wait_ms)).await;
        assert_eq!(page, Ok(Ok(empty.clone())));
        assert_eq!(before.elapsed().as_millis(), limit_ms, "{wait_ms} ms of simulated time");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_followed_is_refused_without_a_wait() {
    let world = World::one().await;
    world.write(vec![mkdir("/a")]).await;
    let before = env::time::now();
    refused(pull(&world, &ann(), 2, 9, 60_000).await, ErrorKind::Invalid, "is ahead of");
    refused(pull(&world, &bob(), 1, 9, 60_000).await, ErrorKind::Denied, "ask its owner");
    let unknown = PullJournal { namespace: NamespaceId(77), after: Seq(0), limit: 9, wait_ms: 60_000 };
    refused(world.ask(1, &ann(), &unknown).await, ErrorKind::NotFound, "does not exist");
    assert_eq!(env::time::now(), before);
}
