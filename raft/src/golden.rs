//! What stands beside the states of a store, and the labels of its parts: frozen, and read when it is damaged.
#![cfg(test)]

use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use env::Disk;
use env::disk::SimDisk;
use expect_test::expect;
use kv::{Batch, Durability, Kv, MemKv, Order, Overlay, Read};
use openraft::Membership;
use proptest::prelude::*;
use proptest::sample::Index;
use types::{ErrorKind, NodeId, PartitionId, ReplicaId, Result, Stamp, Start, StoreUuid};

use crate::engine::StoredMembership;
use crate::log::EntryId;
use crate::roster::{self, Roster};
use crate::state::{self, Meta, StateStore};
use crate::{Last, codec, label, message, skip};

const GROUP: PartitionId = PartitionId(0x0506);
const LABEL: &str = "/log/STORE";
const START: Start = Start { store: StoreUuid([0xaa; 16]), count: 300, nonce: 5 };
/// What the node remembers of the store whose label says `START`.
const LAST: Last = Last { count: 300, mark: 0 };

fn stamp() -> Stamp {
    Stamp { replica: ReplicaId::new(NodeId(7), 2), start: START, mark: 400 }
}

fn put(kv: &MemKv, key: &[u8], value: &[u8]) {
    let mut batch = Batch::new();
    batch.put(key, value);
    kv.write(batch, Durability::Synced).unwrap();
}

/// A store with a row of every kind.
fn filled() -> (MemKv, SimDisk) {
    let (kv, disk) = (MemKv::new(1), SimDisk::new(1));
    disk.create_dir_all(Path::new("/log")).unwrap();
    label::write(&disk, Path::new("/log"), &kv, &START).unwrap();
    let mut batch = Batch::new();
    roster::write(&mut batch, &stamp());
    kv.write(batch, Durability::Synced).unwrap();
    skip::skip(&kv, GROUP, 9, "why").unwrap();
    let store = StateStore::open(Arc::new(kv.clone()), GROUP).unwrap();
    let members = Membership::new_with_defaults(vec![[1, 2].into(), [3].into()], [9]);
    let at = |index| Some(EntryId { term: 3, index }.into());
    let meta =
        Meta { generation: 0, log: at(301), membership: StoredMembership::new(at(4), members), commands: 8 };
    let state = store.read();
    let mut changes = Overlay::new(&state);
    changes.put(&b"key"[..], &b"value"[..]);
    store.commit(&changes, meta).unwrap();
    (kv, disk)
}

fn rows(kv: &dyn Read) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    kv.scan(b"", b"", Order::Forward, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    rows
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.replace(&"aa".repeat(16), "(store)")
}

#[test]
fn rows_beside_the_states_are_frozen() {
    let (kv, disk) = filled();
    let mut lines = String::new();
    for (key, value) in rows(&kv) {
        let _ = writeln!(lines, "{} {} = {}", char::from(key[0]), hex(&key[1..]), hex(&value));
    }
    let _ = writeln!(lines, "STORE = {}", hex(&disk.read(Path::new(LABEL)).unwrap()));
    expect![[r#"
        i 0000000000000007 = 0182801c10(store)ac02059003
        k 000005060000000000000009 = 776879
        l  = 0110(store)ac0205
        m 00000506 = 01000103ad02010304020201020103040102030908
        s 00000506000000006b6579 = 76616c7565
        STORE = 0110(store)ac0205
    "#]]
    .assert_eq(&lines);
}

/// Everything beside the states is read, and what can be read is gone on with: nothing overflows.
fn use_all(kv: &MemKv) -> Result<()> {
    state::groups(kv)?;
    let store = StateStore::open(Arc::new(kv.clone()), GROUP)?;
    let meta = store.meta();
    let next = meta.commands + 1;
    let state = store.read();
    let log = meta
        .log
        .as_ref()
        .map(EntryId::from)
        .map_or(EntryId::default(), |last| EntryId { index: last.index + 1, ..last });
    store.commit(&Overlay::new(&state), Meta { commands: next, log: Some(log.into()), ..meta })?;
    (0..3).for_each(|_| drop(store.stage()));
    skip::load(kv, GROUP)?;
    skip::skip(kv, GROUP, next + 1, "why")?;
    let roster = Roster::open(Arc::new(kv.clone()))?;
    for replica in roster.others(NodeId(1)) {
        let known = roster.newest(replica.node()).expect("it was just named");
        roster::contradiction(&known, &Stamp { replica, ..stamp() });
    }
    roster.save()?;
    label::check("state", label::of_state(kv)?, LAST, &START)
}

/// Damage is for others to make good; only what a later build may have written is something else.
#[track_caller]
fn check<T>(result: Result<T>) -> Option<T> {
    result
        .map_err(|e| {
            let is_newer = e.kind() == ErrorKind::Invalid && e.message().contains("update the older node");
            assert!(e.kind() == ErrorKind::Corrupt || is_newer, "{e}");
        })
        .ok()
}

/// The label counts only as that of this store, at the start before or the one that a crash has left unnoticed.
fn check_label(found: Result<Option<Start>>) {
    let Some(found) = check(found) else { return };
    assert_eq!(found.map(|label| codec::decode(&codec::encode(&label))), found.map(Ok));
    if check(label::check("log", found, LAST, &START)).is_some() {
        let label = found.expect("one that is gone is noticed");
        assert!(label.store == START.store && (LAST.count..=LAST.count + 1).contains(&label.count));
    }
}

/// Bytes in the place of good ones, and in the middle of them.
fn damaged(good: &[u8], at: Index, rubbish: &[u8]) -> [Vec<u8>; 5] {
    let at = at.index(good.len() + 1);
    let (before, after) = good.split_at(at);
    let over = after.get(rubbish.len()..).unwrap_or_default();
    [
        rubbish.to_vec(),
        [&[1], rubbish].concat(),
        [before, rubbish].concat(),
        [before, rubbish, over].concat(),
        [before, rubbish, after].concat(),
    ]
}

proptest! {
    #[test]
    fn damaged_rows_beside_the_states_do_no_harm(
        row: Index, at: Index, rubbish in proptest::collection::vec(any::<u8>(), 0..60)
    ) {
        let (kv, _) = filled();
        let rows = rows(&kv);
        let (key, value) = row.get(&rows);
        for bad in damaged(value, at, &rubbish) {
            let (kv, _) = filled();
            put(&kv, key, &bad);
            check(use_all(&kv));
        }
        for bad in damaged(key, at, &rubbish).iter().filter(|bad| !bad.is_empty()) {
            let (kv, _) = filled();
            put(&kv, bad, value);
            check(use_all(&kv));
        }
    }

    #[test]
    fn a_damaged_label_is_no_other_stores(
        at: Index, rubbish in proptest::collection::vec(any::<u8>(), 0..40)
    ) {
        let (_, disk) = filled();
        let good = disk.read(Path::new(LABEL)).unwrap();
        for bad in damaged(&good, at, &rubbish) {
            disk.write_atomic(Path::new(LABEL), &bad).unwrap();
            check_label(label::of_log(&disk, Path::new("/log")));
        }
    }

    /// What other nodes say is read, or refused: never a panic.
    #[test]
    fn rubbish_from_other_nodes_does_no_harm(rubbish in proptest::collection::vec(any::<u8>(), 0..300)) {
        for bytes in [&rubbish[..], &[&[1], &rubbish[..]].concat()] {
            let _ = message::Answer::decode(bytes);
            let heard = message::Envelope::decode(bytes);
            if let Ok(message::Envelope { body: message::Body::Heartbeats(all), .. }) = heard {
                for (_, append) in all {
                    let _ = append.into_request();
                }
            }
        }
    }
}
