//! Goal: bytes on disk stay readable forever: they are frozen here, and every damaged bit of them is noticed.

use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::Path;

use env::Disk;
use expect_test::{Expect, expect};
use kv::{Order, Read};
use types::{DiskId, DiskUuid, Millis};

use super::*;
use crate::index::{Damage, Entry, IndexChange, Tables, Totals};
use crate::progress::ScrubProgress;
use crate::record::{self, Content, HEADER_SIZE, Header, Place};
use crate::segment::{self, Ended, Opening, footer};
use crate::superblock::Superblock;

const PLACE: Place = Place { disk: *b"diskuuid", segment: 0x0a0b };

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn header(content: Content, payload: &[u8]) -> Header {
    let key = ShardKey {
        chunk: ChunkId([0xc1; 32]).within(Scope(0x0506)),
        generation: Generation(0x0102_0304_0506),
        slot: 3,
    };
    let payload_crc = record::tail(payload).payload_crc;
    let payload_size = u32::try_from(payload.len()).unwrap();
    Header { key, content, payload_size, payload_crc, offset: 8192, batch_offset: 4096 }
}

#[track_caller]
fn check_header(content: Content, payload: &[u8], want: Expect) {
    let header = header(content, payload);
    let bytes = header.to_bytes(PLACE);
    want.assert_eq(&hex(&bytes));
    assert_eq!(Header::parse(&bytes, PLACE, 8192), Ok(header));
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Header::parse(&bad, PLACE, 8192).is_err(), "bit {bit}");
    }
    assert!(Header::parse(&bytes, PLACE, 8200).is_err());
    assert!(Header::parse(&bytes, Place { segment: 1, ..PLACE }, 8192).is_err());
    assert!(Header::parse(&bytes, Place { disk: *b"another1", ..PLACE }, 8192).is_err());
}

#[test]
fn record_headers() {
    check_header(
        Content::Shard(meta(1)),
        b"payload",
        expect![
            "4353524350996f040101000302041d11c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c10605040302010000e0930400400d030007000000156a2c420b0a00000020000000100000010000006469736b757569640605000000000000"
        ],
    );
    check_header(
        Content::Shard(meta(6)),
        b"payload",
        expect![
            "43535243de86687a0201010300000000c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c10605040302010000e0930400400d030007000000156a2c420b0a00000020000000100000060000006469736b757569640605000000000000"
        ],
    );
    check_header(
        Content::Deleted,
        b"",
        expect![
            "43535243c71602f90301000300000000c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c10605040302010000000000000000000000000000000000000b0a00000020000000100000000000006469736b757569640605000000000000"
        ],
    );
}

#[test]
fn records_of_what_is_lost() {
    check_header(
        Content::Lost(meta(1)),
        b"",
        expect![
            "43535243fdfe84c80401000302041d11c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c10605040302010000e0930400400d030000000000000000000b0a00000020000000100000010000006469736b757569640605000000000000"
        ],
    );
    check_header(
        Content::Lost(meta(6)),
        b"",
        expect![
            "435352437471f90c0401010300000000c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c10605040302010000e0930400400d030000000000000000000b0a00000020000000100000060000006469736b757569640605000000000000"
        ],
    );
}

#[test]
fn record_tails() {
    let tail = |payload: &[u8]| hex(&record::tail(payload).bytes);
    expect!["00000000000000004353524543454e44"].assert_eq(&tail(b""));
    expect!["156a2c42156a2c42070000004353524543454e440000000000"].assert_eq(&tail(b"payload"));
    expect!["82f317702e7a664cd18fa04f010001004353524543454e4400000000000000"].assert_eq(&tail(&[7; 65_537]));
    for size in [0, 1, 65_536, 65_537, 4 << 20] {
        let record::Tail { bytes, payload_crc } = record::tail(&vec![5; size]);
        assert_eq!(payload_crc, crc32fast::hash(&vec![5; size]));
        assert_eq!(record::record_size(size), (HEADER_SIZE + size + bytes.len()) as u64);
        assert_eq!(record::record_size(size) % 8, 0);
    }
}

/// Which bytes of a payload are read for a range of it, and where their checksums are.
#[test]
fn blocks_of_a_range() {
    const BLOCK: usize = 65_536;
    let check = |size: usize, range: std::ops::Range<usize>, bytes: [usize; 2], crcs: [usize; 2]| {
        let found = record::Blocks::of(size, &range);
        assert_eq!([found.start, found.end], bytes, "{range:?} of {size}");
        let table = [found.table_start, found.table_end].map(|at| (at - HEADER_SIZE - size) / 4);
        assert_eq!(table, crcs, "{range:?} of {size}");
    };
    check(10, 0..10, [0, 10], [0, 1]);
    check(10, 3..3, [0, 10], [0, 1]);
    check(10, 0..0, [0, 0], [0, 0]);
    check(3 * BLOCK, 0..BLOCK, [0, BLOCK], [0, 1]);
    check(3 * BLOCK, BLOCK - 1..BLOCK + 1, [0, 2 * BLOCK], [0, 2]);
    check(3 * BLOCK, BLOCK..2 * BLOCK, [BLOCK, 2 * BLOCK], [1, 2]);
    check(3 * BLOCK - 5, 2 * BLOCK..3 * BLOCK - 5, [2 * BLOCK, 3 * BLOCK - 5], [2, 3]);
    check(3 * BLOCK, 3 * BLOCK..3 * BLOCK, [3 * BLOCK, 3 * BLOCK], [3, 3]);
}

#[test]
#[should_panic(expected = "one checksum per block")]
fn a_block_without_a_checksum_is_not_good() {
    let _ = record::Blocks::of(100_000, &(0..100_000)).check(&[0; 100_000], &[0; 4]);
}

#[test]
#[should_panic(expected = "a record lies in its batch")]
fn a_header_that_no_reader_takes_is_not_written() {
    let _ = Header { batch_offset: 9000, ..header(Content::Deleted, b"") }.to_bytes(PLACE);
}

#[test]
fn superblocks() {
    let superblock = Superblock {
        cluster: ClusterId([0xc0; 16]),
        uuid: DiskUuid([0xd1; 16]),
        node: NodeId(7),
        disk: Some(DiskId(0x0102)),
        failed: false,
        generation: 9,
    };
    let bytes = superblock.to_bytes();
    expect!["43535355504552000200000102010000c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d10700000000000000090000000000000000000000000000000000000089840b6f"].assert_eq(&hex(&bytes));
    assert_eq!(Superblock::parse(&bytes), Ok(superblock));
    let without = Superblock { disk: None, failed: true, ..superblock };
    assert_eq!(Superblock::parse(&without.to_bytes()), Ok(without));
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Superblock::parse(&bad).is_err(), "bit {bit}");
    }
}

#[test]
fn a_sealed_segment() {
    let disk = env::disk::SimDisk::new(1);
    let root = Path::new("/disk");
    disk.create_dir_all(&segment::directory(root)).unwrap();
    let uuid = DiskUuid(*b"diskuuid-and-the");
    let before = Some(Ended { segment: PLACE.segment - 1, end: 0x0102_0304 });
    let file = segment::create(&disk, root, uuid, PLACE.segment, before).unwrap();
    let content = Content::Shard(meta(1));
    let header = Header { offset: 4096, batch_offset: 4096, ..header(content, b"payload") };
    let record = header.to_bytes(PLACE);
    file.write_at(&[&record, b"payload", &record::tail(b"payload").bytes], 4096).unwrap();
    footer::write(&*file, PLACE, header.end(), &record).unwrap();
    let bytes = disk.read(&segment::path(root, PLACE.segment)).unwrap();
    expect![
        "43535345474d5400020000000b0a00006469736b757569642d616e642d7468650a0a0000040302015cf7dc8b00000000"
    ]
    .assert_eq(&hex(&bytes[..48]));
    assert!(bytes[44..4096].iter().all(|b| *b == 0));
    let end = usize::try_from(header.end()).unwrap();
    assert_eq!(bytes[end..end + HEADER_SIZE], record);
    expect!["4353464f4f5445520b0a000001000000881000009035154a6469736b757569649aba186000000000"]
        .assert_eq(&hex(&bytes[end + HEADER_SIZE..]));
    let found = footer::read(&*file, PLACE).unwrap().unwrap();
    assert_eq!((found.start, found.headers), (header.end(), vec![header]));
    assert_eq!(segment::opening(&*file, uuid, PLACE.segment).unwrap(), Opening::Good(before));
    assert_eq!(segment::opening(&*file, uuid, 1).unwrap(), Opening::Other);
}

#[test]
fn rows_of_the_index() {
    let kv = MemKv::new(1);
    let tables = Tables::new(Arc::new(kv.clone()));
    let key = |slot| ShardKey { slot, ..header(Content::Deleted, b"").key };
    let entry = |n| Entry { segment: 5, offset: 8192, payload_size: 300, payload_crc: 0xcc, meta: meta(n) };
    let change = |is_fresh| IndexChange::new(tables.clone(), is_fresh, Totals::default(), Damage::default());
    let mut normal = change(false);
    normal.put(key(1), entry(1)).unwrap();
    normal.put(key(2), entry(6)).unwrap();
    normal.lose(key(3), &meta(1)).unwrap();
    normal.quarantine(0x0102, 4096, 8);
    normal.commit(DiskUuid([0xd1; 16]), Some((6, 0x0304_0000))).unwrap();
    let mut fresh = change(true);
    fresh.put(key(4), entry(1)).unwrap();
    fresh.lose(key(5), &meta(6)).unwrap();
    fresh.delete(key(6)).unwrap();
    fresh.commit(DiskUuid([0xd1; 16]), None).unwrap();
    tables.set_sealed_before(4).unwrap();
    let progress = ScrubProgress {
        segment: 2,
        offset: 4096,
        checked: 3,
        found: 4,
        passes: 5,
        last_pass: Some(Millis(6)),
    };
    tables.set_scrub_progress(&progress).unwrap();
    let mut lines = String::new();
    kv.scan(b"", b"", Order::Forward, &mut |key, value| {
        let _ = writeln!(lines, "{} {} = {}", char::from(key[0]), hex(&key[1..]), hex(value));
        ControlFlow::Continue(())
    })
    .unwrap();
    let repeated = lines.replace(&"c1".repeat(32), "(chunk)").replace(&"d1".repeat(16), "(disk)");
    expect![[r#"
        b  = 04000000
        c  = 02(disk)06000000000004030000000002000000000000005802000000000000
        f (chunk)00000506000001020304050604 = 0105000000002000002c010000cc00000001040200e0930400400d030001000000
        f (chunk)00000506000001020304050605 = 0200000001e0930400400d030006000000
        f (chunk)00000506000001020304050606 = 00
        k  = 0200000000100000000000000300000000000000040000000000000005000000000000000600000000000000
        l (chunk)00000506000001020304050603 = 01040200e0930400400d030001000000
        q 0000010200001000 = 0800000000000000
        s (chunk)00000506000001020304050601 = 05000000002000002c010000cc00000001040200e0930400400d030001000000
        s (chunk)00000506000001020304050602 = 05000000002000002c010000cc00000000000001e0930400400d030006000000
    "#]].assert_eq(&repeated);
}
