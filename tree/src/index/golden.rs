//! Frozen rows of an index partition.
#![cfg(test)]

use expect_test::expect;
use proptest::prelude::*;
use proto::block::{ChunkKind, Layout};
use proto::index::{ChunkState, Exception, Locator, Sizes};
use types::{ChunkId, DiskId, Epoch, GcEpoch, Generation, Possession, Scope, Slot};

use super::IndexMachine;
use super::row::{ChunkRow, FlagRow, TotalsRow, chunk_key, epoch_key, fence_key, flag_key, totals_key};
use crate::golden::{self, Frozen, row};

fn rows() -> Vec<Frozen> {
    let chunk = ChunkId([0xaa; 32]).within(Scope(0x0102));
    let live = ChunkRow {
        generation: Generation(300),
        touch: GcEpoch(4),
        state: ChunkState::Live,
        kind: ChunkKind::Data,
        locator: Locator::Slots(Layout::Shard { k: 4, m: 2 }),
        possession: Possession([0xbb; 16]),
        sizes: Sizes { content: 300, plain: 301, stored: 302, disk: 303 },
        exceptions: Vec::new(),
    };
    let lost = ChunkRow {
        state: ChunkState::Lost,
        kind: ChunkKind::ManifestNode,
        locator: Locator::Slots(Layout::Replica),
        exceptions: vec![Exception { slot: 1, disk: Some(DiskId(7)) }, Exception { slot: 5, disk: None }],
        ..live.clone()
    };
    let condemned = ChunkRow { state: ChunkState::Condemned(GcEpoch(9)), ..live.clone() };
    let totals = TotalsRow { chunks: 1, plain_bytes: 300, disk_bytes: 3, displaced: 4, thin: 5, lost: 6 };
    vec![
        row("live", chunk_key(&chunk), &live),
        row("lost", chunk_key(&chunk), &lost),
        row("condemned", chunk_key(&chunk), &condemned),
        row("totals", totals_key(Slot::new(0x0102).unwrap()), &totals),
        row("flag", flag_key(&chunk), &FlagRow),
        row("GC epoch", epoch_key(), &GcEpoch(300)),
        row("fence", fence_key(), &Epoch(300)),
    ]
}

#[test]
fn rows_of_the_index_are_frozen() {
    golden::check::<IndexMachine>(
        &rows(),
        expect![[r#"
        live: 2aaa68(hash)00000102 = 010100ac020400000000040210(id)ac02ad02ae02af0200
        lost: 2aaa68(hash)00000102 = 010100ac02040101000110(id)ac02ad02ae02af02020101070500
        condemned: 2aaa68(hash)00000102 = 010100ac02040209000000040210(id)ac02ad02ae02af0200
        totals: ffff730102 = 01010001ac0203040506
        flag: ffff66(hash)00000102 = 010100
        GC epoch: ffff67 = 010100ac02
        fence: ffff6d = 010100ac02
    "#]],
    );
}

proptest! {
    #[test]
    fn damaged_rows_of_the_index_do_no_harm(damage in golden::damage()) {
        golden::survive::<IndexMachine>(&rows(), &damage);
    }
}
