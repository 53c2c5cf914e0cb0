//! Rows with frozen bytes: what the tests of each kind of partition share. The rows are in `golden.rs` of each.
#![cfg(test)]

use std::fmt::Debug;

use bytes::Bytes;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use proptest::sample::Index;
use proto::command::LEVEL_NEWEST;
use types::FeatureLevel;

use crate::level::LEVEL;
use crate::replica::Machine;
use crate::row::{Row, decode, encode};

/// A row as it is stored.
pub struct Frozen {
    name: &'static str,
    key: Vec<u8>,
    value: Bytes,
    /// Reads bytes as a row of this table: what can be read comes back equal when it is written again.
    read: fn(&[u8]),
}

/// Random bytes, in place of a row and in the middle of one.
#[derive(Debug)]
pub struct Damage {
    row: Index,
    at: Index,
    rubbish: Vec<u8>,
}

/// A row of a table.
pub fn row<T: Row + Debug + PartialEq>(name: &'static str, key: impl Into<Vec<u8>>, value: &T) -> Frozen {
    let bytes = encode(value, FeatureLevel::FIRST);
    assert_eq!(decode::<T>(&bytes).as_ref(), Ok(value), "{name}");
    Frozen { name, key: key.into(), value: bytes, read: read::<T> }
}

fn read<T: Row + Debug + PartialEq>(bytes: &[u8]) {
    if let Ok(row) = decode::<T>(bytes) {
        assert_eq!(decode::<T>(&encode(&row, LEVEL_NEWEST)), Ok(row));
    }
}

/// Their keys and values in hexadecimal digits. A machine of this kind must know all of their tables.
#[track_caller]
pub fn check<M: Machine>(rows: &[Frozen], want: Expect) {
    for Frozen { name, key, value, .. } in rows {
        assert!(M::canonical(key, value, FeatureLevel::FIRST).is_ok(), "{name}");
    }
    want.assert_eq(&rows.iter().map(line).collect::<String>());
}

fn line(row: &Frozen) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let repeated = |text: String| text.replace(&"aa".repeat(32), "(hash)").replace(&"bb".repeat(16), "(id)");
    format!("{}: {} = {}\n", row.name, repeated(hex(&row.key)), repeated(hex(&row.value)))
}

/// Random damage for [`survive`].
pub fn damage() -> impl Strategy<Value = Damage> {
    let rubbish = proptest::collection::vec(any::<u8>(), 0..80);
    (any::<Index>(), any::<Index>(), rubbish).prop_map(|(row, at, rubbish)| Damage { row, at, rubbish })
}

/// Damage is a halt or reads as another row, as nothing but the disk's checksums protects rows; it never panics.
pub fn survive<M: Machine>(rows: &[Frozen], Damage { row, at, rubbish }: &Damage) {
    let Frozen { key, value, read, .. } = row.get(rows);
    let at = at.index(value.len());
    let (before, after) = value.split_at(at);
    let over = after.get(rubbish.len()..).unwrap_or_default();
    for bad in [
        rubbish.clone(),
        // Rubbish in a good envelope, at the end of a row, over a part of it and in front of one.
        [&[1, 1, 0], &rubbish[..]].concat(),
        [before, rubbish].concat(),
        [before, rubbish, over].concat(),
        [before, rubbish, after].concat(),
    ] {
        read(&bad);
        let _ = M::canonical(key, &bad, FeatureLevel::FIRST);
    }
    let at = at.min(key.len());
    for bad in [rubbish.clone(), [&key[..at], rubbish].concat()] {
        let _ = M::canonical(&bad, value, FeatureLevel::FIRST);
    }
}

#[test]
fn feature_levels_are_frozen() {
    let row = row("level", LEVEL, &FeatureLevel(300));
    expect![[r#"
        level: ffff6c = 010100ac02
    "#]]
    .assert_eq(&line(&row));
}
