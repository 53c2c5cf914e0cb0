//! A partition's state as one value, to be compared: equal states have equal digests on every build, whatever
//! compresses rows and in whatever version they are stored (I-DET).

use std::fmt;
use std::ops::ControlFlow;

use kv::{Order, Read};
use types::Result;

use crate::failure::Halt;

/// The sum of the hashes of all rows, modulo 2^256: the same set gives the same value in any order.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest {
    low: u128,
    high: u128,
}

impl Digest {
    /// Adds a row: its key, which begins with its table, and what it means.
    pub fn add(&mut self, key: &[u8], canonical: &[u8]) {
        let hash = hash(key, canonical);
        let half = |at: usize| u128::from_le_bytes(hash[at..at + 16].try_into().expect("half of 32 bytes"));
        let (low, carry) = self.low.overflowing_add(half(0));
        self.low = low;
        self.high = self.high.wrapping_add(half(16)).wrapping_add(u128::from(carry));
    }

    /// Little-endian.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.low.to_le_bytes());
        bytes[16..].copy_from_slice(&self.high.to_le_bytes());
        bytes
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The hash of one row.
pub fn hash(key: &[u8], canonical: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_le_bytes()).update(key).update(canonical);
    *hasher.finalize().as_bytes()
}

/// The digest of all rows, each made canonical by `canonical`.
pub fn of_state(
    state: &dyn Read,
    canonical: impl Fn(&[u8], &[u8]) -> Result<Vec<u8>, Halt>,
) -> Result<Digest, Halt> {
    let mut digest = Digest::default();
    let mut outcome = Ok(());
    let visit = &mut |key: &[u8], value: &[u8]| match canonical(key, value) {
        Ok(canonical) => {
            digest.add(key, &canonical);
            ControlFlow::Continue(())
        }
        Err(halt) => {
            outcome = Err(halt.context(key.escape_ascii()));
            ControlFlow::Break(())
        }
    };
    state.scan(b"", b"", Order::Forward, visit).map_err(Halt::new)?;
    outcome.map(|()| digest)
}
