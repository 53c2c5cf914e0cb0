//! The chunk index: who has which chunk, and the receipts that prove it.

use proto::index::{FetchIndexStats, Pin, Pinned, Register, Registered, Registration};
use proto::map::ROOT;
use types::limits::{BATCH_OP_COUNT_MAX, PIN_COUNT_MAX};
use types::{ChunkId, ErrorKind, GcEpoch, Generation, Identity, PartitionId, Possession, Result, Scope};

use super::words::{self, POSSESSION, SECRET, admin, ann, node, refused, registration};
use super::world::World;

/// The partition of chunks whose first byte is below 128.
const INDEX: PartitionId = PartitionId(3);

fn chunk(n: u32) -> ChunkId {
    let mut id = ChunkId([0; 32]);
    id.0[1..5].copy_from_slice(&n.to_be_bytes());
    id
}

fn new(n: u32, generation: Generation) -> Registration {
    registration(chunk(n), generation, 100)
}

async fn register(world: &World, chunks: Vec<Registration>) -> Result<Registered> {
    world.ask(1, &node(1), &Register { partition: INDEX, chunks }).await
}

async fn pin(world: &World, chunks: Vec<ChunkId>) -> Result<Pinned> {
    world.ask(1, &ann(), &words::pin(INDEX, chunks)).await
}

async fn pin_in(
    world: &World,
    who: &Identity,
    scope: Scope,
    chunks: Vec<ChunkId>,
    shown: Possession,
) -> Result<Pinned> {
    let chunks = chunks.into_iter().map(|chunk| (chunk, shown)).collect();
    world.ask(1, who, &Pin { partition: INDEX, scope, chunks }).await
}

/// Made in the first epoch.
fn old() -> Generation {
    Generation::new(GcEpoch(0), 1)
}

#[tokio::test(start_paused = true)]
async fn a_stored_chunk_is_known_to_whoever_asks() {
    let world = World::one().await;
    world.add_disks().await;
    let registered = register(&world, vec![new(1, old()), new(2, old())]).await.unwrap().receipts;
    let pinned = pin(&world, vec![chunk(9), chunk(2), chunk(1), chunk(2)]).await.unwrap().receipts;
    assert_eq!(pinned, [None, registered[1], registered[0], registered[1]], "in the order of the request");
    for (n, receipt) in [1, 2].into_iter().zip(registered) {
        let receipt = receipt.unwrap();
        assert_eq!((receipt.generation, receipt.epoch, receipt.size), (old(), GcEpoch(0), 100));
        assert_eq!(SECRET.check_receipt(&chunk(n).within(Scope::FIRST), &receipt), Ok(()));
        assert!(SECRET.check_receipt(&chunk(3).within(Scope::FIRST), &receipt).is_err());
    }
}

/// I-AUTH: an id that leaked says nothing, in its own scope or in another.
#[tokio::test(start_paused = true)]
async fn a_chunk_is_there_for_those_who_have_its_bytes() {
    let world = World::one().await;
    world.add_disks().await;
    register(&world, vec![new(1, old())]).await.unwrap();
    let ask = async |who: Identity, scope, shown| pin_in(&world, &who, scope, vec![chunk(1)], shown).await;
    assert!(ask(ann(), Scope::FIRST, POSSESSION).await.unwrap().receipts[0].is_some());
    assert_eq!(ask(ann(), Scope::FIRST, Possession([8; 16])).await.unwrap().receipts, [None]);
    assert_eq!(
        ask(admin(), Scope(2), POSSESSION).await.unwrap().receipts,
        [None],
        "it is another chunk there"
    );
    refused(ask(ann(), Scope(2), POSSESSION).await, ErrorKind::Denied, "may not store data in scope 2");
    let state = world.state(1);
    let mut other = new(1, old());
    other.stored.chunk = chunk(1).within(Scope(2));
    register(&world, vec![other]).await.unwrap();
    assert_ne!(world.state(1), state, "both are kept");
    let stats = world.ask(1, &ann(), &FetchIndexStats { partition: INDEX }).await.unwrap();
    assert_eq!((stats.chunks, stats.plain_bytes), (2, 200));
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_is_stored_again_keeps_its_incarnation() {
    let world = World::one().await;
    world.add_disks().await;
    let later = Generation::new(GcEpoch(0), 2);
    let first = register(&world, vec![new(1, old())]).await.unwrap();
    assert_eq!(register(&world, vec![new(1, later)]).await, Ok(first));
    let stats = world.ask(1, &ann(), &FetchIndexStats { partition: INDEX }).await.unwrap();
    assert_eq!((stats.chunks, stats.plain_bytes, stats.disk_bytes), (1, 100, 150));
}

#[tokio::test(start_paused = true)]
async fn what_was_pinned_lately_is_answered_without_the_log() {
    let world = World::one().await;
    world.add_disks().await;
    register(&world, vec![new(1, old())]).await.unwrap();
    let before = world.state(1);
    pin(&world, vec![chunk(1), chunk(2)]).await.unwrap();
    assert_eq!(world.state(1), before);
    let stats = world.ask(1, &ann(), &FetchIndexStats { partition: INDEX }).await.unwrap();
    assert_eq!((stats.filter_negatives, stats.filter_positives), (1, 1));
}

/// In a new epoch of garbage collection, the chunks of a pin are touched, once; others are not.
#[tokio::test(start_paused = true)]
async fn a_pin_in_a_later_epoch_touches_what_it_names() {
    let world = World::one().await;
    world.add_disks().await;
    register(&world, vec![new(1, old()), new(2, old()), new(3, old())]).await.unwrap();
    world.set_gc_epoch(INDEX, GcEpoch(2));
    let epochs = async |chunks: &[u32]| {
        let receipts = pin(&world, chunks.iter().map(|n| chunk(*n)).collect()).await.unwrap().receipts;
        for (n, receipt) in chunks.iter().zip(&receipts) {
            assert!(receipt.is_none_or(|receipt| {
                SECRET.check_receipt(&chunk(*n).within(Scope::FIRST), &receipt).is_ok()
            }));
        }
        receipts.iter().map(|receipt| receipt.map(|r| r.epoch.0)).collect::<Vec<_>>()
    };
    assert_eq!(epochs(&[1]).await, [Some(2)]);
    let touched = world.state(1);
    assert_eq!(epochs(&[1]).await, [Some(2)]);
    assert_eq!(world.state(1), touched, "once");
    // Known and unknown, touched and not, mixed and repeated.
    assert_eq!(epochs(&[9, 3, 1, 3, 8, 2]).await, [None, Some(2), Some(2), Some(2), None, Some(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_chunk_written_two_epochs_ago_is_written_again() {
    let world = World::one().await;
    world.add_disks().await;
    register(&world, vec![new(9, old())]).await.unwrap();
    world.set_gc_epoch(INDEX, GcEpoch(2));
    let chunks = [0, 1, 2].map(|epoch| new(epoch, Generation::new(GcEpoch(epoch), 1)));
    let receipts = register(&world, chunks.to_vec()).await.unwrap().receipts;
    assert_eq!(receipts.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(pin(&world, vec![chunk(0)]).await.unwrap().receipts, [None]);
}

#[tokio::test(start_paused = true)]
async fn requests_have_a_limit_and_all_of_it_can_be_used() {
    let world = World::one().await;
    world.add_disks().await;
    let stored = |count: usize| (0..count as u32).map(|n| new(n, old())).collect::<Vec<_>>();
    let named = |count: usize| (0..count as u32).map(chunk).collect::<Vec<_>>();
    let before = world.state(1);
    let answer = register(&world, stored(BATCH_OP_COUNT_MAX + 1)).await;
    refused(answer, ErrorKind::Invalid, "513 chunks in one request");
    refused(pin(&world, named(PIN_COUNT_MAX + 1)).await, ErrorKind::Invalid, "4097 chunks in one request");
    assert_eq!(world.state(1), before);
    let registered = register(&world, stored(BATCH_OP_COUNT_MAX)).await.unwrap();
    assert!(registered.receipts.iter().all(Option::is_some));
    let pinned = pin(&world, named(PIN_COUNT_MAX)).await.unwrap();
    assert_eq!(pinned.receipts.len(), PIN_COUNT_MAX);
    assert_eq!(pinned.receipts.iter().flatten().count(), BATCH_OP_COUNT_MAX);
    for nothing in
        [register(&world, vec![]).await.unwrap().receipts, pin(&world, vec![]).await.unwrap().receipts]
    {
        assert!(nothing.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_not_the_indexs_knows_no_chunks() {
    let world = World::one().await;
    world.add_disks().await;
    for (partition, kind, words) in [
        (ROOT, ErrorKind::Invalid, "not one of the index"),
        (PartitionId(1), ErrorKind::Invalid, "not one of the index"),
        (PartitionId(99), ErrorKind::StaleEpoch, "refresh the map"),
    ] {
        let answer = world.ask(1, &ann(), &words::pin(partition, vec![chunk(1)])).await;
        refused(answer, kind, words);
        refused(world.ask(1, &ann(), &FetchIndexStats { partition }).await, kind, words);
    }
}

/// As it is today: nobody asks whether a chunk belongs to the partition it is registered in. Elsewhere in the index it
/// is never found; in a partition of another kind the command is read as one of its own, and refused when it is applied.
#[tokio::test(start_paused = true)]
async fn a_chunk_that_is_registered_elsewhere_is_not_found() {
    let world = World::one().await;
    world.add_disks().await;
    let register = async |partition| {
        let chunks = vec![new(1, old())];
        world.ask(1, &node(1), &Register { partition, chunks }).await
    };
    assert!(register(PartitionId(4)).await.unwrap().receipts[0].is_some());
    assert_eq!(pin(&world, vec![chunk(1)]).await.unwrap().receipts, [None]);
    for partition in [ROOT, PartitionId(1)] {
        let before = world.group(1, partition).applied();
        refused(register(partition).await, ErrorKind::Invalid, "is not one of the index");
        assert_eq!(world.group(1, partition).applied(), before, "another kind's log never sees it");
    }
}
