//! Reed-Solomon coding: a payload becomes `k` data and `m` parity shards, any `k` of which restore it.
//!
//! Owns: the code (field, polynomial, matrix) and its name in records, the kernels that compute it, the start-up test.
//! Knows nothing of: where shards are kept, generations, checksums: a wrong shard in gives a wrong payload out, so
//! callers check shards before and the chunk's BLAKE3 after.

mod code;
mod codec;
mod kernel;
mod oracle;
mod stripe;

pub use code::{CodeId, KernelCodec};
pub use codec::Codec;
pub use kernel::Kernel;
pub use oracle::RsCodec;
pub use stripe::{Stripe, shard_size};

use types::{Error, Profile, Result};

/// Checks at start-up that every kernel this CPU offers computes the same bytes as the library; returns the fastest.
/// An error means that this machine (or this build) must not store anything.
pub fn self_test() -> Result<Kernel> {
    let profile = Profile { k: 10, m: 4 };
    // An odd size, so that whole vectors and the rest after them are both used.
    let data: Vec<Vec<u8>> = (0..10u32)
        .map(|row| (0..1000u32).map(|i| (i * 7 + row * 31 + i / 256).to_le_bytes()[0]).collect())
        .collect();
    let want = parity(&RsCodec::new(profile)?, &data)?;
    for kernel in Kernel::available() {
        let codec = KernelCodec::new(profile, kernel)?;
        let mut shards: Vec<Option<Vec<u8>>> = data.iter().chain(&want).cloned().map(Some).collect();
        [0, 4, 9, 11].into_iter().for_each(|lost| shards[lost] = None);
        codec.reconstruct(&mut shards)?;
        let rebuilt =
            shards.iter().zip(data.iter().chain(&want)).all(|(got, want)| got.as_ref() == Some(want));
        if parity(&codec, &data)? != want || !rebuilt {
            return Err(Error::internal(format!(
                "the {kernel:?} erasure kernel computes wrong bytes on this CPU; do not use this machine for storage"
            )));
        }
    }
    Ok(Kernel::best())
}

fn parity(codec: &dyn Codec, data: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let mut parity = vec![vec![0; data[0].len()]; 4];
    let inputs: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    codec.encode(&inputs, &mut parity.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>())?;
    Ok(parity)
}

#[cfg(test)]
mod tests;
