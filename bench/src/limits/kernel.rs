//! Arithmetic: what happens to every byte on its way, measured in the processor time of one thread.

use bytes::Bytes;
use chunk::compress::{Stored, compress};
use chunk::erasure::{Stripe, self_test};
use chunk::sealed::SealKey;
use chunk::split::{SplitRule, Splitter};
use types::limits::{GIB, MIB};
use types::{ChunkId, KeyId, Profile, Result, TenantId};

use crate::context::Bench;
use crate::data::noise;
use crate::figure::Figure;

const ANY: ChunkId = ChunkId([0; 32]);

/// A step that costs processor time per byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Finding where to cut.
    Split,
    /// BLAKE3 of a chunk.
    Hash,
    /// Finding out that it does not compress.
    Compress,
    /// AES-256-GCM of a chunk, and its key.
    Seal,
    /// The other way round.
    Open,
    /// Reed-Solomon.
    Encode,
    /// The checksum of shards.
    Crc,
    /// Writing to the file system.
    Disk,
    /// QUIC, both ends.
    Quic,
    /// TLS on TCP, both ends.
    Tcp,
}

/// What one core can compute.
pub struct Arithmetic {
    /// Split, hash and encode one after the other, MB/s.
    pub chain: Figure,
    /// Seconds per GB of single steps.
    pub steps: Vec<(Kernel, Figure)>,
}

/// Measures all steps on bytes that do not compress, cut as a file of 1 GiB is.
pub async fn measure(bench: &Bench) -> Result<Arithmetic> {
    let (runs, size) = (bench.plan.runs, bench.plan.kernel_size);
    env::task::blocking(move || measure_on_this_thread(runs, size)).await
}

fn measure_on_this_thread(runs: usize, size: usize) -> Result<Arithmetic> {
    let bytes = noise("kernel probe", size);
    let mut chunks = Vec::new();
    split(&bytes, |chunk| chunks.push(chunk));
    let key = SealKey { tenant: TenantId::FIRST, id: KeyId(1), secret: [7; 32] };
    let sealed: Vec<Bytes> = chunks.iter().map(|chunk| seal(&key, chunk)).collect();
    let stripe = Stripe::new(Profile { k: 4, m: 2 }, self_test()?)?;
    let encode = |chunk: &Bytes| keep(stripe.encode(chunk));
    let seconds_per_gb = |work: &dyn Fn()| -> Vec<f64> {
        let measured = (0..runs).map(|_| {
            let start = env::process::cpu_seconds_of_thread();
            work();
            (env::process::cpu_seconds_of_thread() - start) / (size as f64 / 1e9)
        });
        measured.collect()
    };
    let each = |work: &dyn Fn(&Bytes)| seconds_per_gb(&|| chunks.iter().for_each(work));
    let chain = seconds_per_gb(&|| {
        split(&bytes, |chunk| {
            keep(chunk::chunk_id(&chunk));
            encode(&chunk);
        });
    });
    let rates = chain.iter().map(|seconds| 1000.0 / seconds).collect();
    let step = |kernel, what, samples| (kernel, Figure::new(what, "s/GB", samples));
    Ok(Arithmetic {
        chain: Figure::new("split + hash + encode, one core", "MB/s", rates),
        steps: vec![
            step(Kernel::Split, "split", seconds_per_gb(&|| split(&bytes, keep))),
            step(Kernel::Hash, "hash (BLAKE3)", each(&|chunk| keep(chunk::chunk_id(chunk)))),
            step(Kernel::Compress, "compress, in vain", each(&|chunk| keep(compress(chunk)))),
            step(Kernel::Seal, "seal (AES-256-GCM)", each(&|chunk| keep(seal(&key, chunk)))),
            step(
                Kernel::Open,
                "open (AES-256-GCM)",
                seconds_per_gb(&|| {
                    sealed.iter().for_each(|bytes| keep(chunk::sealed::open(&key, &ANY, bytes)))
                }),
            ),
            step(Kernel::Encode, "encode 4+2", each(&encode)),
            step(Kernel::Crc, "CRC32", each(&|chunk| keep(crc32fast::hash(chunk)))),
        ],
    })
}

/// Under one name for all: the hash is another step.
fn seal(key: &SealKey, chunk: &Bytes) -> Bytes {
    let stored = Stored { bytes: chunk.clone(), compressed: false };
    chunk::sealed::seal(key, &ANY, &stored)
}

/// Keeps the compiler from leaving out work whose result nobody looks at.
fn keep<T>(result: T) {
    std::hint::black_box(&result);
}

/// Cuts as an upload does: a large file, read 1 MiB at a time; a chunk's memory is reused when it is done with.
fn split(bytes: &Bytes, mut each: impl FnMut(Bytes)) {
    let mut splitter = Splitter::new(SplitRule::for_size(GIB));
    for piece in bytes.chunks(MIB) {
        splitter.push(piece);
        std::iter::from_fn(|| splitter.next_chunk()).for_each(&mut each);
    }
    splitter.finish();
    std::iter::from_fn(|| splitter.next_chunk()).for_each(&mut each);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_measured_in_every_run() {
        let arithmetic = measure_on_this_thread(2, 3 * MIB).unwrap();
        let figures = arithmetic.steps.iter().map(|(_, figure)| figure).chain([&arithmetic.chain]);
        assert!(figures.clone().all(|figure| figure.samples.len() == 2 && figure.median() > 0.0));
        assert_eq!(figures.count(), 8);
    }

    #[test]
    fn splitting_loses_nothing() {
        let bytes = noise("x", 3 * MIB + 1);
        let mut chunks = Vec::new();
        split(&bytes, |chunk| chunks.push(chunk));
        assert_eq!(chunks.concat(), bytes);
    }
}
