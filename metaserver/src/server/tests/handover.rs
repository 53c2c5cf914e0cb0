//! A node that is about to stop: others lead what it led, before anybody misses it.

use types::limits::HAND_OVER_TIMEOUT;

use super::words::mkdir;
use super::world::World;

/// How many partitions a node leads, as it believes.
fn led(world: &World, id: u64) -> usize {
    world.map(1).partitions.iter().filter(|partition| world.group(id, partition.id).is_leader()).count()
}

#[tokio::test(start_paused = true)]
async fn others_lead_when_a_node_has_handed_over() {
    let world = World::three().await;
    let count = world.map(1).partitions.len();
    world.write(vec![mkdir("/a")]).await;
    let before = env::time::now();
    world.server(1).retire();
    world.server(1).hand_over().await;
    assert!(before.elapsed() < HAND_OVER_TIMEOUT / 4, "{:?}", before.elapsed());
    assert_eq!((led(&world, 1), led(&world, 2) + led(&world, 3)), (0, count));
    // Who does not lead has nothing to do.
    let before = env::time::now();
    world.server(1).hand_over().await;
    assert!(before.elapsed().is_zero());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_long_when_nobody_takes_over() {
    let world = World::three().await;
    [2, 3].iter().for_each(|id| world.net.cut(*id));
    let before = env::time::now();
    world.server(1).hand_over().await;
    assert_eq!(before.elapsed(), HAND_OVER_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn an_only_voter_has_nobody_to_hand_over_to() {
    let world = World::one().await;
    let before = env::time::now();
    world.server(1).hand_over().await;
    assert!(before.elapsed().is_zero());
    assert_eq!(led(&world, 1), world.map(1).partitions.len());
}
