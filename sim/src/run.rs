//! One run: a world is founded, clients work while the plan strikes, everything heals, and the checkers judge.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::health::{Complement, missing};
use env::Random;
use env::time::{self, Duration};
use oracle::{Color, Invariant, Inventory, Session, Verdict, Workload};
use tokio::sync::watch;
use types::limits::{SIM_HEAL_PERIOD, SIM_HEAL_TIMEOUT, SIM_REST_LOOK_PERIOD, SIM_STOP_TIMEOUT};
use types::{Error, NamespaceName, Result};

use crate::parts;
use crate::plan::Plan;
use crate::replicas;
use crate::strike;
use crate::trace::Trace;
use crate::world::World;

/// The workload draws from dice of its own.
const WORKLOAD_SEED: u64 = 0x0dd5;
/// Where clients work.
const NAMESPACE: &str = "home";
/// Looks in a row that must find it whole: a table that is balanced again is filled once more.
const WHOLE_COUNT: usize = 4;
/// Voters of every partition.
const VOTER_COUNT: usize = 3;
/// One more client only asks the leader.
const ASKER_COUNT: u64 = 1;
/// How often we look at what a cluster at rest holds.
const REST_LOOK_COUNT: usize = 100;
/// And how often at most in the end: disks are looked through all the time, some task or other goes on at most moments.
const LAST_LOOK_COUNT: usize = 1000;
/// Bytes of chunks that a survey asks every node for.
const SERVED_BYTES_MAX: u64 = 64 << 20;

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// The judgement on each promise.
    pub verdicts: Vec<Verdict>,
    /// What ended the run before it could be judged.
    pub failure: Option<String>,
    /// Operations of clients, and how many of them were acknowledged.
    pub operations: (u64, u64),
    /// What was exercised, and how often.
    pub counts: BTreeMap<&'static str, u64>,
    /// Simulated time it took.
    pub simulated: Duration,
}

impl Report {
    /// True when nothing was broken.
    pub fn is_good(&self) -> bool {
        self.failure.is_none() && self.verdicts.iter().all(|verdict| verdict.color() != Color::Red)
    }

    /// A panic is a bug of ours, whoever caught it.
    pub fn judge_panics(&mut self, panics: &[String]) {
        let mut verdict = Verdict::new(Invariant::Processes, "nothing panics");
        verdict.exercised = 1;
        verdict.violations = panics.to_vec();
        self.verdicts.push(verdict);
    }

    /// Every violation as a line.
    pub fn problems(&self) -> Vec<String> {
        let broken = self.verdicts.iter().flat_map(|verdict| {
            verdict.violations.iter().map(move |violation| format!("{}: {violation}", verdict.invariant))
        });
        self.failure.iter().cloned().chain(broken).collect()
    }
}

/// Runs a plan. Call it within [`env::task::run_simulated`].
pub async fn run(plan: &Plan, trace: &Trace) -> Report {
    let started = time::now();
    let world = World::new(plan.seed, plan.shape, trace);
    let network = world.network.clone();
    let limit = Duration::from_secs(plan.seconds) + SIM_HEAL_TIMEOUT + SIM_STOP_TIMEOUT;
    let outcome = time::timeout(limit, run_in(world, plan, trace)).await.unwrap_or_else(|_| {
        let calls = network.open_calls();
        Err(Error::internal(format!("the run does not come to its end; calls in progress: {calls:?}")))
    });
    let mut report = outcome.unwrap_or_else(|e| Report {
        verdicts: Vec::new(),
        failure: Some(e.to_string()),
        operations: (0, 0),
        counts: BTreeMap::new(),
        simulated: Duration::ZERO,
    });
    report.simulated = started.elapsed();
    trace.note(format_args!("end: {} problems", report.problems().len()));
    report
}

async fn run_in(mut world: World, plan: &Plan, trace: &Trace) -> Result<Report> {
    world.found().await.map_err(|e| e.context("founding the cluster"))?;
    trace.note("the cluster is founded");
    let whole = Complement {
        nodes: plan.shape.nodes as usize,
        disks: plan.shape.nodes as usize,
        voters: VOTER_COUNT,
    };
    let harness = world.client(0).await?;
    wait_until_whole(&harness, whole).await?;
    let held = at_rest(&world, Inventory::default(), REST_LOOK_COUNT).await;
    let sites = world.task_sites();
    let name = NamespaceName::parse(NAMESPACE)?;
    let mut sessions = Vec::new();
    for client in 1..=plan.clients + ASKER_COUNT {
        sessions.push(Session::new(world.client(client).await?, &name).await?);
    }
    let survey_session = Session::new(world.client(plan.clients + ASKER_COUNT + 1).await?, &name).await?;
    let home = harness.map().namespace_partition(survey_session.namespace.id());
    let random = Random::seeded(plan.seed ^ WORKLOAD_SEED);
    let (stop, stopped) = watch::channel(false);
    let began = time::now();
    let workload = Workload { asker_count: ASKER_COUNT as usize, ..Workload::default() };
    let working =
        env::task::spawn(async move { oracle::run(sessions, &workload, &random, began, stopped).await });

    for strike in &plan.strikes {
        time::sleep_until(began + Duration::from_millis(strike.at_ms)).await;
        trace.note(format_args!("strikes: {:?}", strike.fault));
        let down = strike::begin(&mut world, &strike.fault, &harness, home).await?;
        time::sleep(Duration::from_millis(strike.for_ms)).await;
        trace.note(format_args!("ends: {:?}", strike.fault));
        strike::end(&mut world, &strike.fault, &down).await?;
    }
    time::sleep_until(began + Duration::from_secs(plan.seconds)).await;
    trace.note("clients stop");
    stop.send_replace(true);
    let history = working.await.map_err(|e| Error::internal(e.to_string()))??;
    trace.note(format_args!("{} operations", history.operations.len()));

    let gone = plan.gone().len();
    let disks = whole.disks - world.failed_disk_count() - gone;
    let whole = Complement { disks, nodes: whole.nodes - gone, ..whole };
    let healed = wait_until_whole(&harness, whole).await;
    trace.note(format_args!("healed: {}", healed.is_ok()));
    let survey = oracle::survey(&survey_session, SERVED_BYTES_MAX).await;
    let mut verdicts = oracle::check(&history, &survey);
    verdicts.push(heal_verdict(healed));
    verdicts.push(replicas::judge(&harness).await);
    let chunks = survey.iter().flat_map(|survey| &survey.served).map(|served| served.chunk).collect();
    verdicts.extend(parts::judge(&world, &harness, &chunks).await);
    let after = at_rest(&world, held, LAST_LOOK_COUNT).await;
    trace.note(format_args!("held: {held:?}, {after:?}"));
    let mut leaks = oracle::leaks(held, after);
    if leaks.color() == Color::Red {
        leaks.violations.extend(more(&sites, &world.task_sites()));
    }
    verdicts.push(leaks);
    let acknowledged = history.operations.iter().filter(|operation| operation.is_done()).count();
    Ok(Report {
        verdicts,
        failure: None,
        operations: (history.operations.len() as u64, acknowledged as u64),
        counts: world.counts(),
        simulated: Duration::ZERO,
    })
}

/// The least that is held at any of many moments: what comes and goes is no leak. Looks no longer once it is no more than
/// `before`.
async fn at_rest(world: &World, before: Inventory, look_count: usize) -> Inventory {
    let mut least = world.inventory();
    for _ in 0..look_count {
        if least.permits <= before.permits && least.tasks <= before.tasks && least.requests <= before.requests
        {
            break;
        }
        time::sleep(SIM_REST_LOOK_PERIOD).await;
        let now = world.inventory();
        least = Inventory {
            permits: least.permits.min(now.permits),
            tasks: least.tasks.min(now.tasks),
            requests: least.requests.min(now.requests),
        };
    }
    least
}

/// Where more tasks have been started than before.
fn more(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Vec<String> {
    let grown = after.iter().filter(|(site, count)| before.get(*site).copied().unwrap_or(0) < **count);
    grown.map(|(site, count)| format!("{count} tasks of {site}")).collect()
}

fn heal_verdict(healed: Result<()>) -> Verdict {
    let mut verdict = Verdict::new(Invariant::Heal, "after the last fault the cluster becomes whole");
    verdict.judge(healed.map_err(|e| e.to_string()));
    verdict
}

async fn wait_until_whole(harness: &Arc<client::Cluster>, whole: Complement) -> Result<()> {
    let deadline = time::now() + SIM_HEAL_TIMEOUT;
    let mut good = 0;
    loop {
        let missing = match harness.fetch_status().await {
            Ok(status) => missing(&status, whole),
            Err(e) => vec![e.to_string()],
        };
        good = if missing.is_empty() { good + 1 } else { 0 };
        if good >= WHOLE_COUNT {
            return Ok(());
        }
        if time::now() >= deadline {
            let missing = missing.join(", ");
            return Err(Error::unavailable(format!(
                "not whole after {} s: {missing}",
                SIM_HEAL_TIMEOUT.as_secs()
            )));
        }
        time::sleep(SIM_HEAL_PERIOD).await;
    }
}
