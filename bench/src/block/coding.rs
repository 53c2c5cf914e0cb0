//! Reed-Solomon: our kernels beside the plain crate, in the processor time of one thread.

use bytes::Bytes;
use chunk::erasure::{Codec, RsCodec, Stripe, self_test};
use types::limits::MIB;
use types::{Profile, Result};

use super::table::{Row, Section};
use crate::context::{Bench, say};
use crate::data::noise;
use crate::figure::median;

/// Bytes of a payload: what most chunks of a large file have.
const PAYLOAD_SIZE: usize = MIB;
/// The shard that is lost.
const LOST: usize = 0;
/// The profile of the clusters that are measured, and a wide one.
const PROFILES: [Profile; 2] = [Profile { k: 4, m: 2 }, Profile { k: 10, m: 4 }];

/// What coding showed.
pub struct Coding {
    /// Two rows for each profile.
    pub section: Section,
    /// MB of payload per second that one core looks through to make one shard of 4+2 again.
    pub rebuild: f64,
}

/// Codes the same bytes in every run.
pub async fn measure(bench: &Bench) -> Result<Coding> {
    say("blocks: coding");
    let (runs, size) = (bench.plan.runs, bench.plan.block.code_size);
    env::task::blocking(move || measure_on_this_thread(runs, size)).await
}

fn measure_on_this_thread(runs: usize, size: usize) -> Result<Coding> {
    let bytes = noise("coding probe", size);
    let payloads: Vec<Bytes> =
        (0..size / PAYLOAD_SIZE).map(|n| bytes.slice(n * PAYLOAD_SIZE..(n + 1) * PAYLOAD_SIZE)).collect();
    let rates = |work: &mut dyn FnMut() -> Result<()>| -> Result<Vec<f64>> {
        let one = |_| {
            let start = env::process::cpu_seconds_of_thread();
            work()?;
            Ok(size as f64 / 1e6 / (env::process::cpu_seconds_of_thread() - start))
        };
        (0..runs).map(one).collect()
    };
    let (mut rows, mut rebuilt) = (Vec::new(), Vec::new());
    for profile in PROFILES {
        let (stripe, library) = (Stripe::new(profile, self_test()?)?, RsCodec::new(profile)?);
        let whole: Vec<Vec<Bytes>> =
            payloads.iter().map(|payload| stripe.encode(payload)).collect::<Result<_>>()?;
        let ours = rates(&mut || payloads.iter().try_for_each(|payload| stripe.encode(payload).map(keep)))?;
        let theirs = rates(&mut || whole.iter().try_for_each(|shards| encode(&library, profile, shards)))?;
        rows.push(Row::new(format!("encode {profile}"), "MB/s", ours).beside(theirs));

        let mut lacking: Vec<Vec<Option<Bytes>>> =
            whole.iter().map(|shards| shards.iter().cloned().map(Some).collect()).collect();
        lacking.iter_mut().for_each(|shards| shards[LOST] = None);
        let ours =
            rates(&mut || lacking.iter().try_for_each(|shards| stripe.rebuild(shards, LOST).map(keep)))?;
        let mut owned: Vec<Vec<Option<Vec<u8>>>> =
            whole.iter().map(|shards| shards.iter().map(|shard| Some(shard.to_vec())).collect()).collect();
        let theirs = rates(&mut || {
            owned.iter_mut().try_for_each(|shards| {
                shards[LOST] = None;
                library.reconstruct(shards)
            })
        })?;
        if rebuilt.is_empty() {
            rebuilt.clone_from(&ours);
        }
        rows.push(Row::new(format!("rebuild a data shard of {profile}"), "MB/s", ours).beside(theirs));
    }
    let title = format!("Reed-Solomon, one thread, payloads of {} MiB", PAYLOAD_SIZE / MIB);
    let section = Section { title, beside: "reed-solomon-erasure".to_owned(), rows };
    Ok(Coding { section, rebuild: median(&rebuilt) })
}

/// As a stripe does it: with memory for the parity.
fn encode(library: &RsCodec, profile: Profile, shards: &[Bytes]) -> Result<()> {
    let data: Vec<&[u8]> = shards[..profile.k.into()].iter().map(|shard| &shard[..]).collect();
    let mut parity = vec![0; shards[0].len() * usize::from(profile.m)];
    library.encode(&data, &mut parity.chunks_exact_mut(shards[0].len()).collect::<Vec<_>>())?;
    keep(parity);
    Ok(())
}

/// Keeps the compiler from leaving out work whose result nobody looks at.
fn keep<T>(result: T) {
    std::hint::black_box(&result);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_encoded_and_rebuilt() {
        let coding = measure_on_this_thread(2, 2 * MIB).unwrap();
        assert_eq!(coding.section.rows.len(), 2 * PROFILES.len());
        assert!(coding.rebuild > 0.0);
    }
}
