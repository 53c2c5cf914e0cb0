//! Compression of a chunk's payload, used only where it pays.
//!
//! Owns: the decision, and the bound on what a compressed payload may expand to.
//! Knows nothing of: whose bytes they are; the caller records `compressed` and the plain size.

use std::cell::RefCell;

use bytes::Bytes;
use types::limits::{CHUNK_SIZE_MAX, KIB};
use types::{Error, Result};
use zstd::bulk::{Compressor, Decompressor};

/// Higher levels cost several times the CPU for a few per cent.
const LEVEL: i32 = 1;
/// A chunk of this size or more is judged by samples first.
const SAMPLED_SIZE_MIN: usize = 64 * KIB;
/// Bytes of one sample.
const SAMPLE_SIZE: usize = 4 * KIB;
/// Samples of a chunk, spread evenly.
const SAMPLE_COUNT: usize = 4;

/// A payload as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The bytes to keep.
    pub bytes: Bytes,
    /// True when they must go through [`decompress`].
    pub compressed: bool,
}

thread_local! {
    // Setting up zstd's tables costs more than compressing a small chunk with them.
    static COMPRESSOR: RefCell<Compressor<'static>> =
        RefCell::new(Compressor::new(LEVEL).expect("level 1 exists and memory does not fail"));
    static DECOMPRESSOR: RefCell<Decompressor<'static>> =
        RefCell::new(Decompressor::new().expect("memory does not fail"));
}

/// Compresses a chunk if that saves at least an eighth; otherwise keeps it as it is, without copying.
pub fn compress(plain: &Bytes) -> Stored {
    let as_is = || Stored { bytes: plain.clone(), compressed: false };
    if plain.len() >= SAMPLED_SIZE_MIN && !samples_shrink(plain) {
        return as_is();
    }
    match shrink(plain) {
        Some(bytes) => Stored { bytes: bytes.into(), compressed: true },
        None => as_is(),
    }
}

/// Undoes [`compress`] for a payload that was compressed from `plain_size` bytes; `Corrupt` when it was not.
pub fn decompress(bytes: &[u8], plain_size: usize) -> Result<Bytes> {
    if plain_size > CHUNK_SIZE_MAX {
        return Err(Error::corrupt(format!(
            "a record claims a chunk of {plain_size} bytes, over the limit of {CHUNK_SIZE_MAX}"
        )));
    }
    let plain = DECOMPRESSOR
        .with_borrow_mut(|zstd| zstd.decompress(bytes, plain_size))
        .map_err(|e| Error::corrupt(format!("payload of {} bytes does not decompress: {e}", bytes.len())))?;
    if plain.len() != plain_size {
        return Err(Error::corrupt(format!(
            "payload decompresses to {} bytes, not {plain_size}",
            plain.len()
        )));
    }
    Ok(plain.into())
}

/// The compressed bytes, or `None` when they are more than seven eighths: zstd stops as soon as it runs out of room.
fn shrink(plain: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = vec![0; plain.len() - plain.len().div_ceil(8)];
    let size = COMPRESSOR.with_borrow_mut(|zstd| zstd.compress_to_buffer(plain, &mut bytes[..]).ok())?;
    bytes.truncate(size);
    bytes.shrink_to_fit();
    Some(bytes)
}

/// Encrypted and already compressed bytes do not shrink anywhere: a few samples show it, at a fraction of the cost.
fn samples_shrink(plain: &[u8]) -> bool {
    let step = (plain.len() - SAMPLE_SIZE) / (SAMPLE_COUNT - 1);
    let mut room = [0; SAMPLE_SIZE - SAMPLE_SIZE / 32];
    (0..SAMPLE_COUNT).any(|i| {
        let sample = &plain[i * step..i * step + SAMPLE_SIZE];
        COMPRESSOR.with_borrow_mut(|zstd| zstd.compress_to_buffer(sample, &mut room[..]).is_ok())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use types::ErrorKind;

    use super::*;

    fn noise(size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    #[track_caller]
    fn check(plain: Vec<u8>, compressed: bool) {
        let plain = Bytes::from(plain);
        let stored = compress(&plain);
        assert_eq!(stored.compressed, compressed);
        if compressed {
            assert!(stored.bytes.len() <= plain.len() - plain.len() / 8);
            assert_eq!(decompress(&stored.bytes, plain.len()), Ok(plain));
        } else {
            assert_eq!(stored.bytes.as_ptr(), plain.as_ptr(), "kept without a copy");
        }
    }

    #[test]
    fn only_what_shrinks_is_compressed() {
        check(vec![], false);
        check(b"x".to_vec(), false);
        check(b"to be or not to be ".repeat(10), true);
        check(vec![0; CHUNK_SIZE_MAX], true);
        check(noise(1000), false);
        check(noise(CHUNK_SIZE_MAX), false);
        check([noise(90 * KIB), vec![7; 10 * KIB]].concat(), false);
        check([noise(80 * KIB), vec![7; 20 * KIB]].concat(), true);
    }

    #[test]
    fn bad_payloads_are_corrupt() {
        let stored = compress(&vec![1; 1000].into()).bytes;
        for (bytes, size) in [
            (&stored[..], 999),
            (&stored[..], 1001),
            (&stored[..stored.len() - 1], 1000),
            (b"rubbish", 1000),
            (&stored[..], CHUNK_SIZE_MAX + 1),
            (&stored[..], usize::MAX),
        ] {
            assert_eq!(decompress(bytes, size).unwrap_err().kind(), ErrorKind::Corrupt, "{size}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(plain in prop::collection::vec(0..4u8, 0..5000)) {
            let plain = Bytes::from(plain);
            let stored = compress(&plain);
            let back = if stored.compressed { decompress(&stored.bytes, plain.len()).unwrap() } else { stored.bytes };
            prop_assert_eq!(back, plain);
        }

        #[test]
        fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), size in 0..10_000usize) {
            let _ = decompress(&bytes, size);
        }
    }
}
