//! Rolling updates: the feature level goes up when every meta node can follow, and who cannot is told to be updated.

use proto::Call;
use proto::cluster::{Heartbeat, Join};
use proto::command::Command;
use proto::map::Role;
use serde::{Deserialize, Serialize};
use types::{ErrorKind, FeatureLevel, Identity, PartitionId};

use super::words::{ANNS, admin, heartbeat, join_with, later, node, refused, token_for};
use super::world::World;

const NEXT: FeatureLevel = FeatureLevel(FeatureLevel::FIRST.0 + 1);

/// Levels of all partitions on all nodes, each once.
fn levels(world: &World) -> Vec<FeatureLevel> {
    let partitions: Vec<PartitionId> = world.map(1).partitions.iter().map(|partition| partition.id).collect();
    let nodes = world.net.serving();
    let at = |node: u64| partitions.iter().map(move |partition| (node, *partition));
    let level = |(node, partition)| world.group(node, partition).read(|state| tree::level(state)).unwrap();
    let mut levels: Vec<FeatureLevel> = nodes.into_iter().flat_map(at).map(level).collect();
    levels.dedup();
    levels
}

#[tokio::test(start_paused = true)]
async fn the_level_goes_up_when_the_last_meta_node_is_updated() {
    let mut world = World::three().await;
    for id in [1, 2] {
        world.update(id, NEXT).await;
        later(20_000).await;
        assert_eq!(levels(&world), [FeatureLevel::FIRST], "node 3 could not follow");
    }
    // What is not heard may be of any build.
    world.net.silence(3);
    later(20_000).await;
    assert_eq!(levels(&world), [FeatureLevel::FIRST]);
    world.update(3, NEXT).await;
    world.until("the next level everywhere", || levels(&world) == [NEXT]).await;
}

async fn ask_leader<Q: Call>(world: &World, who: &Identity, question: &Q) -> types::Result<Q::Answer> {
    let leader = world.leader(proto::map::ROOT).await;
    world.ask(leader, who, question).await
}

#[tokio::test(start_paused = true)]
async fn builds_below_the_level_are_told_to_be_updated() {
    let mut world = World::one().await;
    world.update(1, NEXT).await;
    world.until("the next level", || levels(&world) == [NEXT]).await;
    let token = world.ask(1, &admin(), &token_for(1)).await.unwrap();
    let request = net::KeyPair::create().unwrap().request().unwrap();
    let join = |level| Join { level, ..join_with(token.secret, request.clone(), 2, &[Role::Meta]) };
    let before = world.decided();
    let answer = ask_leader(&world, &Identity::Anonymous, &join(FeatureLevel::FIRST)).await;
    refused(answer, ErrorKind::Invalid, "update the node");
    refused(ask_leader(&world, &node(1), &heartbeat(1)).await, ErrorKind::Invalid, "update the node");
    assert_eq!(world.decided(), before);
    assert!(ask_leader(&world, &Identity::Anonymous, &join(NEXT)).await.is_ok());
    assert!(ask_leader(&world, &node(1), &Heartbeat { level: NEXT, ..heartbeat(1) }).await.is_ok());
    // Nor does an older build open what a newer one has made.
    let error = world.try_update(1, FeatureLevel::FIRST).await.unwrap_err();
    assert!(error.message().contains("update this node"), "{error}");
}

/// A command of a build to come.
#[derive(Debug, Serialize, Deserialize)]
struct Late;

impl Command for Late {
    fn level(&self) -> FeatureLevel {
        NEXT
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_level_does_not_allow_is_not_proposed() {
    let world = World::one().await;
    let partition = world.map(1).namespace_partition(ANNS);
    let before = world.group(1, partition).applied();
    let answer = world.server(1).propose::<_, ()>(partition, Late).await;
    refused(answer, ErrorKind::Invalid, "needs feature level 2");
    assert_eq!(world.group(1, partition).applied(), before);
}

#[cfg(feature = "next-level")]
#[tokio::test(start_paused = true)]
async fn what_comes_with_the_next_level_is_proposed_once_it_is_reached() {
    use proto::command::NamespaceCommand;

    let mut world = World::one().await;
    let partition = world.map(1).namespace_partition(ANNS);
    let mark = || NamespaceCommand::Mark { namespace: ANNS };
    let answer = world.server(1).propose::<_, ()>(partition, mark()).await;
    refused(answer, ErrorKind::Invalid, "needs feature level 2");
    world.update(1, NEXT).await;
    world.until("the next level", || levels(&world) == [NEXT]).await;
    assert_eq!(world.server(1).propose(partition, mark()).await, Ok(()));
}

#[cfg(feature = "next-level")]
#[tokio::test(start_paused = true)]
async fn a_write_is_marked_once_the_level_allows_it() {
    use super::words::mkdir;

    let mut world = World::one().await;
    let partition = world.map(1).namespace_partition(ANNS);
    let commands = async |world: &World, path| {
        let before = world.group(1, partition).applied();
        world.write(vec![mkdir(path)]).await;
        world.group(1, partition).applied() - before
    };
    assert_eq!(commands(&world, "/before").await, 1);
    world.update(1, NEXT).await;
    world.until("the next level", || levels(&world) == [NEXT]).await;
    assert_eq!(commands(&world, "/after").await, 2, "the write and its mark");
}
