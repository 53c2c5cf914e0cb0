//! Goal: whatever bytes are found on a disk, they are refused, or are what was written. Method: random bytes, good ones
//! with random damage, and bytes that match their checksum but make no sense.

use std::ops::Range;
use std::path::Path;

use env::disk::SimDisk;
use env::{Disk, File};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use types::{DiskId, DiskUuid, ErrorKind};

use super::*;
use crate::record::{self, Content, HEADER_SIZE, Header, Place};
use crate::segment::walk::{Step, Walk};
use crate::segment::{self, Ended, Opening, footer};
use crate::superblock::{self, Superblock};

const UUID: DiskUuid = DiskUuid(*b"diskuuid-and-the");
const PLACE: Place = Place { disk: *b"diskuuid", segment: 3 };
const ROOT: &str = "/disk";

/// Bytes over a part of good ones; `cuts` ends them there.
#[derive(Clone, Debug)]
struct Damage {
    at: Index,
    rubbish: Vec<u8>,
    cuts: bool,
}

impl Damage {
    fn of(&self, good: &[u8]) -> Vec<u8> {
        let (before, after) = good.split_at(self.at.index(good.len()));
        let after = if self.cuts { &[][..] } else { after.get(self.rubbish.len()..).unwrap_or_default() };
        [before, &self.rubbish, after].concat()
    }

    /// The same over bytes that keep their number.
    fn within<const N: usize>(&self, good: [u8; N]) -> [u8; N] {
        let bad = Damage { cuts: false, ..self.clone() }.of(&good);
        *bad.first_chunk().expect("no shorter than what is good")
    }
}

fn damage(size: usize) -> impl Strategy<Value = Damage> {
    (any::<Index>(), vec(any::<u8>(), 0..size), prop::bool::weighted(0.2))
        .prop_map(|(at, rubbish, cuts)| Damage { at, rubbish, cuts })
}

/// Writes the checksum of what is there now.
fn reseal(bytes: &mut [u8], sealed: Range<usize>, crc_at: usize) {
    let crc = crc32fast::hash(&bytes[sealed]).to_le_bytes();
    bytes[crc_at..crc_at + 4].copy_from_slice(&crc);
}

fn superblock() -> Superblock {
    let (cluster, node) = (ClusterId([0xc0; 16]), NodeId(7));
    Superblock { cluster, uuid: UUID, node, disk: Some(DiskId(5)), failed: false, generation: 9 }
}

/// Records of different kinds and sizes at the beginning of a segment, each with the payload that follows it.
fn records() -> Vec<(Header, Bytes)> {
    let mut offset = 4096;
    let record = |n: u64| {
        let content = if n == 2 { Content::Deleted } else { Content::Shard(meta(n)) };
        let payload = if n == 2 { Bytes::new() } else { payload(n) };
        let header = Header {
            key: key(n),
            content,
            payload_size: u32::try_from(payload.len()).unwrap(),
            payload_crc: record::tail(&payload).payload_crc,
            offset,
            batch_offset: offset,
        };
        offset = u32::try_from(header.end()).unwrap();
        (header, payload)
    };
    (1..7).map(record).collect()
}

/// A sealed segment with `records`, and where its footer begins.
fn sealed() -> (SimDisk, Arc<dyn File>, u64) {
    let disk = SimDisk::new(1);
    disk.create_dir_all(&segment::directory(Path::new(ROOT))).unwrap();
    let before = Some(Ended { segment: 2, end: 5000 });
    let file = segment::create(&disk, Path::new(ROOT), UUID, PLACE.segment, before).unwrap();
    let mut headers = Vec::new();
    let mut end = 4096;
    for (header, payload) in records() {
        let bytes = header.to_bytes(PLACE);
        file.write_at(&[&bytes, &payload, &record::tail(&payload).bytes], end).unwrap();
        headers.extend_from_slice(&bytes);
        end = header.end();
    }
    footer::write(&*file, PLACE, end, &headers).unwrap();
    (disk, file, end)
}

fn overwrite(file: &dyn File, bytes: &[u8]) {
    file.set_len(0).unwrap();
    file.write_at(&[bytes], 0).unwrap();
}

/// A walk comes to its end and finds nothing but what was written.
fn walk(file: &dyn File) {
    let written: Vec<Header> = records().into_iter().map(|(header, _)| header).collect();
    let end = file.len().unwrap();
    for step in Walk::new(file, PLACE, 4096, end) {
        match step.unwrap() {
            Step::Record(header) => assert!(written.contains(&header), "{header:?} was never written"),
            Step::Bad(bad) => assert!(bad.offset + bad.size <= end && bad.size > 0, "{bad:?}"),
        }
    }
    let _ = segment::walk::headers(file, PLACE, 4096, end).unwrap();
}

/// What each of the damaged bytes is read as: the good header, or nothing.
fn check_header(bytes: &[u8; HEADER_SIZE], offset: u32) {
    if let Ok(found) = Header::parse(bytes, PLACE, offset) {
        assert_eq!(Header::parse(&found.to_bytes(PLACE), PLACE, offset), Ok(found));
        assert!(found.end() > u64::from(offset));
    }
}

proptest! {
    #[test]
    fn a_damaged_superblock_is_refused(damage in damage(80)) {
        let good = superblock().to_bytes();
        if let Ok(found) = Superblock::parse(&damage.of(&good)) {
            prop_assert_eq!(found, superblock());
        }
        let mut resealed = damage.within(good);
        reseal(&mut resealed, 0..76, 76);
        if let Ok(found) = Superblock::parse(&resealed) {
            prop_assert_eq!(Superblock::parse(&found.to_bytes()), Ok(found));
            Superblock { generation: found.generation + 1, ..found }.check_after(&found);
        }
    }

    /// Either copy may be damaged: the other one is left.
    #[test]
    fn the_other_superblock_counts(damage in damage(80), newer: bool) {
        let disk = SimDisk::new(1);
        disk.create_dir_all(Path::new(ROOT)).unwrap();
        let both = [superblock(), Superblock { generation: 10, failed: true, ..superblock() }];
        both.iter().for_each(|copy| superblock::write(&disk, Path::new(ROOT), *copy).unwrap());
        let path = Path::new(ROOT).join(if newer { "SUPER.a" } else { "SUPER.b" });
        let bad = damage.of(&disk.read(&path).unwrap());
        disk.write_atomic(&path, &bad).unwrap();
        let found = superblock::newest(&disk, Path::new(ROOT)).unwrap().unwrap();
        prop_assert!(found == both[1] || newer && found == both[0], "{:?}", found);
    }

    #[test]
    fn a_damaged_header_of_a_record_is_refused(damage in damage(HEADER_SIZE), bytes: [u8; 32], n in 0usize..6) {
        let header = records()[n].0;
        let good = header.to_bytes(PLACE);
        let bad = damage.within(good);
        if bad != good {
            prop_assert!(Header::parse(&bad, PLACE, header.offset).is_err());
        }
        // With a checksum that is right, and sometimes with the fields that every header has.
        let mut random = damage.within(good);
        random[40..72].copy_from_slice(&bytes);
        for start in [bad, random] {
            let mut resealed = start;
            let fixed = Header { offset: header.offset, ..header }.to_bytes(PLACE);
            for kept in [0..4, 9..10, 72..80, 88..96] {
                resealed[kept.clone()].copy_from_slice(&fixed[kept]);
            }
            resealed[4..8].fill(0);
            let crc = crc32fast::hash(&resealed).to_le_bytes();
            resealed[4..8].copy_from_slice(&crc);
            check_header(&resealed, header.offset);
        }
    }

    #[test]
    fn a_damaged_payload_is_refused(damage in damage(300), n in 0usize..6) {
        let (header, payload) = &records()[n];
        let good = [&payload[..], &record::tail(payload).bytes].concat();
        let bad = damage.of(&good);
        prop_assert_eq!(record::check_payload(header, &bad).is_ok(), bad == good);
    }

    #[test]
    fn a_damaged_beginning_of_a_segment_is_no_other(damage in damage(60)) {
        let (disk, file, _) = sealed();
        let good = disk.read(&segment::path(Path::new(ROOT), 3)).unwrap();
        let mut start = damage.within(*good.first_chunk::<4096>().unwrap());
        let before = Opening::Good(Some(Ended { segment: 2, end: 5000 }));
        file.write_at(&[&start], 0).unwrap();
        let found = segment::opening(&*file, UUID, 3).unwrap();
        prop_assert_eq!(found, if start[..44] == good[..44] { before } else { Opening::Other });
        reseal(&mut start, 0..40, 40);
        file.write_at(&[&start], 0).unwrap();
        let found = segment::opening(&*file, UUID, 3).unwrap();
        prop_assert!(found == Opening::Other || start[..32] == good[..32]);
    }

    #[test]
    fn a_damaged_segment_gives_what_was_written_or_nothing(damage in damage(400)) {
        let (disk, file, _) = sealed();
        let good = disk.read(&segment::path(Path::new(ROOT), 3)).unwrap();
        overwrite(&*file, &damage.of(&good));
        walk(&*file);
    }

    /// Also one whose numbers are anything and match their checksum: no more memory is asked for than the file has bytes.
    #[test]
    fn a_damaged_footer_is_none(damage in damage(60), count: u32, start: u32, in_tail: bool) {
        let (disk, file, end) = sealed();
        let good = disk.read(&segment::path(Path::new(ROOT), 3)).unwrap();
        let (records, sealed_part) = good.split_at(usize::try_from(end).unwrap());
        let (headers, tail) = sealed_part.split_at(sealed_part.len() - 40);
        let want = footer::read(&*file, PLACE).unwrap();
        let bad = if in_tail { [headers, &damage.of(tail)].concat() } else { damage.of(sealed_part) };
        overwrite(&*file, &[records, &bad].concat());
        let found = footer::read(&*file, PLACE).unwrap();
        prop_assert!(found.is_none() || found == want);

        let mut tail = damage.within(*tail.first_chunk::<40>().unwrap());
        tail[12..16].copy_from_slice(&count.to_le_bytes());
        tail[16..20].copy_from_slice(&start.to_le_bytes());
        reseal(&mut tail, 0..32, 32);
        overwrite(&*file, &[records, headers, &tail].concat());
        let found = footer::read(&*file, PLACE).unwrap();
        prop_assert!(found.is_none() || found == want);
    }

    /// A whole disk with damage in one of its files: what can be read of it is right.
    #[test]
    fn a_damaged_disk_gives_what_was_written_or_an_error(file: Index, damage in damage(600), keeps_index: bool) {
        let (disk, kv) = (FaultyDisk::new(1), MemKv::new(1));
        let mut engine = open(&disk, &kv).unwrap();
        engine.segment_size = 4 << 10;
        (1..9).for_each(|n| assert_eq!(engine.commit(&[put(n)]), [Ok(())]));
        seal::seal_all(&engine.shared);
        drop(engine);
        let segments = segment::list(&disk.sim, Path::new(ROOT)).unwrap();
        let segments = segments.into_iter().map(|number| segment::path(Path::new(ROOT), number));
        let supers = ["SUPER.a", "SUPER.b"].map(|name| Path::new(ROOT).join(name));
        let files: Vec<_> = segments.chain(supers).filter(|path| disk.sim.exists(path)).collect();
        let path = file.get(&files);
        let good = disk.sim.read(path).unwrap();
        disk.sim.write_atomic(path, &damage.of(&good)).unwrap();
        let kv = if keeps_index { kv } else { MemKv::new(2) };
        let mut engine = match open(&disk, &kv) {
            Ok(engine) => engine,
            Err(e) => {
                prop_assert!(matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::Invalid), "{}", e);
                return Ok(());
            }
        };
        for n in 1..9 {
            match read(&engine, n) {
                Ok(bytes) => prop_assert_eq!(bytes, payload(n)),
                Err(e) => prop_assert!(matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::NotFound), "{}", e),
            }
        }
        if engine.commit(&[put(20)]) == [Ok(())] {
            prop_assert_eq!(read(&engine, 20), Ok(payload(20)));
        }
    }
}
