//! Waiting costs nothing but a row, and clients keep no node waiting.

use std::sync::Arc;

use bytes::Bytes;
use env::task::{JoinSet, spawn};
use env::time::Duration;
use net::testing::Switchboard;
use net::{Dial, Lane, Load, Request, Target, Transport};
use proto::namespace::{JournalPage, Mode, PullJournal, Stat, WriteNamespace};
use proto::{Call, Method};
use types::{ErrorKind, Identity, NamespaceId, Result, Seq};

use super::words::{ANNS, admin, ann, bob, heartbeat, later, mkdir, newest, node, p};
use super::world::World;

const LONG: Duration = Duration::from_secs(60);
/// Requests of clients that the server of these tests takes on.
const CLIENT_COUNT_MAX: usize = 64;
const POLL_COUNT: usize = 5_000;

/// Somebody with a connection to the first node of a world.
struct Door {
    dial: Arc<dyn Dial>,
    target: Target,
}

/// Opens a door to the first node for each of `callers`.
fn doors<const N: usize>(world: &World, callers: [Identity; N]) -> [Arc<Door>; N] {
    let network = Switchboard::new();
    let target = Target { transport: Transport::Tcp, address: "10.0.0.1:1".parse().unwrap(), node: None };
    let mut load = Load { connection_requests: usize::MAX, ..Load::default() };
    load.lanes[Lane::Clients as usize].requests = CLIENT_COUNT_MAX;
    network.attach_with_load(target.address, world.server(1), load);
    callers.map(|who| Arc::new(Door { dial: network.dialer("10.0.0.2:1".parse().unwrap(), who), target }))
}

impl Door {
    async fn ask<Q: Call>(&self, question: &Q) -> Result<Q::Answer> {
        self.dial.call(&self.target, Request::of(question, Bytes::new()), LONG).await?.answer::<Q>()
    }
}

fn pull(namespace: NamespaceId) -> PullJournal {
    PullJournal { namespace, after: Seq(0), limit: 9, wait_ms: 60_000 }
}

/// Starts readers of a journal, a few at a time, and returns when all of them wait.
async fn follow(world: &World, door: &Arc<Door>, count: usize) -> JoinSet<Result<JournalPage>> {
    let mut waiting = JoinSet::new();
    let before = world.server(1).polls.count();
    while waiting.len() < count {
        for _ in 0..(count - waiting.len()).min(CLIENT_COUNT_MAX / 4) {
            let door = door.clone();
            waiting.spawn(async move { door.ask(&pull(ANNS)).await });
        }
        world.until("all to wait", || world.server(1).polls.count() == before + waiting.len()).await;
    }
    waiting
}

#[tokio::test(start_paused = true)]
async fn nodes_are_heard_whatever_clients_do() {
    let world = World::three().await;
    let [anns, admins, second] = doors(&world, [ann(), admin(), node(2)]);
    let mut polls = follow(&world, &anns, POLL_COUNT).await;
    assert_eq!(world.server(1).polls.count(), POLL_COUNT);

    // Without a majority every write stays in progress.
    world.net.cut(1);
    let mut writes = Vec::new();
    for n in 0..CLIENT_COUNT_MAX {
        let batch = world.batch(Mode::Atomic, vec![mkdir(&format!("/{n}"))]);
        let door = if n % 2 == 0 { anns.clone() } else { admins.clone() };
        writes.push(spawn(async move { door.ask(&batch).await }));
    }
    later(10).await;
    let read = Stat { view: newest(), path: p("/") };
    for door in [&anns, &admins] {
        assert_eq!(door.ask(&read).await.unwrap_err().kind(), ErrorKind::Busy);
    }
    second.ask(&heartbeat(2)).await.unwrap();
    let raft = Request { method: Method::Raft as u16, header: Bytes::new(), body: Bytes::from_static(b"?") };
    let answer = second.dial.call(&second.target, raft, LONG).await;
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Invalid, "it was read, and is no message");

    world.net.mend(1);
    for write in writes {
        write.await.unwrap().ok();
    }
    while let Some(page) = polls.join_next().await {
        match page.unwrap() {
            Ok(page) => assert_eq!(page.records[0].seq, Seq(1)),
            Err(e) => assert_eq!(e.kind(), ErrorKind::Busy, "{e}"),
        }
    }
    assert_eq!(anns.ask(&pull(ANNS)).await.unwrap().records[0].seq, Seq(1));
    assert_eq!(world.server(1).polls.count(), 0);
}

/// A commit wakes those who wait for its namespace, once, and nobody else of its partition.
#[tokio::test(start_paused = true)]
async fn a_change_wakes_the_readers_of_its_namespace() {
    const COUNT: usize = 20;
    let world = World::one().await;
    let neighbour = world.give("bob", &bob()).await;
    assert_eq!(world.map(1).namespace_partition(neighbour), world.map(1).namespace_partition(ANNS));
    let [anns, bobs] = doors(&world, [ann(), bob()]);
    let mut waiting = follow(&world, &anns, COUNT).await;
    let woken = || world.server(1).polls.woken();
    assert_eq!(woken(), 0);
    for n in 0..10 {
        let batch = world.batch(Mode::Atomic, vec![mkdir(&format!("/{n}"))]);
        bobs.ask(&WriteNamespace { namespace: neighbour, ..batch }).await.unwrap();
    }
    later(100).await;
    assert_eq!((woken(), world.server(1).polls.count()), (0, COUNT));
    world.write(vec![mkdir("/a"), mkdir("/b")]).await;
    while let Some(page) = waiting.join_next().await {
        assert_eq!(page.unwrap().unwrap().head, Seq(2));
    }
    assert_eq!((woken(), world.server(1).polls.count()), (COUNT as u64, 0));
}

/// A node that stops keeps nobody: who waited is sent to another.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_node_that_stops() {
    let world = World::three().await;
    let [anns] = doors(&world, [ann()]);
    for stop in [true, false] {
        let mut waiting = follow(&world, &anns, 3).await;
        let before = env::time::now();
        if stop {
            world.server(1).retire();
        } else {
            world.server(1).shutdown().await;
        }
        while let Some(page) = waiting.join_next().await {
            assert_eq!(page.unwrap().unwrap_err().kind(), ErrorKind::StaleEpoch);
        }
        assert!(before.elapsed() < Duration::from_secs(10));
        world.server(1).retired.store(false, std::sync::atomic::Ordering::Relaxed);
    }
}
