//! Builds trees, reads them back and edits them.

use std::collections::{BTreeMap, BTreeSet};

use expect_test::expect;
use proptest::prelude::*;
use types::ErrorKind;

use super::*;

fn chunk(n: u64) -> ChunkRef {
    ChunkRef { id: chunk_id(&n.to_le_bytes()), size: 100_000 + (n % 1000) as u32 }
}

fn build(chunks: &[ChunkRef]) -> (Content, BTreeMap<ChunkId, Bytes>) {
    let mut builder = TreeBuilder::new();
    let mut nodes = BTreeMap::new();
    for chunk in chunks {
        builder.push(*chunk);
        nodes.extend(std::iter::from_fn(|| builder.next_node()));
    }
    let content = builder.finish();
    nodes.extend(std::iter::from_fn(|| builder.next_node()));
    (content, nodes)
}

/// All chunks below a node; checks levels, sums and the promised limits on the way.
fn walk(nodes: &BTreeMap<ChunkId, Bytes>, id: ChunkId, level: u8) -> Vec<ChunkRef> {
    let node = parse_node(&nodes[&id]).unwrap();
    assert_eq!(node_id(&nodes[&id]), id);
    assert_eq!(node.level, level);
    let mut chunks = Vec::new();
    for entry in &node.entries {
        if level == 0 {
            chunks.push(ChunkRef { id: entry.id, size: u32::try_from(entry.size).unwrap() });
            continue;
        }
        let below = walk(nodes, entry.id, level - 1);
        assert_eq!((below.len() as u64, check_chunks(&below)), (entry.count, Some(entry.size)));
        chunks.extend(below);
    }
    chunks
}

#[track_caller]
fn check_tree(chunks: &[ChunkRef], want_height: u8) {
    let (content, nodes) = build(chunks);
    let Content::Tree { root, height, count } = content else { panic!("not a tree: {content:?}") };
    assert_eq!((height, count), (want_height, chunks.len() as u64));
    assert_eq!(walk(&nodes, root, height - 1), chunks);
}

#[test]
fn trees_of_all_sizes() {
    let chunks: Vec<ChunkRef> = (0..30_000).map(chunk).collect();
    check_tree(&chunks[..1], 1);
    check_tree(&chunks[..64], 1);
    check_tree(&chunks[..2_000], 2);
    check_tree(&chunks, 2);
    check_tree(&[chunk(1); 5_000], 2);
    check_tree(&[chunk(1); 1024], 1);
    check_tree(&[chunk(1); 1025], 2);
    // Hashes that end a node wherever that is allowed.
    check_tree(&[ChunkRef { id: ChunkId([0; 32]), size: 1 }; 64 * 64 * 3], 3);
}

#[test]
fn an_edit_rewrites_one_path() {
    let mut chunks: Vec<ChunkRef> = (0..20_000).map(chunk).collect();
    let (_, before) = build(&chunks);
    for (at, with) in [(10_000, vec![chunk(50_000)]), (3, vec![]), (19_990, vec![chunk(7), chunk(60_000)])] {
        chunks.splice(at..at + 1, with);
    }
    let (_, after) = build(&chunks);
    let new = after.keys().filter(|id| !before.contains_key(id)).count();
    assert!(before.len() > 50 && new <= 9, "{new} of {} nodes are new", before.len());
}

#[test]
fn node_bytes_are_frozen() {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let id = |n: u8| ChunkId([n; 32]);
    let leaf = ManifestNode { level: 0, entries: vec![Entry { id: id(1), size: 0x0102, count: 1 }] };
    expect![
        "43534d4e0100010038c76abd010101010101010101010101010101010101010101010101010101010101010102010000"
    ]
    .assert_eq(&hex(&leaf.to_bytes()));
    let inner = ManifestNode { level: 1, entries: vec![Entry { id: id(2), size: 1 << 33, count: 0x0304 }] };
    expect!["43534d4e01010100ff36a756020202020202020202020202020202020202020202020202020202020202020200000000020000000403000000000000"].assert_eq(&hex(&inner.to_bytes()));
    let (content, _) = build(&(0..3_000).map(chunk).collect::<Vec<_>>());
    expect!["Tree { root: 27301c3f85ec6b293460b46eee29ff385d74975a6e29471b77156f19f062facf, height: 2, count: 3000 }"].assert_eq(&format!("{content:?}"));
}

#[test]
fn every_damaged_bit_of_a_node_is_noticed() {
    let node =
        ManifestNode { level: 1, entries: vec![Entry { id: ChunkId([5; 32]), size: 10, count: 2 }; 3] };
    let bytes = node.to_bytes();
    assert_eq!(parse_node(&bytes), Ok(node));
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        let kind = parse_node(&bad).unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::Invalid), "bit {bit}");
    }
    for size in 0..bytes.len() {
        assert!(parse_node(&bytes[..size]).is_err());
    }
}

#[test]
fn impossible_nodes_are_refused_in_spite_of_a_right_checksum() {
    let entry = Entry { id: ChunkId([5; 32]), size: 10, count: 2 };
    let node = |level, entry, count| ManifestNode { level, entries: vec![entry; count] }.to_bytes();
    for bytes in [
        node(0, entry, 0),
        node(0, entry, MANIFEST_INLINE_COUNT_MAX * 17),
        node(TREE_HEIGHT_MAX, entry, 1),
        node(1, Entry { count: 11, ..entry }, 1),
        node(1, Entry { count: 0, ..entry }, 1),
        node(1, Entry { size: u64::MAX, ..entry }, 2),
        node(0, Entry { size: 0, ..entry }, 1),
        node(0, Entry { size: CHUNK_SIZE_MAX as u64 + 1, ..entry }, 1),
    ] {
        assert_eq!(parse_node(&bytes).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn content_roots() {
    let manifest = |content| content_root(&Manifest { size: 3, rule: 1, content });
    let chunks = |list: &[ChunkRef]| manifest(Content::Chunks(list.to_vec()));
    let abc = ChunkRef { id: chunk_id(b"abc"), size: 3 };
    assert_eq!(manifest(Content::Inline("abc".into())), chunks(&[abc]), "inline or not, the same content");
    assert_eq!(manifest(Content::Inline(Bytes::new())), chunks(&[]));
    let different =
        [chunks(&[abc, abc]), chunks(&[abc, abc, abc]), chunks(&[abc, chunk(1)]), chunks(&[chunk(1), abc])];
    assert_eq!(BTreeSet::from(different).len(), 4);
    expect!["e0a5f8642e47427b24946d3115bf87ef64073e5a51eeb53304c966b4ad455041"]
        .assert_eq(&different[0].to_string());
}

#[track_caller]
fn check_manifest(size: u64, content: Content, want: Result<(), &str>) {
    match (Manifest { size, rule: 1, content }.check(), want) {
        (Ok(()), Ok(())) => {}
        (Err(error), Err(part)) => assert!(error.message().contains(part), "{error}"),
        (got, want) => panic!("got {got:?}, want {want:?}"),
    }
}

#[test]
fn manifests_from_clients_are_checked() {
    let list = |count, size| Content::Chunks(vec![ChunkRef { id: ChunkId([1; 32]), size }; count]);
    let tree = |height, count| Content::Tree { root: ChunkId([1; 32]), height, count };
    check_manifest(3, Content::Inline("abc".into()), Ok(()));
    check_manifest(4, Content::Inline("abc".into()), Err("3 inline bytes for a file of 4"));
    check_manifest(5000, Content::Inline(vec![0; 5000].into()), Err("over the limit"));
    check_manifest(200, list(2, 100), Ok(()));
    check_manifest(201, list(2, 100), Err("chunks hold 200 bytes"));
    check_manifest(0, list(1, 0), Err("empty or larger"));
    check_manifest(1 << 23, list(1, 1 << 23), Err("empty or larger"));
    check_manifest(65, list(65, 1), Err("build a tree"));
    check_manifest(65_000, tree(1, 65), Ok(()));
    check_manifest(64_000, tree(1, 64), Err("is impossible"));
    check_manifest(65_000, tree(0, 65), Err("is impossible"));
    check_manifest(65_000, tree(7, 65), Err("is impossible"));
    check_manifest(64, tree(1, 65), Err("is impossible"));
    check_manifest(u64::MAX, tree(1, 65), Err("over the limit"));
    assert!(Manifest { rule: 9, ..Manifest::inline("a".into()) }.check().is_err());
    assert_eq!(Manifest::inline("a".into()).check(), Ok(()));
}

proptest! {
    #[test]
    fn rubbish_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if bytes.len() >= 5 {
            bytes[..5].copy_from_slice(b"CSMN\x01");
        }
        let _ = parse_node(&bytes);
    }
}

#[test]
fn inline_bytes_are_kept_sealed_and_given_back() {
    let key = SealKey { tenant: types::TenantId(1), id: types::KeyId(4), secret: [8; 32] };
    for plain in [&b""[..], b"x", &b"to be or not to be ".repeat(100), &[7; INLINE_SIZE_MAX]] {
        let manifest = Manifest::inline(Bytes::copy_from_slice(plain));
        let sealed = manifest.clone().sealed(&key);
        let Content::Sealed { form, .. } = &sealed.content else { panic!("{sealed:?} is not sealed") };
        assert_eq!((form.key, content_root(&sealed)), (key.id, content_root(&manifest)));
        assert!(
            plain.is_empty() || !form.bytes.windows(plain.len().min(16)).any(|run| plain.starts_with(run))
        );
        // No client may say what a metaserver would.
        assert_eq!(sealed.check().unwrap_err().kind(), ErrorKind::Invalid);
        let other = SealKey { secret: [9; 32], ..key.clone() };
        assert_eq!(sealed.clone().opened(&other).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(sealed.opened(&key), Ok(manifest));
    }
    let chunks =
        Manifest { size: 300, rule: 1, content: Content::Chunks(vec![ChunkRef { size: 300, ..chunk(1) }]) };
    assert_eq!(chunks.clone().sealed(&key), chunks, "only inline bytes are sealed here");
}
