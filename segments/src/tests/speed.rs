//! Goal: numbers, on request: they depend on the machine. `MEASURE=1 cargo test --release -p segments speed -- --nocapture`

use super::*;
use crate::record::{Content, Header};
use crate::segment::{self, Ended, footer};

/// Records of so many sealed segments, without their payloads.
const SEGMENTS: u32 = 20;
const RECORDS: u32 = 200_000;

/// How fast an index is made from footers, on a real disk with a real store.
#[test]
fn rebuild_from_footers() {
    if std::env::var_os("MEASURE").is_none() {
        return;
    }
    let dir = env::testing::temp_dir();
    let disk_config = DiskConfig { root: dir.join("disk"), ..config() };
    let open = || {
        open_engine(&Env::real(), disk_config.clone(), |path| {
            Ok(Arc::new(kv::RocksKv::open(path, kv::Options::default())?) as Arc<dyn Kv>)
        })
        .unwrap()
    };
    let engine = open();
    let end = 4096 + RECORDS * 256;
    for number in 2..2 + SEGMENTS {
        let (uuid, place) = (engine.shared.superblock().uuid, engine.shared.place(number));
        let before = Some(Ended { segment: number - 1, end });
        let file = segment::create(&*Env::real().disk, &disk_config.root, uuid, number, before).unwrap();
        let mut headers = Vec::new();
        for n in 0..RECORDS {
            let mut chunk = [0; 36];
            blake3::Hasher::new()
                .update(&(number, n).0.to_le_bytes())
                .update(&n.to_le_bytes())
                .finalize_xof()
                .fill(&mut chunk);
            let chunk = types::ChunkKey::from_bytes(&chunk);
            let header = Header {
                key: ShardKey { chunk, generation: Generation(1), slot: 1 },
                content: Content::Shard(meta(1)),
                payload_size: 100,
                payload_crc: n,
                offset: 4096 + n * 256,
                batch_offset: 4096,
            };
            headers.extend_from_slice(&header.to_bytes(place));
        }
        footer::write(&*file, place, end.into(), &headers).unwrap();
    }
    drop(engine);
    env::Disk::remove_dir_all(&*Env::real().disk, &dir.join("disk/index")).unwrap();
    let mut engine = open();
    let (start, cpu) = (env::time::now(), env::process::cpu_seconds());
    restore(&mut engine).unwrap();
    let records = engine.shared.status().totals.records;
    assert_eq!(records, u64::from(SEGMENTS * RECORDS));
    let (seconds, after) = (start.elapsed().as_secs_f64(), env::process::cpu_seconds());
    println!(
        "{records} records in {seconds:.2} s ({:.2} M/s), processor {:.2} s",
        records as f64 / seconds / 1e6,
        after.0 + after.1 - cpu.0 - cpu.1
    );
}
