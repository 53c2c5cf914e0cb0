//! The library's codec: slow, portable, and by definition right.

use reed_solomon_erasure::galois_8::ReedSolomon;
use types::{Error, Profile, Result};

use super::codec::Codec;

/// `reed-solomon-erasure` as a [`Codec`]: the source of the matrix and the oracle of the fast kernels.
#[derive(Debug)]
pub struct RsCodec(ReedSolomon);

impl RsCodec {
    /// The codec of a profile.
    pub fn new(profile: Profile) -> Result<Self> {
        ReedSolomon::new(profile.k.into(), profile.m.into()).map(Self).map_err(|e| refused(profile, e))
    }
}

impl Codec for RsCodec {
    fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<()> {
        self.0.encode_sep(data, parity).map_err(|e| Error::invalid(format!("encode: {e}")))
    }

    fn reconstruct(&self, shards: &mut [Option<Vec<u8>>]) -> Result<()> {
        self.0.reconstruct(shards).map_err(|e| Error::unavailable(format!("reconstruct: {e}")))
    }
}

fn refused(profile: Profile, e: reed_solomon_erasure::Error) -> Error {
    Error::invalid(format!("profile {profile} cannot be coded: {e}"))
}
