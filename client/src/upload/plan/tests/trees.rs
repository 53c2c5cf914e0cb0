//! Goal: a node carries the receipts of exactly its entries, in their order, and comes after all of them. Method: builds
//! trees and gives every chunk and every node a receipt of its own, found again by name.

use std::collections::BTreeMap;

use chunk::manifest::{node_id, parse_node};

use super::*;

/// Stores the tree of these chunks and returns its height and the number of its nodes.
fn store(chunks: &[ChunkRef]) -> (u8, u64) {
    let receipts: Vec<Receipt> = (0..chunks.len() as u64).map(receipt).collect();
    // Equal ids have several receipts, any of which will do.
    let mut by_id: BTreeMap<ChunkId, Vec<Receipt>> = BTreeMap::new();
    chunks
        .iter()
        .zip(&receipts)
        .for_each(|(chunk, receipt)| by_id.entry(chunk.id).or_default().push(*receipt));
    let mut tree = TreePlan::new(chunks, receipts);
    let mut node_count = 0;
    while let Some((plan, bytes)) = tree.next_node().unwrap() {
        let (id, node) = (plan.id(), parse_node(&bytes).unwrap());
        assert_eq!(id, node_id(&bytes));
        let StoreStep::Put { kind: ChunkKind::ManifestNode, receipts } = plan.pinned(None) else {
            panic!("a node is put as a node")
        };
        assert_eq!(receipts.len(), node.entries.len());
        for (entry, receipt) in node.entries.iter().zip(&receipts) {
            assert!(by_id[&entry.id].contains(receipt), "entry {} of node {id}", entry.id);
        }
        let receipt = receipt(1_000_000 + node_count);
        by_id.entry(id).or_default().push(receipt);
        tree.stored(id, receipt);
        node_count += 1;
    }
    let (content, receipt) = tree.into_root();
    let Content::Tree { root, height, count } = content else { panic!("{content:?} is not a tree") };
    assert!(by_id[&root].contains(&receipt), "the receipt is not the root's");
    assert_eq!(count, chunks.len() as u64);
    (height, node_count)
}

#[track_caller]
fn check_tree(count: u64, id: impl Fn(u64) -> ChunkId, want: (u8, u64)) {
    let chunks: Vec<ChunkRef> = (0..count).map(|n| ChunkRef { id: id(n), size: 1000 }).collect();
    assert_eq!(store(&chunks), want);
}

#[test]
fn trees_of_full_nodes() {
    check_tree(65, id, (1, 1));
    check_tree(1024, id, (1, 1));
    check_tree(1025, id, (2, 3));
    check_tree(2048, id, (2, 3));
    check_tree(5000, id, (2, 6));
}

#[test]
fn deep_trees() {
    // Ids that end a node of every level as soon as it has 64 entries.
    let cutting = |n: u64| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_le_bytes());
        ChunkId(id)
    };
    check_tree(64 * 64, cutting, (2, 65));
    check_tree(64 * 64 + 1, cutting, (3, 68));
    check_tree(64 * 64 * 3, cutting, (3, 196));
    check_tree(64 * 64 * 64 + 65, cutting, (4, 4166));
}

#[test]
fn equal_chunks_and_equal_nodes() {
    check_tree(1024, |_| id(1), (1, 1));
    check_tree(5000, |n| id(n % 2), (2, 6));
    check_tree(64 * 64 * 2, |_| ChunkId([0; 32]), (3, 131));
}
