//! The filter that says of a chunk that it is surely not stored.

use chunk::filter::{BloomFilter, Filter};
use types::{ChunkId, Result};

use super::table::Row;
use crate::context::{Bench, say};
use crate::figure::Goal;

/// Nanoseconds to say "surely not".
const GOAL: Goal = Goal::AtMost(100.0);
/// Chunks that are asked for: more than a processor's cache has room for.
const ASKED: u64 = 1_000_000;

/// Asks a full filter for chunks that it does not have.
pub async fn measure(bench: &Bench) -> Result<Row> {
    let (runs, count) = (bench.plan.runs, bench.plan.block.filter_count);
    say(format_args!("blocks: a filter of {count} chunks"));
    let samples = env::task::blocking(move || misses(runs, count)).await?;
    let what = format!("miss in a filter of {count} chunks");
    Ok(Row::new(what, "ns", samples).with_goal(bench.plan.goal(GOAL)))
}

/// Nanoseconds of a miss, in every run.
fn misses(runs: usize, count: u64) -> Result<Vec<f64>> {
    let mut filter = BloomFilter::new(count, &[7; 32])?;
    (0..count).for_each(|n| filter.insert(&id(n)));
    let others: Vec<ChunkId> =
        (count..count + count.min(ASKED)).map(id).filter(|id| !filter.may_contain(id)).collect();
    let one = |_| {
        let start = env::process::cpu_seconds_of_thread();
        let found = others.iter().filter(|id| filter.may_contain(id)).count();
        assert_eq!(found, 0, "a filter says the same again");
        (env::process::cpu_seconds_of_thread() - start) * 1e9 / others.len() as f64
    };
    Ok((0..runs).map(one).collect())
}

fn id(n: u64) -> ChunkId {
    chunk::chunk_id(&n.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_a_sample() {
        let samples = misses(3, 1000).unwrap();
        assert!(samples.len() == 3 && samples.iter().all(|ns| *ns > 0.0));
    }
}
