//! How long writers wait when the leader is killed.

use std::time::Duration;

use env::process::Signal;
use env::task::JoinSet;
use env::time::Instant;
use types::{Error, Result};

use super::commits::Writer;
use crate::context::Bench;
use crate::deployment::Deployment;
use crate::figure::{Figure, Goal};
use crate::session::Session;

/// Clients that write one file after the other. The one that waits longest counts.
const WRITERS: usize = 4;
/// Seconds without an acknowledged write.
const GAP_GOAL: Goal = Goal::AtMost(2.5);

/// Kills the leader of the namespace's partition in every run, and starts it again afterwards.
pub async fn measure(bench: &Bench, deployment: &Deployment) -> Result<Figure> {
    let mut gaps = Vec::new();
    for run in 0..bench.plan.runs {
        gaps.push(run_once(bench, deployment, run).await?.as_secs_f64());
        deployment.bring_up().await?;
    }
    let what = format!("longest wait of {WRITERS} writers when the leader is killed");
    Ok(Figure::new(what, "s", gaps).with_goal(bench.plan.goal(GAP_GOAL)))
}

async fn run_once(bench: &Bench, deployment: &Deployment, run: usize) -> Result<Duration> {
    let (before, after) = bench.plan.failover_time;
    let probe = Session::open(&bench.env, &deployment.credentials()).await?;
    let mut writers = Vec::new();
    for index in 0..WRITERS {
        let session = Session::open(&bench.env, &deployment.credentials()).await?;
        writers.push(Writer::new(session, &format!("failover-{run}-{index}"), bench.plan.small_size).await?);
    }
    let leader = deployment.leader(&probe).await?;
    let start = env::time::now();
    let mut tasks = JoinSet::new();
    for mut writer in writers {
        tasks.spawn(async move { write_until(&mut writer, start, start + before + after).await });
    }
    env::time::sleep_until(start + before).await;
    let killed = env::time::now();
    if !env::process::signal(leader, Signal::Kill) {
        return Err(Error::internal(format!("the leader's process {leader} was gone already")));
    }
    let mut longest = Duration::ZERO;
    while let Some(acks) = tasks.join_next().await {
        longest = longest.max(gap_around(killed, &acks.map_err(|e| Error::internal(e.to_string()))??));
    }
    Ok(longest)
}

/// When each write was acknowledged, the beginning first. Ends with the first one after `end`: a writer that still
/// waits is not let go.
async fn write_until(writer: &mut Writer, start: Instant, end: Instant) -> Result<Vec<Instant>> {
    let mut acks = vec![start];
    while acks.last().is_some_and(|last| *last < end) {
        acks.push(writer.commit().await?);
    }
    Ok(acks)
}

/// The longest time between two acknowledgements of which the second came after `killed`.
fn gap_around(killed: Instant, acks: &[Instant]) -> Duration {
    let pairs = acks.windows(2).filter(|pair| pair[1] >= killed);
    pairs.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(killed: u64, acks: &[u64], want: u64) {
        let start = env::time::now();
        let at = |ms: &u64| start + Duration::from_millis(*ms);
        let acks: Vec<Instant> = acks.iter().map(at).collect();
        assert_eq!(gap_around(at(&killed), &acks), Duration::from_millis(want));
    }

    #[test]
    fn gaps() {
        check(100, &[0, 90, 110, 120], 20);
        check(100, &[0, 90, 1500, 1510], 1410);
        check(100, &[0, 80, 110, 900, 910], 790); // The request under way came through, the next one waited.
        check(100, &[0, 70, 90], 0);
    }
}
