//! Bytes to chunks to shards, and back.
//!
//! Owns: where a file is cut, what a chunk is called, how it is compressed, sealed and erasure coded, the filter that answers
//! "surely not stored", and the list of chunks that is a file. Pure: the same input gives the same output everywhere.
//! Knows nothing of: disks, network, who may read what.

pub mod compress;
pub mod erasure;
pub mod filter;
pub mod manifest;
pub mod sealed;
pub mod split;

use types::{ChunkId, Possession};

/// The name of a chunk: BLAKE3-256 of its plain bytes.
pub fn chunk_id(plain: &[u8]) -> ChunkId {
    ChunkId(*blake3::hash(plain).as_bytes())
}

/// Domain of [`possession`]; never changed.
const POSSESSION_CONTEXT: &str = "CloudSync 2026 possession of a chunk";

/// What only who has the bytes can tell: a second hash, unlike the name and derived from none of it.
pub fn possession(plain: &[u8]) -> Possession {
    let mut hasher = blake3::Hasher::new_derive_key(POSSESSION_CONTEXT);
    hasher.update(plain);
    let mut possession = Possession::default();
    hasher.finalize_xof().fill(&mut possession.0);
    possession
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn names_and_possessions_are_frozen() {
        expect!["6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85 221a83c99a57be39afb3e8942ce5b43e"].assert_eq(&format!("{} {}", chunk_id(b"abc"), possession(b"abc")));
    }
}
