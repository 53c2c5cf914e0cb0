//! What is stored is sealed, always in the same bytes; ranges, keys old, new, destroyed and wrong.

use super::*;

/// What lies on the disks of a node.
fn stored(bench: &Bench, node: u64) -> Vec<u8> {
    let segments = PathBuf::from(format!("/disk{node}/seg"));
    let names = bench.env.disk.read_dir(&segments).unwrap();
    names.iter().flat_map(|name| bench.env.disk.read(&segments.join(name)).unwrap()).collect()
}

/// No run of 16 plain bytes reaches a disk, and what does is what would be written again (decision 0007).
#[tokio::test]
async fn what_is_stored_is_sealed_and_always_the_same() {
    let (bench, again) = (Bench::new(), Bench::new());
    for bytes in samples() {
        let receipts = [bench.put(1, &bytes).await.unwrap(), again.put(2, &bytes).await.unwrap()];
        assert_eq!(receipts[0], receipts[1], "the generation says what the bytes are");
        let runs: BTreeSet<&[u8]> = bytes.chunks_exact(16).collect();
        for node in 1..=6 {
            assert!(!stored(&bench, node).windows(16).any(|run| runs.contains(run)), "node {node}");
        }
    }
    bench.put(3, &samples()[3]).await.unwrap();
    assert_eq!(stored(&bench, 1), stored(&again, 1), "what is written again is what is there");
}

#[tokio::test]
async fn a_range_is_a_part_of_the_whole() {
    let bench = Bench::new();
    for bytes in samples() {
        bench.put(1, &bytes).await.unwrap();
        let (id, size) = (chunk::chunk_id(&bytes), bytes.len());
        let ticket = SECRET.ticket(ALICE, HOME, &id.within(SCOPE), bench.env.clock.wall());
        for (offset, count) in [(0, 1), (0, u32::MAX), (65_535, 2), (70_000, 200_000), (u32::MAX, 5)] {
            let request = GetChunk { id, ticket, kind: ChunkKind::Data, range: Some((offset, count)) };
            let start = (offset as usize).min(size);
            let want = bytes.slice(start..start.saturating_add(count as usize).min(size));
            let read = bench.server(4).get_chunk(&alice(), request).await.unwrap().1;
            assert_eq!(read, want, "{offset}+{count} of {size}");
        }
    }
}

/// A frame, or two where they meet, of a chunk of many.
#[tokio::test]
async fn a_range_moves_its_frames_only() {
    let bench = Bench::new();
    let bytes = noise(5, 2_000_000);
    bench.put(1, &bytes).await.unwrap();
    let id = chunk::chunk_id(&bytes);
    let ticket = SECRET.ticket(ALICE, HOME, &id.within(SCOPE), bench.env.clock.wall());
    let moved = Arc::new(AtomicUsize::new(0));
    let counted = moved.clone();
    *bench.world.lie.lock().unwrap() = Some(Arc::new(move |_: &Request, reply: Reply| {
        counted.fetch_add(reply.body.len(), Ordering::Relaxed);
        reply
    }));
    for (node, offset) in (1..=6).zip((0..).step_by(300_000)) {
        let read = async || {
            let request = GetChunk { id, ticket, kind: ChunkKind::Data, range: Some((offset, 4096)) };
            let read = bench.server(node).get_chunk(&alice(), request).await.unwrap().1;
            assert_eq!(read, bytes.slice(offset as usize..offset as usize + 4096), "node {node}");
            moved.swap(0, Ordering::Relaxed)
        };
        // On a busy machine a disk may seem slow: then all of the chunk is read, as it should be.
        let mut count = read().await;
        for _ in 0..200 {
            count = count.min(read().await);
        }
        assert!(count <= 2 * (64 * 1024 + 16), "node {node}: {count} bytes for 4,096");
    }
}

#[tokio::test]
async fn old_keys_open_new_ones_seal_and_destroyed_ones_are_named() {
    let bench = Bench::new();
    let (old, new) = (noise(21, 300_000), noise(22, 300_000));
    let [first, second] = [&old, &new].map(|bytes| chunk::chunk_id(bytes));
    bench.put(1, &old).await.unwrap();
    assert_eq!(bench.world.keys_asked.load(Ordering::Relaxed), 1, "kept once it is known");

    // Node 2 hears of the new key when it stores, node 1 when it meets it.
    bench.set_keys(2, vec![key(2), key(4)], vec![]);
    bench.put(2, &new).await.unwrap();
    let meta = async |node: u64, id: types::ChunkId| {
        let server = bench.server(node);
        let disk = server.disks.open().into_values().next().unwrap();
        disk.get_shard(id.within(SCOPE), None, None, None).await.unwrap().meta
    };
    assert_eq!((meta(3, first).await.key, meta(3, second).await.key), (KeyId(2), KeyId(4)));
    for reader in [1, 2, 8] {
        assert_eq!(bench.get(reader, first).await.unwrap(), old);
        assert_eq!(bench.get(reader, second).await.unwrap(), new);
    }

    // Nodes that have not asked since may go on for a while; one that asks is told.
    bench.set_keys(3, vec![key(4)], vec![(KeyId(2), TenantId::FIRST)]);
    let error = bench.get(5, first).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.message(), "key 2 of tenant 1 was destroyed: what it sealed cannot be read any more");
    assert_eq!(bench.get(5, second).await.unwrap(), new);

    // A key of another name, or with other bytes.
    bench.set_keys(4, vec![], vec![]);
    let error = bench.get(6, second).await.unwrap_err();
    assert!(error.message().contains("key 4 of tenant 1 is none of this cluster's"), "{error}");
    bench.set_keys(4, vec![SealKey { secret: [9; 32], ..key(4) }], vec![]);
    let error = bench.get(7, second).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("does not fit key 4 of tenant 1"), "{error}");
    // What needs no key goes on.
    bench.away(&[2]);
    let task = Task { pg: PgId(0), slot: 1, disk: DiskId(8), since: Epoch(2) };
    bench.move_slot(task, None);
    bench.until(|| bench.is_complete(task)).await;
}

/// A write with a newer key that was never finished hides nothing.
#[tokio::test]
async fn what_is_left_of_a_write_does_not_hide_what_is_whole() {
    for (whole, rest) in [(2, 4), (4, 2)] {
        let bench = Bench::new();
        let bytes = noise(23, 300_000);
        bench.set_keys(1, vec![key(whole)], vec![]);
        bench.put(1, &bytes).await.unwrap();
        bench.set_keys(2, vec![key(2), key(4), key(rest)], vec![]);
        bench.away(&[3, 4, 5, 6, 7, 8]);
        assert_eq!(bench.put(2, &bytes).await.unwrap_err().kind(), ErrorKind::Unavailable);
        bench.away(&[]);
        for reader in [1, 2, 6, 8] {
            assert_eq!(bench.get(reader, chunk::chunk_id(&bytes)).await.unwrap(), bytes, "{whole} {reader}");
        }
    }
}
