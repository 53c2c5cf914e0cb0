//! Goal: what is sealed opens with the same key, as a whole and in ranges, and nothing else opens; equal input gives
//! equal bytes, and no two payloads share a key. Method: frozen bytes, payloads at the edges of frames, and damage of
//! every kind.

use std::fmt::Write;

use expect_test::expect;
use proptest::prelude::*;
use types::ErrorKind;
use types::limits::{
    CHUNK_SIZE_MAX, SEALED_FRAME_SIZE, SEALED_HEADER_SIZE, SEALED_SIZE_MAX, SEALED_TAG_SIZE,
};

use super::frames::sealed_size;
use super::*;
use crate::chunk_id;
use crate::compress::compress;

const FRAME: usize = SEALED_FRAME_SIZE + SEALED_TAG_SIZE;

fn key(id: u32, secret: u8) -> SealKey {
    SealKey { tenant: TenantId(1), id: KeyId(id), secret: [secret; 32] }
}

fn as_is(bytes: Bytes) -> Stored {
    Stored { bytes, compressed: false }
}

fn noise(size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes.into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[test]
fn sealed_bytes_are_frozen() {
    let plain = Bytes::from_static(b"attack at dawn");
    let id = chunk_id(&plain);
    let sealed = seal(&key(7, 9), &id, &as_is(plain.clone()));
    let compressed = seal(&key(7, 9), &id, &Stored { bytes: plain, compressed: true });
    let secret = seal_secret(&key(7, 9), "a test", b"dusk");
    let lines = [&sealed[..], &compressed, &secret].map(|bytes| hex(bytes) + "\n");
    expect![[r#"
        4353534c01100000010000000700000000000000000000000000000000000000894cd3ad3f17698ea3b7231b96d62463add3e787d128b9324e3856333dbd
        4353534c011000000100000007000000a2b5b1797527cb55efff93ef22f154a1bfde2d741d52d6da7d9a6b50814d8742338b207d1471f247193d2b35df28
        b2b14110b9c286bde71fdc20c86a812afb7517717c48ba8efc896def8fd6b7604353534c0110000001000000070000000000000000000000000000000000000053da001f059622515e8eac055673e7da7452aef2
    "#]].assert_eq(&lines.concat());
    assert_eq!(open_secret(&key(7, 9), "a test", &secret), Ok(Bytes::from_static(b"dusk")));
}

#[test]
fn payloads_come_back_in_whole_and_in_part() {
    for size in [0, 1, 16, FRAME - 16, FRAME - 15, FRAME, 3 * SEALED_FRAME_SIZE, CHUNK_SIZE_MAX] {
        let plain = noise(size);
        let (key, id) = (key(1, 1), chunk_id(&plain));
        let sealed = seal(&key, &id, &as_is(plain.clone()));
        assert_eq!(sealed.len(), sealed_size(size));
        assert!(sealed.len() <= SEALED_SIZE_MAX);
        assert_eq!(sealed_with(&sealed), Ok((TenantId(1), KeyId(1))));
        assert_eq!(open(&key, &id, &sealed), Ok(plain.clone()), "{size}");
        for offset in [0, 1, SEALED_FRAME_SIZE - 1, SEALED_FRAME_SIZE, size, size + 1, usize::MAX] {
            for count in [0, 1, 2, SEALED_FRAME_SIZE + 1, usize::MAX] {
                let want = plain.slice(offset.min(size)..offset.saturating_add(count).min(size));
                assert_eq!(
                    open_range(&key, &id, &sealed, offset, count),
                    Ok(want.clone()),
                    "{offset}+{count}"
                );
                let excerpt = Excerpt::new(size, offset, count);
                let read = &sealed[excerpt.sealed_range()];
                assert_eq!(excerpt.open(&key, &id, read), Ok(want), "{offset}+{count}");
                assert!(read.len() <= count.saturating_add(2 * FRAME), "{offset}+{count}");
            }
        }
    }
}

#[test]
fn an_excerpt_of_something_else_does_not_open() {
    let plain = noise(3 * SEALED_FRAME_SIZE);
    let (key, id) = (key(1, 1), chunk_id(&plain));
    let sealed = seal(&key, &id, &as_is(plain.clone()));
    let excerpt = Excerpt::new(plain.len(), SEALED_FRAME_SIZE, 10);
    let right = excerpt.sealed_range();
    let mut flipped = sealed[right.clone()].to_vec();
    flipped[100] ^= 1;
    let other = Excerpt::new(plain.len(), 0, 10).sealed_range();
    for read in [&flipped[..], &sealed[other], &sealed[right.start..right.end - 1], &[]] {
        assert_eq!(excerpt.open(&key, &id, read).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let longer = Excerpt::new(plain.len() + SEALED_FRAME_SIZE, SEALED_FRAME_SIZE, 10);
    let error = longer.open(&key, &id, &sealed[right]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "of a chunk of another size");
}

#[test]
fn a_range_opens_its_frames_only() {
    let plain = noise(3 * SEALED_FRAME_SIZE);
    let (key, id) = (key(1, 1), chunk_id(&plain));
    let mut damaged = seal(&key, &id, &as_is(plain.clone())).to_vec();
    damaged[SEALED_HEADER_SIZE + FRAME] ^= 1;
    let range = |at, count| open_range(&key, &id, &damaged, at, count).map(|bytes| bytes.len());
    assert_eq!(range(0, SEALED_FRAME_SIZE), Ok(SEALED_FRAME_SIZE));
    assert_eq!(range(2 * SEALED_FRAME_SIZE, 5), Ok(5));
    assert_eq!(range(SEALED_FRAME_SIZE - 1, 2).unwrap_err().kind(), ErrorKind::Corrupt);
}

/// Decision 0007: whoever stores a chunk again writes the bytes that are there.
#[test]
fn equal_input_gives_equal_bytes_and_nothing_else_does() {
    let plain = Bytes::from(b"to be or not to be ".repeat(100));
    let (id, stored) = (chunk_id(&plain), compress(&plain));
    let other_compressor =
        Stored { bytes: zstd::bulk::compress(&plain, 19).unwrap().into(), ..stored.clone() };
    assert_ne!(other_compressor, stored);
    let first = seal(&key(1, 1), &id, &stored);
    assert_eq!(seal(&key(1, 1), &id, &stored), first);
    let others = [
        seal(&key(1, 1), &id, &other_compressor),
        seal(&key(1, 1), &id, &as_is(plain)),
        seal(&key(2, 1), &id, &stored),
        seal(&SealKey { tenant: TenantId(2), ..key(1, 1) }, &id, &stored),
    ];
    assert_eq!(fingerprint(&first, 7), fingerprint(&first, 7));
    assert_ne!(fingerprint(&first, 7), fingerprint(&first, 0));
    for other in &others {
        // An equal payload under a key of its own has nothing in common with the first.
        let (a, b) = (&first[SEALED_HEADER_SIZE..], &other[SEALED_HEADER_SIZE..]);
        assert!(a.iter().zip(b).filter(|(a, b)| a == b).count() < a.len() / 8);
        assert_ne!(fingerprint(other, 0), fingerprint(&first, 0));
    }
}

#[test]
fn a_wrong_key_or_name_opens_nothing_and_is_named() {
    let plain = noise(100);
    let id = chunk_id(&plain);
    let sealed = seal(&key(3, 1), &id, &as_is(plain));
    let error = open(&key(3, 2), &id, &sealed).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("does not fit key 3 of tenant 1"), "{error}");
    assert!(open(&key(3, 1), &chunk_id(b"another"), &sealed).is_err());
}

#[test]
fn frames_are_neither_exchanged_nor_cut_off() {
    let plain = noise(4 * SEALED_FRAME_SIZE);
    let (key, id) = (key(1, 1), chunk_id(&plain));
    let sealed = seal(&key, &id, &as_is(plain));
    let frame = |n: usize| &sealed[SEALED_HEADER_SIZE + n * FRAME..SEALED_HEADER_SIZE + (n + 1) * FRAME];
    let header = &sealed[..SEALED_HEADER_SIZE];
    for order in [&[0, 1, 2][..], &[0], &[], &[1, 0, 2, 3], &[0, 1, 1, 3], &[0, 1, 2, 3, 3], &[1, 2, 3]] {
        let parts: Vec<&[u8]> = std::iter::once(header).chain(order.iter().map(|n| frame(*n))).collect();
        assert_eq!(open(&key, &id, &parts.concat()).unwrap_err().kind(), ErrorKind::Corrupt, "{order:?}");
    }
}

#[test]
fn secrets_open_for_their_purpose_only() {
    let sealed = seal_secret(&key(1, 1), "ring key 1", b"secret");
    assert_eq!(open_secret(&key(1, 1), "ring key 1", &sealed), Ok(Bytes::from_static(b"secret")));
    for (wrong, purpose) in [(key(1, 2), "ring key 1"), (key(2, 1), "ring key 1"), (key(1, 1), "ring key 2")]
    {
        assert_eq!(open_secret(&wrong, purpose, &sealed).unwrap_err().kind(), ErrorKind::Denied);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is damaged, cut or added is refused, in every part of the format.
    #[test]
    fn damage_is_refused(size in 0usize..200_000, at in any::<prop::sample::Index>(), bit in 0u8..8, longer in any::<bool>()) {
        let plain = noise(size);
        let (key, id) = (key(1, 1), chunk_id(&plain));
        let sealed = seal(&key, &id, &as_is(plain)).to_vec();
        let at = at.index(sealed.len());
        let mut flipped = sealed.clone();
        flipped[at] ^= 1 << bit;
        let tail = if longer { [&sealed[..], &sealed[at..]].concat() } else { sealed[..at].to_vec() };
        for bad in [flipped, tail] {
            prop_assert_eq!(open(&key, &id, &bad).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        let mut secret = seal_secret(&key, "p", &sealed[..at.min(50)]).to_vec();
        let at = at % secret.len();
        secret[at] ^= 1 << bit;
        prop_assert!(open_secret(&key, "p", &secret).is_err());
    }

    #[test]
    fn rubbish_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), offset in any::<usize>(), count in any::<usize>()) {
        let framed = [&b"CSSL\x01\x10\0\0"[..], &bytes].concat();
        for input in [&bytes, &framed] {
            let _ = sealed_with(input);
            let _ = fingerprint(input, 0);
            let _ = open_secret(&key(1, 1), "p", input);
            prop_assert!(open_range(&key(1, 1), &ChunkId([0; 32]), input, offset, count).is_err());
        }
    }
}
