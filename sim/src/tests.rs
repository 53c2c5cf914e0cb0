//! Goal: a cluster founds itself, survives crashes and pauses of its nodes, and does so the same way for the same seed.
//! Method: whole nodes on simulated time; one process, one thread.

use std::path::Path as LocalPath;
use std::sync::Arc;

use bytes::Bytes;
use client::health::{Complement, leader, missing};
use client::{Cluster, Namespace};
use env::time::{self, Duration};
use net::Request;
use oracle::Session;
use proto::certificates::ListCertificates;
use proto::map::ROOT;
use proto::namespace::{FetchNamespace, Mode, Op};
use types::{ErrorKind, NamespaceName, NodeId, Path, Profile};

use crate::plan::Harm;
use crate::trace::Trace;
use crate::world::{Shape, World};

const SHAPE: Shape = Shape { nodes: 7, meta: 3, profile: Profile { k: 4, m: 2 }, pg_count: 16 };

async fn wait_until_whole(world: &World) {
    let whole = Complement { nodes: 7, disks: 7, voters: 3 };
    let client = world.client(9).await.unwrap();
    let deadline = time::now() + Duration::from_secs(120);
    loop {
        // Without a leader there is no answer: the cluster is not whole then either.
        let missing = client.fetch_status().await.map(|status| missing(&status, whole));
        if matches!(&missing, Ok(missing) if missing.is_empty()) {
            return;
        }
        assert!(time::now() < deadline, "{missing:?}");
        time::sleep(Duration::from_millis(500)).await;
    }
}

/// Founds a cluster, lets nodes crash and stand still while directories are created, and says what happened when.
fn story(seed: u64) -> String {
    env::task::run_simulated(seed, async move {
        let mut world = World::new(seed, SHAPE, &Trace::new(false));
        let began = time::now();
        world.found().await.unwrap();
        wait_until_whole(&world).await;
        let mut story = format!("whole after {:?}\n", began.elapsed());
        let client = world.client(1).await.unwrap();
        let home = Namespace::open(client, &NamespaceName::parse("home").unwrap()).await.unwrap();
        for round in 0..6u64 {
            let victim = NodeId(1 + (seed + round * 3) % 7);
            if round % 2 == 0 {
                world.crash(victim);
            } else {
                world.pause(victim);
            }
            let path = Path::parse(&format!("/{round}")).unwrap();
            let done = home
                .apply_all(
                    Mode::PerItem,
                    vec![Op::Mkdir { path, parents: false, attributes: Default::default() }],
                )
                .await;
            story.push_str(&format!("{:?} {done:?}\n", began.elapsed()));
            assert!(done.unwrap()[0].is_ok(), "one voter of three may be away");
            if round % 2 == 0 {
                world.start(victim).await.unwrap();
            } else {
                world.resume(victim);
            }
            wait_until_whole(&world).await;
        }
        let names: Vec<String> =
            home.list_whole_dir(&Path::root()).await.unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["0", "1", "2", "3", "4", "5"], "what was acknowledged stays (I-ACK)");
        story + &format!("{:?} whole", began.elapsed())
    })
}

#[test]
fn a_cluster_survives_and_a_seed_tells_the_same_story() {
    let first = story(1);
    assert_eq!(first, story(1));
    assert_ne!(first, story(2));
    (3..=20).for_each(|seed| drop(story(seed)));
}

/// Runs a story in a cluster that is whole, with a client that has a namespace.
fn in_a_whole_cluster<F: Future<Output = ()>>(story: impl FnOnce(World, Arc<Cluster>, Session) -> F) {
    env::task::run_simulated(1, async move {
        let mut world = World::new(1, SHAPE, &Trace::new(false));
        world.found().await.unwrap();
        wait_until_whole(&world).await;
        let client = world.client(1).await.unwrap();
        let session = session(&client).await;
        story(world, client, session).await;
    });
}

async fn session(client: &Arc<Cluster>) -> Session {
    Session::new(client.clone(), &NamespaceName::parse("home").unwrap()).await.unwrap()
}

/// A voter of the session's partition that does not lead it.
async fn follower(client: &Cluster, session: &Session) -> NodeId {
    let partition = client.map().namespace_partition(session.newest().namespace);
    let leader = leader(&client.fetch_status().await.unwrap(), partition);
    *client.map().voters(partition).iter().find(|voter| Some(**voter) != leader).expect("there are three")
}

/// Found by a seed: the server itself asked such a replica again without end.
#[test]
fn a_replica_that_has_stopped_says_so() {
    in_a_whole_cluster(|world, client, session| async move {
        let stopped = follower(&client, &session).await;
        world.disk(stopped).fail_syncs(LocalPath::new("/data/meta"));
        let seq = session
            .put(&Path::parse("/f").unwrap(), None, Bytes::from_static(b"1"))
            .await
            .unwrap()
            .seq
            .unwrap();
        let question = FetchNamespace { view: session.at_least(seq) };
        let request = Request::of(&question, Bytes::new());
        let reply = client.call_node(stopped, request, Duration::from_secs(20)).await;
        let answer = reply.and_then(|reply| reply.answer::<FetchNamespace>());
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::StaleEpoch);
    });
}

/// Found by a seed: a list of versions was forgotten, and an older state was shown after it.
#[test]
fn a_session_remembers_how_new_a_list_of_versions_was() {
    in_a_whole_cluster(|world, client, writer| async move {
        let path = Path::parse("/f").unwrap();
        writer.put(&path, None, Bytes::from_static(b"1")).await.unwrap();
        let seen = writer.namespace.stat(&path).await.unwrap();
        let behind = follower(&client, &writer).await;
        let others = Vec::from_iter(world.ids().into_iter().filter(|id| *id != behind));
        let reader = session(&world.client(2).await.unwrap()).await;
        reader.namespace.stat(&path).await.unwrap();
        world.network.isolate(world.address(behind));
        writer.put(&path, seen, Bytes::from_static(b"2")).await.unwrap();
        assert_eq!(reader.namespace.list_versions(&path, None).await.unwrap().versions.len(), 2);
        world.network.rejoin(world.address(behind));
        for other in others {
            world.network.cut(World::client_address(2), world.address(other));
            world.network.cut(world.address(behind), world.address(other));
        }
        let shown = time::timeout(Duration::from_secs(2), reader.namespace.stat(&path)).await;
        assert!(!matches!(shown, Ok(Ok(_))), "who has seen two versions is shown one: {shown:?}");
    });
}

/// A node that has joined may never run, and a voter that never runs is one that is lost.
#[test]
fn a_node_that_never_started_does_not_vote() {
    env::task::run_simulated(1, async move {
        let mut world = World::new(1, SHAPE, &Trace::new(false));
        let token = world.begin().await.unwrap();
        let others = world.ids().split_off(1);
        for id in &others {
            world.join(*id, &token).await.unwrap();
        }
        let client = world.client(1).await.unwrap();
        for _ in 0..100 {
            assert_eq!(client.fetch_status().await.unwrap().map.voters(ROOT), [NodeId(1)]);
            time::sleep(Duration::from_millis(50)).await;
        }
        for id in others {
            world.start(id).await.unwrap();
        }
        wait_until_whole(&world).await;
    });
}

/// Found by a seed: rows rot that are needed to repeat the end of the log, and the node did not start any more.
#[test]
fn states_that_rot_are_begun_anew_whenever_it_is_noticed() {
    for count in 1..=12 {
        in_a_whole_cluster(|mut world, client, session| async move {
            let path = |number| Path::parse(&format!("/{number}")).unwrap();
            for number in 0..20 {
                session.put(&path(number), None, Bytes::from_static(b"1")).await.unwrap();
            }
            let victim = follower(&client, &session).await;
            world.crash(victim);
            world.harm(victim, Harm::StatesRot(count));
            world.start(victim).await.unwrap();
            wait_until_whole(&world).await;
        });
    }
}

/// Every node has become old enough to renew its certificate: nobody notices but who looks at the list.
#[test]
fn all_nodes_renew_their_certificates_when_they_are_old() {
    in_a_whole_cluster(|mut world, client, session| async move {
        let path = Path::parse("/f").unwrap();
        session.put(&path, None, Bytes::from_static(b"1")).await.unwrap();
        let days = 65; // Two thirds of 90, and what they are spread by.
        world.ids().iter().for_each(|id| world.jump_clock(*id, days * 24 * 3600 * 1000));
        for id in world.ids() {
            world.crash(id);
            world.start(id).await.unwrap();
            wait_until_whole(&world).await;
        }
        let deadline = time::now() + Duration::from_secs(60);
        loop {
            let list = client.ask_root(&ListCertificates {}).await.unwrap().certificates;
            let holders = list.iter().filter(|c| c.identity.is_node()).map(|c| c.identity.to_string());
            let holders: Vec<String> = holders.collect();
            if world
                .ids()
                .iter()
                .all(|id| holders.iter().filter(|who| **who == format!("node/{id}")).count() == 2)
            {
                break;
            }
            assert!(time::now() < deadline, "{holders:?}");
            time::sleep(Duration::from_millis(500)).await;
        }
        assert!(session.namespace.stat(&path).await.is_ok());
    });
}
