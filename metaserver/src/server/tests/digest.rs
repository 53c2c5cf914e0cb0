//! Digests of partitions: one value to compare replicas by (I-DET).

use proto::cluster::{FetchDigest, PartitionDigest};
use proto::map::ROOT;
use types::{ErrorKind, PartitionId, Result};

use super::words::{admin, ann, mkdir, newest, refused};
use super::world::World;

async fn digest(world: &World, node: u64, partition: PartitionId) -> Result<PartitionDigest> {
    world.ask(node, &admin(), &FetchDigest { partition }).await
}

#[tokio::test(start_paused = true)]
async fn replicas_with_the_same_commands_have_the_same_digest() {
    let world = World::three().await;
    world.write(vec![mkdir("/a"), mkdir("/b")]).await;
    let partitions: Vec<PartitionId> = world.map(1).partitions.iter().map(|partition| partition.id).collect();
    let applied = |partition| [1, 2, 3].map(|node| world.group(node, partition).applied());
    world
        .until("all the same", || {
            partitions.iter().all(|partition| applied(*partition).windows(2).all(|pair| pair[0] == pair[1]))
        })
        .await;
    for partition in &partitions {
        let found = digest(&world, 1, *partition).await.unwrap();
        assert_eq!(found.applied, world.group(1, *partition).applied());
        for node in [2, 3] {
            assert_eq!(digest(&world, node, *partition).await, Ok(found), "partition {partition}");
        }
    }
    let partition = world.map(1).namespace_partition(newest().namespace);
    let before = digest(&world, 1, partition).await.unwrap();
    world.write(vec![mkdir("/c")]).await;
    let after = digest(&world, 1, partition).await.unwrap();
    assert!(after.applied > before.applied && after.digest != before.digest);
}

#[tokio::test(start_paused = true)]
async fn digests_are_for_administrators_and_of_partitions() {
    let world = World::one().await;
    refused(world.ask(1, &ann(), &FetchDigest { partition: ROOT }).await, ErrorKind::Denied, "administer");
    refused(digest(&world, 1, PartitionId(99)).await, ErrorKind::StaleEpoch, "partition 99 is not on node 1");
}
