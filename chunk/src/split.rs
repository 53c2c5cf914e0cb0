//! Cuts a stream of bytes into content-defined chunks (FastCDC, 2020 variant).
//!
//! Owns: the splitting rules. They are part of the format: a changed constant makes every stored file a stranger to
//! its next version, so a new rule gets a new id and the old ones stay.
//! Knows nothing of: where the bytes come from, how chunks are named or stored.

mod rule;
mod scan;

use bytes::{Bytes, BytesMut};

pub use rule::SplitRule;

use scan::Scan;

impl SplitRule {
    /// Length of the first chunk of `bytes`, which must hold `max` bytes or all that is left of the file.
    fn cut(&self, bytes: &[u8]) -> usize {
        Scan::new().cut(self, bytes, true).expect("the end of a file is the end of a chunk")
    }

    /// Cuts bytes that are all in memory, without copying them.
    pub fn split(self, mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
        std::iter::from_fn(move || (!bytes.is_empty()).then(|| bytes.split_to(self.cut(&bytes))))
    }
}

/// Cuts a stream that arrives in pieces. How it is cut into pieces does not change the chunks.
///
/// Push until [`Splitter::next_chunk`] has an answer; after the last piece call [`Splitter::finish`] and take the rest.
#[derive(Debug)]
pub struct Splitter {
    rule: SplitRule,
    /// What was pushed and not yet given out. Chunks are split off its front without copying.
    buffer: BytesMut,
    /// The search in it.
    scan: Scan,
    /// A chunk was given out.
    is_long: bool,
    finished: bool,
}

impl Splitter {
    /// A splitter at the beginning of a stream.
    pub fn new(rule: SplitRule) -> Self {
        Self { rule, buffer: BytesMut::new(), scan: Scan::new(), is_long: false, finished: false }
    }

    /// Appends the next piece of the stream. Take the chunks out between pieces, so that the buffer stays small.
    pub fn push(&mut self, piece: &[u8]) {
        self.make_room(piece.len());
        self.buffer.extend_from_slice(piece);
    }

    /// Lets `read` append the next piece, of up to `size` bytes, to the buffer the chunks are cut from: without a copy.
    /// Returns what `read` returns.
    pub fn push_with<R>(&mut self, size: usize, read: impl FnOnce(&mut BytesMut) -> R) -> R {
        self.make_room(size);
        read(&mut self.buffer)
    }

    fn make_room(&mut self, size: usize) {
        assert!(!self.finished, "push() after finish()");
        if self.buffer.capacity() - self.buffer.len() < size {
            // A chunk that was given out pins the old buffer, so growing moves the unfinished rest (less than one
            // chunk) to a new one. Twice the largest chunk keeps that rare; a small file never gets that far.
            let ahead = if self.is_long { 2 * self.rule.max } else { 0 };
            self.buffer.reserve(size.max(ahead));
        }
    }

    /// The stream is at its end: the rest can be cut.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// The next chunk, or `None` until more is pushed (or, after the end, when all are out).
    pub fn next_chunk(&mut self) -> Option<Bytes> {
        if self.buffer.is_empty() {
            return None;
        }
        let size = self.scan.cut(&self.rule, &self.buffer, self.finished)?;
        self.scan = Scan::new();
        self.is_long = true;
        Some(self.buffer.split_to(size).freeze())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use fastcdc::v2020;
    use proptest::prelude::*;
    use types::limits::{KIB, LARGE_FILE_SIZE_MIN, MIB};

    use super::rule::{LARGE, SMALL};
    use super::*;

    /// Many cuts in few bytes.
    const TINY: SplitRule = SplitRule { id: 0, min: 64, avg: 256, max: KIB };

    /// Bytes that look random and are the same everywhere, forever.
    fn noise(size: usize) -> Bytes {
        let mut bytes = vec![0; size];
        blake3::Hasher::new().update(b"split test").finalize_xof().fill(&mut bytes);
        bytes.into()
    }

    fn split_in_pieces(rule: SplitRule, bytes: &[u8], sizes: impl Iterator<Item = usize>) -> Vec<Bytes> {
        let mut splitter = Splitter::new(rule);
        let (mut chunks, mut rest) = (Vec::new(), bytes);
        for size in sizes {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            // As much room as a reader asks for, whatever it gets.
            splitter.push_with(MIB, |buffer| buffer.extend_from_slice(piece));
            chunks.extend(std::iter::from_fn(|| splitter.next_chunk()));
            rest = after;
        }
        splitter.push(rest);
        splitter.finish();
        chunks.extend(std::iter::from_fn(|| splitter.next_chunk()));
        chunks
    }

    #[track_caller]
    fn check(rule: SplitRule, size: usize, want: Expect) {
        let sizes: Vec<usize> = rule.split(noise(size)).map(|chunk| chunk.len()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), size);
        want.assert_eq(&format!("{sizes:?}"));
    }

    #[test]
    fn boundaries_are_frozen() {
        check(SMALL, 0, expect!["[]"]);
        check(SMALL, 1, expect!["[1]"]);
        check(SMALL, 64 * KIB, expect!["[65536]"]);
        check(
            SMALL,
            3 * MIB,
            expect!["[313228, 263698, 397725, 300672, 296708, 286559, 322448, 263868, 388456, 312366]"],
        );
        check(LARGE, 8 * MIB, expect!["[1308221, 1258148, 1070539, 1128444, 1992031, 1050966, 580259]"]);
    }

    #[test]
    fn bytes_without_features_are_cut_at_the_maximum() {
        let zeros = Bytes::from(vec![0; 5 * MIB / 2]);
        let sizes: Vec<usize> = SMALL.split(zeros).map(|chunk| chunk.len()).collect();
        assert_eq!(sizes, [MIB, MIB, MIB / 2]);
    }

    #[test]
    fn an_insertion_changes_few_chunks() {
        let before = noise(8 * MIB);
        let after: Bytes = [&before[..3 * MIB], b"inserted", &before[3 * MIB..]].concat().into();
        let known: std::collections::BTreeSet<Bytes> = SMALL.split(before).collect();
        let new = SMALL.split(after).filter(|chunk| !known.contains(chunk)).count();
        assert!((1..=3).contains(&new), "{new} new chunks");
    }

    /// Where the library cuts.
    fn library_cut(rule: SplitRule, bytes: &[u8]) -> usize {
        let SplitRule { min, avg, max, .. } = rule;
        let (strict, relaxed) = v2020::select_masks(avg, scan::NORMALIZATION);
        v2020::cut(bytes, min, avg, max, strict, relaxed, strict << 1, relaxed << 1).1
    }

    #[track_caller]
    fn check_library(rule: SplitRule, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let cut = rule.cut(bytes);
            assert_eq!(cut, library_cut(rule, bytes), "{rule:?}, {} bytes left", bytes.len());
            bytes = &bytes[cut..];
        }
    }

    #[test]
    fn the_end_of_a_file_is_cut_as_the_library_does() {
        let bytes = noise(4 * MIB);
        for around in [SMALL.min, SMALL.avg, SMALL.max, SMALL.min + 16 * KIB, SMALL.avg + 32 * KIB] {
            for size in around - 3..=around + 3 {
                for start in [0, MIB, 2 * MIB] {
                    check_library(SMALL, &bytes[start..][..size]);
                }
            }
        }
    }

    #[test]
    fn rules_by_size_and_id() {
        assert_eq!(SplitRule::for_size(LARGE_FILE_SIZE_MIN - 1).max, MIB);
        assert_eq!(SplitRule::for_size(LARGE_FILE_SIZE_MIN).max, 4 * MIB);
        assert_eq!(SplitRule::by_id(2), Ok(LARGE));
        assert!(SplitRule::by_id(3).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn cuts_are_the_library_s(
            size in 0..6 * MIB,
            seed: u64,
            // Few different values in a row make cuts near each other and none for long.
            values in 1..=256_u64,
        ) {
            let mut state = seed;
            let bytes: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                ((state >> 40) % values) as u8
            })
            .take(size)
            .collect();
            check_library(SMALL, &bytes);
            check_library(LARGE, &bytes);
            check_library(TINY, &bytes[..size.min(MIB)]);
        }

        #[test]
        fn pieces_do_not_matter(size in 0..5 * MIB, pieces in prop::collection::vec(0..MIB, 0..40)) {
            let bytes = noise(size);
            let whole: Vec<Bytes> = SMALL.split(bytes.clone()).collect();
            prop_assert_eq!(split_in_pieces(SMALL, &bytes, pieces.into_iter()), whole);
        }

        #[test]
        fn small_pieces_do_not_matter(size in 0..64 * KIB, pieces in prop::collection::vec(0..300_usize, 0..300)) {
            let bytes = noise(size);
            let whole: Vec<Bytes> = TINY.split(bytes.clone()).collect();
            prop_assert_eq!(split_in_pieces(TINY, &bytes, pieces.into_iter()), whole);
        }
    }
}
