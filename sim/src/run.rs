//! One run: a world is founded, clients work while the plan strikes, everything heals, and the checkers judge.

use std::sync::Arc;

use client::health::{Complement, missing};
use env::Random;
use env::time::{self, Duration};
use oracle::{Color, Exceptions, Inventory, Session, Verdict, Workload};
use tokio::sync::watch;
use types::{Error, NamespaceName, Result};

use crate::plan::Plan;
use crate::strike;
use crate::trace::Trace;
use crate::world::World;

/// Where clients work.
const NAMESPACE: &str = "home";
/// A cluster that is not whole this long after the last fault does not heal.
const HEAL_TIMEOUT: Duration = Duration::from_secs(180);
/// How often we look whether it is.
const HEAL_PERIOD: Duration = Duration::from_millis(500);
/// Looks in a row that must find it whole: a table that is balanced again is filled once more.
const WHOLE_COUNT: usize = 4;
/// Bytes of chunks that a survey asks every node for.
const SERVED_BYTES_MAX: u64 = 4 << 20;
/// A run whose clients do not come back is given up after this time beyond its own: that is a finding, too.
const HANG_TIMEOUT: Duration = Duration::from_secs(240);

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
    pub counts: Vec<(String, u64)>,
    /// Simulated time it took.
    pub simulated: Duration,
}

impl Report {
    /// True when nothing was broken.
    pub fn is_good(&self) -> bool {
        self.failure.is_none() && self.verdicts.iter().all(|verdict| verdict.color() != Color::Red)
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
    let mut world = World::new(plan.seed, plan.shape, trace);
    let limit = Duration::from_secs(plan.seconds) + HEAL_TIMEOUT + HANG_TIMEOUT;
    let outcome = time::timeout(limit, run_in(&mut world, plan, trace)).await;
    let outcome = outcome.unwrap_or_else(|_| Err(Error::internal("the run hangs: clients do not come back")));
    let mut report = outcome.unwrap_or_else(|e| Report {
        verdicts: Vec::new(),
        failure: Some(e.to_string()),
        operations: (0, 0),
        counts: Vec::new(),
        simulated: Duration::ZERO,
    });
    report.simulated = started.elapsed();
    report.counts = world.counts();
    trace.note(format_args!("end: {} problems", report.problems().len()));
    report
}

async fn run_in(world: &mut World, plan: &Plan, trace: &Trace) -> Result<Report> {
    world.found().await.map_err(|e| e.context("founding the cluster"))?;
    trace.note("the cluster is founded");
    let whole = Complement {
        nodes: plan.shape.nodes as usize,
        disks: plan.shape.nodes as usize,
        voters: plan.shape.meta as usize,
    };
    let harness = world.client(0).await?;
    wait_until_whole(&harness, whole).await?;
    let name = NamespaceName::parse(NAMESPACE)?;
    let mut sessions = Vec::new();
    for client in 1..=plan.clients {
        sessions.push(Session::new(world.client(client).await?, &name).await?);
    }
    let survey_session = Session::new(world.client(plan.clients + 1).await?, &name).await?;
    let random = Random::seeded(plan.seed ^ 0x0dd5);
    let (stop, stopped) = watch::channel(false);
    let began = time::now();
    let workload = Workload { follower_count: 2, ..Workload::default() };
    let working = env::task::spawn(async move { oracle::run(sessions, &workload, &random, began, stopped).await });

    for strike in &plan.strikes {
        time::sleep_until(began + Duration::from_millis(strike.at_ms)).await;
        trace.note(format_args!("strikes: {:?}", strike.fault));
        let down = strike::begin(world, &strike.fault, &harness).await;
        time::sleep(Duration::from_millis(strike.for_ms)).await;
        trace.note(format_args!("ends: {:?}", strike.fault));
        strike::end(world, &strike.fault, &down).await?;
    }
    time::sleep_until(began + Duration::from_secs(plan.seconds)).await;
    trace.note("clients stop");
    stop.send_replace(true);
    let history = working.await.map_err(|e| Error::internal(e.to_string()))??;
    trace.note(format_args!("{} operations", history.operations.len()));

    let damaged = world.damaged_disks();
    let whole = Complement { disks: whole.disks - damaged, ..whole };
    let healed = wait_until_whole(&harness, whole).await;
    trace.note(format_args!("healed: {}", healed.is_ok()));
    let survey = oracle::survey(&survey_session, SERVED_BYTES_MAX).await;
    let mut verdicts = oracle::check(&history, &survey, Exceptions::default());
    verdicts.push(heal_verdict(healed));
    let before = Inventory::default();
    time::sleep(Duration::from_secs(5)).await;
    verdicts.push(oracle::leaks(before, Inventory { requests: world.forgotten_calls(), ..before }));
    verdicts.push(world.process_verdict());
    let acknowledged = history.operations.iter().filter(|operation| operation.is_done()).count();
    Ok(Report {
        verdicts,
        failure: None,
        operations: (history.operations.len() as u64, acknowledged as u64),
        counts: Vec::new(),
        simulated: Duration::ZERO,
    })
}

fn heal_verdict(healed: Result<()>) -> Verdict {
    let mut verdict = Verdict::new(oracle::Invariant::Heal, "after the last fault the cluster becomes whole");
    verdict.judge(healed.map_err(|e| e.to_string()));
    verdict
}

async fn wait_until_whole(harness: &Arc<client::Cluster>, whole: Complement) -> Result<()> {
    let deadline = time::now() + HEAL_TIMEOUT;
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
            return Err(Error::unavailable(format!("not whole after {} s: {missing}", HEAL_TIMEOUT.as_secs())));
        }
        time::sleep(HEAL_PERIOD).await;
    }
}
