//! Payloads as stripes.

use bytes::{Bytes, BytesMut};
use types::{Error, Profile, Result};

use super::code::{KernelCodec, check_sizes, sources};
use super::codec::Codec;
use super::kernel::Kernel;

/// Size of each shard of a payload: `payload_len / k`, rounded up. Data shard `i` holds the payload's bytes from
/// `i * shard_size` on; the end is padded with zeros. Frozen: readers find a byte by this formula.
pub fn shard_size(profile: Profile, payload_len: usize) -> usize {
    payload_len.div_ceil(profile.k.into())
}

/// Encodes and decodes stripes of one profile. Create it once: setting up a code costs more than a small stripe.
#[derive(Debug)]
pub struct Stripe {
    codec: KernelCodec,
}

impl Stripe {
    /// For stripes of `profile`, computed by `kernel` (see [`super::self_test`]); `Invalid` when this CPU lacks it.
    pub fn new(profile: Profile, kernel: Kernel) -> Result<Self> {
        Ok(Self { codec: KernelCodec::new(profile, kernel)? })
    }

    /// Shards of its stripes.
    pub fn profile(&self) -> Profile {
        self.codec.profile()
    }

    /// The `n` shards of a payload. Data shards are slices of it without a copy, except the padded ones at its end.
    pub fn encode(&self, payload: &Bytes) -> Result<Vec<Bytes>> {
        if payload.is_empty() {
            return Err(Error::invalid("an empty payload has no stripe"));
        }
        let profile = self.profile();
        let size = shard_size(profile, payload.len());
        let mut shards: Vec<Bytes> =
            (0..profile.k).map(|i| data_shard(payload, usize::from(i) * size, size)).collect();
        let mut parity = BytesMut::zeroed(size * usize::from(profile.m));
        let data: Vec<&[u8]> = shards.iter().map(|shard| &shard[..]).collect();
        self.codec.encode(&data, &mut parity.chunks_exact_mut(size).collect::<Vec<_>>())?;
        let mut parity = parity.freeze();
        shards.extend((0..profile.m).map(|_| parity.split_to(size)));
        Ok(shards)
    }

    /// The payload of a stripe from any `k` of its shards (`None` where one is missing); `Unavailable` with fewer.
    pub fn decode(&self, shards: &[Option<Bytes>], payload_len: usize) -> Result<Bytes> {
        let sources = sources(self.profile(), shards)?;
        let size = shard_size(self.profile(), payload_len);
        check_sizes(shards.iter().flatten().map(Bytes::len).chain([size]))?;
        let k = self.codec.k();
        let mut payload = BytesMut::zeroed(size * k);
        let (mut wanted, mut outputs) = (Vec::new(), Vec::new());
        for (index, output) in payload.chunks_exact_mut(size).enumerate() {
            match &shards[index] {
                Some(shard) => output.copy_from_slice(shard),
                None => {
                    wanted.push(index);
                    outputs.push(output);
                }
            }
        }
        if !wanted.is_empty() {
            let inputs: Vec<&[u8]> = sources.iter().filter_map(|&i| shards[i].as_deref()).collect();
            self.codec.derive(&sources, &inputs, &wanted, &mut outputs);
        }
        payload.truncate(payload_len);
        Ok(payload.freeze())
    }

    /// Shard `index` from any `k` others. Works on equal ranges of shards too: the same columns of `k` shards give
    /// these columns of the missing one, so a degraded read of a range moves no more than `k` times that range.
    pub fn rebuild(&self, shards: &[Option<Bytes>], index: usize) -> Result<Bytes> {
        let sources = sources(self.profile(), shards)?;
        check_sizes(shards.iter().flatten().map(Bytes::len))?;
        match shards.get(index) {
            None => {
                return Err(Error::invalid(format!("a stripe of {} has no shard {index}", self.profile())));
            }
            Some(Some(shard)) => return Ok(shard.clone()),
            Some(None) => {}
        }
        let inputs: Vec<&[u8]> = sources.iter().filter_map(|&i| shards[i].as_deref()).collect();
        let mut shard = BytesMut::zeroed(inputs[0].len());
        self.codec.derive(&sources, &inputs, &[index], &mut [&mut shard[..]]);
        Ok(shard.freeze())
    }
}

fn data_shard(payload: &Bytes, start: usize, size: usize) -> Bytes {
    let (start, end) = (start.min(payload.len()), (start + size).min(payload.len()));
    if end - start == size {
        return payload.slice(start..end);
    }
    let mut padded = BytesMut::with_capacity(size);
    padded.extend_from_slice(&payload[start..end]);
    padded.resize(size, 0);
    padded.freeze()
}
