//! The search for a cut: what FastCDC 2020 defines, at four places at once.
//!
//! Owns: finding, fast and in pieces, the byte that the library's own `cut` finds; a test holds the two together.
//! Knows nothing of: where the bytes come from.
//!
//! The hash is a chain: each byte waits for the one before, three cycles for two bytes, while the processor could do
//! four times as much. But the hash shifts by a bit per byte, so it has forgotten what is more than 64 bytes back, and
//! a second chain may begin anywhere 64 bytes early. Four chains, one core: 1.4 -> 3.4 GB/s.

use std::borrow::Cow;

use fastcdc::v2020::{self, Normalization};
use types::limits::KIB;

use super::rule::SplitRule;

/// Level 2 keeps sizes close to the average: fewer tiny chunks to index, fewer cuts forced at the maximum.
pub(super) const NORMALIZATION: Normalization = Normalization::Level2;

/// Bytes that the hash remembers: one per bit.
const MEMORY: usize = u64::BITS as usize;
/// Chains side by side. With more, their hashes do not fit in registers.
const LANES: usize = 4;
/// Bytes of a lane: many times [`MEMORY`], and few to search again when one of them is a cut.
const LANE_SIZE: usize = 4 * KIB;

/// The search for the end of one chunk. It resumes where it stopped when more of the chunk has arrived.
#[derive(Debug)]
pub(super) struct Scan {
    gear: &'static [u64; 256],
    hash: u64,
    /// Bytes of the chunk that have been searched; those below the smallest size are skipped.
    done: usize,
}

impl Scan {
    pub(super) fn new() -> Self {
        let (Cow::Borrowed(gear), _) = v2020::get_gear_with_seed(0) else {
            unreachable!("without a seed the library lends its own table");
        };
        Self { gear: gear.try_into().expect("one number per value of a byte"), hash: 0, done: 0 }
    }

    /// Length of the chunk that `bytes` begin with, or `None` when more are needed. A call after `None` passes the same
    /// bytes and more. `is_last`: nothing comes after them.
    pub(super) fn cut(&mut self, rule: &SplitRule, bytes: &[u8], is_last: bool) -> Option<usize> {
        let bytes = &bytes[..bytes.len().min(rule.max)];
        // FastCDC takes two bytes at a time: the last of an odd number is never a place to cut.
        let end = bytes.len() & !1;
        self.done = self.done.max(rule.min);
        let (strict, relaxed) = v2020::select_masks(rule.avg, NORMALIZATION);
        for (limit, mask) in [(rule.avg.min(end), strict), (end, relaxed)] {
            if self.done < limit {
                if let Some(index) = self.find(&bytes[self.done..limit], mask) {
                    return Some(self.done + index);
                }
                self.done = limit;
            }
        }
        (bytes.len() == rule.max || is_last).then_some(bytes.len())
    }

    /// Index of the first byte of `piece` at which the hash, after that byte, has no bit of `mask`.
    fn find(&mut self, piece: &[u8], mask: u64) -> Option<usize> {
        let mut start = 0;
        while let Some(block) = piece[start..].first_chunk() {
            let Some(hash) = self.pass(block, mask) else { break };
            self.hash = hash;
            start += block.len();
        }
        let found = piece[start..].iter().position(|byte| {
            self.hash = self.next(self.hash, *byte);
            self.hash & mask == 0
        });
        found.map(|index| start + index)
    }

    /// The hash after a block that holds no cut, or `None` if it holds one. Not inlined: its loop needs all registers.
    #[inline(never)]
    fn pass(&self, block: &[u8; LANES * LANE_SIZE], mask: u64) -> Option<u64> {
        let (lanes, _) = block.as_chunks::<LANE_SIZE>();
        let mut hashes = [self.hash; LANES];
        for (lane, hash) in hashes.iter_mut().enumerate().skip(1) {
            let before = &lanes[lane - 1][LANE_SIZE - MEMORY..];
            *hash = before.iter().fold(0, |hash, byte| self.next(hash, *byte));
        }
        let [a, b, c, d] = lanes else { unreachable!("the block is as long as its lanes") };
        for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
            for (hash, byte) in hashes.iter_mut().zip([a, b, c, d]) {
                *hash = self.next(*hash, *byte);
            }
            if hashes.iter().any(|hash| hash & mask == 0) {
                return None;
            }
        }
        Some(hashes[LANES - 1])
    }

    #[inline]
    fn next(&self, hash: u64, byte: u8) -> u64 {
        (hash << 1).wrapping_add(self.gear[usize::from(byte)])
    }
}
