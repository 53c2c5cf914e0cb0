//! One run: a cluster, workers, faults, and the verdicts at the end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use env::task::JoinSet;
use env::{Env, Random};
use types::{Error, Result};

use crate::check::{self, Verdict};
use crate::cluster::Victim;
use crate::content::Maker;
use crate::fault::{self, Planned};
use crate::history::{History, Promise};
use crate::inject::{Injection, Injector};
use crate::report::Report;
use crate::session::Session;
use crate::survey;
use crate::worker::{Shared, Worker};

/// Workers at the same time.
const WORKER_COUNT: u64 = 6;
/// How long requests of most clients may take: longer than an election, shorter than the patience of a person.
const PATIENT: Duration = Duration::from_secs(20);
/// Others give up before there is a new leader: only they see outcomes that are unknown.
const IMPATIENT: Duration = Duration::from_millis(1_500);
/// Quiet at the end: what is written here must survive as well.
const LAST_CALM: Duration = Duration::from_secs(2);

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides the workload and the faults.
    pub seed: u64,
    /// Nodes of the cluster.
    pub node_count: u16,
    /// When to stop breaking things.
    pub until: Until,
}

/// How long a run is.
#[derive(Clone, Debug)]
pub enum Until {
    /// Random faults for this long.
    Time(Duration),
    /// Exactly these faults, in this order.
    Faults(Vec<Planned>),
}

/// Runs a plan with its files in `dir`.
pub async fn run(env: &Env, plan: &Plan, dir: &Path) -> Result<Report> {
    crate::say::say(format_args!("seed {}: starting {} nodes", plan.seed, plan.node_count));
    let cluster = Victim::start(env, dir, plan.node_count).await?;
    let shared = Arc::new(Shared {
        maker: Maker::new(plan.seed),
        stop: AtomicBool::new(false),
        started: env::time::now(),
    });
    let open = async |timeout| Session::open(env, &cluster.credentials(), timeout).await.map(Arc::new);
    let mut workers = Vec::new();
    for number in 0..WORKER_COUNT {
        let timeout = if number % 3 == 2 { IMPATIENT } else { PATIENT };
        let sessions = [open(timeout).await?, open(timeout).await?];
        let mut worker = Worker::new(number, plan.seed, sessions, shared.clone())?;
        worker.move_in().await;
        workers.push(worker);
    }
    let mut working = JoinSet::new();
    workers.into_iter().for_each(|worker| working.spawn(worker.run()));
    let injector = Injector {
        cluster: &cluster,
        session: open(PATIENT).await?,
        random: Random::seeded(plan.seed),
        whole: cluster.layout()?.complement(),
        shared: shared.clone(),
    };
    let (injections, broken) = inject_all(&injector, plan).await;
    env::time::sleep(LAST_CALM).await;
    shared.stop.store(true, Ordering::Relaxed);
    let mut history = History::default();
    while let Some(done) = working.join_next().await {
        history.extend(done.map_err(|e| Error::internal(format!("a worker failed: {e}")))?);
    }
    crate::say::say(format_args!("{} ms: workers stopped, looking at everything", shared.now_ms()));
    let mut verdicts = match survey::take(&*open(PATIENT).await?).await {
        Ok(survey) => check::all(&history, &survey),
        // What cannot be looked at may be lost: then no promise counts as kept.
        Err(e) => {
            let failed = |promise| Verdict {
                promise,
                exercised: 1,
                violations: vec![format!("looking at it failed: {e}")],
            };
            Promise::ALL[..8].iter().map(|promise| failed(*promise)).collect()
        }
    };
    let ended = [cluster.ended()?, cluster.panics()?].concat();
    verdicts.retain(|verdict| verdict.promise != Promise::Heal && verdict.promise != Promise::Processes);
    verdicts.push(Verdict {
        promise: Promise::Heal,
        exercised: injections.len() + broken.len(),
        violations: broken,
    });
    verdicts.push(Verdict {
        promise: Promise::Processes,
        exercised: plan.node_count.into(),
        violations: ended,
    });
    verdicts.sort_by_key(|verdict| verdict.promise);
    Ok(Report::new(plan.seed, verdicts, injections, history))
}

/// Performs the faults of the plan; stops at the first that does not heal, because later effects could not be told from
/// its own.
async fn inject_all(injector: &Injector<'_>, plan: &Plan) -> (Vec<Injection>, Vec<String>) {
    let mut injections = Vec::new();
    let mut drawn = 0;
    loop {
        let next = match &plan.until {
            Until::Faults(faults) => faults.get(drawn).copied(),
            Until::Time(time) => {
                (injector.shared.started.elapsed() < *time).then(|| fault::draw(&injector.random))
            }
        };
        let Some(planned) = next else { return (injections, Vec::new()) };
        drawn += 1;
        match injector.inject(planned).await {
            Ok(injection) => injections.push(injection),
            Err(e) => return (injections, vec![e.to_string()]),
        }
    }
}
