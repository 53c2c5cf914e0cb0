//! An answer shows one state, and says which (I-LIN), whatever is committed while it is read.

use std::fmt::Debug;

use proto::Call;
use proto::index::{FetchIndexStats, Register};
use proto::namespace::{Expect, FetchNamespace, ListVersions, Mode, Op, OpenVersion, PullJournal, Stat};
use types::{ChunkId, GcEpoch, Generation, PartitionId, Seq};

use super::words::{ANNS, ann, at_least, list, mkdir, mv, newest, node, p, pin, registration, save};
use super::world::World;

/// More reads than any of these answers takes.
const READS: usize = 24;

/// Asks while `commit` lands after each possible number of reads: whoever asks sees all of it or nothing.
async fn check<Q: Call>(world: &World, question: &Q, commit: impl AsyncFn(usize))
where
    Q::Answer: PartialEq + Debug,
{
    for reads in 1..=READS {
        let ann = ann();
        let ask = || world.ask(1, &ann, question);
        let before = ask().await;
        world.kv(1).hold();
        commit(reads).await;
        world.kv(1).release_after(reads);
        let answer = ask().await;
        world.kv(1).release();
        let after = ask().await;
        assert_ne!(before, after, "the commit is to be seen");
        assert!(
            answer == before || answer == after,
            "after {reads} reads: {answer:?}\n{before:?}\n{after:?}"
        );
    }
}

/// `/a` and `/b` hold a file each, of two versions.
async fn world() -> World {
    let world = World::one().await;
    world.write(vec![mkdir("/a"), mkdir("/b")]).await;
    for content in ["1", "22"] {
        world.write(vec![save("/a/f", Expect::Any, content), save("/b/f", Expect::Any, content)]).await;
    }
    world
}

/// The directories change places and their files are saved again, in one batch.
fn swap() -> Vec<Op> {
    let rename = |source, target| mv(source, target);
    vec![
        rename("/a", "/c"),
        rename("/b", "/a"),
        rename("/c", "/b"),
        save("/a/f", Expect::Any, "333"),
        save("/b/f", Expect::Any, "4444"),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_seen_before_a_batch_or_after_it() {
    let world = world().await;
    let commit = async |_| {
        world.ask(1, &ann(), &world.batch(Mode::Atomic, swap())).await.unwrap();
    };
    for view in [newest(), at_least(Seq(1))] {
        check(&world, &Stat { view, path: p("/a/f") }, commit).await;
        check(&world, &list(view, "/a", None, 9), commit).await;
        check(&world, &OpenVersion { view, path: p("/a/f"), version: None }, commit).await;
        check(&world, &ListVersions { view, path: p("/a/f"), before: None, limit: 99 }, commit).await;
        check(&world, &FetchNamespace { view }, commit).await;
    }
    let pull = PullJournal { namespace: ANNS, after: Seq(1), limit: 1000, wait_ms: 0 };
    check(&world, &pull, commit).await;
}

#[tokio::test(start_paused = true)]
async fn the_index_is_seen_before_a_batch_or_after_it() {
    const INDEX: PartitionId = PartitionId(3);
    let world = World::one().await;
    world.add_disks().await;
    let ids = |reads: usize| -> Vec<ChunkId> {
        (0..4).map(|n| ChunkId([&[0, reads as u8, n][..], &[7; 29]].concat().try_into().unwrap())).collect()
    };
    let commit = async |reads| {
        let generation = Generation::new(GcEpoch(0), 1);
        let new = |chunk| registration(chunk, generation, 100);
        let chunks = ids(reads).into_iter().map(new).collect();
        let register = Register { partition: INDEX, chunks };
        world.ask(1, &node(1), &register).await.unwrap();
    };
    // Those that come last are looked up first.
    let everything = (1..=READS).rev().flat_map(ids).collect();
    check(&world, &pin(INDEX, everything), commit).await;
    let stats = world.ask(1, &ann(), &FetchIndexStats { partition: INDEX }).await.unwrap();
    assert_eq!(stats.chunks, 4 * READS as u64);
}
