//! Chunks of eight nodes: whole, with a slow disk, without a disk, and while what it had is made again.

use std::path::Path;
use std::time::Duration;

use types::{NodeId, Result};

use super::chunks::{self, StoredFile};
use super::repair::{self, Repaired, Speeds};
use super::slow::Slowness;
use super::table::{Row, Section};
use super::{have, slow};
use crate::context::{Bench, say};
use crate::deployment::{Deployment, Kind};
use crate::figure::Goal;
use crate::percentiles::Percentiles;

/// What is taken away: nodes without metadata, in two zones.
const FIRST: NodeId = NodeId(7);
const SECOND: NodeId = NodeId(8);
/// p99 to that of a whole cluster.
const DEGRADED_GOAL: Goal = Goal::AtMost(1.3);
/// p99 to that without a slow disk.
const SLOW_GOAL: Goal = Goal::AtMost(2.0);
/// How long nodes may take to read new rules.
const RULES_TIME: Duration = Duration::from_millis(50);

/// What was measured in every run.
#[derive(Default)]
struct Rounds {
    put: Vec<Percentiles>,
    get: Vec<Percentiles>,
    put_slow: Vec<Percentiles>,
    get_slow: Vec<Percentiles>,
    get_degraded: Vec<Percentiles>,
    get_busy: Vec<Percentiles>,
    idle: Vec<f64>,
    busy: Vec<f64>,
}

/// Measures on a cluster of its own, whose disks can be made slow.
pub async fn measure(bench: &Bench, speeds: Speeds) -> Result<Vec<Section>> {
    // Before anything else is written: what a disk takes while it stores a file is not what it takes.
    let slowness = slow::probe(bench).await?;
    let rules = bench.scratch.join("rules");
    let deployment = Deployment::start_with_faults(bench, Kind::Cluster, &rules).await?;
    let have = have::measure(bench, &deployment).await?;
    say("blocks: storing a file");
    let file = StoredFile::put(bench, &deployment).await?;
    let mut rounds = Rounds::default();
    for run in 0..bench.plan.runs {
        whole_and_slow(bench, &deployment, &file, (&rules, slowness), run, &mut rounds).await?;
        without_disks(bench, &deployment, &file, run, &mut rounds).await?;
        if run + 1 < bench.plan.runs {
            repair::replace_disks(bench, &deployment, &[FIRST, SECOND]).await?;
        }
    }
    deployment.stop().await;
    Ok(vec![
        chunk_section(bench, &rounds, slowness, have),
        repair::section(bench, speeds, rounds.idle, rounds.busy),
    ])
}

async fn whole_and_slow(
    bench: &Bench,
    deployment: &Deployment,
    file: &StoredFile,
    (rules, slowness): (&Path, Slowness),
    run: usize,
    rounds: &mut Rounds,
) -> Result<()> {
    say("blocks: put and get chunks");
    rounds.put.push(chunks::put(bench, deployment, &format!("whole {run}")).await?);
    rounds.get.push(chunks::get(bench, deployment, file).await?);
    say(format_args!("blocks: the same with a slow disk, {}", slowness.what()));
    bench.env.disk.write_atomic(rules, slowness.rules(&deployment.disk_dir(FIRST)?).as_bytes())?;
    env::time::sleep(RULES_TIME).await;
    rounds.put_slow.push(chunks::put(bench, deployment, &format!("slow {run}")).await?);
    rounds.get_slow.push(chunks::get(bench, deployment, file).await?);
    Ok(bench.env.disk.remove_file(rules)?)
}

async fn without_disks(
    bench: &Bench,
    deployment: &Deployment,
    file: &StoredFile,
    run: usize,
    rounds: &mut Rounds,
) -> Result<()> {
    say("blocks: get chunks without a disk");
    repair::take_away(bench, deployment, FIRST).await?;
    rounds.get_degraded.push(chunks::get(bench, deployment, file).await?);
    say("blocks: repair, idle and busy");
    rounds.idle.push(repair::repair(bench, deployment, FIRST).await?);
    repair::take_away(bench, deployment, SECOND).await?;
    let Repaired { rate, gets } =
        repair::repair_busy(bench, deployment, file, SECOND, &format!("busy {run}")).await?;
    rounds.busy.push(rate);
    rounds.get_busy.push(gets);
    Ok(())
}

fn chunk_section(bench: &Bench, rounds: &Rounds, slowness: Slowness, have: Vec<Row>) -> Section {
    let p50 = |all: &[Percentiles]| all.iter().map(|one| one.p50).collect::<Vec<f64>>();
    let p99 = |all: &[Percentiles]| all.iter().map(|one| one.p99).collect::<Vec<f64>>();
    let row = |what: &str, samples| Row::new(what, "ms", samples);
    let (slow, degraded) = (bench.plan.goal(SLOW_GOAL), bench.plan.goal(DEGRADED_GOAL));
    let slower = slowness.what();
    let mut rows = vec![
        row("put 1 MiB: p50", p50(&rounds.put)),
        row("put 1 MiB: p99", p99(&rounds.put)),
        row("get: p50", p50(&rounds.get)),
        row("get: p99", p99(&rounds.get)),
        row(&format!("put 1 MiB, one disk slower by {slower}: p50"), p50(&rounds.put_slow))
            .beside(p50(&rounds.put)),
        row("the same: p99", p99(&rounds.put_slow)).beside(p99(&rounds.put)).with_ratio_goal(slow),
        row("get, the same disk: p50", p50(&rounds.get_slow)).beside(p50(&rounds.get)),
        row("the same: p99", p99(&rounds.get_slow)).beside(p99(&rounds.get)).with_ratio_goal(slow),
        row("get, one node killed: p50", p50(&rounds.get_degraded)).beside(p50(&rounds.get)),
        row("the same: p99", p99(&rounds.get_degraded)).beside(p99(&rounds.get)).with_ratio_goal(degraded),
        row("get while a disk is repaired: p50", p50(&rounds.get_busy)).beside(p50(&rounds.get)),
        row("the same: p99", p99(&rounds.get_busy)).beside(p99(&rounds.get)),
    ];
    rows.extend(have);
    let title = format!("Chunks, {}", Kind::Cluster.title());
    Section { title, beside: "without the fault".to_owned(), rows }
}
