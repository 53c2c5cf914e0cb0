//! What is missing is found and made again, what cannot be is called lost, and both heal.

use super::*;

#[tokio::test]
async fn a_new_holder_is_filled_and_then_serves() {
    let bench = Bench::new();
    let chunks = samples();
    for bytes in &chunks {
        bench.put(1, bytes).await.unwrap();
    }
    bench.away(&[2]);
    let task = Task { pg: PgId(0), slot: 1, disk: DiskId(7), since: Epoch(2) };
    bench.move_slot(task, Some(2));
    bench.until(|| bench.is_complete(task)).await;
    bench.change_slot(1, PgSlot::serving(DiskId(7)));
    bench.away(&[2, 3, 4]);
    for bytes in &chunks {
        assert_eq!(bench.get(1, chunk::chunk_id(bytes)).await.unwrap(), *bytes);
    }
}

#[tokio::test]
async fn damaged_parts_are_made_again() {
    let bench = Bench::new();
    let chunks = samples();
    for bytes in &chunks {
        bench.put(1, bytes).await.unwrap();
    }
    // Nobody can be asked for other parts until all damage is seen.
    bench.away(&[1, 2, 3, 4, 5, 6, 7, 8]);
    for node in [2, 3] {
        bench.damage(node);
        bench.look_at(node, &chunks).await;
    }
    assert!(bench.lost(2) > 0 && bench.lost(3) > 0);
    let report = report_of(&bench.server(2).disks.get(&DiskId(2)).unwrap(), String::new());
    assert!(
        report.state == DiskState::Healthy && report.problem.contains("damaged parts are being rebuilt"),
        "{report:?}"
    );
    bench.away(&[]);
    bench.until(|| bench.lost(2) + bench.lost(3) == 0).await;
    // Two nodes besides those that were damaged: nothing is left to spare.
    bench.away(&[1, 4]);
    for bytes in &chunks {
        assert_eq!(bench.get(5, chunk::chunk_id(bytes)).await.unwrap(), *bytes, "{} bytes", bytes.len());
    }
}

/// Parity that nobody has needed yet is wrong under a right checksum.
#[tokio::test]
async fn parts_that_do_not_belong_together_are_found_by_sample() {
    for bytes in [noise(12, 300_000), noise(13, 5_000)] {
        let bench = Bench::new();
        bench.put(1, &bytes).await.unwrap();
        let chunk = chunk::chunk_id(&bytes).within(SCOPE);
        let node = if bytes.len() > 100_000 { 6 } else { 3 };
        let disk = bench.server(node).disks.get(&DiskId(node as u32)).unwrap();
        let found = disk.get_shard(chunk, None, None, None).await.unwrap();
        disk.delete(found.key).await.unwrap();
        let wrong = noise(99, found.bytes.len());
        disk.put_shard(found.key, found.meta, wrong, None, segments::Purpose::Store).await.unwrap();
        let task = Task { pg: PgId(0), slot: 0, disk: DiskId(1), since: Epoch(0) };
        let read = || futures::executor::block_on(disk.get_shard(chunk, None, None, None));
        for _ in 0..200 {
            bench.server(1).compare_one(task).await.unwrap();
            if read().is_ok_and(|read| read.bytes == found.bytes) {
                break;
            }
        }
        bench.until(|| read().is_ok_and(|read| read.bytes == found.bytes)).await;
    }
}

#[tokio::test]
async fn damage_is_no_proof_that_a_chunk_was_never_there() {
    let bench = Bench::new();
    let chunks = samples();
    for bytes in &chunks {
        bench.put(1, bytes).await.unwrap();
    }
    for node in [2, 3, 4] {
        bench.damage(node);
        bench.look_at(node, &chunks).await;
    }
    // One more than the code can bear, but somebody who may have more does not answer.
    bench.away(&[6]);
    let stripe = chunk::chunk_id(&chunks[3]);
    let error = bench.get(5, stripe).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let task = Task { pg: PgId(0), slot: 4, disk: DiskId(7), since: Epoch(2) };
    bench.move_slot(task, None);
    let server = bench.server(7);
    assert!(server.reconcile(task).await.unwrap().failed > 0, "the slot must not be called complete");
    assert_eq!(bench.state_of(&chunks[3]), ChunkState::Live, "nothing is proved");
}

/// When everybody has answered, what cannot be read is lost: the index is told, and whoever puts it again heals it.
#[tokio::test]
async fn what_is_lost_is_known_and_healed_by_a_put() {
    let bench = Bench::new();
    let chunks = samples();
    for bytes in &chunks {
        bench.put(1, bytes).await.unwrap();
    }
    let lost = &chunks[3];
    for node in [2, 3, 4] {
        bench.damage(node);
        bench.look_at(node, &chunks).await;
    }
    bench.until(|| bench.state_of(lost) == ChunkState::Lost).await;
    let error = bench.get(5, chunk::chunk_id(lost)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.message().contains("Put the file again"), "{error}");
    // Whoever still has a part of it does not call it found.
    for (node, slot) in [(1, 0), (5, 4), (6, 5)] {
        let task = Task { pg: PgId(0), slot, disk: DiskId(node as u32), since: Epoch(0) };
        assert!(bench.server(node).reconcile(task).await.unwrap().lost > 0, "node {node}");
        assert_eq!(bench.state_of(lost), ChunkState::Lost, "node {node}");
    }
    bench.put(1, lost).await.unwrap();
    assert_eq!(bench.state_of(lost), ChunkState::Live);
    assert_eq!(bench.get(5, chunk::chunk_id(lost)).await.unwrap(), *lost);
}

/// Disks that were given up have nothing: what they alone had is lost, and said to be.
#[tokio::test]
async fn what_was_on_disks_that_were_given_up_is_lost() {
    let bench = Bench::new();
    let bytes = noise(31, 300_000);
    bench.put(1, &bytes).await.unwrap();
    bench.change_map(|map| {
        for (slot, disk) in [(3, 7), (4, 8)] {
            let gone = map.table.as_ref().unwrap().pgs[0][slot].disk;
            map.disks.remove(&gone);
            let state = SlotState::Syncing;
            let new =
                PgSlot { disk: DiskId(disk), state, previous: Some(gone), returns: false, since: map.epoch };
            map.table.as_mut().unwrap().pgs[0][slot] = new;
        }
        map.disks.remove(&DiskId(6));
    });
    bench.away(&[4, 5, 6]);
    bench.until(|| bench.state_of(&bytes) == ChunkState::Lost).await;
    bench.put(1, &bytes).await.unwrap();
    assert_eq!(bench.get(2, chunk::chunk_id(&bytes)).await.unwrap(), bytes);
}

/// What a disk lacks is found without anybody asking for it.
#[tokio::test]
async fn parts_that_vanished_are_found_and_made_again() {
    let bench = Bench::new();
    let chunks = samples();
    for bytes in &chunks {
        bench.put(1, bytes).await.unwrap();
    }
    let server = bench.server(2);
    let disk = server.disks.get(&DiskId(2)).unwrap();
    let range = (ChunkId([0; 32]), ChunkId([0xff; 32]));
    let before = disk.list_shards(range.0, range.1, None, 99).await.unwrap();
    for (key, _) in &before {
        disk.delete(*key).await.unwrap();
    }
    let task = Task { pg: PgId(0), slot: 1, disk: DiskId(2), since: Epoch(0) };
    let found = server.reconcile(task).await.unwrap();
    assert_eq!(found, Reconciled { made: before.len() as u64, ..Reconciled::default() });
    assert_eq!(disk.list_shards(range.0, range.1, None, 99).await.unwrap(), before);
    assert_eq!(server.reconcile(task).await.unwrap(), Reconciled::default());
}
