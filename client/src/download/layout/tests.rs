//! Goal: a range gives exactly its bytes, whatever borders it touches, and reads no chunk that it does not need. Method:
//! a file of known bytes in parts; every read is performed by hand on those bytes.

use proto::seal::ClusterSecret;
use types::{ErrorKind, Millis, Scope};

use super::*;

fn id(n: u8) -> ChunkId {
    ChunkId([n; 32])
}

fn ticket(n: u8) -> Ticket {
    ClusterSecret::first([7; 32]).ticket(
        "reader",
        types::NamespaceId(1),
        &id(n).within(Scope::FIRST),
        Millis(0),
    )
}

/// Chunks 0, 1, 2 … of these sizes.
fn chunks(sizes: &[u32]) -> FileLayout {
    let mut layout = FileLayout::default();
    for (n, size) in (0..).zip(sizes) {
        layout.push_chunk(ChunkRef { id: id(n), size: *size }, ticket(n)).unwrap();
    }
    layout
}

fn inline(bytes: &'static [u8]) -> FileLayout {
    let mut layout = FileLayout::default();
    layout.push_inline(Bytes::from_static(bytes));
    layout
}

/// Reads the range as `chunk[bytes of the chunk]@offset in the file`.
#[track_caller]
fn check(layout: &FileLayout, range: Range<u64>, want: &str) {
    let show = |step: ReadStep| match step {
        ReadStep::Take { offset, bytes } => format!("{:?}@{offset}", bytes.escape_ascii().to_string()),
        ReadStep::Fetch(part) => {
            let n = part.chunk.0[0];
            assert_eq!(part.ticket, ticket(n), "the ticket of another chunk");
            format!("{n}[{:?}]@{}", part.needed, part.offset)
        }
    };
    let reads: Vec<String> = layout.read(range).map(show).collect();
    assert_eq!(reads.join(" "), want);
}

#[test]
fn few_bytes_are_asked_for_alone() {
    let layout = chunks(&[100, 100]);
    let excerpts = |range: Range<u64>| {
        let steps = layout.read(range).map(|step| match step {
            ReadStep::Fetch(part) => part,
            ReadStep::Take { .. } => panic!("all parts are chunks"),
        });
        Vec::from_iter(steps.map(|part| part.excerpt()))
    };
    assert_eq!(excerpts(10..35), [Some((10, 25))]);
    assert_eq!(excerpts(10..36), [None]);
    assert_eq!(excerpts(99..200), [Some((99, 1)), None]);
    let Some(ReadStep::Fetch(part)) = layout.read(10..20).next() else { panic!("a chunk") };
    let bytes = Bytes::from_static(b"0123456789");
    assert_eq!(part.take_excerpt(bytes.clone()), Ok(bytes.clone()));
    assert_eq!(part.take_excerpt(bytes.slice(1..)).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn the_whole_file() {
    check(&chunks(&[10, 20, 30]), 0..60, "0[0..10]@0 1[0..20]@10 2[0..30]@30");
    check(&chunks(&[10]), 0..10, "0[0..10]@0");
    check(&chunks(&[]), 0..0, "");
}

#[test]
fn inside_one_chunk() {
    let file = chunks(&[10, 20, 30]);
    check(&file, 0..1, "0[0..1]@0");
    check(&file, 12..15, "1[2..5]@12");
    check(&file, 59..60, "2[29..30]@59");
}

#[test]
fn at_the_borders_of_chunks() {
    let file = chunks(&[10, 20, 30]);
    check(&file, 0..10, "0[0..10]@0");
    check(&file, 10..30, "1[0..20]@10");
    check(&file, 30..60, "2[0..30]@30");
    check(&file, 9..10, "0[9..10]@9");
    check(&file, 10..11, "1[0..1]@10");
    check(&file, 9..11, "0[9..10]@9 1[0..1]@10");
}

#[test]
fn across_three_chunks() {
    check(&chunks(&[10, 20, 30]), 9..31, "0[9..10]@9 1[0..20]@10 2[0..1]@30");
}

#[test]
fn ranges_without_bytes_read_nothing() {
    let file = chunks(&[10, 20]);
    for at in [0, 5, 10, 30, 31, u64::MAX] {
        check(&file, at..at, "");
        check(&inline(b"abc"), at..at, "");
    }
    #[allow(clippy::reversed_empty_ranges, reason = "this is what a caller may get wrong")]
    for range in [5..4, 30..0, u64::MAX..0] {
        check(&file, range.clone(), "");
        check(&inline(b"abcdefgh"), range, "");
    }
}

#[test]
fn what_is_beyond_the_end_is_left_out() {
    let file = chunks(&[10, 20]);
    check(&file, 29..1000, "1[19..20]@29");
    check(&file, 0..u64::MAX, "0[0..10]@0 1[0..20]@10");
    check(&file, 30..u64::MAX, "");
    check(&file, u64::MAX - 1..u64::MAX, "");
    check(&chunks(&[]), 0..u64::MAX, "");
}

#[test]
fn inline_files() {
    check(&inline(b"abc"), 0..3, "\"abc\"@0");
    check(&inline(b"abc"), 1..2, "\"b\"@1");
    check(&inline(b"abc"), 2..u64::MAX, "\"c\"@2");
    check(&inline(b"abc"), 3..9, "");
    check(&inline(b""), 0..u64::MAX, "");
}

#[test]
fn every_range_of_a_small_file_gives_its_bytes() {
    let bytes: Vec<u8> = (0..13).collect();
    let sizes = [1, 4, 2, 1, 5];
    let layout = chunks(&sizes);
    let starts = [0, 1, 5, 7, 8];
    for (start, end) in (0..16).flat_map(|start| (0..16).map(move |end| (start, end))) {
        let mut got: Vec<u8> = Vec::new();
        for step in layout.read(start..end) {
            assert_eq!(step.offset(), start + got.len() as u64, "{start}..{end}");
            let ReadStep::Fetch(part) = step else { panic!("{start}..{end}: {step:?}") };
            let n = usize::from(part.chunk.0[0]);
            let chunk = &bytes[starts[n]..starts[n] + sizes[n] as usize];
            let needed = part.take(Bytes::copy_from_slice(chunk)).unwrap();
            assert!(!needed.is_empty(), "{start}..{end} reads chunk {n} for nothing");
            got.extend(needed);
        }
        let want: Vec<u8> = bytes.iter().copied().filter(|b| (start..end).contains(&u64::from(*b))).collect();
        assert_eq!(got, want, "{start}..{end}");
    }
}

#[test]
fn a_chunk_of_another_size_is_corrupt() {
    let layout = chunks(&[10, 20]);
    let parts: Vec<ReadStep> = layout.read(5..25).collect();
    let [_, ReadStep::Fetch(part)] = &parts[..] else { panic!("{parts:?}") };
    for size in [0, 15, 19, 21, 4096] {
        let error = part.take(vec![0; size].into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().ends_with("is not as long as its manifest says"), "{error}");
    }
    let whole = Bytes::from(vec![1; 20]);
    let needed = part.take(whole.clone()).unwrap();
    assert_eq!(needed, whole[..15]);
    assert_eq!(needed.as_ptr(), whole.as_ptr(), "not a copy");
}

#[test]
fn chunks_of_impossible_sizes_are_corrupt() {
    for size in [0, CHUNK_SIZE_MAX as u32 + 1, u32::MAX] {
        let mut layout = FileLayout::default();
        let error = layout.push_chunk(ChunkRef { id: id(0), size }, ticket(0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(layout, FileLayout::default());
    }
    check(&chunks(&[1, CHUNK_SIZE_MAX as u32]), 1..2, "1[0..1]@1");
}
