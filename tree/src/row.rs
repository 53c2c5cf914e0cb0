//! Rows of all tables: a version, and an envelope around the fields that this version has. Format:
//! `docs/formats/metadata-rows.md`.
//!
//! A struct gets a field together with a version. Which version is written follows from the partition's feature level,
//! so that a replica of an older build never meets one that it does not know.

use std::ops::ControlFlow;

use bytes::Bytes;
use kv::{Order, Read};
use serde::Serialize;
use serde::de::DeserializeOwned;
use types::{Error, FeatureLevel, Result};

use crate::failure::Halt;

/// First bytes of the keys of what belongs to a partition itself: behind all slots.
pub const PARTITION: [u8; 2] = [0xff; 2];

/// The value of a row.
pub trait Row: Serialize + DeserializeOwned {
    /// What messages call it.
    const NAME: &'static str;
    /// The newest version that this build reads; versions count from 1.
    const VERSION: u8 = 1;

    /// The version that is written at a feature level.
    fn version_at(_level: FeatureLevel) -> u8 {
        1
    }

    /// The fields of a version, in the same bytes whatever wrote them (I-DET).
    fn to_plain(&self, version: u8) -> Vec<u8> {
        assert_eq!(version, 1, "a row with more versions says what they are");
        proto::encode_plain(self)
    }

    /// What it means, in the same bytes on every replica at this level: all fields but those that another build may word
    /// in another way.
    fn to_canonical(&self, level: FeatureLevel) -> Vec<u8> {
        self.to_plain(Self::version_at(level))
    }

    /// Reads the fields of a version.
    fn from_plain(_version: u8, plain: &[u8]) -> Result<Self> {
        proto::decode_plain(plain)
    }
}

/// Rows with one version so far.
macro_rules! rows {
    ($($name:literal = $row:ty;)*) => { $(impl $crate::row::Row for $row { const NAME: &'static str = $name; })* };
}
pub(crate) use rows;

rows! {
    "count" = u64;
    "feature level" = FeatureLevel;
}

/// A row as it is stored.
pub fn encode<T: Row>(row: &T, level: FeatureLevel) -> Bytes {
    let version = T::version_at(level);
    [&[version], &proto::seal_plain(&row.to_plain(version))[..]].concat().into()
}

/// Reads a stored row.
pub fn decode<T: Row>(bytes: &[u8]) -> Result<T, Halt> {
    let Some((&version, envelope)) = bytes.split_first() else { return Err(damaged::<T>("it is empty")) };
    if version > T::VERSION {
        return Err(Halt::new(Error::unavailable(format!(
            "a row of the table '{}' has version {version}, this build knows {}: update this node",
            T::NAME,
            T::VERSION
        ))));
    }
    if version == 0 {
        return Err(damaged::<T>("its version is 0"));
    }
    let plain = proto::open(envelope).map_err(|e| damaged::<T>(e.message()))?;
    T::from_plain(version, &plain).map_err(|e| damaged::<T>(e.message()))
}

/// Reads a row; `None` when there is none.
pub fn load<T: Row>(state: &dyn Read, key: &[u8]) -> Result<Option<T>, Halt> {
    let found = state.get(key).map_err(Halt::new)?;
    found.map(|bytes| decode(&bytes).map_err(|halt| halt.context(key.escape_ascii()))).transpose()
}

/// The first key of a range; `None` when it is empty.
pub fn first_key(state: &dyn Read, start: &[u8], end: &[u8]) -> Result<Option<Vec<u8>>, Halt> {
    let mut found = None;
    let scanned = state.scan(start, end, Order::Forward, &mut |key, _| {
        found = Some(key.to_vec());
        ControlFlow::Break(())
    });
    scanned.map_err(Halt::new)?;
    Ok(found)
}

/// Visits at most `limit` rows of a range; true when there are more.
pub fn scan_page(
    state: &dyn Read,
    (start, end, order): (&[u8], &[u8], Order),
    limit: usize,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), Halt>,
) -> Result<bool, Halt> {
    assert!(limit > 0, "page() leaves room for one: an empty page with more after it would never end");
    let mut count = 0;
    let mut outcome = Ok(());
    let scanned = state.scan(start, end, order, &mut |key, value| {
        count += 1;
        if count > limit {
            return ControlFlow::Break(());
        }
        outcome = visit(key, value);
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    scanned.map_err(Halt::new)?;
    outcome.map(|()| count > limit)
}

/// A stored row as every replica at this level has it: without what compresses it and how old it is.
pub fn canonical<T: Row>(bytes: &[u8], level: FeatureLevel) -> Result<Vec<u8>, Halt> {
    Ok(decode::<T>(bytes)?.to_canonical(level))
}

/// A row that no build has written.
pub fn damaged<T: Row>(what: &str) -> Halt {
    Halt::new(Error::corrupt(format!(
        "a row of the table '{}' cannot be read ({what}): the state on this node is damaged, let it be replaced",
        T::NAME
    )))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    /// Version 2 has what version 1 says in other words.
    #[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
    struct Grown {
        name: String,
        count: u64,
    }

    impl Row for Grown {
        const NAME: &'static str = "grown";
        const VERSION: u8 = 2;

        fn version_at(level: FeatureLevel) -> u8 {
            if level < FeatureLevel(3) { 1 } else { 2 }
        }

        fn to_plain(&self, version: u8) -> Vec<u8> {
            if version == 1 { proto::encode_plain(&(&self.name,)) } else { proto::encode_plain(self) }
        }

        fn from_plain(version: u8, plain: &[u8]) -> Result<Self> {
            if version > 1 {
                return proto::decode_plain(plain);
            }
            let (name,) = proto::decode_plain(plain)?;
            Ok(Self { name, count: 0 })
        }
    }

    fn grown(count: u64) -> Grown {
        Grown { name: "a".into(), count }
    }

    #[test]
    fn rows_are_frozen() {
        assert_eq!(encode(&7u64, FeatureLevel(1))[..], [1, 1, 0, 7]);
        assert_eq!(encode(&grown(5), FeatureLevel(2))[..], [1, 1, 0, 1, b'a']);
        assert_eq!(encode(&grown(5), FeatureLevel(3))[..], [2, 1, 0, 1, b'a', 5]);
    }

    #[test]
    fn all_versions_up_to_the_newest_are_read() {
        for (level, want) in [(1, 0), (2, 0), (3, 5), (9, 5)] {
            assert_eq!(decode::<Grown>(&encode(&grown(5), FeatureLevel(level))), Ok(grown(want)), "{level}");
        }
    }

    /// Equal rows have equal bytes, however they were stored.
    #[test]
    fn what_is_canonical_does_not_depend_on_how_it_is_stored() {
        let (old, new) = (encode(&grown(0), FeatureLevel(1)), encode(&grown(0), FeatureLevel(3)));
        assert_ne!(old, new);
        for level in [1, 3].map(FeatureLevel) {
            assert_eq!(canonical::<Grown>(&old, level), canonical::<Grown>(&new, level));
        }
        let long = Grown { name: "a".repeat(2000), count: 0 };
        let plain = [&[1][..], &[1, 0], &long.to_plain(1)].concat();
        assert_ne!(plain, encode(&long, FeatureLevel(1)), "what is stored is compressed");
        assert_eq!(canonical::<Grown>(&plain, FeatureLevel(1)), Ok(long.to_plain(1)));
    }

    #[test]
    fn bad_rows_are_halts_that_say_what_to_do() {
        let say = |bytes: &[u8]| decode::<Grown>(bytes).unwrap_err().to_string() + "\n";
        let lines = [&[][..], &[0, 1, 0, 1, b'a'], &[3, 1, 0], &[1, 1, 0, 9], &[2, 9, 0]].map(say);
        expect![[r#"
            corrupt: a row of the table 'grown' cannot be read (it is empty): the state on this node is damaged, let it be replaced
            corrupt: a row of the table 'grown' cannot be read (its version is 0): the state on this node is damaged, let it be replaced
            unavailable: a row of the table 'grown' has version 3, this build knows 2: update this node
            corrupt: a row of the table 'grown' cannot be read (message cannot be read: Hit the end of buffer, expected more data): the state on this node is damaged, let it be replaced
            corrupt: a row of the table 'grown' cannot be read (message cannot be read: its version is 9, this program knows 1; update the older side): the state on this node is damaged, let it be replaced
        "#]]
        .assert_eq(&lines.concat());
    }
}
