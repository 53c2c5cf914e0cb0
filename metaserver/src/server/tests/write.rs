//! Changes of a namespace: what is checked before they go into the log, and what comes back.

use bytes::Bytes;
use chunk::manifest::{ChunkRef, Content, Manifest};
use proto::index::Register;
use proto::namespace::{Expect, FetchNamespace, Mode, NewContent, Op, Stat, WriteNamespace, Written};
use proto::seal::{ClusterSecret, Receipt};
use types::limits::{BATCH_OP_COUNT_MAX, INLINE_SIZE_MAX};
use types::{
    ChunkId, ErrorKind, GcEpoch, Generation, InodeId, NamespaceId, RequestId, Result, Scope, Seq, VersionId,
};

use super::words::{SECRET, ann, mkdir, newest, node, p, pin, refused, registration, rm, save};
use super::world::World;

/// One word per result of a batch: done, or the kind of the refusal.
fn outcome(written: &Written) -> String {
    let line = |r: &Result<_>| r.as_ref().map_or_else(|e| format!("{:?}", e.kind()), |_| "ok".into());
    written.results.iter().map(line).collect::<Vec<_>>().join(" ")
}

async fn seq(world: &World) -> Seq {
    world.ask(1, &ann(), &FetchNamespace { view: newest() }).await.unwrap().seq
}

#[tokio::test(start_paused = true)]
async fn a_small_file_is_committed_with_its_content() {
    let world = World::one().await;
    let written =
        world.ask(1, &ann(), &world.batch(Mode::PerItem, vec![save("/f", Expect::Absent, "text")])).await;
    let written = written.unwrap();
    let done = written.results[0].clone().unwrap();
    let found = world.ask(1, &ann(), &Stat { view: newest(), path: p("/f") }).await.unwrap();
    assert_eq!((written.seq, found.seq), (Seq(1), Seq(1)));
    assert_eq!(
        (found.entry.size, found.entry.inode, Some(found.entry.version)),
        (4, done.inode, done.version)
    );
}

fn chunks() -> [ChunkRef; 2] {
    [1u8, 2].map(|n| ChunkRef { id: chunk::chunk_id(&[n]), size: 10 })
}

fn listing(chunks: &[ChunkRef]) -> Manifest {
    let size = chunks.iter().map(|chunk| u64::from(chunk.size)).sum();
    Manifest { size, content: Content::Chunks(chunks.to_vec()), ..Manifest::inline(Bytes::new()) }
}

fn commit(path: &str, manifest: Manifest, receipts: Vec<Receipt>) -> Op {
    let content = NewContent::File { manifest, receipts };
    Op::CommitVersion { path: p(path), expect: Expect::Absent, content, attributes: Default::default() }
}

/// Makes chunks known to the index, and returns the receipts that it gives for them.
async fn store(world: &World, chunks: &[ChunkRef]) -> Vec<Receipt> {
    world.add_disks().await;
    let mut receipts = Vec::new();
    for chunk in chunks {
        let partition = world.map(1).chunk_partition(&chunk.id);
        let generation = Generation::new(GcEpoch(0), 1);
        let new = registration(chunk.id, generation, chunk.size);
        let registered = world.ask(1, &node(1), &Register { partition, chunks: vec![new] }).await.unwrap();
        receipts.extend(registered.receipts[0]);
    }
    receipts
}

#[tokio::test(start_paused = true)]
async fn chunks_are_committed_with_receipts_of_a_put_or_of_a_pin() {
    let world = World::one().await;
    let stored = store(&world, &chunks()).await;
    let mut pinned = Vec::new();
    for chunk in chunks() {
        let partition = world.map(1).chunk_partition(&chunk.id);
        let pin = pin(partition, vec![chunk.id]);
        pinned.extend(world.ask(1, &ann(), &pin).await.unwrap().receipts[0]);
    }
    let ops = vec![commit("/put", listing(&chunks()), stored), commit("/pinned", listing(&chunks()), pinned)];
    world.write(ops).await;
}

/// One chunk without a valid receipt refuses the whole batch, before anything is written.
#[tokio::test(start_paused = true)]
async fn chunks_without_receipts_are_refused() {
    let world = World::one().await;
    let good = store(&world, &chunks()).await;
    let forged = |chunk: &ChunkRef| {
        ClusterSecret::first([6; 32]).receipt(
            &chunk.id.within(Scope::FIRST),
            good[0].generation,
            good[0].epoch,
            10,
        )
    };
    let [one, two] = chunks();
    let (mut newer, mut reborn) = (good[0], good[0]);
    newer.epoch = GcEpoch(1);
    reborn.generation = Generation::new(GcEpoch(0), 2);
    let signed =
        |id: ChunkId, scope, size| SECRET.receipt(&id.within(scope), good[0].generation, good[0].epoch, size);
    let root = signed(ChunkId([8; 32]), Scope::FIRST, 65);
    let small = signed(one.id, Scope::FIRST, 9);
    let foreign = signed(one.id, Scope(2), 10);
    let tree = |root, receipts| {
        let content = Content::Tree { root, height: 1, count: 65 };
        (Manifest { size: 65, content, ..Manifest::inline(Bytes::new()) }, receipts)
    };
    let list = |receipts| (listing(&chunks()), receipts);
    let cases = [
        ("none", list(vec![]), "0 receipts for 2 chunks"),
        ("one is missing", list(vec![good[0]]), "1 receipts for 2 chunks"),
        ("one too many", list(vec![good[0], good[1], good[1]]), "3 receipts for 2 chunks"),
        ("exchanged", list(vec![good[1], good[0]]), "not made by this cluster"),
        ("one is another chunk's", list(vec![good[0], good[0]]), "not made by this cluster"),
        ("made by another cluster", list(vec![good[0], forged(&two)]), "not made by this cluster"),
        ("of a later epoch", list(vec![newer, good[1]]), "not made by this cluster"),
        ("of another incarnation", list(vec![reborn, good[1]]), "not made by this cluster"),
        ("of a smaller chunk", list(vec![small, good[1]]), "stands for 9 bytes, the manifest says 10"),
        ("of another scope", list(vec![foreign, good[1]]), "not made by this cluster"),
        ("for bytes that need none", (Manifest::inline(Bytes::new()), vec![good[0]]), "1 receipts for 0"),
        ("of a smaller tree", tree(one.id, vec![small]), "stands for 9 bytes, the manifest says 65"),
        ("a tree without", tree(ChunkId([8; 32]), vec![]), "0 receipts for 1 chunks"),
        ("another tree's", tree(ChunkId([9; 32]), vec![root]), "not made by this cluster"),
        ("sizes do not add up", (Manifest { size: 1, ..listing(&[one]) }, vec![good[0]]), "chunks hold 10"),
    ];
    let before = world.state(1);
    for (name, (manifest, receipts), words) in cases {
        let ops = vec![mkdir("/d"), commit("/f", manifest, receipts)];
        let error = world.ask(1, &ann(), &world.batch(Mode::PerItem, ops)).await.unwrap_err();
        assert!(error.message().contains(words), "{name}: {error}");
        assert!(error.message().starts_with("/f: "), "{name}: {error}");
        assert!(matches!(error.kind(), ErrorKind::Denied | ErrorKind::Invalid), "{name}: {error}");
    }
    assert_eq!(world.state(1), before);
    let (manifest, receipts) = tree(ChunkId([8; 32]), vec![root]);
    world.write(vec![commit("/tree", manifest, receipts)]).await;
}

#[tokio::test(start_paused = true)]
async fn each_change_of_a_batch_has_its_own_result_or_none_is_made() {
    let world = World::one().await;
    world.write(vec![save("/f", Expect::Absent, "1")]).await;
    let ops = vec![
        mkdir("/d"),
        save("/f", Expect::Absent, "2"),
        save("/f", Expect::Version(InodeId(1), VersionId(99)), "2"),
        rm("/nope"),
        save("/d/g", Expect::Absent, "3"),
    ];
    let atomic = world.ask(1, &ann(), &world.batch(Mode::Atomic, ops.clone())).await.unwrap();
    assert_eq!(outcome(&atomic), "Conflict Exists Conflict Conflict Conflict");
    assert_eq!((atomic.seq, seq(&world).await), (Seq(1), Seq(1)), "nothing is done");
    let each = world.ask(1, &ann(), &world.batch(Mode::PerItem, ops)).await.unwrap();
    assert_eq!(outcome(&each), "ok Exists Conflict NotFound ok");
    assert_eq!((each.seq, seq(&world).await), (Seq(3), Seq(3)));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_is_answered_from_memory() {
    let world = World::one().await;
    let batch = world.batch(
        Mode::PerItem,
        vec![Op::Mkdir { path: p("/d"), parents: false, attributes: Default::default() }],
    );
    let first = world.ask(1, &ann(), &batch).await.unwrap();
    assert_eq!(outcome(&first), "ok");
    assert_eq!(world.ask(1, &ann(), &batch).await, Ok(first.clone()));
    assert_eq!(seq(&world).await, Seq(1), "it is not done twice");
    // Under another id it is another request.
    let again = WriteNamespace { request: RequestId([1; 16]), ..batch.clone() };
    assert_eq!(outcome(&world.ask(1, &ann(), &again).await.unwrap()), "Exists");
    // A refusal is remembered as well, whatever has become possible since.
    world.write(vec![rm("/d")]).await;
    assert_eq!(outcome(&world.ask(1, &ann(), &again).await.unwrap()), "Exists");
    assert_eq!(world.ask(1, &ann(), &batch).await, Ok(first));
}

#[tokio::test(start_paused = true)]
async fn requests_sent_at_the_same_time_are_done_once() {
    let world = World::one().await;
    let batch = world.batch(Mode::PerItem, vec![save("/f", Expect::Absent, "1")]);
    let who = ann();
    let answers = futures::future::join_all((0..20).map(|_| world.ask(1, &who, &batch))).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!((outcome(answers[0].as_ref().unwrap()), seq(&world).await), ("ok".into(), Seq(1)));
}

/// Files of noise, which no compression makes smaller.
fn files(world: &World, count: usize) -> Vec<Op> {
    let mut noise = vec![0; INLINE_SIZE_MAX];
    let mut file = |n| {
        world.env.random.fill(&mut noise);
        commit(&format!("/{n}"), Manifest::inline(Bytes::copy_from_slice(&noise)), vec![])
    };
    (0..count).map(&mut file).collect()
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_a_limit_and_all_of_it_can_be_used() {
    let world = World::one().await;
    let write = async |ops| world.ask(1, &ann(), &world.batch(Mode::PerItem, ops)).await;
    let many = vec![mkdir("/d"); BATCH_OP_COUNT_MAX + 1];
    refused(write(many).await, ErrorKind::Invalid, "over the limit of 512");
    let large = files(&world, 2 * BATCH_OP_COUNT_MAX);
    refused(write(large).await, ErrorKind::Invalid, "becomes a command of");
    assert_eq!(seq(&world).await, Seq(0));
    let full = write(files(&world, BATCH_OP_COUNT_MAX)).await.unwrap();
    assert!(full.results.iter().all(Result::is_ok));
    assert_eq!(full.seq, Seq(BATCH_OP_COUNT_MAX as u64));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_does_not_exist_cannot_be_written() {
    let world = World::one().await;
    let before = world.state(1);
    let write = WriteNamespace { namespace: NamespaceId(77), ..world.batch(Mode::Atomic, vec![mkdir("/d")]) };
    refused(world.ask(1, &ann(), &write).await, ErrorKind::NotFound, "namespace 77 does not exist");
    assert_eq!(world.state(1), before);
}
